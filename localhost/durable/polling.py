"""When a queue is looked at next: longer and longer pauses, unless one is expected."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
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
        heapq.heappush(self._due_s, at_s)
        self.wake.set()

    async def wait(self) -> bool:
        """Wait for the pause, or until a message is expected; True for the latter."""
        end_s = time.monotonic() + self.pause_s
        while not self.stop.is_set():
            self.wake.clear()
            due_s = self._due_s[0] if self._due_s else end_s
            now_s = time.monotonic()
            if min(due_s, end_s) <= now_s:
                break
            with contextlib.suppress(asyncio.TimeoutError):
                async with timeout(min(due_s, end_s) - now_s):
                    await self.wake.wait()
        now_s = time.monotonic()
        was_expected = False
        while self._due_s and self._due_s[0] <= now_s:
            heapq.heappop(self._due_s)
            was_expected = True
        return was_expected
