"""HTTP functions over the wire: what they receive and what the client gets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, web
from yarl import URL

from localhost.app.in_process import InProcess
from localhost.app.manifest import read_app
from localhost.declared import Binding
from localhost.web.routes import RouteTable
from localhost.web.server import Server
from localhost.web.triggers import BODY_LIMIT_BYTES, HttpTriggers

ECHO = """
import json
import azure.functions as func
def main(req: func.HttpRequest) -> func.HttpResponse:
    said = {
        "method": req.method, "url": req.url, "params": dict(req.params),
        "route": dict(req.route_params), "headers": dict(req.headers),
        "body": req.get_body().decode("latin-1"),
    }
    return func.HttpResponse(json.dumps(said), headers={"X-Custom": "1"},
        status_code=int(req.params.get("code", 200)), mimetype="application/json")
"""
THROW = """
def main(req):
    raise ValueError("http says no")
"""
PLAIN = """
def main(req) -> str:
    return "plain text"
"""
CLIENT = """
import azure.functions as func
def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    return func.HttpResponse(starter)
"""
COOKIES = """
import azure.functions as func
def main(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse(b"", status_code=201, headers={
        "Content-Type": "text/x-own", "Content-Length": "7", "Transfer-Encoding": "x"})
    response.headers.add("Set-Cookie", "a=1")
    response.headers.add("Set-Cookie", "b=2; Path=/")
    return response
"""
JSON_BODY = """
import azure.functions as func
def main(req: func.HttpRequest) -> func.HttpResponse:
    try:
        return func.HttpResponse(str(req.get_json()))
    except ValueError as exc:
        return func.HttpResponse(str(exc), status_code=400)
"""
ECHO_TRIGGER: dict[str, object] = {
    "route": "echo/{a}/{b:int?}",
    "methods": ["get", "post", "put"],
}
FUNCTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "EchoHttp": (ECHO, ECHO_TRIGGER),
    "ThrowHttp": (THROW, {"route": "throw"}),
    "KeyedHttp": (PLAIN, {"authLevel": "function"}),
    "ClientHttp": (CLIENT, {"route": "client"}),
    "Cookies": (COOKIES, {}),
    "JsonBody": (JSON_BODY, {}),
    "Files": (ECHO, {"route": "files/{*path}", "methods": ["GET", "HEAD"]}),
}


def write_app(root: Path) -> None:
    for name, (code, trigger) in FUNCTIONS.items():
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(code)
        bindings: list[dict[str, object]] = [
            {"name": "req", "type": "httpTrigger", "direction": "in"} | trigger,
            {"name": "$return", "type": "http", "direction": "out"},
        ]
        if name == "ClientHttp":
            bindings.append(
                {
                    "name": "starter",
                    "type": "durableClient",
                    "direction": "in",
                    "taskHub": "Other",
                }
            )
        (folder / "function.json").write_text(json.dumps({"bindings": bindings}))


def client_binding(binding: Binding) -> str:
    return f"{binding.name} of {binding.properties['taskHub']}"


async def no_management(_: web.Request, __: str, ___: bool) -> web.Response:
    return web.Response(status=501)


class Host:
    """Speaks to a server of the functions above."""

    def __init__(self, server: Server, session: ClientSession) -> None:
        self.base = f"http://127.0.0.1:{server.port}"
        self._session = session

    async def ask(
        self, method: str, target: str, **options: Any
    ) -> tuple[ClientResponse, bytes]:
        url = URL(self.base + target, encoded=True)
        async with self._session.request(method, url, **options) as response:
            return response, await response.read()

    async def said(self, method: str, target: str, **options: Any) -> dict[str, Any]:
        """What an echoing function received."""
        response, body = await self.ask(method, target, **options)
        assert response.status == 200, body
        said: dict[str, Any] = json.loads(body)
        return said


@pytest.fixture(name="triggers")
async def _triggers(tmp_path: Path) -> AsyncIterator[HttpTriggers]:
    write_app(tmp_path)
    app = read_app(tmp_path, environ={})
    async with InProcess(app, threads=2) as worker:
        assert worker.load_now() == ()
        yield HttpTriggers(
            worker,
            RouteTable.from_functions(app.functions),
            prefix="api",
            client_binding=client_binding,
            custom_headers={"X-Frame-Options": "DENY", "X-Custom": "2"},
        )


@pytest.fixture(name="host")
async def _host(triggers: HttpTriggers) -> AsyncIterator[Host]:
    async with AsyncExitStack() as stack:
        server = Server(
            address="127.0.0.1",
            port=0,
            built_in=[],
            management=no_management,
            functions=[triggers.handle],
        )
        await stack.enter_async_context(server)
        session = await stack.enter_async_context(ClientSession())
        yield Host(server, session)


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("GET", "/api/echo/1", {"a": "1"}),
        ("GET", "/api/echo/1/2", {"a": "1", "b": "2"}),
        ("PUT", "/api/echo/%E6%9D%B1/5", {"a": "東", "b": "5"}),
        ("GET", "/API/ECHO/1", {"a": "1"}),
        ("GET", "/api/echo/1/", {"a": "1"}),
        ("GET", "/api/echo/a%2Fb%2520", {"a": "a%2Fb%20"}),
        ("GET", "/api/files/a//b%2F./../c", {"path": "a//b%2F./../c"}),
        ("GET", "/api/files", {}),
    ],
)
async def test_function_gets_route_and_url(
    host: Host, method: str, target: str, route: dict[str, str]
) -> None:
    """Route values are decoded; the URL is the one that the client sent."""
    said = await host.said(method, target)

    assert (method, host.base + target, route) == (
        said["method"],
        said["url"],
        said["route"],
    )


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/echo/1/notint"),
        ("DELETE", "/api/echo/1"),
        ("HEAD", "/api/echo/1"),
        ("OPTIONS", "/api/echo/1"),
        ("GET", "/api/nope"),
        ("GET", "/api/orchestrators"),
        ("GET", "/echo/1"),
        ("GET", "/apiecho/1"),
        ("GET", "/api//echo/1"),
    ],
)
async def test_no_route_is_an_empty_404(host: Host, method: str, target: str) -> None:
    """A wrong path, method or constraint is a 404 without text, never a 405."""
    response, body = await host.ask(method, target)

    assert (404, b"", None) == (
        response.status,
        body,
        response.headers.get("Content-Type"),
    )


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("x=1&x=2&y=", {"x": "1,2"}),
        ("X=1&x=2", {"X": "1,2"}),
        ("a%20b=c+d&z", {"a b": "c d"}),
        ("q=%E6%9D%B1%26", {"q": "東&"}),
    ],
)
async def test_query_is_joined(host: Host, query: str, params: dict[str, str]) -> None:
    """Repeated parameters are joined by commas, empty ones are dropped."""
    said = await host.said("GET", f"/api/echo/1?{query}")

    assert params == said["params"]


async def test_headers_are_lower_case_and_joined(host: Host) -> None:
    """Header names arrive in lower case, repeated ones joined by commas."""
    headers = [("X-Many", "1"), ("X-Many", "2"), ("X-One", "é")]

    said = await host.said("GET", "/api/echo/1", headers=headers)

    assert ("1,2", "é") == (said["headers"]["x-many"], said["headers"]["x-one"])


@pytest.mark.parametrize("size_bytes", [1000, 3_000_000])
async def test_body_arrives_whole(host: Host, size_bytes: int) -> None:
    """A body with a Content-Length arrives as it is, also beyond aiohttp's limit."""
    said = await host.said("POST", "/api/echo/1", data=BytesIO(b"x" * size_bytes))

    assert "x" * size_bytes == said["body"]
    assert str(size_bytes) == said["headers"]["content-length"]


async def test_compressed_body_is_not_touched(host: Host) -> None:
    """What the client says is compressed reaches the function as it was sent."""
    said = await host.said(
        "POST", "/api/echo/1", data=b"zip", headers={"Content-Encoding": "gzip"}
    )

    assert "zip" == said["body"]


async def test_chunked_body_is_not_read(host: Host) -> None:
    """A body without a Content-Length arrives empty, as in Azure."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"piece"

    said = await host.said("POST", "/api/echo/1", data=pieces())

    assert "" == said["body"]


async def test_body_over_the_limit_is_413(host: Host) -> None:
    """A body that announces more than 100 MB is refused before it is read."""
    headers = {"Content-Length": str(BODY_LIMIT_BYTES + 1), "Expect": "100-continue"}

    response, body = await host.ask("POST", "/api/echo/1", headers=headers)

    assert (413, b"") == (response.status, body)


async def test_body_that_is_no_json_raises_the_known_text(host: Host) -> None:
    """``get_json`` of a function fails with the same text as in Azure."""
    response, body = await host.ask("POST", "/api/JsonBody", data=b"{")

    assert (400, b"HTTP request does not contain valid JSON data") == (
        response.status,
        body,
    )


async def test_response_is_the_functions(host: Host) -> None:
    """Status, headers and type are the function's; the body is sent in chunks."""
    response, _ = await host.ask("GET", "/api/echo/1?code=404")

    assert 404 == response.status
    assert ("application/json", "1", "DENY", "chunked", None) == (
        response.headers["Content-Type"],
        response.headers["X-Custom"],
        response.headers["X-Frame-Options"],
        response.headers["Transfer-Encoding"],
        response.headers.get("Server"),
    )


async def test_text_has_a_charset(host: Host) -> None:
    """A returned str is plain text; no key is asked for."""
    response, body = await host.ask("GET", "/api/KeyedHttp")

    assert (200, "text/plain; charset=utf-8", b"plain text") == (
        response.status,
        response.headers["Content-Type"],
        body,
    )


async def test_framing_is_the_servers_and_cookies_are_many(host: Host) -> None:
    """Content-Length of a function is ignored; each Set-Cookie is sent."""
    response, body = await host.ask("GET", "/api/cookies")

    assert (201, b"", "0") == (
        response.status,
        body,
        response.headers["Content-Length"],
    )
    assert "text/x-own" == response.headers["Content-Type"]
    assert ["a=1", "b=2; Path=/"] == response.headers.getall("Set-Cookie")


async def test_head_gets_no_body(host: Host) -> None:
    """A function that names HEAD answers it with headers only."""
    response, body = await host.ask("HEAD", "/api/files/x")

    assert (200, "application/json", b"") == (
        response.status,
        response.headers["Content-Type"],
        body,
    )


async def test_raised_is_an_empty_500(host: Host) -> None:
    """What a function raises is for the log; the client gets a 500 without text."""
    response, body = await host.ask("GET", "/api/throw")

    assert (500, b"", "0") == (
        response.status,
        body,
        response.headers["Content-Length"],
    )


async def test_client_binding_gets_its_text(host: Host) -> None:
    """A durableClient parameter receives what is made for its binding."""
    _, body = await host.ask("GET", "/api/client")

    assert b"starter of Other" == body


async def test_run_calls_the_function_with_a_body(
    triggers: HttpTriggers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An HTTP function can be run without a request; its answer is dropped."""
    app = read_app(tmp_path, environ={})
    function = next(f for f in app.functions if f.name == "JsonBody")

    with caplog.at_level("INFO", logger="localhost.invocations"):
        await triggers.run(function, "[1]")

    assert "'Functions.JsonBody' (Succeeded" in caplog.text
