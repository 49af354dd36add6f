"""When a queue is looked at next: longer and longer pauses, unless one is expected."""

from __future__ import annotations

import asyncio
import contextlib
import time

from localhost.compat import timeout

SHORTEST_PAUSE_S = 0.05


class Poll:
    """When a queue is looked at next."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.stop = asyncio.Event()
        self.wake = asyncio.Event()
        self.pause_s = SHORTEST_PAUSE_S
        self._due_s: list[float] = []

    def expect(self, at_s: float) -> None:
        """Look at the queue at a time (``time.monotonic``), whatever the pause is."""
        self._due_s.append(at_s)
        self.wake.set()

    async def wait(self) -> bool:
        """Wait for the pause, or until a message is expected; True for the latter."""
        end_s = time.monotonic() + self.pause_s
        while not self.stop.is_set():
            self.wake.clear()
            due_s = min(self._due_s, default=end_s)
            now_s = time.monotonic()
            if min(due_s, end_s) <= now_s:
                break
            with contextlib.suppress(asyncio.TimeoutError):
                async with timeout(min(due_s, end_s) - now_s):
                    await self.wake.wait()
        now_s = time.monotonic()
        was_expected = any(at_s <= now_s for at_s in self._due_s)
        self._due_s = [at_s for at_s in self._due_s if at_s > now_s]
        return was_expected
