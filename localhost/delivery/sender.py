"""Sends messages, and begins at once on those that this process may work on.

What this process puts into a queue that it works on needs no poll: it is put hidden,
begun at once, and deleted in the end; after a crash it appears by itself. An activity
that can begin at once is not even put, see ``begin``; neither is its answer, when its
instance is worked on here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from localhost.crashpoints import crash_point
from localhost.delivery.answers_in_hand import AnswersInHand
from localhost.delivery.locks import Locks
from localhost.delivery.messages import Answer, Control, WorkItem
from localhost.delivery.pump import Pump
from localhost.errors import HostError
from localhost.history import EventType
from localhost.records import TaskMessage
from localhost.taskhub.due import hidden_for_s
from localhost.taskhub.port import LOCK_S, Queues, Received
from localhost.timestamps import to_ticks

log = logging.getLogger(__name__)

# How long after its first claim a host is known to the others, which look every 4 s.
KNOWN_AFTER_S = 6.0
SENT_AT_ONCE = 16  # of one turn, so that each is put when it may begin
DELETED_AT_ONCE = 20  # thousands of them are in no hurry
DELETE_PAUSE_S = 0.001  # what the next turn asks for goes first

_FIRST = '"Predecessor":"0001-01-01T00:00:00"'  # of a request that follows none

# Called when a message has been put, before it may begin.
Then = Callable[[Received], Awaitable[None]]


class Sender:
    """What is sent through one hub's queues; ``now`` gives timestamps."""

    def __init__(
        self,
        queues: Queues,
        locks: Locks,
        answers: AnswersInHand,
        *,
        control: Pump[Control],
        work_items: Pump[WorkItem],
        now: Callable[[], str],
    ) -> None:
        self._queues = queues
        self._locks = locks
        self._answers = answers
        self._control = control
        self._work_items = work_items
        self._now = now
        self._deleting = asyncio.Semaphore(DELETED_AT_ONCE)
        self._on_their_way: set[asyncio.Task[None]] = set()
        self._lying: Counter[str] = Counter()
        self._lying_ids: dict[str, str] = {}
        self._is_alone = True
        self._is_known_at_s: float | None = None

    def queue_of(self, instance_id: str) -> str:
        """Return the control queue that carries an instance's messages."""
        return self._queues.control_queue_of(instance_id)

    def works_on(self, instance_id: str) -> bool:
        """Whether this process works on the messages of an instance."""
        return self._control.listens_to(self.queue_of(instance_id))

    def is_alone_with(self, instance_id: str) -> bool:
        """Whether nobody else works on an instance, or may have started it again."""
        return self._is_alone and self.works_on(instance_id)

    # Sending

    def note_others(self, are_there: bool) -> None:
        """Hear whether other hosts work on the hub, through which clients may send."""
        self._is_alone = not are_there
        if self._is_known_at_s is None:
            late_s = KNOWN_AFTER_S if are_there else 0.0
            self._is_known_at_s = time.monotonic() + late_s

    async def send(self, message: TaskMessage, *, then: Then | None = None) -> None:
        """Put a message and begin on it if this process may.

        ``then`` is done before it may begin. What clients send waits while other hosts
        may not know yet that they do so through this one, too.
        """
        if not message.sender[0] or sent_at(message) is not None:
            known_at_s = self._is_known_at_s or 0.0
            await asyncio.sleep(max(0.0, known_at_s - time.monotonic()))
        queue = self._queues.queue_for(message)
        hidden = hidden_for_s(message, self._now())
        if hidden is None and self._may_begin(queue, message):
            pump: Pump[Any] = self._pump_of(queue)
            with pump.slots.reserve() as has_place:
                if has_place:
                    item = await self._queues.put(queue, message, hidden_s=LOCK_S)
                    if then is not None:
                        await then(item)
                    return self._begin(queue, item)
        await self._put_visible(queue, message, hidden, then)

    def _may_begin(self, queue: str, message: TaskMessage) -> bool:
        """Whether nothing that was sent earlier may lie in the queue.

        What was sent later is never begun earlier. Only clients send several messages
        to an instance that rely on their order: requests to entities tell theirs.
        """
        if queue == self._queues.work_items:
            return self._work_items.listens_to(queue)
        if not self._control.listens_to(queue) or self._lying[message.instance_id]:
            return False
        if sent_at(message) is None:
            return True
        return self._is_alone and self._control.has_settled(queue)

    def _begin(self, queue: str, item: Received) -> None:
        if queue == self._queues.work_items and item.message is not None:
            work_item = WorkItem(message=item.message, received=item)
            self._work_items.take(work_item, item)
        else:
            self._control.take(item, item)

    async def _put_visible(
        self, queue: str, message: TaskMessage, hidden_s: int | None, then: Then | None
    ) -> None:
        """Put a message for whoever takes it, at once or when it is due."""
        instance_id = message.instance_id
        is_now = hidden_s is None and queue != self._queues.work_items
        if is_now:
            self._lying[instance_id] += 1
        try:
            item = await self._queues.put(queue, message, hidden_s=hidden_s)
        except BaseException:
            if is_now:
                self._lies_no_more(instance_id)
            raise
        if is_now and self._control.listens_to(queue):
            self._lying_ids[item.message_id] = instance_id
        elif is_now:
            self._lies_no_more(instance_id)
        if then is not None:
            await then(item)
        self._pump_of(queue).expect(queue, hidden_s or 0)

    def received(self, item: Received) -> None:
        """Take note that a message was taken from its queue."""
        instance_id = self._lying_ids.pop(item.message_id, None)
        if instance_id is not None:
            self._lies_no_more(instance_id)
        if self._locks.is_finished(item):
            self.complete([item])

    def _lies_no_more(self, instance_id: str) -> None:
        self._lying[instance_id] -= 1
        if self._lying[instance_id] <= 0:
            del self._lying[instance_id]

    def forget_lying(self, queue: str) -> None:
        """Forget what was put into a queue that another host works on now."""
        for message_id, instance_id in list(self._lying_ids.items()):
            if self.queue_of(instance_id) == queue:
                del self._lying_ids[message_id]
                self._lies_no_more(instance_id)

    def _pump_of(self, queue: str) -> Pump[Any]:
        is_work = queue == self._queues.work_items
        return self._work_items if is_work else self._control

    # Activities

    def begin(self, message: TaskMessage) -> WorkItem | None:
        """Begin an activity at once, without a message in the queue.

        None when there is no slot: it must be put. Nothing but the caller knows of it
        until it is put (``put``) or answered: whoever begins one must see to it that it
        is begun again after a crash.
        """
        if not self._work_items.has_slot or self._answers.are_many:
            return None
        work_item = WorkItem(message=message)
        self._work_items.take(work_item)
        return work_item

    async def put(self, work_item: WorkItem) -> None:
        """Put the message of an activity that was begun without one; it stays ours."""
        async with work_item.guard:
            if work_item.is_safe or work_item.message is None:
                return
            item = await self._queues.put(
                self._queues.work_items, work_item.message, hidden_s=LOCK_S
            )
            crash_point("after the work item of an activity in work")
            self._locks.hold(item)
            work_item.received = item

    async def answer(self, work_item: WorkItem, message: TaskMessage) -> None:
        """Hand the answer of an activity to its instance, or send it.

        In hand it waits for a turn; the work item lives on until then, in the queue or
        in what began it.
        """
        queue = self._queues.queue_for(message)
        answer = Answer(message=message, queue=queue, work_item=work_item)
        if work_item.received is not None:
            self._locks.lengthen(work_item.received)
        if not self._control.listens_to(queue):
            return await self._send_answer(answer, None)
        self._answers.take(work_item)
        self._control.take(answer)

    async def _send_answer(self, answer: Answer, hidden_s: int | None) -> None:
        """Send an answer, then delete its work item, in this order."""
        await self._put_visible(answer.queue, answer.message, hidden_s, None)
        crash_point("after the answer of an activity")
        self.complete([answer])

    # The end of a message

    async def abandon(self, item: Control | WorkItem, pause_s: int = 0) -> None:
        """Give a message back, visible after ``pause_s``.

        An answer that was in hand only becomes a message of its own. If it cannot, its
        work item comes again when its lock ends, and is worked on again.
        """
        if isinstance(item, Answer):
            self._answers.release(item.work_item)
            return await self._send_answer(item, pause_s or None)
        received = item.received if isinstance(item, WorkItem) else item
        if received is None:
            return  # what it was begun for brings it back
        self._locks.release(received)
        await self._queues.update(received, pause_s)
        self._pump_of(received.queue).expect(received.queue, pause_s)

    def let_come_again(self, item: Received) -> None:
        """Hold a message no longer: it comes again when its lock ends."""
        self._locks.release(item)

    def give_back(self, items: Sequence[Received]) -> None:
        """Abandon messages in their order; nobody waits for it.

        One that cannot be comes again when its lock ends.
        """

        async def work() -> None:
            with suppress(HostError):
                for item in items:
                    await self.abandon(item)

        self.start(work(), "give back")

    async def poison(self, item: Received) -> str:
        """Move a message that nobody can read out of the way; return the queue's name.

        A crash in between leaves it in both queues, never in none.
        """
        queue = f"{item.queue}-poison"
        await self._queues.move(item, queue)
        self._locks.release(item)
        return queue

    def complete(self, items: Iterable[Control | WorkItem]) -> None:
        """Delete messages that have been worked on; nobody waits for it.

        One that is not deleted because of a crash comes again as a duplicate.
        """
        for item in items:
            if isinstance(item, Received):
                self._locks.finish(item)
                self.start(self._delete(item), f"delete {item.queue}")
                continue
            work_item = item.work_item if isinstance(item, Answer) else item
            work_item.is_over = True
            self._answers.release(work_item)
            self._work_items.look()
            if work_item.received is not None or work_item.guard.locked():
                self.start(self._delete_work_item(work_item), "delete a work item")

    async def _delete_work_item(self, work_item: WorkItem) -> None:
        async with work_item.guard:
            if work_item.received is not None:
                self._locks.finish(work_item.received)
                await self._delete(work_item.received)

    async def _delete(self, item: Received) -> None:
        await asyncio.sleep(DELETE_PAUSE_S)
        crash_point("before delete")
        try:
            async with self._deleting:
                if await self._queues.delete(item):
                    self._locks.deleted(item)
        except HostError as exc:
            log.warning("%s: a message was not deleted: %s", item.queue, exc)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Begin what ``close`` waits for."""
        task = asyncio.create_task(work, name=name)
        self._on_their_way.add(task)
        task.add_done_callback(self._on_their_way.discard)

    async def close(self) -> None:
        """Wait for deletes that are still on their way."""
        while self._on_their_way:
            await asyncio.gather(*self._on_their_way, return_exceptions=True)


def sent_at(message: TaskMessage) -> int | None:
    """Return when a message was sent whose order nothing else tells, in ticks.

    What a client tells a running instance later is never worked on earlier; nor is the
    first request of an execution to an entity, which may follow one of the execution
    before. Requests after that name the one that they follow. None for the rest.
    """
    event = message.event
    if event.type is EventType.ExecutionStarted:
        return None
    is_first = message.instance_id.startswith("@") and _FIRST in (event["Input"] or "")
    if message.sender[0] and not is_first:
        return None
    return to_ticks(event.timestamp)


async def side_by_side(
    works: Sequence[Callable[[], Awaitable[None]]], *, at_once: int = SENT_AT_ONCE
) -> None:
    """Do some pieces of work, at most so many at once, begun in order."""
    rest = iter(works)

    async def work_off() -> None:
        for work in rest:
            await work()

    await asyncio.gather(*(work_off() for _ in works[:at_once]))
