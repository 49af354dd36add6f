"""A proxy between a host and Azurite that notes what the host writes.

Messages are deleted when they are done and rows are replaced, so what was written can
only be seen on its way. A write is noted in the words of the recordings; reads,
deletes of messages and renewals of locks are passed on and not noted.
"""

from __future__ import annotations

import base64
import json
import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

LARGEST_BODY_BYTES = 64 * 2**20
_HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "host"}
_PART = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, kw_only=True)
class Write:
    """One thing that was written: a message, a row, a blob, or a thing made.

    ``kind`` is ``message``, a method of the table service or of the blob service;
    ``path`` is a queue, a table with the row's keys, or a blob.
    """

    kind: str
    path: str
    content: Any
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Wire:
    """What went over the wire: the account's addresses here, and the writes so far."""

    urls: dict[str, str] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    noted_at_s: float = 0.0

    def note(self, service: str, request: web.BaseRequest, body: bytes) -> None:
        """Note the writes of a request that succeeded."""
        _, _, path = request.path_qs.partition("?")[0].lstrip("/").partition("/")
        found = _NOTES[service](request, unquote(path), body)
        if found:
            self.writes += found
            self.noted_at_s = time.monotonic()


@asynccontextmanager
async def recording(urls: Mapping[str, str]) -> AsyncIterator[Wire]:
    """Stand in for the account at some addresses until the end of the block."""
    wire = Wire()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
            )
        )
        for service, url in urls.items():
            server = web.Server(_handler(wire, service, url, session))
            runner = web.ServerRunner(server)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]
            wire.urls[service] = f"http://127.0.0.1:{port}{urlsplit(url).path}"
        yield wire


def _handler(wire: Wire, service: str, url: str, session: aiohttp.ClientSession) -> Any:
    parts = urlsplit(url)

    async def handle(request: web.BaseRequest) -> web.Response:
        body = await request.content.read()
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _HOP_HEADERS
        }
        target = URL(f"http://{parts.netloc}{request.raw_path}", encoded=True)
        async with session.request(
            request.method,
            target,
            headers=headers,
            data=body or None,
            skip_auto_headers=(
                "Accept",
                "Accept-Encoding",
                "Content-Type",
                "User-Agent",
            ),
        ) as answer:
            content = await answer.read()
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in _HOP_HEADERS | {"content-length"}
            }
        # The answer to a transaction that failed says 202 and holds another status.
        if answer.status < 300 and b"\nHTTP/1.1 4" not in content:
            wire.note(service, request, body)
        return web.Response(status=answer.status, headers=kept, body=content)

    return handle


def _queue_writes(request: web.BaseRequest, path: str, body: bytes) -> list[Write]:
    query = _query(request)
    if request.method == "PUT" and "/" not in path:
        return [Write(kind="PUT", path=path, content="", query=query)]
    if request.method != "POST" or not path.endswith("/messages"):
        return []
    text = ElementTree.fromstring(body).findtext("MessageText") or ""
    return [
        Write(
            kind="message",
            path=path.removesuffix("/messages"),
            content=json.loads(base64.b64decode(text)),
            query=query,
        )
    ]


def _table_writes(request: web.BaseRequest, path: str, body: bytes) -> list[Write]:
    if request.method == "GET":
        return []
    if path == "$batch":
        return [_part(each) for each in re.split(rb"--changeset_[^\r\n]+", body)[1:-1]]
    headers = {name.lower(): value for name, value in request.headers.items()}
    return [_row(request.method, path, headers, body)]


def _part(part: bytes) -> Write:
    """Read one operation of a transaction."""
    _, head, *rest = _PART.split(part.strip(b"\r\n") + b"\r\n\r\n", 2)
    request, *lines = head.decode().splitlines()
    method, url, _ = request.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return _row(method, unquote(urlsplit(url).path.rsplit("/", 1)[1]), headers, rest[0])


def _row(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Write:
    kept = {name: headers[name] for name in ("if-match",) if name in headers}
    return Write(
        kind=headers.get("x-http-method", method),
        path=path,
        content=json.loads(body) if body.strip() else "",
        headers=kept,
    )


def _blob_writes(request: web.BaseRequest, path: str, body: bytes) -> list[Write]:
    if request.method in ("GET", "HEAD"):
        return []
    is_packed = body.startswith(b"\x1f\x8b")
    content = "<gzip>" if is_packed else body.decode(errors="replace")
    return [
        Write(kind=request.method, path=path, content=content, query=_query(request))
    ]


def _query(request: web.BaseRequest) -> str:
    return request.path_qs.partition("?")[2]


_NOTES = {"queue": _queue_writes, "table": _table_writes, "blob": _blob_writes}
