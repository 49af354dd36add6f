"""The messages of one hub, and those that this process put there itself.

What this process puts into a queue that it works on needs no poll: it is put hidden,
begun at once, and deleted in the end; after a crash it appears by itself. The answer
of an activity is not even put when its instance is worked on here: the work item stays
in its queue, locked, until the history holds the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from localhost.crashpoints import crash_point
from localhost.errors import HostError
from localhost.records import TaskMessage
from localhost.taskhub.answered import Answered
from localhost.taskhub.due import hidden_for_s
from localhost.taskhub.outlet import Outlet
from localhost.taskhub.queues import Queues, Received

log = logging.getLogger(__name__)

MOST_STARTS = 10_000
LOCK_S = 5  # how soon a killed host's work returns; renewed at half of it
ANSWER_LOCK_S = 20  # of an answer that waits for a long history to be written
SENT_AT_ONCE = 16  # of one turn, so that each is put when it may begin
IN_BACKGROUND = 20  # deletes, and answers renewed: thousands of them are in no hurry
DELETE_PAUSE_S = 0.001  # what the next turn asks for goes first


class Messages:
    """What is sent through one hub's queues; ``now`` gives timestamps."""

    def __init__(self, queues: Queues, now: Callable[[], str]) -> None:
        self._queues = queues
        self._now = now
        self._outlets: dict[str, Outlet] = {}
        self._answered = Answered()
        self._deletes = asyncio.Semaphore(IN_BACKGROUND)
        self._renewals = asyncio.Semaphore(IN_BACKGROUND)
        self._on_their_way: set[asyncio.Task[None]] = set()
        self._starts: OrderedDict[str, None] = OrderedDict()

    @property
    def control_queues(self) -> tuple[str, ...]:
        """Names of the control queues, by partition."""
        return self._queues.control

    @property
    def work_item_queue(self) -> str:
        """Name of the queue of activities."""
        return self._queues.work_items

    def attach(self, queue: str, outlet: Outlet) -> None:
        """Say who works on a queue here, so that own messages need no poll."""
        self._outlets[queue] = outlet

    def detach(self, queue: str) -> None:
        """Take back ``attach``: this process no longer works on the queue."""
        self._outlets.pop(queue, None)

    def works_on(self, queue: str) -> bool:
        """Whether this process works on the messages of a queue."""
        return queue in self._outlets

    async def put(self, message: TaskMessage) -> Received:
        """Put a message, hidden and ours if this process can begin on it at once.

        Who gets an owned message (``is_ours``) must ``offer`` it once it may begin.
        """
        queue = self._queues.queue_for(message)
        hidden_s = hidden_for_s(message, self._now())
        outlet = self._outlets.get(queue)
        if not hidden_s and outlet is not None and outlet.reserve(queue):
            try:
                return await self._queues.put(queue, message, hidden_s=LOCK_S)
            except BaseException:
                outlet.release(queue)
                raise
        item = await self._queues.put(queue, message, hidden_s=hidden_s)
        item.is_ours = False
        if outlet is not None:
            outlet.expect(queue, hidden_s or 0)
        return item

    def announce(self, item: Received) -> None:
        """Say of a message of ``put`` that it will be offered if all goes well."""
        outlet = self._outlets.get(item.queue)
        if item.is_ours and outlet is not None:
            outlet.announce(item)

    def offer(self, item: Received) -> None:
        """Begin on a message of ``put``, if it is ours."""
        if not item.is_ours:
            return
        outlet = self._outlets.get(item.queue)
        if outlet is not None:
            outlet.offer(item)

    def withdraw(self, item: Received) -> None:
        """Take back a message of ``put`` that must not be worked on after all."""
        outlet = self._outlets.get(item.queue)
        if item.is_ours and outlet is not None:
            outlet.release(item.queue)
        self.complete([item])

    async def send(self, message: TaskMessage) -> None:
        """Put a message and begin on it if this process may."""
        self.offer(await self.put(message))

    async def send_all(self, outbox: Sequence[TaskMessage]) -> None:
        """Send the messages of a turn, some side by side, in order."""
        if len(outbox) <= 1:
            for message in outbox:
                await self.send(message)
            return
        rest = iter(outbox)

        async def send() -> None:
            for message in rest:
                await self.send(message)
                crash_point("between two outbox messages")

        await asyncio.gather(*(send() for _ in outbox[:SENT_AT_ONCE]))

    def send_ahead(self, outbox: Sequence[TaskMessage]) -> asyncio.Task[None]:
        """Begin to send the messages of a turn that is not being written yet."""

        async def send() -> None:
            await self.send_all(outbox)
            crash_point("after outbox ahead of its turn")

        task = self._begin(send(), "outbox ahead")
        # Whoever awaits it gets its exception; nobody may do so after a fault.
        task.add_done_callback(lambda t: t.cancelled() or t.exception())
        return task

    async def answer(self, item: Received, message: TaskMessage) -> None:
        """Send the answer to a work item and delete the item, in this order.

        If the instance is worked on here, the answer goes straight to its lane and the
        work item lives on as its message, until a turn has taken the answer.
        """
        queue = self._queues.queue_for(message)
        outlet = self._outlets.get(queue)
        if outlet is None:
            await self.send(message)
            crash_point("after the answer of an activity")
            self.complete([item])
            return
        item.message, item.stands_in = message, queue
        self._answered.take(item)
        outlet.hand_over(item)

    def has_many_answers(self) -> bool:
        """Whether so many answers wait to be stored that no work should be begun."""
        return self._answered.are_many

    async def receive(self, queue: str, count: int) -> list[Received]:
        """Take up to ``count`` messages of a queue, locked for ``LOCK_S``.

        A work item that comes again though its answer is in hand is none.
        """
        items = await self._queues.get(queue, count=count, lock_s=LOCK_S)
        for item in items:
            if item.message_id in self._starts:
                del self._starts[item.message_id]
                item.is_ours = item.is_first = item.dequeue_count == 1
        return [item for item in items if not self._answered.recognise(item)]

    def expect_start(self, item: Received) -> None:
        """Remember that the start of a new instance, with its row, lies in a queue.

        Whoever takes it first knows by that: the instance has a row and no history.
        """
        self._starts[item.message_id] = None
        if len(self._starts) > MOST_STARTS:
            self._starts.popitem(last=False)

    async def renew(self, item: Received) -> bool:
        """Keep a message for another ``LOCK_S``; False when somebody took it.

        An answer, which would else be renewed again and again, is kept for longer.
        """
        if not item.stands_in:
            return await self._queues.update(item, LOCK_S)
        async with self._renewals:
            return await self._queues.update(item, ANSWER_LOCK_S)

    async def abandon(self, item: Received, pause_s: int = 0) -> None:
        """Give a message back, visible after ``pause_s``.

        An answer that was in hand only becomes a message of its own. If it cannot, its
        work item comes again when its lock ends, and is worked on again.
        """
        if item.message is not None and item.stands_in:
            try:
                await self._queues.put(item.stands_in, item.message, hidden_s=pause_s)
            except BaseException:
                self._let_go(item)
                raise
            crash_point("after the answer of an activity")
            self.complete([item])
        else:
            await self._queues.update(item, pause_s)
        outlet = self._outlets.get(item.lane_queue)
        if outlet is not None:
            outlet.expect(item.lane_queue, pause_s)

    def _let_go(self, item: Received) -> None:
        """Forget an answer; there may be room for another work item."""
        outlet = self._outlets.get(item.queue)
        if self._answered.let_go(item) and outlet is not None:
            outlet.look(item.queue)

    async def poison(self, item: Received) -> str:
        """Move a message that nobody can read out of the way; return the queue's name.

        A crash in between leaves it in both queues, never in none.
        """
        queue = f"{item.queue}-poison"
        await self._queues.move(item, queue)
        return queue

    def complete(self, items: Iterable[Received]) -> None:
        """Delete messages that have been worked on; nobody waits for it.

        One that is not deleted because of a crash comes again as a duplicate.
        """
        for item in items:
            self._begin(self._delete(item), f"delete {item.queue}")

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Begin what ``close`` waits for."""
        task = asyncio.create_task(work, name=name)
        self._on_their_way.add(task)
        task.add_done_callback(self._on_their_way.discard)
        return task

    async def _delete(self, item: Received) -> None:
        await asyncio.sleep(DELETE_PAUSE_S)
        crash_point("before delete")
        try:
            async with self._deletes:
                await self._queues.delete(item)
        except HostError as exc:
            log.warning("%s: a message was not deleted: %s", item.queue, exc)
        finally:
            self._let_go(item)

    async def close(self) -> None:
        """Wait for deletes and messages that are still on their way."""
        await asyncio.gather(*self._on_their_way, return_exceptions=True)
