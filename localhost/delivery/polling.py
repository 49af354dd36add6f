"""Looks at queues with longer and longer pauses, unless a message is expected."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import time
from collections.abc import Callable

from localhost.compat import timeout
from localhost.delivery.slots import Slots
from localhost.errors import StorageError, UnavailableError
from localhost.taskhub.port import LOCK_S, Queues, Received

log = logging.getLogger(__name__)

LARGEST_BATCH = 32
SHORTEST_PAUSE_S = 0.05
ROOM_PAUSE_S = 0.01  # asking for many messages takes no longer than for one


class Poll:
    """When a queue is looked at next.

    ``is_settled`` says that all which lay in the queue when this host took it over is
    in hand: what comes from then on is the latest. That cannot be before
    ``settles_at_s`` (``time.monotonic``): until then, messages may lie hidden that a
    host which was killed had in hand.
    """

    def __init__(self, queue: str, *, settles_in_s: float = 0.0) -> None:
        self.queue = queue
        self.settles_at_s = time.monotonic() + settles_in_s
        self.is_settled = False
        self.stop = asyncio.Event()
        self.wake = asyncio.Event()
        self.pause_s = SHORTEST_PAUSE_S
        self._due_s: list[float] = [self.settles_at_s] if settles_in_s else []

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
    """Takes messages from queues as long as there is place for them.

    ``take`` gets each of them; ``settled`` is told of a queue once it is settled;
    ``longest_pause_s`` is how long an empty queue may go unlooked at.
    """

    def __init__(
        self,
        queues: Queues,
        *,
        name: str,
        slots: Slots,
        take: Callable[[Received], None],
        settled: Callable[[Poll], None],
        longest_pause_s: float,
    ) -> None:
        self._queues = queues
        self._name = name
        self._slots = slots
        self._take = take
        self._settled = settled
        self._longest_pause_s = longest_pause_s

    async def run(self, poll: Poll) -> None:
        """Look at a queue until its poll is stopped; wait longer and longer."""
        while not poll.stop.is_set():
            if not self._slots.is_enough:
                if time.monotonic() >= poll.settles_at_s:
                    self._settle(poll)  # what is in hand is earlier than what is not
                await self._slots.wait(self._longest_pause_s)
                continue
            if self._slots.is_scarce:
                await asyncio.sleep(ROOM_PAUSE_S)
                if not self._slots.is_enough or poll.stop.is_set():
                    continue
            count = min(LARGEST_BATCH, self._slots.free)
            is_time = time.monotonic() >= poll.settles_at_s
            items = await self._receive(poll, count)
            for item in items or ():
                self._take(item)
            if is_time and items is not None and len(items) < count:
                self._settle(poll)
            if items:
                poll.pause_s = SHORTEST_PAUSE_S
            elif await poll.wait():
                poll.pause_s = SHORTEST_PAUSE_S
            else:
                poll.pause_s = min(poll.pause_s * 2, self._longest_pause_s)

    def _settle(self, poll: Poll) -> None:
        if not poll.is_settled:
            poll.is_settled = True
            self._settled(poll)

    async def _receive(self, poll: Poll, count: int) -> list[Received] | None:
        """Receive to the end, so that no message stays locked unseen; None: in vain."""
        try:
            return await self._queues.get(poll.queue, count=count, lock_s=LOCK_S)
        except UnavailableError:
            return None
        except StorageError as exc:
            log.error("%s: cannot read %s: %s", self._name, poll.queue, exc)
            return None
        except Exception:
            log.exception("%s: cannot read %s", self._name, poll.queue)
            return None
