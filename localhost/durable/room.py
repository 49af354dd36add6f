"""How many messages a pump may have in hand, and how many it has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from localhost.compat import timeout
from localhost.durable.held import Held


class Room:
    """Counts what is held and what a place is kept for.

    ``slots`` is how many keys are worked on at once, ``buffer`` how many messages may
    wait in memory; while ``is_held_up`` there is no room at all.
    """

    def __init__(
        self,
        held: Held,
        *,
        slots: int,
        buffer: int,
        is_held_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._held = held
        self._is_held_up = is_held_up
        self._slots = slots
        self.capacity = max(buffer, slots)
        self._reserved = 0
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        """For how many messages there is room."""
        if self._is_held_up():
            return 0
        return self.capacity - len(self._held) - self._reserved

    @property
    def is_enough(self) -> bool:
        """Whether to ask a queue: for some messages, unless each has a slot."""
        return self.free >= max(1, (self.capacity - self._slots) // 2)

    @property
    def is_scarce(self) -> bool:
        """Whether more than half of the slots are taken."""
        return self.free < self._slots // 2

    def reserve(self) -> bool:
        """Keep a place for a message, if there is one."""
        if self.free <= 0:
            return False
        self._reserved += 1
        return True

    def release(self) -> None:
        """Give back a place, or put a message into it."""
        self._reserved -= 1

    def look(self) -> None:
        """Let go who waits, if there is room by now."""
        if self.is_enough:
            self._freed.set()

    async def wait(self, limit_s: float) -> None:
        """Wait until there is room, or for so long."""
        self._freed.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            async with timeout(limit_s):
                await self._freed.wait()
