"""``call_http``: whatever is asked for ends, in an answer or in a failure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from localhost.outcome import Outcome, Raised, Returned
from localhost.web import outgoing
from localhost.web.outgoing import call_http

NOBODY = "http://127.0.0.1:9/"


@pytest.fixture(name="server")
async def _server() -> AsyncIterator[str]:
    """A server on this machine that says what it got; the address."""

    async def echo(request: web.Request) -> web.Response:
        got = {
            "method": request.method,
            "headers": {k.lower(): v for k, v in request.headers.items()},
            "body": await request.text(),
        }
        return web.json_response(got)

    async def large(request: web.Request) -> web.StreamResponse:
        """So many bytes, with or without saying so before."""
        size_bytes = int(request.match_info["size"])
        response = web.StreamResponse()
        if request.match_info["kind"] == "known":
            response.content_length = size_bytes
        elif request.match_info["kind"] == "packed":
            response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        await response.write(b"x" * size_bytes)
        await response.write_eof()
        return response

    async def typed(request: web.Request) -> web.Response:
        headers = {"Content-Type": request.query["type"]}
        return web.Response(body="é".encode(request.query["as"]), headers=headers)

    async def there(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": request.query["to"]})

    async def circle(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/circle"})

    app = web.Application()
    app.router.add_route("*", "/", echo)
    app.router.add_get("/large/{kind}/{size}", large)
    app.router.add_get("/typed", typed)
    app.router.add_get("/there", there)
    app.router.add_get("/circle", circle)
    app.router.add_get("/never", _never)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def _never(request: web.Request) -> web.Response:
    transport = request.transport
    assert transport is not None
    transport.close()
    return web.Response()


async def ask(**fields: Any) -> Outcome:
    """Ask for a request of this shape."""
    return await call_http(json.dumps({"method": "GET", "headers": {}, **fields}))


async def failure(**fields: Any) -> str:
    """Return the text of a request that fails."""
    outcome = await ask(**fields)
    assert isinstance(outcome, Raised)
    assert "" == outcome.type_name
    return outcome.message


async def answer(**fields: Any) -> Any:
    """Return what a request is answered with."""
    outcome = await ask(**fields)
    assert isinstance(outcome, Returned), outcome
    return json.loads(outcome.value or "")


async def echoed(**fields: Any) -> Any:
    """Return what the server got."""
    return json.loads((await answer(**fields))["content"])


@pytest.mark.parametrize(
    "uri",
    [
        *("http://127.0.0.1:99999/", "http://127.0.0.1:abc/", "http://127.0.0.1:-1/"),
        *("http://[bad", "http://[::g]/", "http://[]/", "http://", "http:///x", "http"),
        *(None, 5, 1.5, True, [], {}, ["http://x/"], "", "   ", "/relative", "x.y/z"),
        *("ftp://x/", "file:///etc/hosts", "data:,x", "mailto:a@b", "javascript:1"),
        *(
            "http://a b/",
            "http://\x00/",
            "http://x\r\ny/",
            "http://\ud800/",
            "http://%/",
        ),
        *("http://127.0.0.1:9/" + "x" * 1_000_000, "http://" + "x" * 100_000 + "/"),
        *("http://.../", "http://127.0.0.1:0/", "http://999.999.999.999/", "//x/y"),
        *("http://user:pa:ss@127.0.0.1:9/", "http://\N{SNOWMAN}..\N{SNOWMAN}/"),
    ],
    ids=lambda uri: ascii(uri)[:40],
)
async def test_any_uri_ends(uri: Any) -> None:
    """In a failure that the orchestrator can catch, with a text of some length."""
    text = await failure(uri=uri)

    assert 0 < len(text) < 1_000
    text.encode()


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        (None, "call_http: 'uri' is None; expected: a text"),
        (5, "call_http: 'uri' is 5; expected: a text"),
        ("http://127.0.0.1:99999/", "'uri' is 'http://127.0.0.1:99999/' ("),
        ("/relative", "An invalid request URI was provided."),
        ("ftp://x/", "An invalid request URI was provided."),
    ],
)
async def test_uri_that_cannot_be_is_named(uri: Any, text: str) -> None:
    """The text says what was found and what is expected."""
    assert text in await failure(uri=uri)


async def test_space_around_a_uri_does_not_count(server: str) -> None:
    """As .NET's Uri reads it."""
    assert "GET" == (await echoed(uri=f" {server}/\n"))["method"]


@pytest.mark.parametrize(
    "method", [None, 5, True, [], {}, "", " ", "GET X", "G\r\nX: y", "GÉT", "GET\x00"]
)
async def test_method_is_a_token(server: str, method: Any) -> None:
    """Anything else is a failure."""
    assert "call_http: 'method' is" in await failure(uri=f"{server}/", method=method)


@pytest.mark.parametrize(
    "headers",
    [
        *(5, "x", [1], [["a", "b"]], True),
        *({"X": "a\r\nb"}, {"X": "a\nb"}, {"X": "\x00"}, {"X": "Andr\xe9"}),
        *({"X": "\u20ac"}, {"X": "\ud800"}, {"X": None}, {"X": {}}, {"X": [None]}),
        *({"X": [["a"]]}, {"": "a"}, {"a b": "c"}, {"a:": "c"}, {"a\r\nb": "c"}),
        {"\xe9": "a"},
    ],
    ids=ascii,
)
async def test_headers_that_cannot_be_are_a_failure(headers: Any, server: str) -> None:
    """They never get onto the wire."""
    assert await failure(uri=f"{server}/", method="POST", content="x", headers=headers)


async def test_header_that_cannot_be_is_named(server: str) -> None:
    """Its name and its value."""
    text = await failure(uri=f"{server}/", headers={"X-A": "a\nb"})

    assert "call_http: the header 'X-A' is 'a\\nb'; expected: printable ASCII" in text


async def test_headers_of_plain_values_are_sent(server: str) -> None:
    """Numbers as their text, lists joined, an empty value too."""
    headers = {"X-N": 5, "X-L": ["a", 1], "X-E": "", "X-B": True}

    got = (await echoed(uri=f"{server}/", headers=headers))["headers"]

    sent = {name: got[name] for name in ("x-n", "x-l", "x-e", "x-b")}
    assert {"x-n": "5", "x-l": "a,1", "x-e": "", "x-b": "True"} == sent


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "99"}, {"Transfer-Encoding": "chunked"}]
)
async def test_length_of_the_content_is_not_the_headers_to_say(
    server: str, headers: dict[str, str]
) -> None:
    """A wrong one would let the server wait for more."""
    asked = {
        "uri": f"{server}/",
        "method": "POST",
        "content": "x",
        "timeout": "00:00:09",
    }

    assert "x" == (await echoed(**asked, headers=headers))["body"]


@pytest.mark.parametrize(
    ("content", "body"),
    [("t\xebxt", "t\xebxt"), (5, "5"), ({"a": [1]}, '{"a":[1]}'), ("", ""), (None, "")],
)
async def test_content_of_any_type_is_sent(
    server: str, content: Any, body: str
) -> None:
    """A text as it is, other values as JSON."""
    got = await echoed(uri=f"{server}/", method="POST", content=content)

    assert body == got["body"]


async def test_half_a_character_in_the_content_ends(server: str) -> None:
    """With whichever outcome."""
    assert await ask(uri=f"{server}/", method="POST", content="\ud800")


@pytest.mark.parametrize(
    "timeout", [5, -1, True, [], {}, "soon", "-00:00:01", "00:00:00", "1:2:3:4:5"]
)
async def test_timeout_that_cannot_be_is_a_failure(server: str, timeout: Any) -> None:
    """A time span above zero, or none."""
    text = await failure(uri=f"{server}/", timeout=timeout)

    assert "call_http: 'timeout' is" in text


@pytest.mark.parametrize("timeout", [None, "00:01:00", "1.00:00:00", "00:00:30.5"])
async def test_timeout_is_a_time_span(server: str, timeout: Any) -> None:
    """As .NET writes them."""
    assert 200 == (await answer(uri=f"{server}/", timeout=timeout))["statusCode"]


@pytest.mark.parametrize("input_", ["", "x", "null", "5", "[]", '"x"', "[" * 100_000])
async def test_input_that_is_no_request_is_a_failure(input_: str) -> None:
    """A work item of another host may hold anything."""
    outcome = await call_http(input_)

    assert isinstance(outcome, Raised)


@pytest.mark.parametrize("token", [{"resource": "r", "kind": "k"}, 5, "x"])
async def test_token_source_is_a_failure(token: Any) -> None:
    """There is no managed identity here."""
    assert "managed identity" in await failure(uri=NOBODY, tokenSource=token)


@pytest.mark.parametrize("kind", ["known", "unknown", "packed"])
async def test_answer_beyond_the_limit_is_a_failure(
    server: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not it says its size before, and before it is in memory."""
    monkeypatch.setattr(outgoing, "LARGEST_ANSWER_BYTES", 100_000)

    text = await failure(uri=f"{server}/large/{kind}/100001")
    fits = await answer(uri=f"{server}/large/{kind}/100000")

    assert "is larger than 0.1 MB; expected: at most" in text
    assert 100_000 == len(fits["content"])


def test_limit_is_100_mb() -> None:
    """What the README of the limits says."""
    assert 100_000_000 == outgoing.LARGEST_ANSWER_BYTES


@pytest.mark.parametrize(
    ("type_", "as_"),
    [
        *(("text/plain", "utf-8"), ("text/plain; charset=latin-1", "latin-1")),
        *(("text/plain; charset=nope", "utf-8"), ("text/plain; charset=hex", "utf-8")),
        *(("application/json", "utf-8"), ("", "utf-8"), ("x", "utf-8")),
    ],
)
async def test_text_of_an_answer_is_read_by_its_charset(
    server: str, type_: str, as_: str
) -> None:
    """One that is no charset counts as UTF-8."""
    query = f"type={type_.replace(';', '%3B')}&as={as_}"

    assert "\xe9" == (await answer(uri=f"{server}/typed?{query}"))["content"]


@pytest.mark.parametrize(
    "to", ["ftp://x/", "http://127.0.0.1:99999/", "http://[bad", "/circle"]
)
async def test_redirect_that_leads_nowhere_is_a_failure(server: str, to: str) -> None:
    """Also one in a circle."""
    assert await failure(uri=f"{server}/there?to={to}")


async def test_connection_that_breaks_is_a_failure(server: str) -> None:
    """The text names the address."""
    uri = f"{server}/never"

    assert (await failure(uri=uri)).startswith(f"The request to {uri} failed: ")
