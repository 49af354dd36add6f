"""One loop for every queue: slot, receive, lane by key, process, complete or abandon.

Knows no Durable word. Messages of one key are worked on in order, one batch at a time
(a lane); lanes run side by side, at most ``slots`` of them. A message stays locked for
us while it waits or is in work; one that comes back all the same (every thread stood
still, a renewal was late) is known by its id and only brings its new pop receipt.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from localhost.compat import TaskGroup
from localhost.durable.held import RENEWAL_PASS_S, Held
from localhost.durable.polling import Poll, Poller
from localhost.durable.room import Room
from localhost.errors import StorageError
from localhost.taskhub.hub import Received, TaskHub

log = logging.getLogger(__name__)

LONGEST_RETRY_S = 60
WAIT_PAUSE_S = 2  # of what waits for another message and leaves its place to others
LONGEST_WAIT_S = 60.0  # in memory, for a message that another one must come before
LONGEST_EARLY_S = 10.0  # before a message is due; else it goes back until then

# Works on the messages of one key, oldest first; returns those that must wait for
# another message of the key. Completes the rest itself, in its own order.
Process = Callable[[str, Sequence[Received]], Awaitable[Sequence[Received]]]

# Looks at messages of a key that have come while ``Process`` works on earlier ones;
# returns what can be done about them already, None when that is nothing.
Foresee = Callable[[str, Sequence[Received]], Coroutine[Any, Any, None] | None]


@dataclass(slots=True)
class Lane:
    """Messages of one key: new ones, those that wait for another, those in work."""

    key: str
    fresh: list[Received] = field(default_factory=list)
    waiting: list[Received] = field(default_factory=list)
    is_running: bool = False
    is_queued: bool = False


class Pump:
    """Takes messages from queues and works on them; an ``Outlet`` of the task hub.

    ``slots`` is how many lanes run at once, ``buffer`` how many messages may wait in
    memory, ``longest_pause_s`` how long an empty queue may go unlooked at, and
    ``drain_limit_s`` how long what runs may take to end. While ``is_held_up`` nothing
    is taken. ``drained`` is set when nothing runs any more.
    """

    def __init__(
        self,
        hub: TaskHub,
        *,
        name: str,
        key: Callable[[Received], str],
        process: Process,
        slots: int,
        buffer: int,
        longest_pause_s: float,
        drain_limit_s: float,
        foresee: Foresee = lambda key, items: None,
        is_held_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._hub = hub
        self._name = name
        self._key = key
        self._process = process
        self._foresee = foresee
        self._slots = slots
        self._drain_limit_s = drain_limit_s
        self._working: set[asyncio.Task[None]] = set()
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._held = Held(hub)
        self._room = Room(self._held, slots=slots, buffer=buffer, is_held_up=is_held_up)
        self._poller = Poller(
            hub,
            name=name,
            room=self._room,
            take=self._take,
            longest_pause_s=longest_pause_s,
        )
        self._running = 0
        self._polls: dict[str, Poll] = {}
        self._group: TaskGroup | None = None
        self._is_taking = True
        self.drained = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then finish what runs and give back the rest."""
        async with TaskGroup() as group:
            self._group = group
            for poll in self._polls.values():
                self._start_polling(poll)
            renewal = group.create_task(self._renew_held(), name=f"{self._name} locks")
            await stop.wait()
            await self._drain()
            renewal.cancel()

    def listen(self, queue: str) -> None:
        """Begin to take messages of a queue."""
        if queue in self._polls:
            return
        poll = self._polls[queue] = Poll(queue)
        self._hub.attach(queue, self)
        if self._group is not None:
            self._start_polling(poll)

    def unlisten(self, queue: str) -> None:
        """Stop taking messages of a queue; those in work go on to their end."""
        poll = self._polls.pop(queue, None)
        if poll is None:
            return
        self._hub.detach(queue)
        poll.stop.set()
        poll.wake.set()
        for lane in list(self._lanes.values()):
            self._give_back(lane, queue)

    def is_drained(self, queue: str) -> bool:
        """Whether nothing of a queue is in work or waits here."""
        return not self._held.has_any_of(queue)

    # Outlet

    def reserve(self, queue: str) -> bool:
        """See ``Outlet``: only what can start now is put hidden and ours."""
        return self._is_taking and self._room.reserve()

    def release(self, queue: str) -> None:
        """See ``Outlet``."""
        self._room.release()

    def announce(self, item: Received) -> None:
        """See ``Outlet``."""
        key = self._key(item)
        is_free = self._running < self._slots and key not in self._lanes
        if is_free and self._is_taking and self._group is not None:
            self._look_ahead(key, [item])

    def offer(self, item: Received) -> None:
        """See ``Outlet``."""
        self._room.release()
        self._take(item)

    def hand_over(self, item: Received) -> None:
        """See ``Outlet``."""
        self._take(item)

    def look(self, queue: str) -> None:
        """See ``Outlet``."""
        self._room.look()

    def expect(self, queue: str, in_s: float) -> None:
        """See ``Outlet``."""
        poll = self._polls.get(queue)
        if poll is not None:
            poll.expect(time.monotonic() + in_s)

    # Taking messages

    def _start_polling(self, poll: Poll) -> None:
        self._spawn(self._poller.run(poll), f"{self._name} {poll.queue}")

    def _take(self, item: Received) -> None:
        """Put a message into its lane, or let it renew the copy that is here."""
        if not self._held.take(item):
            return
        wait_s = item.due_at_s - time.monotonic()
        if not self._is_taking or item.lane_queue not in self._polls:
            self._put_back(item)
        elif wait_s > LONGEST_EARLY_S:
            self._put_back(item, int(wait_s))
        elif wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._enqueue, item)
        else:
            self._enqueue(item)

    def _enqueue(self, item: Received) -> None:
        if item not in self._held:
            return  # given back while it waited for its time
        if item.lane_queue not in self._polls:
            return self._put_back(item)
        key = self._key(item)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        lane.fresh.append(item)
        if lane.is_running:
            self._look_ahead(key, lane.fresh)
        self._wake(lane)

    # Working on lanes

    def _wake(self, lane: Lane) -> None:
        """Run a lane that has something new, now or when a slot is free."""
        if lane.is_running or lane.is_queued or not lane.fresh:
            return
        if self._running < self._slots and self._is_taking:
            self._run(lane)
        else:
            lane.is_queued = True
            self._ready.append(lane)

    def _look_ahead(self, key: str, items: Sequence[Received]) -> None:
        """Let what can be done about messages be done before their turn comes."""
        work = self._foresee(key, items)
        if work is not None:
            self._start_work(work, f"{self._name} {key} ahead")

    def _run(self, lane: Lane) -> None:
        lane.is_running = True
        self._running += 1
        self._start_work(self._work(lane), f"{self._name} {lane.key}")

    def _start_work(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._spawn(work, name)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _work(self, lane: Lane) -> None:
        """Work on what a lane holds; then let the next lane have the slot."""
        await self._work_on_batch(lane)
        while lane.fresh and self._is_taking and not self._ready:
            await self._work_on_batch(lane)
        self._finish(lane)

    async def _work_on_batch(self, lane: Lane) -> None:
        batch = [*lane.waiting, *lane.fresh]
        lane.waiting, lane.fresh = [], []
        try:
            waiting = await self._process(lane.key, batch)
        except Exception as exc:
            is_told = isinstance(exc, StorageError)  # in its text; else where it was
            log.error(
                "%s: could not work on it; trying again later%s",
                lane.key,
                f": {exc}" if is_told else "",
                exc_info=None if is_told else exc,
            )
            await self._retry_later(batch)
            waiting = ()
        waiting = await self._kept(waiting)
        for item in batch:
            if item not in waiting:
                self._forget(item)
        lane.waiting = [item for item in waiting if self._may_wait(item)]
        if len(lane.waiting) < len(batch):
            # What has been worked on may be what the others wait for.
            lane.fresh, lane.waiting = [*lane.waiting, *lane.fresh], []

    async def _kept(self, waiting: Sequence[Received]) -> Sequence[Received]:
        """Give back what waits if it left no room for that which it waits for."""
        count = sum(len(lane.waiting) for lane in self._lanes.values())
        room = max(0, self._room.capacity // 2 - count)
        for item in waiting[room:]:
            with contextlib.suppress(Exception):
                await self._hub.abandon(item, WAIT_PAUSE_S)
        return waiting[:room]

    def _finish(self, lane: Lane) -> None:
        lane.is_running = False
        self._running -= 1
        if not lane.fresh and not lane.waiting:
            self._lanes.pop(lane.key, None)
        self._wake(lane)
        while self._ready and self._running < self._slots and self._is_taking:
            following = self._ready.popleft()
            following.is_queued = False
            if following.fresh:
                self._run(following)

    def _may_wait(self, item: Received) -> bool:
        """Give back what has waited for long, so that others have its place.

        What waits for a queue that was let go is its next owner's, at once.
        """
        is_ours = item.lane_queue in self._polls
        if is_ours and self._held.held_s(item) < LONGEST_WAIT_S:
            return True
        self._put_back(item, WAIT_PAUSE_S if is_ours else 0)
        return False

    def _forget(self, item: Received) -> None:
        self._held.let_go(item)
        self._room.look()

    async def _retry_later(self, batch: Sequence[Received]) -> None:
        for item in batch:
            with contextlib.suppress(Exception):
                await self._hub.abandon(item, _pause_s(item))

    # Locks and the end

    async def _renew_held(self) -> None:
        """Renew the lock of everything in hand in good time."""
        while True:
            await asyncio.sleep(RENEWAL_PASS_S)
            for lane in list(self._lanes.values()):
                if not lane.is_running:
                    lane.waiting = [i for i in lane.waiting if self._may_wait(i)]
            await self._held.renew_due()

    def _give_back(self, lane: Lane, queue: str) -> None:
        """Make a lane's messages that nobody has begun on visible again."""
        for items in (lane.fresh, lane.waiting):
            for item in [i for i in items if i.lane_queue == queue]:
                items.remove(item)
                self._put_back(item)

    def _put_back(self, item: Received, pause_s: int = 0) -> None:
        """Give back a message that nobody has begun on."""
        self._forget(item)
        self._spawn(self._hub.abandon(item, pause_s), f"{self._name} give back")

    async def _drain(self) -> None:
        """Take nothing more, finish what runs, give back what has not begun."""
        self._is_taking = False
        for queue in list(self._polls):
            self.unlisten(queue)
        if self._working:
            await asyncio.wait(set(self._working), timeout=self._drain_limit_s)
        for task in self._working:
            log.warning("%s: let go; it comes back at the next start", task.get_name())
            task.cancel()
        self.drained.set()
        rest = self._held.let_go_all()
        await asyncio.gather(
            *(self._hub.abandon(item) for item in rest), return_exceptions=True
        )

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if self._group is None:
            raise RuntimeError("the pump does not run")
        return self._group.create_task(work, name=name)


def _pause_s(item: Received) -> int:
    """How long a message that was tried in vain is left alone; longer every time."""
    return int(min(2 ** min(item.dequeue_count, 20), LONGEST_RETRY_S))
