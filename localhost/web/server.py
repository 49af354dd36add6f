"""The HTTP front: two listeners and the order in which a request is offered.

It may import aiohttp's server and this room only; it knows neither functions nor
Durable.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TypeAlias

from aiohttp import web

from localhost.web.access import Access, KnownHosts
from localhost.web.cors import Cors
from localhost.web.listener import STATUS_OF, Handler, Listener, status_of
from localhost.web.ports import open_socket, open_sockets
from localhost.web.requests import path_below, raw_path

__all__ = [
    "STATUS_OF",
    "Cors",
    "Handler",
    "KnownHosts",
    "Management",
    "Server",
    "status_of",
]

Management: TypeAlias = Callable[
    [web.Request, str, bool], Awaitable[web.StreamResponse | None]
]
"""Answers ``(request, raw path below the base, whether it came by rpc)``."""

WEBHOOKS = "/runtime/webhooks"
DURABLE_WEBHOOKS = f"{WEBHOOKS}/durabletask"
BODY_LIMIT_BYTES = 104_857_600
_NO_LIMIT = 0


class Server:
    """Listens while it is entered.

    A request is offered to ``built_in``, then to the management API under
    ``/runtime/webhooks/durabletask``, then to ``functions``; the first that does not
    return None answers, else it is a 404. Until ``is_ready`` only ``built_in``
    is asked. Who may not ask (see ``access``) is answered 403 before that; ``hosts``
    are the names by which it may be asked, by default those of ``address``.

    The SDK's own channel is a second listener for ``management`` alone: loopback, a
    free port, a random first segment. ``listening`` is called with the public port
    before anything is answered.
    """

    def __init__(
        self,
        *,
        address: str,
        port: int,
        built_in: Sequence[Handler],
        management: Management,
        functions: Sequence[Handler],
        is_ready: Callable[[], bool] = lambda: True,
        cors: Cors | None = None,
        hosts: KnownHosts | None = None,
        listening: Callable[[int], None] = lambda port: None,
        stop_limit_s: float = 30.0,
    ) -> None:
        self._address = address
        self._port = port
        self._built_in = tuple(built_in)
        self._management = management
        self._functions = tuple(functions)
        self._is_ready = is_ready
        self._listening = listening
        self._stop_limit_s = stop_limit_s
        self._is_stopped = False
        self._rpc_segment = secrets.token_urlsafe(24)
        self._rpc_port = 0
        cors = cors or Cors()
        self._public = Listener(
            self._answer,
            cors=cors,
            refusal=Access(hosts or KnownHosts(address=address), cors).refusal,
            body_limit_bytes=BODY_LIMIT_BYTES,
        )
        # Nobody knows its address but functions of this app.
        self._rpc = Listener(
            self._answer_rpc,
            cors=Cors(),
            refusal=lambda _: None,
            body_limit_bytes=_NO_LIMIT,
        )
        self._opened = contextlib.AsyncExitStack()

    @property
    def port(self) -> int:
        """The port that is listened on, also when 0 was asked for."""
        return self._port

    @property
    def rpc_base_url(self) -> str:
        """The address of the SDK's own channel, which asks for no key."""
        return f"http://127.0.0.1:{self._rpc_port}/{self._rpc_segment}/durabletask/"

    async def __aenter__(self) -> Server:
        """Raises CannotStartError when the port is taken on any of its addresses."""
        async with contextlib.AsyncExitStack() as opening:
            sockets = open_sockets(self._address, self._port)
            rpc_socket = open_socket("127.0.0.1", 0)
            for opened in [*sockets, rpc_socket]:
                opening.callback(opened.close)
            self._port = sockets[0].getsockname()[1]
            self._rpc_port = rpc_socket.getsockname()[1]
            self._listening(self._port)
            opening.push_async_callback(self._rpc.close)
            await self._rpc.start([rpc_socket])
            opening.push_async_callback(self._public.close)
            await self._public.start(sockets)
            self._opened = opening.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.stop(limit_s=self._stop_limit_s)
        finally:
            await self._opened.aclose()

    async def stop(self, *, limit_s: float) -> None:
        """Accept no more public requests and wait for those that run.

        The SDK's channel stays until the server is left, because functions that
        still run need it. Only the first call does anything.
        """
        if not self._is_stopped:
            self._is_stopped = True
            await self._public.drain(limit_s=limit_s)

    async def _answer(self, request: web.Request) -> web.StreamResponse | None:
        response = await _first(self._built_in, request)
        if response is not None:
            return response
        if not self._is_ready():
            return _not_running()
        path = raw_path(request)
        if path_below(path, WEBHOOKS) is None:
            return await _first(self._functions, request)
        rest = path_below(path, DURABLE_WEBHOOKS)
        return None if rest is None else await self._management(request, rest, False)

    async def _answer_rpc(self, request: web.Request) -> web.StreamResponse | None:
        base = f"/{self._rpc_segment}"
        path = raw_path(request)
        if not secrets.compare_digest(path[: len(base)], base):
            return None
        rest = path_below(path[len(base) :], "/durabletask")
        if rest is None:
            return None
        if not self._is_ready():
            return _not_running()
        return await self._management(request, rest, True)


async def _first(
    handlers: Sequence[Handler], request: web.Request
) -> web.StreamResponse | None:
    for handler in handlers:
        response = await handler(request)
        if response is not None:
            return response
    return None


def _not_running() -> web.Response:
    return web.Response(status=503, text="Function host is not running.")
