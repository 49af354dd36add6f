"""The HTTP front: listeners, the order of handlers, start and stop."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from localhost.errors import CannotStartError
from localhost.web.ports import open_sockets, port_holder
from localhost.web.requests import raw_target
from localhost.web.server import Cors, Server, status_of


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HAS_PROC = Path("/proc/net/tcp").exists()
HAS_IPV6 = has_ipv6()
ORIGIN = {"Origin": "http://page"}
PREFLIGHT = ORIGIN | {
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "x-one, x-two",
}


async def told_management(
    request: web.Request, path: str, by_rpc: bool
) -> web.Response:
    """Answers with what it was told."""
    return web.json_response([request.method, path, by_rpc])


async def told_functions(request: web.Request) -> web.Response | None:
    if not request.raw_path.startswith("/api"):
        return None
    return web.Response(text=request.raw_path)


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Server]:
    chosen: dict[str, Any] = {
        "address": "127.0.0.1",
        "port": 0,
        "built_in": [],
        "management": told_management,
        "functions": [told_functions],
    }
    async with Server(**(chosen | options)) as server:
        yield server


@pytest.fixture(name="session")
async def _session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def ask(
    session: ClientSession, url: str, method: str = "GET", **options: Any
) -> tuple[int, str]:
    sent = URL(url, encoded=True)
    async with session.request(method, sent, **options) as response:
        return response.status, await response.text()


async def raw_exchange(port: int, request: str) -> bytes:
    """What a server answers to bytes that no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode("utf-8", "surrogateescape"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "path",
    [
        "instances/a%2Fb%25",
        "instances//x",
        "instances/%E6%9D%B1",
        "",
        "instances/a/../b",
    ],
)
async def test_management_gets_its_raw_path(session: ClientSession, path: str) -> None:
    """What follows the base reaches the management API exactly as it was sent."""
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}/Runtime/webhooks/DurableTask"

        public = await ask(session, f"{base}/{path}?code=1", "DELETE")
        rpc = await ask(session, f"{server.rpc_base_url}{path}?code=1", "PUT")

    assert (200, json.dumps(["DELETE", path, False])) == public
    assert (200, json.dumps(["PUT", path, True])) == rpc


def test_bytes_beyond_ascii_are_percent_encoded() -> None:
    """A path that a client did not encode is read as if it had."""
    request = make_mocked_request("GET", "/api/東\udcff?q=é")

    assert "/api/%E6%9D%B1%FF?q=%C3%A9" == raw_target(request)


async def test_what_is_no_http_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A client that speaks no HTTP gets a 400, the console one line about it."""
    async with serving() as server:
        answer = await raw_exchange(server.port, "GET /a b c HTTP/1.1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.0 400 ")
    (line,) = caplog.text.splitlines()
    assert "A request that is no valid HTTP was refused" in line


async def test_absolute_target_is_read_as_its_path() -> None:
    """A client that takes the host for a proxy is answered all the same."""
    request = "GET http://h/runtime/webhooks/durabletask/a?b=c HTTP/1.0\r\n\r\n"

    async with serving() as server:
        answer = await raw_exchange(server.port, request)

    assert b'["GET", "a", false]' in answer


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/runtime/webhooks/other/api",
        "/runtime/webhooks/durabletasks/x",
        "/durabletask/instances",
    ],
)
async def test_unknown_path_is_an_empty_404(session: ClientSession, path: str) -> None:
    """Nobody's path is a 404 with Content-Length 0, no type and no Server."""
    async with serving() as server:
        url = f"http://127.0.0.1:{server.port}{path}"
        async with session.get(url) as response:
            headers, body = response.headers, await response.read()

    assert (404, b"", "0") == (response.status, body, headers["Content-Length"])
    assert "Content-Type" not in headers
    assert "Server" not in headers


@pytest.mark.parametrize("segment", ["", "wrong/", "x" * 32 + "/"])
async def test_rpc_needs_its_random_segment(
    session: ClientSession, segment: str
) -> None:
    """The SDK's channel is a 404 without text for who does not know its segment."""
    async with serving() as server:
        port = URL(server.rpc_base_url).port
        found = await ask(session, f"http://127.0.0.1:{port}/{segment}durabletask/x")

    assert (404, "") == found


async def test_rpc_address_is_new_for_each_server() -> None:
    """The segment cannot be guessed from another run."""
    async with serving() as one, serving() as two:
        segments = {URL(server.rpc_base_url).parts[1] for server in (one, two)}

    assert [2, 32, 32] == [len(segments), *map(len, segments)]


async def test_built_in_goes_before_functions(session: ClientSession) -> None:
    """The first handler that does not pass answers."""

    async def first(request: web.Request) -> web.Response | None:
        is_own = request.raw_path == "/api/own"
        return web.Response(text="built in") if is_own else None

    async with serving(built_in=[first]) as server:
        base = f"http://127.0.0.1:{server.port}/api"

        assert (200, "built in") == await ask(session, f"{base}/own")
        assert (200, "/api/other") == await ask(session, f"{base}/other")


async def test_long_id_fits(session: ClientSession) -> None:
    """A request line of 60 KB is accepted."""
    path = "/api/" + "x" * 60_000

    async with serving() as server:
        url = f"http://127.0.0.1:{server.port}{path}"

        assert (200, path) == await ask(session, url)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("ours"), 500),
        (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413),
        (ConnectionResetError(), 400),
        (asyncio.TimeoutError(), 500),
    ],
)
async def test_exception_becomes_an_empty_answer(
    session: ClientSession, error: Exception, status: int
) -> None:
    """What a handler raises is a status without text."""

    async def fail(_: web.Request) -> web.Response:
        raise error

    async with serving(functions=[fail]) as server:
        url = f"http://127.0.0.1:{server.port}/api/x"

        assert (status, "") == await ask(session, url)
    assert status == status_of(error)


async def test_our_fault_is_logged_with_its_traceback(
    session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """The console shows which request failed and where."""

    async def fail(_: web.Request) -> web.Response:
        raise RuntimeError("a fault of ours")

    async with serving(functions=[fail]) as server:
        await ask(session, f"http://127.0.0.1:{server.port}/api/x?y=1")

    assert "GET /api/x failed" in caplog.text
    assert "RuntimeError: a fault of ours" in caplog.text


async def test_before_ready_is_503(session: ClientSession) -> None:
    """Until the host is ready only the built-in handlers answer."""
    async with serving(is_ready=lambda: False) as server:
        found = [
            await ask(session, f"http://127.0.0.1:{server.port}/api/x"),
            await ask(session, f"{server.rpc_base_url}instances"),
        ]

    assert [(503, "Function host is not running.")] * 2 == found


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no ::1")
async def test_both_loopbacks_are_listened_on(session: ClientSession) -> None:
    """127.0.0.1 and ::1 answer on the same port."""
    async with serving() as server:
        for host in ("127.0.0.1", "[::1]"):
            url = f"http://{host}:{server.port}/api/x"

            assert (200, "/api/x") == await ask(session, url)


@pytest.fixture(name="taken_port", params=["127.0.0.1", "::1"])
def _taken_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port that this process holds on one half of loopback only.

    Not one that the system chooses: it might have given the other half to somebody.
    """
    host: str = request.param
    if ":" in host and not HAS_IPV6:
        pytest.skip("this machine has no ::1")
    port, sockets = _free_on_both_halves()
    for one in sockets:
        if one.getsockname()[0] != host:
            one.close()
    yield port
    for one in sockets:
        one.close()


def _free_on_both_halves() -> tuple[int, list[socket.socket]]:
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(CannotStartError):
            return port, open_sockets("127.0.0.1", port)
    pytest.fail("no port is free on both halves of loopback")


async def test_taken_port_says_who_and_what_to_do(taken_port: int) -> None:
    """Half of loopback taken is taken; the text names the holder and the option."""
    with pytest.raises(CannotStartError) as caught:
        async with serving(port=taken_port):
            pass

    text = str(caught.value)
    assert text.startswith(f"Port {taken_port} is unavailable. ")
    assert "--port" in text
    if HAS_PROC:
        assert f"is held by process {os.getpid()} (" in text


async def test_failed_start_leaves_nothing_open(taken_port: int) -> None:
    """The half that could be opened is closed again."""
    with pytest.raises(CannotStartError):
        async with serving(port=taken_port):
            pass

    listening = []
    for host in ("127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            listening.append(probe.connect_ex((host, taken_port)) == 0)
    assert [False, True] == sorted(listening)


async def test_foreign_address_is_refused() -> None:
    """An address that this machine does not have is named with the option."""
    with pytest.raises(
        CannotStartError, match=r"Cannot listen on 192\.0\.2\.1:.*--host"
    ):
        async with serving(address="192.0.2.1"):
            pass


def test_holder_is_unknown_without_proc(tmp_path: Path) -> None:
    """Where the system does not tell, nothing is claimed."""
    assert port_holder("127.0.0.1", 7071, proc=tmp_path) is None


async def test_port_is_free_after_leaving() -> None:
    """A server can be started again on the port that it had."""
    async with serving() as first:
        port = first.port

    async with serving(port=port) as second:
        assert port == second.port


class Slow:
    """A handler that answers when it is let."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def handle(self, _: web.Request) -> web.Response:
        self.has_begun.set()
        await self.may_end.wait()
        return web.Response(text="done")


async def test_stop_lets_running_requests_finish(session: ClientSession) -> None:
    """New connections are refused while what runs is answered; rpc stays."""
    slow = Slow()
    async with serving(functions=[slow.handle]) as server:
        url = f"http://127.0.0.1:{server.port}/api/x"
        running = asyncio.create_task(ask(session, url), name="running")
        await slow.has_begun.wait()
        stopping = asyncio.create_task(server.stop(limit_s=10), name="stopping")
        await asyncio.sleep(0)

        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", server.port)) != 0
        rpc_status, _ = await ask(session, f"{server.rpc_base_url}instances")
        slow.may_end.set()
        await stopping

        assert (200, (200, "done")) == (rpc_status, await running)


async def test_stop_gives_up_at_its_limit(
    session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that does not end is let go, and the console says so."""
    slow = Slow()
    async with serving(functions=[slow.handle]) as server:
        url = f"http://127.0.0.1:{server.port}/api/x"
        running = asyncio.create_task(ask(session, url), name="running")
        await slow.has_begun.wait()
        await server.stop(limit_s=0.01)
    with pytest.raises(OSError):
        await running

    assert "1 HTTP requests were still running after 0.01 s" in caplog.text


@pytest.mark.parametrize(
    ("cors", "headers", "expected"),
    [
        (Cors(), ORIGIN, {}),
        (Cors(origins=("http://other",)), ORIGIN, {}),
        (Cors(origins=("*",)), {}, {}),
        (
            Cors(origins=("*",), are_credentials_allowed=True),
            ORIGIN,
            {"Access-Control-Allow-Origin": "*"},
        ),
        (
            Cors.from_text(
                " http://page/ , http://other", are_credentials_allowed=True
            ),
            ORIGIN,
            {
                "Access-Control-Allow-Origin": "http://page",
                "Access-Control-Allow-Credentials": "true",
            },
        ),
    ],
)
async def test_cors_headers(
    session: ClientSession,
    cors: Cors,
    headers: dict[str, str],
    expected: dict[str, str],
) -> None:
    """Only an origin that may call is told so, on every answer."""
    async with serving(cors=cors) as server:
        url = f"http://127.0.0.1:{server.port}/nope"
        async with session.get(url, headers=headers) as response:
            told = response.headers

    access = {name: told[name] for name in told if name.startswith("Access-")}
    assert expected == access


async def test_preflight_allows_any_method_and_header(session: ClientSession) -> None:
    """A browser's question is answered before any handler is asked."""
    async with serving(cors=Cors(origins=("http://page",))) as server:
        url = f"http://127.0.0.1:{server.port}/api/x"
        async with session.options(url, headers=PREFLIGHT) as response:
            told = response.headers

    assert (204, "http://page", "PUT", "x-one, x-two") == (
        response.status,
        told["Access-Control-Allow-Origin"],
        told["Access-Control-Allow-Methods"],
        told["Access-Control-Allow-Headers"],
    )
