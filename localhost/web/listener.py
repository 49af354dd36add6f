"""One aiohttp application that hands every request to one handler.

aiohttp's router has one route for everything: it would decode paths, answer 405 and
write texts. What that route does not match comes here all the same, by the middleware.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler as AiohttpHandler

from localhost.compat import timeout
from localhost.web.cors import Cors
from localhost.web.requests import raw_path

logger = logging.getLogger(__name__)
_protocol_logger = logging.getLogger(f"{__name__}.protocol")

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Answers a request, or returns None for one that is not its own."""

# Instance ids, events and reasons travel in the request line.
_LINE_LIMIT_BYTES = 65_536
_CLOSE_LIMIT_S = 1.0

STATUS_OF: Mapping[type[BaseException], int] = {
    web.HTTPRequestEntityTooLarge: 413,
    web.RequestPayloadError: 400,
    ConnectionError: 400,
}
"""What a client did wrong; every other exception is ours and a 500."""


def status_of(error: BaseException) -> int:
    """The status for an exception that a handler raised."""
    known = (STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    return next(known, 500)


def _in_one_line(record: logging.LogRecord) -> bool:
    # A client that speaks no HTTP is worth a line, not a traceback of aiohttp.
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = "A request that is no valid HTTP was refused: %s"
        record.args = (error.message.partition("\n")[0].rstrip(":"),)
        record.exc_info = None
    return True


_protocol_logger.addFilter(_in_one_line)


async def _nobody(request: web.Request) -> web.StreamResponse:
    raise NotImplementedError("the middleware answers every request")


class Listener:
    """Serves on given sockets from ``start`` to ``close``.

    A request that nobody answers is a 404, one whose handler raises a 500 (or as
    ``STATUS_OF`` says); both have no body. One of which ``refusal`` says something is
    a 403 with that text.
    """

    def __init__(
        self,
        answer: Handler,
        *,
        cors: Cors,
        refusal: Callable[[web.Request], str | None],
        body_limit_bytes: int,
    ) -> None:
        self._answer = answer
        self._refusal = refusal
        self._cors = cors
        self._running = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        application = web.Application(
            client_max_size=body_limit_bytes, middlewares=[self._enter]
        )
        application.router.add_route("*", "/{path:.*}", _nobody)
        application.on_response_prepare.append(self._before_headers)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=_protocol_logger,
            auto_decompress=False,
            max_line_size=_LINE_LIMIT_BYTES,
            max_field_size=_LINE_LIMIT_BYTES,
            shutdown_timeout=_CLOSE_LIMIT_S,
        )

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        await self._runner.setup()
        for listening in sockets:
            await web.SockSite(self._runner, listening, backlog=1024).start()

    async def drain(self, *, limit_s: float) -> None:
        """Accept nothing more and wait until what runs is answered, or the limit."""
        for site in self._runner.sites:
            await site.stop()
        # What was accepted a moment ago begins to run now.
        await asyncio.sleep(0)
        if self._runner.server:
            self._runner.server.pre_shutdown()
        try:
            async with timeout(limit_s):
                await self._is_idle.wait()
        except asyncio.TimeoutError:
            logger.warning(
                "%d HTTP requests were still running after %g s; they are let go.",
                self._running,
                limit_s,
            )

    async def close(self) -> None:
        """Close all connections; cancels what is still running. May be repeated."""
        await self._runner.cleanup()

    @web.middleware
    async def _enter(
        self, request: web.Request, handler: AiohttpHandler
    ) -> web.StreamResponse:
        self._running += 1
        self._is_idle.clear()
        try:
            return await self._answer_or_status(request)
        finally:
            self._running -= 1
            if not self._running:
                self._is_idle.set()

    async def _answer_or_status(self, request: web.Request) -> web.StreamResponse:
        if text := self._refusal(request):
            logger.warning("403 for %s %s: %s", request.method, raw_path(request), text)
            return web.Response(status=403, text=f"{text}\n")
        if self._cors.is_preflight(request):
            return web.Response(status=204)
        try:
            response = await self._answer(request)
        except Exception as exc:
            status = status_of(exc)
            if status == 500:
                logger.exception("%s %s failed", request.method, raw_path(request))
            return web.Response(status=status)
        return web.Response(status=404) if response is None else response

    async def _before_headers(
        self, request: web.Request, response: web.StreamResponse
    ) -> None:
        response.headers.update(self._cors.headers(request))
        if response.headers.get("Server") == SERVER_SOFTWARE:
            del response.headers["Server"]
