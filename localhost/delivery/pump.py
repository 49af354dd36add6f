"""One loop for queues: place, receive, lane by key, process, complete or abandon.

Knows no Durable word. Messages of one key are worked on in order, one batch at a time
(a lane); lanes run side by side, at most ``at_once`` of them. A message stays locked
for us while it waits or is in work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from localhost.compat import TaskGroup
from localhost.delivery.lanes import Lane, Lanes
from localhost.delivery.locks import Locks
from localhost.delivery.order import HeldBack, in_order
from localhost.delivery.polling import Poll, Poller
from localhost.delivery.slots import Slots
from localhost.errors import HostError, StorageError, UnavailableError
from localhost.taskhub.port import Queues, Received

log = logging.getLogger(__name__)

Item = TypeVar("Item")

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
WAIT_PAUSE_S = 2  # of what waits for another message and leaves its place to others
LONGEST_WAIT_S = 60.0  # in memory, for a message that another one must come before
LONGEST_EARLY_S = 10.0  # before a message is due; else it goes back until then
WAITING_PASS_S = 1.0
MOST_HELD_BACK = 5_000  # beyond it, order gives way to memory

# Works on the items of one key, oldest first; returns those that must wait for another
# item of the key. Completes the rest itself, in its own order.
Process: TypeAlias = Callable[[str, Sequence[Item]], Awaitable[Sequence[Item]]]

# Gives back an item that nobody has begun on, visible after so many seconds.
Abandon: TypeAlias = Callable[[Item, int], Awaitable[None]]


class Pump(Generic[Item]):
    """Takes messages from queues and works on them.

    ``queue_of`` says by whose owner an item is worked on, ``key`` in which lane;
    ``at_once`` is how many lanes run at once, ``buffer`` how many messages may wait in
    memory, ``longest_pause_s`` how long an empty queue may go unlooked at. While
    ``is_held_up`` nothing is taken. ``wrap`` makes an item of a message that was
    received. Items for which ``sent_at`` gives a timestamp are begun on in the order of
    these, and not before all that lay in their queue when it was taken over is in hand.
    ``settles_in_s`` is how long that may take of a queue that this pump never took.
    """

    def __init__(
        self,
        queues: Queues,
        locks: Locks,
        *,
        name: str,
        key: Callable[[Item], str],
        queue_of: Callable[[Item], str],
        wrap: Callable[[Received], Item],
        sent_at: Callable[[Item], int | None] = lambda item: None,
        at_once: int,
        buffer: int,
        longest_pause_s: float,
        is_held_up: Callable[[], bool] = lambda: False,
        settles_in_s: float = 0.0,
    ) -> None:
        self._locks = locks
        self._queues = queues
        self._name = name
        self._key = key
        self._queue_of = queue_of
        self._wrap = wrap
        self._sent_at = sent_at
        self._held_back: HeldBack[Item] = HeldBack(sent_at)
        self._items: dict[Item, Received | None] = {}
        self._lanes: Lanes[Item] = Lanes(at_once=at_once, run=self._begin_work)
        self.slots = Slots(
            at_once=at_once,
            buffer=buffer,
            held=self._count,
            is_held_up=is_held_up,
        )
        self._poller = Poller(
            queues,
            name=name,
            slots=self.slots,
            take=self._receive,
            settled=self._let_go_on,
            longest_pause_s=longest_pause_s,
        )
        self._polls: dict[str, Poll] = {}
        self._settles_at_s: dict[str, float] = {}
        self._would_settle_at_s = time.monotonic() + settles_in_s
        self._working: set[asyncio.Task[None]] = set()
        self._giving_back: set[asyncio.Task[None]] = set()
        self._group: TaskGroup | None = None
        self._process: Process[Item] | None = None
        self._abandon: Abandon[Item] | None = None
        self._received: Callable[[Received], None] = lambda item: None
        self._is_taking = True
        self.drained = asyncio.Event()

    # Life

    async def run(
        self,
        stop: asyncio.Event,
        *,
        process: Process[Item],
        abandon: Abandon[Item],
        received: Callable[[Received], None] = lambda item: None,
        drain_limit_s: float,
    ) -> None:
        """Work until ``stop`` is set, then take nothing more and end what runs.

        What runs may take ``drain_limit_s`` to end; ``drained`` is set then.
        ``received`` is told of every message that a queue gives.
        """
        self._process, self._abandon, self._received = process, abandon, received
        async with TaskGroup() as group:
            self._group = group
            for poll in self._polls.values():
                self._start_polling(poll)
            watch = group.create_task(self._watch_waiting(), name=f"{self._name} waits")
            try:
                await stop.wait()
                await self._drain(drain_limit_s)
            finally:
                self._lanes.is_closed = True
                watch.cancel()

    def listen(self, queue: str, *, settles_in_s: float = 0.0) -> None:
        """Begin to take messages of a queue; for ``settles_in_s`` see ``Poll``."""
        if queue in self._polls or not self._is_taking:
            return
        poll = self._polls[queue] = Poll(queue, settles_in_s=settles_in_s)
        self._settles_at_s[queue] = poll.settles_at_s
        if self._group is not None:
            self._start_polling(poll)

    def unlisten(self, queue: str) -> None:
        """Stop taking messages of a queue; those in work go on to their end."""
        poll = self._polls.pop(queue, None)
        if poll is None:
            return
        poll.stop.set()
        poll.wake.set()
        self._give_back_all(queue)

    def listens_to(self, queue: str) -> bool:
        """Whether this process works on the messages of a queue."""
        return queue in self._polls and self._is_taking

    def has_settled(self, queue: str) -> bool:
        """Whether what lay in a queue when it was taken over is in hand."""
        poll = self._polls.get(queue)
        return poll is not None and poll.is_settled

    def is_drained(self, queue: str) -> bool:
        """Whether nothing of a queue is in work or waits here.

        Not before the queue would have settled: its next owner could not know that a
        host before this one was killed, which may have had the same name.
        """
        settles_at_s = self._settles_at_s.get(queue, self._would_settle_at_s)
        if time.monotonic() < settles_at_s:
            return False
        if any(task.get_name() == queue for task in self._giving_back):
            return False
        return not any(self._queue_of(item) == queue for item in self._items)

    def stop_taking(self) -> None:
        """Begin nothing more, and give back what has not begun."""
        self._is_taking = False
        self._lanes.is_closed = True
        for queue in list(self._polls):
            self.unlisten(queue)
        for item in self._not_begun(None):
            self._give_back(item)

    # Taking messages

    @property
    def has_slot(self) -> bool:
        """Whether a new key could be worked on at once."""
        return self._lanes.has_slot and self._is_taking and self._group is not None

    def take(self, item: Item, received: Received | None = None) -> None:
        """Work on an item; ``received`` is its message, which is locked and renewed."""
        if received is not None:
            self._locks.hold(received)
        self._items[item] = received
        self._enter(item, received)

    def expect(self, queue: str, in_s: float) -> None:
        """Look at a queue in so many seconds: a message appears there then."""
        poll = self._polls.get(queue)
        if poll is not None:
            poll.expect(time.monotonic() + in_s)

    def look(self) -> None:
        """Look at the queues again: what held them up may be over."""
        self.slots.look()

    def _start_polling(self, poll: Poll) -> None:
        self._spawn(self._poller.run(poll), f"{self._name} {poll.queue}")

    def _receive(self, received: Received) -> None:
        self._received(received)
        if not self._locks.receive(received):
            return
        item = self._wrap(received)
        self._items[item] = received
        self._enter(item, received)

    def _enter(self, item: Item, received: Received | None) -> None:
        wait_s = 0.0 if received is None else received.due_at_s - time.monotonic()
        if not self.listens_to(self._queue_of(item)):
            self._give_back(item)
        elif wait_s > LONGEST_EARLY_S:
            self._give_back(item, int(wait_s))
        elif wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._enqueue, item)
        else:
            self._enqueue(item)

    def _enqueue(self, item: Item) -> None:
        if item not in self._items:
            return  # given back while it waited for its time
        queue = self._queue_of(item)
        if not self.listens_to(queue):
            return self._give_back(item)
        if self._sent_at(item) is not None and not self.has_settled(queue):
            self._held_back.add(queue, item)
            self.slots.look()
        else:
            self._lanes.add(self._key(item), item)

    def _count(self) -> int:
        """How many items take a place; those that are held back are in order anyhow."""
        return len(self._items) - min(self._held_back.count, MOST_HELD_BACK)

    def _let_go_on(self, poll: Poll) -> None:
        """Begin on what was held back while its queue had not settled."""
        for item in self._held_back.take(poll.queue):
            self._enqueue(item)

    # Working on lanes

    def _begin_work(self, lane: Lane[Item]) -> None:
        task = self._spawn(self._work(lane), f"{self._name} {lane.key}")
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        # Whatever ends the task, cancelled before its first step too, frees the slot.
        task.add_done_callback(lambda _: self._lanes.done(lane))

    async def _work(self, lane: Lane[Item]) -> None:
        """Work on what a lane holds; then let the next lane have the slot."""
        await self._work_on_batch(lane)
        while lane.fresh and not lane.is_paused and self._is_taking:
            if self._lanes.others_wait:
                break
            await self._work_on_batch(lane)

    async def _work_on_batch(self, lane: Lane[Item]) -> None:
        if self._process is None:
            raise RuntimeError("the pump does not run")
        batch = in_order([*lane.waiting, *lane.fresh], self._sent_at)
        lane.waiting, lane.fresh = [], []
        try:
            waiting = list(await self._process(lane.key, batch))
        except UnavailableError as exc:
            log.debug("%s: %s", lane.key, exc)  # the host ends; all comes again
            return self._drop(batch)
        except Exception as exc:
            return self._try_later(lane, batch, exc)
        except BaseException:
            self._drop(batch)
            raise
        lane.tries = 0
        for item in batch:
            if item not in waiting:
                self._forget(item)
        lane.waiting = [item for item in self._kept(waiting) if self._may_wait(item)]
        if len(lane.waiting) < len(batch):
            # What has been worked on may be what the others wait for.
            lane.fresh, lane.waiting = [*lane.waiting, *lane.fresh], []

    def _drop(self, batch: Sequence[Item]) -> None:
        """Let go of a batch whose work was broken off: its locks end by themselves."""
        for item in batch:
            received = self._items.get(item)
            if received is not None:
                self._locks.release(received)
            self._forget(item)

    def _try_later(self, lane: Lane[Item], batch: list[Item], exc: Exception) -> None:
        """Keep a batch in its lane, in its order, and try it again after a pause.

        Nothing that was sent later is worked on meanwhile.
        """
        lane.tries += 1
        is_told = isinstance(exc, StorageError)  # in its text; else where it was
        pause_s = min(FIRST_RETRY_S * 2 ** (lane.tries - 1), LONGEST_RETRY_S)
        log.error(
            "%s: could not work on it (try %d); trying again in %d s%s",
            lane.key,
            lane.tries,
            pause_s,
            f": {exc}" if is_told else "",
            exc_info=None if is_told else exc,
        )
        lane.fresh = [*batch, *lane.fresh]
        lane.is_paused = True

        def go_on() -> None:
            lane.is_paused = False
            self._lanes.wake(lane)
            self._lanes.tidy(lane)

        if self._is_taking:
            asyncio.get_running_loop().call_later(pause_s, go_on)
        else:
            lane.is_paused = False
            for item in lane.fresh:
                self._give_back(item)
            lane.fresh = []

    def _kept(self, waiting: list[Item]) -> list[Item]:
        """Give back what waits if it left no place for that which it waits for."""
        count = sum(len(lane.waiting) for lane in self._lanes.all)
        places = max(0, self.slots.capacity // 2 - count)
        for item in waiting[places:]:
            self._give_back(item, WAIT_PAUSE_S)
        return waiting[:places]

    def _may_wait(self, item: Item) -> bool:
        """Give back what has waited for long, so that others have its place.

        What waits for a queue that was let go is its next owner's, at once.
        """
        received = self._items.get(item)
        is_ours = self.listens_to(self._queue_of(item))
        held_s = 0.0 if received is None else self._locks.held_s(received)
        if is_ours and held_s < LONGEST_WAIT_S:
            return True
        self._give_back(item, WAIT_PAUSE_S if is_ours else 0)
        return False

    async def _watch_waiting(self) -> None:
        while True:
            await asyncio.sleep(WAITING_PASS_S)
            for lane in self._lanes.all:
                if not lane.is_running and lane.waiting:
                    lane.waiting = [i for i in lane.waiting if self._may_wait(i)]
                    self._lanes.tidy(lane)

    # Giving back, and the end

    def _forget(self, item: Item) -> None:
        self._items.pop(item, None)
        self.slots.look()

    def _not_begun(self, queue: str | None) -> list[Item]:
        """Take what nobody has begun on out of the lanes: of a queue, or (None) all."""
        taken: list[Item] = []
        for lane in self._lanes.all:
            for items in (lane.waiting, lane.fresh):
                mine = [i for i in items if queue in (None, self._queue_of(i))]
                taken += mine
                items[:] = [item for item in items if item not in mine]
            self._lanes.tidy(lane)
        taken += self._held_back.take(queue)
        now_s = time.monotonic()
        early = [
            item
            for item, received in self._items.items()
            if received is not None
            and received.due_at_s > now_s
            and queue in (None, self._queue_of(item))
        ]
        return [*taken, *(item for item in early if item not in taken)]

    def _give_back_all(self, queue: str) -> None:
        """Make what nobody has begun on visible again, in its order."""
        items = self._not_begun(queue)
        for item in items:
            self._forget(item)
        if items:
            self._start_giving_back(items, queue, 0)

    def _give_back(self, item: Item, pause_s: int = 0) -> None:
        """Give back an item that nobody has begun on."""
        self._forget(item)
        self._start_giving_back([item], self._queue_of(item), pause_s)

    def _start_giving_back(
        self, items: Sequence[Item], queue: str, pause_s: int
    ) -> None:
        """Begin to abandon items: also what is put while the last work ends."""
        task = asyncio.create_task(self._abandon_all(items, pause_s), name=queue)
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)

    async def _abandon_all(self, items: Sequence[Item], pause_s: int) -> None:
        """Abandon items in their order; one that cannot be comes back by itself."""
        if self._abandon is None:
            raise RuntimeError("the pump does not run")
        for item in items:
            try:
                await self._abandon(item, pause_s)
            except HostError as exc:  # noqa: PERF203
                log.debug("%s: not given back: %s", self._name, exc)
            except Exception:
                log.exception("%s: not given back", self._name)

    async def _drain(self, limit_s: float) -> None:
        """Take nothing more, give back what has not begun, end what runs."""
        self.stop_taking()
        end_s = time.monotonic() + limit_s
        while pending := {*self._working, *self._giving_back}:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                break
            await asyncio.wait(pending, timeout=left_s)
        left = dict(self._items)
        for task in self._working:
            log.warning("%s: let go; it comes back at the next start", task.get_name())
            task.cancel()
        self.drained.set()
        if left:
            await self._abandon_all(list(left), 0)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if self._group is None:
            work.close()
            raise RuntimeError("the pump does not run")
        return self._group.create_task(work, name=name)
