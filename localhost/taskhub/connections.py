"""HTTP/1.1 connections that stay open, one request at a time on each.

Knows nothing of storage. What goes wrong is an ``OSError`` (refused, reset, cut) or a
``TimeoutError``: whoever asks decides whether to ask again.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import defaultdict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

from localhost.compat import timeout

Loop = asyncio.AbstractEventLoop


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where connections lead to."""

    host: str
    port: int
    is_tls: bool

    @classmethod
    def of(cls, url: str) -> Origin:
        """Read it from the address of a service."""
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        return cls(host=parts.hostname or "", port=port, is_tls=is_tls)


@dataclass(kw_only=True, slots=True)
class Answer:
    """What came back; names of headers are in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Connections:
    """Connections to any origins, at most ``limit`` of them in use at once.

    One that has been idle for ``idle_limit_s`` is not used again: the server may be
    about to close it.
    """

    def __init__(self, *, limit: int, idle_limit_s: float, answer_limit_s: float):
        self._idle_limit_s = idle_limit_s
        self._answer_limit_s = answer_limit_s
        self._places = asyncio.Semaphore(limit)
        self._open: set[_Connection] = set()
        self._idle: dict[Origin, list[_Connection]] = defaultdict(list)
        self._is_closed = False

    async def ask(self, origin: Origin, head: bytes, body: bytes) -> Answer:
        """Send a whole request (``head`` ends with an empty line), return the answer.

        Raises ``OSError`` and ``TimeoutError``.
        """
        if self._is_closed:
            raise RuntimeError("the storage connection is closed")
        async with self._places:
            connection = self._take(origin) or await self._connect(origin)
            try:
                answer = await connection.ask(head, body, self._answer_limit_s)
            except BaseException:
                connection.abort()
                raise
            if connection.is_open and not self._is_closed:
                connection.idle_since_s = time.monotonic()
                self._idle[origin].append(connection)
            else:
                connection.abort()
            return answer

    async def close(self) -> None:
        """Close all of them; a request that is not answered fails."""
        self._is_closed = True
        self._idle.clear()
        rest = list(self._open)
        for connection in rest:
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in rest))

    def _take(self, origin: Origin) -> _Connection | None:
        """The connection that was used last, so that others may grow old."""
        oldest_s = time.monotonic() - self._idle_limit_s
        idle = self._idle[origin]
        while idle and idle[0].idle_since_s < oldest_s:
            idle.pop(0).abort()
        while idle:
            connection = idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self, origin: Origin) -> _Connection:
        context = ssl.create_default_context() if origin.is_tls else None
        opening = asyncio.get_running_loop().create_connection(
            _Connection, origin.host, origin.port, ssl=context
        )
        async with timeout(self._answer_limit_s):  # ``wait_for`` may lose a cancel
            _, connection = await opening
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection


class _Connection(asyncio.Protocol):
    """One connection; the callbacks that begin with ``on_`` are those of its parser."""

    def __init__(self) -> None:
        self.idle_since_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Answer] | None = None
        self._answer = Answer()
        self._parts: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent on it."""
        return self._transport is not None

    async def ask(self, head: bytes, body: bytes, limit_s: float) -> Answer:
        if self._transport is None:
            raise ConnectionResetError("the connection was closed")
        self._answer, self._parts = Answer(), []
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(limit_s, self._time_out)
        self._transport.write(head + body if len(body) < 65_536 else head)
        if len(body) >= 65_536:
            self._transport.write(body)
        try:
            return await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def abort(self) -> None:
        """Close the connection; a request on it fails."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _time_out(self) -> None:
        self._fail(asyncio.TimeoutError("no answer in time"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:  # nobody has asked
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(ConnectionError(f"the answer is not HTTP: {exc}"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed.set_result(None)
        self._fail(exc or ConnectionResetError("the connection was closed"))

    # httptools.HttpResponseParser

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        answer = self._answer
        answer.status = self._parser.get_status_code()
        answer.body = b"".join(self._parts)
        if not self._parser.should_keep_alive():
            self.abort()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(answer)
