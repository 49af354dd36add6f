"""How many messages a pump may have in memory, and how many it has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from localhost.compat import timeout


class Slots:
    """Counts places for messages that wait or are worked on.

    ``at_once`` is how many keys are worked on at once, ``buffer`` how many messages may
    wait in memory, ``held`` says how many there are; while ``is_held_up`` there is no
    place at all.
    """

    def __init__(
        self,
        *,
        at_once: int,
        buffer: int,
        held: Callable[[], int],
        is_held_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._held = held
        self._is_held_up = is_held_up
        self.at_once = at_once
        self.capacity = max(buffer, at_once)
        self._reserved = 0
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        """For how many messages there is a place."""
        if self._is_held_up():
            return 0
        return self.capacity - self._held() - self._reserved

    @property
    def is_enough(self) -> bool:
        """Whether to ask a queue: for some messages, unless each has a slot."""
        return self.free >= max(1, (self.capacity - self.at_once) // 2)

    @property
    def is_scarce(self) -> bool:
        """Whether more than half of the slots are taken."""
        return self.free < self.at_once // 2

    @contextlib.contextmanager
    def reserve(self) -> Iterator[bool]:
        """Keep a place, if there is one, for as long as the block runs.

        Says whether there is. What is to stay must be in hand when the block ends.
        """
        if self.free <= 0:
            yield False
            return
        self._reserved += 1
        try:
            yield True
        finally:
            self._reserved -= 1
            self.look()

    def look(self) -> None:
        """Let go on who waits, if there are places by now."""
        if self.is_enough:
            self._freed.set()

    async def wait(self, limit_s: float) -> None:
        """Wait until there are places, or for so long."""
        self._freed.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            async with timeout(limit_s):
                await self._freed.wait()
