"""Who may ask: by which names, and which pages of a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from localhost import settings
from localhost.web import access
from localhost.web.access import Access, KnownHosts, is_guarded, machine_names
from localhost.web.cors import Cors
from localhost.web.server import Server

OUTSIDE = "203.0.113.7"
Asked = Callable[..., Awaitable[tuple[int, str]]]


@pytest.mark.parametrize("port", ["", ":7071", ":80", ":1"])
@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "LocalHost", "localhost.", "app.localhost", "a.b.localhost."),
        *("127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "0x7f000001"),
        *("[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::1%25lo]"),
    ],
)
def test_loopback_is_known_by_all_its_names(name: str, port: str) -> None:
    """With every port: a tunnel has its own."""
    assert f"{name}{port}" in KnownHosts()


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:7071", "localhost.evil.example", "1.1.1.1"),
        *("notlocalhost", "127.0.0.1.evil.example", "127.evil.example", "0.0.0.0"),
        *("evil.example@localhost", "localhost@evil.example", "localhost evil"),
        *("[fe80::1]", "[2001:db8::1]:7071", f"{OUTSIDE}:7071", "[", ":", ".", "[]"),
        *("localhost:7071:1", "localhost,evil.example", *sorted(machine_names())),
    ],
)
def test_on_loopback_no_other_name_is_known(address: str, host: str) -> None:
    """Not the machine's own either: nobody reaches loopback by it."""
    hosts = KnownHosts(address=address)

    assert host not in hosts or access.name_of(host) == "localhost"


@pytest.mark.parametrize(
    ("address", "known", "unknown"),
    [
        (OUTSIDE, [OUTSIDE, f"{OUTSIDE}:7071"], ["198.51.100.1", "[2001:db8::1]"]),
        ("2001:db8::1", ["[2001:DB8::1]:7071", "[2001:db8:0::1]"], [OUTSIDE]),
        ("box.example", ["Box.example:7071"], ["evil.example", OUTSIDE]),
        ("0.0.0.0", [OUTSIDE, "[2001:db8::1]:1", "0.0.0.0"], ["evil.example"]),
        ("::", [OUTSIDE, "[2001:db8::1]:1", "[::]:7071"], ["evil.example"]),
    ],
)
def test_the_address_of_host_is_known(
    address: str, known: list[str], unknown: list[str]
) -> None:
    """And the machine's names, and loopback; of all addresses each, but no name."""
    hosts = KnownHosts(address=address)

    for host in [*known, *machine_names(), "localhost:7071", "127.0.0.1", "[::1]"]:
        assert host in hosts, host
    for host in unknown:
        assert host not in hosts, host


@pytest.mark.parametrize(
    ("allowed", "known", "unknown"),
    [
        (
            "box.example",
            ["Box.Example:1", "box.example."],
            ["a.box.example", "example"],
        ),
        ("*.example", ["a.example", "a.b.example:1"], ["example", "aexample"]),
        ("*", ["anything", OUTSIDE], []),
        (OUTSIDE, [OUTSIDE], ["203.0.113.8"]),
        ("[2001:db8::1]:7071", ["[2001:db8::1]"], ["[2001:db8::2]"]),
    ],
)
def test_names_can_be_allowed(
    allowed: str, known: list[str], unknown: list[str]
) -> None:
    """One by one, with all below them, or whatever there is."""
    hosts = KnownHosts(allowed=(allowed,))

    assert [] == [host for host in known if host not in hosts]
    assert [] == [host for host in unknown if host in hosts]


@pytest.mark.parametrize(
    "path",
    [
        *("/admin", "/admin/functions/Hello", "/ADMIN/x", "/%61dmin/host/status"),
        *(
            "//admin/x",
            "/runtime/webhooks/durabletask/instances",
            "/Runtime",
            "/admin/",
        ),
    ],
)
def test_own_paths_are_guarded_however_they_are_written(path: str) -> None:
    """What a handler might take for its own."""
    assert is_guarded(path)


@pytest.mark.parametrize(
    "path", ["/", "/api/admin", "/administrator", "/api/runtime/x"]
)
def test_paths_of_functions_are_not_guarded(path: str) -> None:
    """Who may ask for them is the app's business."""
    assert not is_guarded(path)


SELF = "localhost:7071"
FRIEND = "http://localhost:3000"


def refusal(path: str, *headers: tuple[str, str], origins: tuple[str, ...] = ()) -> str:
    """What is said to a request; empty when it may ask."""
    sent = CIMultiDict([("Host", SELF), *headers])
    request = make_mocked_request("POST", path, headers=sent)
    return Access(KnownHosts(), Cors(origins=origins)).refusal(request) or ""


FOREIGN: list[list[tuple[str, str]]] = [
    [("Origin", "https://evil.example")],
    [("Origin", "null")],
    [("Origin", "")],
    [("Origin", FRIEND)],
    [("Origin", "http://127.0.0.1:7071")],
    [("Origin", "http://localhost:7071.evil.example")],
    [("Origin", "chrome-extension://abc")],
    [("Origin", f"http://{SELF}"), ("Origin", "https://evil.example")],
    [("Sec-Fetch-Site", "cross-site")],
    [("Sec-Fetch-Site", "same-site")],
    [("Sec-Fetch-Site", "Cross-Site"), ("Sec-Fetch-Mode", "navigate")],
    [("Origin", f"http://{SELF}"), ("Sec-Fetch-Site", "cross-site")],
]
OWN: list[list[tuple[str, str]]] = [
    [],
    [("Origin", f"http://{SELF}")],
    [("Origin", f"HTTP://{SELF.upper()}"), ("Sec-Fetch-Site", "same-origin")],
    [("Origin", f"https://{SELF}")],
    [("Sec-Fetch-Site", "none")],
    [("Sec-Fetch-Site", "same-origin")],
    [("Sec-Fetch-Site", "")],
]
GUARDED = ["/admin/functions/Hello", "/runtime/webhooks/durabletask/instances"]


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("headers", FOREIGN)
def test_pages_of_others_are_refused(path: str, headers: list[tuple[str, str]]) -> None:
    """The text names the path and the way out."""
    text = refusal(path, *headers)

    assert path in text
    assert "expected: " in text
    assert "CORS" in text


@pytest.mark.parametrize("path", [*GUARDED, "/api/x"])
@pytest.mark.parametrize("headers", OWN)
def test_own_pages_and_tools_may_ask(path: str, headers: list[tuple[str, str]]) -> None:
    """What is no browser sends none of these headers."""
    assert "" == refusal(path, *headers)


@pytest.mark.parametrize("path", ["/api/x", "/"])
@pytest.mark.parametrize("headers", FOREIGN)
def test_functions_are_asked_by_any_page(
    path: str, headers: list[tuple[str, str]]
) -> None:
    """As in Azure; what the page may read of it, CORS says."""
    assert "" == refusal(path, *headers)


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("origins", [(FRIEND,), ("*",), (FRIEND.upper(),)])
def test_pages_that_cors_allows_may_ask(path: str, origins: tuple[str, ...]) -> None:
    """A page on another port that polls a status is one of them."""
    headers = [("Origin", FRIEND), ("Sec-Fetch-Site", "same-site")]

    assert "" == refusal(path, *headers, origins=origins)


def test_a_request_without_host_may_ask() -> None:
    """Browsers always send one; clients of HTTP/1.0 need not."""
    request = make_mocked_request("GET", "/admin/host/status")

    assert Access(KnownHosts(), Cors()).refusal(request) is None


def test_the_setting_has_one_name() -> None:
    """What the text says is what is read."""
    assert access.SETTING == settings.ALLOWED_HOSTS


async def nothing(_: web.Request, *__: Any) -> web.Response:
    return web.Response(text="answered")


@pytest.fixture(name="asked")
async def _asked() -> AsyncIterator[Asked]:
    """Asks a server that listens; gives status and text."""
    async with (
        Server(
            address="127.0.0.1",
            port=0,
            built_in=[],
            management=nothing,
            functions=[nothing],
        ) as server,
        ClientSession() as session,
    ):

        async def ask(
            path: str, method: str = "GET", **headers: str
        ) -> tuple[int, str]:
            url = f"http://127.0.0.1:{server.port}{path}"
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.request(method, url, headers=named) as response:
                return response.status, await response.text()

        yield ask


@pytest.mark.parametrize("path", ["/", "/api/x", "/admin/host/ping", *GUARDED])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_an_unknown_host_is_a_403_with_advice(
    asked: Asked, path: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Everywhere; the console says it too."""
    status, text = await asked(path, method, Host="evil.example:7071")

    assert 403 == status
    assert "'evil.example'" in text
    assert "LOCALHOST_ALLOWED_HOSTS=evil.example" in text
    assert text.strip() in caplog.text


async def test_a_page_of_another_site_is_a_403(asked: Asked) -> None:
    """Nothing of the request is looked at."""
    status, text = await asked(
        "/admin/functions/x", "POST", Origin="https://evil.example"
    )

    assert 403 == status
    assert "https://evil.example" in text


async def test_a_known_host_is_answered(asked: Asked) -> None:
    """By whatever name of loopback it is asked."""
    for host in ("localhost:7071", "app.localhost", "127.0.0.1", "[::1]:9"):
        assert (200, "answered") == await asked("/api/x", Host=host)
