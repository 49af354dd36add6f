"""A TCP proxy that takes note of the HTTP requests that go through it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import MutableSequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from localhost.compat import TaskGroup

LONGEST_HEAD_BYTES = 64 * 1024
CHUNK_BYTES = 64 * 1024
EMPTY_POLL = "queue GET messages (empty poll)"


@dataclass(kw_only=True)
class Exchange:
    """A request and its answer; times are ``perf_counter``, 0 until it is answered."""

    kind: str
    began_s: float
    answered_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a request's head says."""

    method: str
    target: str
    body_bytes: int

    @classmethod
    def from_bytes(cls, head: bytes) -> Head:
        """Read a head; ``ValueError`` when the body's length is not in it."""
        request_line, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = request_line.split(" ")
        headers = dict(line.lower().split(":", 1) for line in lines if ":" in line)
        if "transfer-encoding" in headers:
            raise ValueError(f"a body of unknown length: {request_line}")
        length = int(headers.get("content-length", "0"))
        return cls(method=method, target=target, body_bytes=length)


def kind_of(service: str, head: Head) -> str:
    """Tell requests apart by service, method and what they are about.

    ``table GET Instances``, ``queue POST control messages``, ``table POST $batch``.
    """
    path = head.target.partition("?")[0].split("/", 2)[-1]
    if service == "table":
        name = re.sub(r"\(.*", "", path)
        known = re.search(r"(Instances|History|Partitions)$", name)
        return f"table {head.method} {known[1] if known else name}"
    if service == "queue":
        queue, _, rest = path.partition("/")
        place = re.search(r"-(control|workitems)", queue)
        what = rest.partition("/")[0]
        return " ".join(filter(None, ("queue", head.method, place and place[1], what)))
    container = path.partition("/")[0].rpartition("-")[2]
    return f"{service} {head.method} {container}"


class CountingProxy:
    """Passes everything on to a port of 127.0.0.1; an async context manager."""

    def __init__(
        self, service: str, target_port: int, exchanges: MutableSequence[Exchange]
    ) -> None:
        self._service = service
        self._target_port = target_port
        self._exchanges = exchanges
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port on which it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> CountingProxy:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=LONGEST_HEAD_BYTES
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one connection until either side closes it."""
        to_reader, to_writer = await asyncio.open_connection(
            "127.0.0.1", self._target_port, limit=LONGEST_HEAD_BYTES
        )
        current: list[Exchange] = []
        async with TaskGroup() as group:
            group.create_task(self._pass_requests(reader, to_writer, current))
            group.create_task(self._pass_answers(to_reader, writer, current))

    async def _pass_requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        current: list[Exchange],
    ) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                head = Head.from_bytes(raw)
                body = await reader.readexactly(head.body_bytes)
                kind = kind_of(self._service, head)
                exchange = Exchange(kind=kind, began_s=time.perf_counter())
                self._exchanges.append(exchange)
                current[:] = [exchange]
                writer.write(raw + body)
                await writer.drain()
        writer.close()

    async def _pass_answers(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        current: list[Exchange],
    ) -> None:
        """Pass on what comes back; HTTP/1.1 answers one request after the other."""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                note_answer(current[0], chunk)
                writer.write(chunk)
                await writer.drain()
        writer.close()


def note_answer(exchange: Exchange, chunk: bytes) -> None:
    """Take note of (the first part of) an answer; a poll shows what it found."""
    exchange.answered_s = exchange.answered_s or time.perf_counter()
    if re.match(r"queue GET \w+ messages$", exchange.kind):
        exchange.kind += " (empty poll)"
    if "(empty poll)" in exchange.kind and b"<MessageId>" in chunk:
        exchange.kind = exchange.kind.replace(" (empty poll)", " (found)")
