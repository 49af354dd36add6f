"""The safe order of writes: history, messages, row, and last what was received.

Nothing leaves before the history that justifies it is written. What makes a turn whole
after a crash at any point is that the messages which it took are deleted last: they
come again, are known from the history, and whoever takes them sends again what is
pending.

An activity that this process begins at once has no message of its own. One of the
messages that its instance has taken stays in its control queue for it, locked and
renewed: the *anchor*. It is deleted when all that was begun so is answered in the
history, or lies in a queue itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from localhost.crashpoints import crash_point
from localhost.delivery.messages import Control
from localhost.delivery.sender import Sender, side_by_side
from localhost.durable.activities import Activities
from localhost.durable.pending import Pending, PendingMessage
from localhost.errors import HostError, StorageError, UnavailableError
from localhost.history import EventType, Status
from localhost.records import Instance
from localhost.taskhub.port import Checkpoint, Hub, InstanceChange, Received
from localhost.timestamps import to_ticks

log = logging.getLogger(__name__)

PUT_AFTER_S = 0.25  # what an activity takes that is worth no message of its own
LOOK_S = 0.1
ROW_TRIES = 5
FIRST_ROW_PAUSE_S = 0.5
WRITING_PAUSE_S = 0.01


@dataclass(kw_only=True, eq=False)
class Anchor:
    """A message that was taken and stays in its queue, for what was begun without one.

    ``pending`` is what its instance has to send now, ``begun`` what was begun for it
    earlier, by a history that is not in memory any more too.
    """

    received: Received
    pending: Pending
    begun: list[PendingMessage] = field(default_factory=list)

    def left(self) -> list[PendingMessage]:
        """Return what it stays for."""
        left = [each for each in self.begun if not each.is_settled]
        return [*left, *(each for each in self.pending.certain() if each not in left)]


@dataclass(kw_only=True, eq=False)
class Tail:
    """What is to follow the history of an instance: its row, then the deletes.

    ``etag`` is that of the history that ``change`` says.
    """

    pending: Pending
    etag: str | None
    change: InstanceChange | None = None
    received: list[Control] = field(default_factory=list)
    is_due: bool = True


class Commits:
    """Makes turns happen, in the one order that survives a crash at any point."""

    def __init__(self, hub: Hub, sender: Sender, activities: Activities) -> None:
        self._hub = hub
        self._sender = sender
        self._activities = activities
        self._anchors: dict[str, Anchor] = {}
        self._tails: dict[str, Tail] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lost: set[str] = set()
        self._writing: set[str] = set()

    async def write(self, checkpoint: Checkpoint) -> tuple[str, InstanceChange | None]:
        """Write a turn into its history: this is the moment at which it happens.

        Returns the new ETag, and what the row is to say. Raises ``LostHistoryError``.
        """
        instance_id = checkpoint.instance_id
        crash_point("before history")
        self._writing.add(instance_id)
        try:
            etag, change = await self._hub.histories.write(checkpoint)
            if instance_id in self._tails:
                self._tails[instance_id].etag = etag
        finally:
            self._writing.discard(instance_id)
        crash_point("after history")
        return etag, change

    async def send(
        self,
        instance_id: str,
        pending: Pending,
        messages: Sequence[PendingMessage],
        received: Sequence[Control],
    ) -> None:
        """Send messages that are pending, begin activities, all in order.

        ``received`` are the messages that this turn took: one of them may become the
        anchor of what is begun.
        """
        has_anchor = self._has_anchor(instance_id, received)
        if instance_id in self._anchors:
            self._anchors[instance_id].pending = pending

        async def send(each: PendingMessage) -> None:
            if each.message is None:
                return
            is_activity = each.message.event.type is EventType.TaskScheduled
            if is_activity:
                each.work_item = self._activities.begin(
                    each.message, may_begin=has_anchor
                )
            if each.work_item is None:
                await self._sender.send(each.message)
                each.is_sent = True
                crash_point("between two outbox messages")

        async def send_in_order(each_of: Sequence[PendingMessage]) -> None:
            for each in each_of:
                await send(each)

        await side_by_side([partial(send_in_order, each) for each in _parted(messages)])
        crash_point("after outbox")

    def _has_anchor(self, instance_id: str, received: Sequence[Control]) -> bool:
        """Whether a message stays that brings an instance back after a crash."""
        if not self._sender.works_on(instance_id):
            return False
        tail = self._tails.get(instance_id)
        candidates = [*received, *(tail.received if tail else ())]
        is_there = any(isinstance(item, Received) for item in candidates)
        return is_there or instance_id in self._anchors

    def follow(
        self,
        instance_id: str,
        pending: Pending,
        etag: str | None,
        change: InstanceChange | None,
        received: Iterable[Control] = (),
    ) -> None:
        """Write the row, then delete what was received; nobody waits for it.

        Changes of one instance are written in order; one that is late goes with the
        next. ``etag`` is that of the history, if it is known.
        """
        tail = self._tails.get(instance_id)
        if tail is None:
            tail = self._tails[instance_id] = Tail(pending=pending, etag=etag)
        tail.pending, tail.etag, tail.is_due = pending, etag or tail.etag, True
        tail.change = _merged(tail.change, change)
        tail.received.extend(received)
        if instance_id not in self._tasks:
            task = asyncio.create_task(
                self._run(instance_id, tail), name=f"{instance_id} row"
            )
            self._tasks[instance_id] = task

    async def _run(self, instance_id: str, tail: Tail) -> None:
        try:
            while tail.is_due:
                tail.is_due = False
                change, tail.change = tail.change, None
                count = len(tail.received)
                is_written = await self._write_row(instance_id, change, tail)
                received, tail.received = tail.received[:count], tail.received[count:]
                crash_point("after instance row")
                self._settle(instance_id, tail.pending, received, is_written=is_written)
        except UnavailableError as exc:
            log.debug("%s: %s", instance_id, exc)  # the host ends; it comes again
        except Exception:
            log.exception("%s: its row was not written", instance_id)
            tail.pending.is_unsure = True  # it is to be repaired by what comes again
            self._sender.give_back(
                [item for item in tail.received if isinstance(item, Received)]
            )
        finally:
            del self._tails[instance_id], self._tasks[instance_id]

    async def _write_row(
        self, instance_id: str, change: InstanceChange | None, tail: Tail
    ) -> bool:
        """Write a row; False when that is its next owner's business."""
        if change is None:
            return True
        pause_s = FIRST_ROW_PAUSE_S
        for tries in range(1, ROW_TRIES + 1):
            if self._sender.queue_of(instance_id) in self._lost:
                return False
            try:
                if await self._hub.instances.change(instance_id, change):
                    return True
                return await self._write_again(instance_id, change, tail)
            except StorageError as exc:
                log.error(
                    "%s: its row in the Instances table cannot be written (try %d of"
                    " %d): %s",
                    instance_id,
                    tries,
                    ROW_TRIES,
                    exc,
                )
            await asyncio.sleep(pause_s)
            pause_s *= 2
        return True

    async def _write_again(
        self, instance_id: str, change: InstanceChange, tail: Tail
    ) -> bool:
        """Write a row that is not as this process left it.

        False when the history is not either: then another host has both. A row that
        was started anew since, or purged with its history, is left alone.
        """
        while True:
            row = await self._hub.instances.peek(instance_id)
            if self._sender.queue_of(instance_id) in self._lost:
                return False
            known, later = tail.etag, tail.change
            found = await self._hub.histories.etag(instance_id)
            newest = _merged(change, later) or change
            if found is None or (row and _is_of_a_later_start(row, newest)):
                return True
            if found == known:
                if await self._hub.instances.change(instance_id, newest, over=row):
                    if tail.change is later:
                        tail.change = None
                    return True
            elif instance_id in self._writing or tail.etag != known:
                await asyncio.sleep(WRITING_PAUSE_S)  # it is us who write it
            else:
                return False

    def _settle(
        self,
        instance_id: str,
        pending: Pending,
        received: Sequence[Control],
        *,
        is_written: bool,
    ) -> None:
        """Delete what was received, but for the anchor; and that when it can go."""
        control = [item for item in received if isinstance(item, Received)]
        self._sender.complete([item for item in received if item not in control])
        anchor = self._anchors.get(instance_id)
        if anchor is None and control and pending.certain():
            anchor = Anchor(received=control.pop(0), pending=pending)
            self._anchors[instance_id] = anchor
        if anchor is not None:
            anchor.pending, left = pending, anchor.left()
            anchor.begun = [each for each in left if each.work_item is not None]
            if not left or not is_written:
                control.append(anchor.received)
                del self._anchors[instance_id]
        if is_written:
            self._sender.complete(control)
        else:
            self._sender.give_back(control)

    # Anchors

    async def run(self) -> None:
        """Give activities that take long a message of their own, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            since_s = time.monotonic() - PUT_AFTER_S
            for instance_id in list(self._anchors):
                await self._put_begun(instance_id, began_before_s=since_s)

    async def put_all(self, is_meant: Callable[[str], bool]) -> None:
        """Give activities in work a message of their own; no anchor is needed then."""
        instance_ids = [each for each in self._anchors if is_meant(each)]
        await side_by_side([partial(self._put_begun, each) for each in instance_ids])

    async def _put_begun(
        self, instance_id: str, *, began_before_s: float | None = None
    ) -> None:
        anchor = self._anchors.get(instance_id)
        if anchor is None:
            return
        for each in anchor.left():
            item = each.work_item
            if item is None or item.is_safe:
                continue
            if began_before_s is not None and item.began_s > began_before_s:
                continue
            try:
                await self._sender.put(item)
            except HostError as exc:
                log.debug("%s: not put: %s", instance_id, exc)
                return
        if not anchor.left():
            self.follow(instance_id, anchor.pending, None, None)

    def forget(self) -> None:
        """Let every anchor come again by itself, because the storage may be older now.

        What is in memory of the history that it stands for counts no longer.
        """
        for anchor in self._anchors.values():
            self._sender.let_come_again(anchor.received)
        self._anchors.clear()

    def drop(self, instance_id: str) -> None:
        """Let an instance that is purged need no anchor."""
        anchor = self._anchors.pop(instance_id, None)
        if anchor is not None:
            self._sender.complete([anchor.received])

    # Partitions, and the end

    def own(self, queue: str) -> None:
        """Take note that this process owns a control queue."""
        self._lost.discard(queue)

    def lose(self, queue: str) -> None:
        """Take note that another host may own a control queue by now."""
        self._lost.add(queue)

    def is_idle(self, queue: str) -> bool:
        """Whether nothing of a queue waits for a row, or is held for what was begun."""
        return not any(
            self._sender.queue_of(each) == queue
            for each in (*self._anchors, *self._tasks)
        )

    async def until_written(self, instance_id: str) -> None:
        """Wait until the row of an instance says what its history says."""
        task = self._tasks.get(instance_id)
        if task is not None:
            await asyncio.wait([task])

    async def close(self) -> None:
        """Wait for the rows that are to be written still."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))


def _parted(messages: Sequence[PendingMessage]) -> list[list[PendingMessage]]:
    """Part messages into those that may be sent side by side.

    What goes to one instance is sent in order; activities have none.
    """
    parts: dict[object, list[PendingMessage]] = {}
    for each in messages:
        message = each.message
        is_ordered = message and message.event.type is not EventType.TaskScheduled
        key = message.instance_id if message and is_ordered else each
        parts.setdefault(key, []).append(each)
    return list(parts.values())


def _is_of_a_later_start(row: Instance, change: InstanceChange) -> bool:
    """Whether a client has started the instance again after what a change says."""
    is_another = row.execution_id != change.execution_id
    is_pending = row.status is Status.PENDING and is_another
    return is_pending and to_ticks(row.created_at) > to_ticks(change.updated_at)


def _merged(
    first: InstanceChange | None, then: InstanceChange | None
) -> InstanceChange | None:
    """Return one change that says what two say, the second one last."""
    if first is None or then is None:
        return then or first
    if then.execution_id != first.execution_id and then.started is not None:
        return then
    return replace(
        then,
        started=then.started or first.started,
        status=then.status or first.status,
        output=first.output if then.output is None else then.output,
        completed_at=then.completed_at or first.completed_at,
    )
