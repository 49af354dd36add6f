"""Looks at queues with longer and longer pauses, unless a message is expected."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import time
from collections.abc import Callable

from localhost.compat import timeout
from localhost.durable.room import Room
from localhost.errors import StorageError, UnavailableError
from localhost.taskhub.hub import Received, TaskHub

log = logging.getLogger(__name__)

LARGEST_BATCH = 32
SHORTEST_PAUSE_S = 0.05
ROOM_PAUSE_S = 0.01  # asking for many messages takes no longer than for one


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


class Poller:
    """Takes messages from queues as long as there is room for them.

    ``take`` gets each of them; ``longest_pause_s`` is how long an empty queue may go
    unlooked at.
    """

    def __init__(
        self,
        hub: TaskHub,
        *,
        name: str,
        room: Room,
        take: Callable[[Received], None],
        longest_pause_s: float,
    ) -> None:
        self._hub = hub
        self._name = name
        self._room = room
        self._take = take
        self._longest_pause_s = longest_pause_s

    async def run(self, poll: Poll) -> None:
        """Look at a queue until its poll is stopped; wait longer and longer."""
        while not poll.stop.is_set():
            if not self._room.is_enough:
                await self._room.wait(self._longest_pause_s)
                continue
            if self._room.is_scarce:
                await asyncio.sleep(ROOM_PAUSE_S)
                if not self._room.is_enough or poll.stop.is_set():
                    continue
            items = await self._receive(poll, min(LARGEST_BATCH, self._room.free))
            for item in items:
                self._take(item)
            if items:
                poll.pause_s = SHORTEST_PAUSE_S
            elif await poll.wait():
                poll.pause_s = SHORTEST_PAUSE_S
            else:
                poll.pause_s = min(poll.pause_s * 2, self._longest_pause_s)

    async def _receive(self, poll: Poll, count: int) -> list[Received]:
        """Receive to the end, so that no message stays locked unseen."""
        try:
            return await self._hub.receive(poll.queue, count)
        except UnavailableError:
            return []
        except StorageError as exc:
            log.error("%s: cannot read %s: %s", self._name, poll.queue, exc)
            return []
        except Exception:
            log.exception("%s: cannot read %s", self._name, poll.queue)
            return []
