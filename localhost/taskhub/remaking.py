"""Storage that makes the task hub again when a queue or table of it is gone.

An Azurite that was killed may come back without what was made last. Whoever meets the
gap first has the hub made again, and every request that met it is sent once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar

from localhost.errors import NotFoundError
from localhost.taskhub.storage import Response, Service, Storage

_GONE = frozenset({"QueueNotFound", "TableNotFound"})
_is_remaking: ContextVar[bool] = ContextVar("is_remaking", default=False)


class RemakingStorage(Storage):
    """A ``Storage`` that asks for ``remake``, once it is set, and then tries again."""

    remake: Callable[[], Awaitable[None]] | None = None
    _made_again = 0
    _remaking: asyncio.Task[None] | None = None

    async def request(
        self,
        service: Service,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """See ``Storage.request``."""
        before = self._made_again
        try:
            return await super().request(
                service, method, path, query=query, headers=headers, body=body
            )
        except NotFoundError as exc:
            if exc.code not in _GONE or self.remake is None or _is_remaking.get():
                raise
        if before == self._made_again:
            await self._have_it_remade(self.remake)
        return await super().request(
            service, method, path, query=query, headers=headers, body=body
        )

    async def _have_it_remade(self, remake: Callable[[], Awaitable[None]]) -> None:
        """Wait for the one remaking that all wait for."""
        if self._remaking is None:
            self._remaking = asyncio.create_task(
                self._run(remake), name="make the task hub again"
            )
        await asyncio.shield(self._remaking)

    async def _run(self, remake: Callable[[], Awaitable[None]]) -> None:
        _is_remaking.set(True)
        try:
            await remake()
            self._made_again += 1
        finally:
            self._remaking = None
