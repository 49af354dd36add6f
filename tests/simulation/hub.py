"""A task hub in memory: what is kept outlives hosts, who asks for it may end any time.

Each request takes a while before it takes effect and a while afterwards; a host may end
in both. What is stored are the same texts and columns as in the real storage.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from localhost.errors import ConflictError, PreconditionError
from localhost.history import EventType, HistoryEvent
from localhost.records import Instance, TaskMessage
from localhost.taskhub import notes, rows
from localhost.taskhub.due import due_at_s
from localhost.taskhub.port import (
    Checkpoint,
    Filter,
    InstanceChange,
    InstancePage,
    Lock,
    LostHistoryError,
    Received,
    Stored,
)
from localhost.taskhub.queues import partition_of

T = TypeVar("T")
PARTITIONS = 4
LARGEST_TRANSACTION = 98


@dataclass(kw_only=True)
class Kept:
    """A message in a queue."""

    id: str
    text: str
    visible_at_s: float
    receipt: str
    dequeue_count: int = 0


@dataclass(kw_only=True)
class History:
    """The rows of an instance: each with its execution; and the sentinel's columns."""

    rows: dict[int, tuple[str, HistoryEvent]] = field(default_factory=dict)
    sentinel: dict[str, Any] = field(default_factory=dict)
    etag: str = ""


class Store:
    """What survives a host. ``requests`` counts what has taken effect."""

    def __init__(self) -> None:
        self.queues: dict[str, list[Kept]] = defaultdict(list)
        self.histories: dict[str, History] = defaultdict(History)
        self.instances: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)

    def next(self) -> str:
        return str(next(self._numbers))

    def messages(self) -> list[tuple[str, TaskMessage]]:
        """Every message with the queue that it lies in, hidden ones too."""
        return [
            (queue, TaskMessage.from_json(each.text))
            for queue, found in self.queues.items()
            for each in found
        ]


class Connection:
    """How one host reaches the store, until it ends.

    ``ends_in`` counts down with each request, twice: before and after its effect; at
    zero ``ended`` is called. Nothing is stored for whoever is ``is_dead``.
    """

    def __init__(self, store: Store, chance: Random) -> None:
        self.store = store
        self.chance = chance
        self.is_dead = False
        self.frozen_until_s = 0.0
        self.ends_in = 0
        self.ended: Callable[[], None] = lambda: None

    async def ask(self, effect: Callable[[], T], *, may_repeat: bool = True) -> T:
        """Have an effect; what is on its way when the host freezes arrives.

        The answer to a host that stood still may come too late: it asks again.
        """
        await self._thaw()
        await self._pass()
        try:
            found = effect()
        except Exception:
            await self._pass()
            await self._thaw()
            raise
        await self._pass()
        if await self._thaw() and may_repeat and self.chance.random() < 0.5:
            return await self.ask(effect)
        return found

    async def _thaw(self) -> bool:
        """Wait while the host stands still; whether it did."""
        was_frozen = self.now_s < self.frozen_until_s
        while self.now_s < self.frozen_until_s:  # noqa: ASYNC110
            await asyncio.sleep(self.frozen_until_s - self.now_s)
        return was_frozen

    async def _pass(self) -> None:
        await asyncio.sleep(self._pause_s())
        if self.ends_in:
            self.ends_in -= 1
            if not self.ends_in:
                self.ended()
        if self.is_dead:
            raise asyncio.CancelledError

    def _pause_s(self) -> float:
        if self.chance.random() < 0.03:
            return self.chance.uniform(0.02, 0.5)
        return self.chance.uniform(0.0003, 0.002)

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()


class Queues:
    """The queues, for one host."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._store = connection.store
        self.work_items = "workitems"
        self.control = tuple(f"control-{number:02}" for number in range(PARTITIONS))

    def control_queue_of(self, instance_id: str) -> str:
        return self.control[partition_of(instance_id, PARTITIONS)]

    def queue_for(self, message: TaskMessage) -> str:
        if message.event.type is EventType.TaskScheduled:
            return self.work_items
        return self.control_queue_of(message.instance_id)

    async def put(
        self, queue: str, message: TaskMessage, *, hidden_s: int | None
    ) -> Received:
        text = message.to_json(activity_id=str(uuid.uuid4()), sequence_number=1)

        def effect() -> Kept:
            kept = Kept(
                id=self._store.next(),
                text=text,
                visible_at_s=self._connection.now_s + (hidden_s or 0),
                receipt=self._store.next(),
            )
            self._store.queues[queue].append(kept)
            return kept

        kept = await self._connection.ask(effect)
        return Received(
            queue=queue,
            message_id=kept.id,
            dequeue_count=1,
            message=message,
            lock=Lock(
                receipt=kept.receipt, until_s=self._connection.now_s + (hidden_s or 0)
            ),
            due_at_s=due_at_s(message),
        )

    async def get(self, queue: str, *, count: int, lock_s: int) -> list[Received]:
        def effect() -> list[tuple[str, str, int, str]]:
            now_s = self._connection.now_s
            found = [k for k in self._store.queues[queue] if k.visible_at_s <= now_s]
            found.sort(key=lambda kept: kept.visible_at_s)
            for kept in found[:count]:
                kept.visible_at_s = now_s + lock_s
                kept.receipt = self._store.next()
                kept.dequeue_count += 1
            return [(k.id, k.receipt, k.dequeue_count, k.text) for k in found[:count]]

        found = await self._connection.ask(effect)
        until_s = self._connection.now_s + lock_s
        return [
            Received(
                queue=queue,
                message_id=id_,
                dequeue_count=dequeue_count,
                message=(message := TaskMessage.from_json(text)),
                lock=Lock(receipt=receipt, until_s=until_s),
                text=text,
                due_at_s=due_at_s(message),
            )
            for id_, receipt, dequeue_count, text in found
        ]

    def _find(self, item: Received) -> Kept | None:
        return next(
            (k for k in self._store.queues[item.queue] if k.id == item.message_id), None
        )

    async def update(self, item: Received, hidden_s: int) -> bool:
        def effect() -> str:
            kept = self._find(item)
            if kept is None or kept.receipt != item.lock.receipt:
                return ""
            kept.receipt = self._store.next()
            kept.visible_at_s = self._connection.now_s + hidden_s
            return kept.receipt

        async with item.lock.guard:
            receipt = await self._connection.ask(effect)
            if receipt:
                item.lock.receipt = receipt
                item.lock.until_s = self._connection.now_s + hidden_s
            return bool(receipt)

    async def delete(self, item: Received) -> bool:
        def effect() -> bool:
            kept = self._find(item)
            if kept is None:
                return True
            if kept.receipt != item.lock.receipt:
                return False
            self._store.queues[item.queue].remove(kept)
            return True

        async with item.lock.guard:
            return await self._connection.ask(effect)

    async def move(self, item: Received, queue: str) -> None:
        raise AssertionError(f"a message that cannot be read: {item.text}")

    async def count(self, queue: str) -> int:
        return await self._connection.ask(lambda: len(self._store.queues[queue]))


class Histories:
    """The histories, for one host."""

    def __init__(self, connection: Connection, now: Callable[[], str]) -> None:
        self._connection = connection
        self._store = connection.store
        self._now = now

    async def load(self, instance_id: str) -> Stored:
        return await self._connection.ask(lambda: self._stored(instance_id))

    async def etag(self, instance_id: str) -> str | None:
        return await self._connection.ask(
            lambda: self._store.histories[instance_id].etag or None
        )

    def _stored(self, instance_id: str) -> Stored:
        history = self._store.histories[instance_id]
        if not history.etag:
            return Stored(execution_id=None, events=(), etag=None)
        execution_id = history.sentinel["ExecutionId"]
        events: list[HistoryEvent] = []
        for place in itertools.count():
            of, event = history.rows.get(place, ("", None))
            if event is None or of != execution_id:
                break
            events.append(event)
        return Stored(
            execution_id=execution_id,
            events=tuple(events),
            etag=history.etag,
            next_row=len(events),
            applied=rows.applied_of(history.sentinel),
            notes=notes.notes_in(
                history.sentinel[notes.COLUMN],
                execution_id=execution_id,
                next_row=len(events),
            ),
            is_whole=history.sentinel["IsCheckpointComplete"],
        )

    async def write(self, checkpoint: Checkpoint) -> tuple[str, InstanceChange | None]:
        etag, place = checkpoint.etag, checkpoint.first_row
        events = list(checkpoint.events)
        while True:
            part, events = events[:LARGEST_TRANSACTION], events[LARGEST_TRANSACTION:]
            etag = await self._write(checkpoint, etag, place, part, is_last=not events)
            place += len(part)
            if not events:
                return etag, checkpoint.change

    async def _write(
        self,
        checkpoint: Checkpoint,
        etag: str | None,
        place: int,
        events: list[HistoryEvent],
        *,
        is_last: bool,
    ) -> str:
        def effect() -> str:
            history = self._store.histories[checkpoint.instance_id]
            if history.etag != (etag or ""):
                raise LostHistoryError(checkpoint.instance_id)
            for number, event in enumerate(events, place):
                history.rows[number] = (checkpoint.execution_id, event)
            history.sentinel |= rows.sentinel_row(
                checkpoint.execution_id,
                self._now(),
                is_complete=is_last,
                applied=checkpoint.applied,
            )
            history.sentinel[notes.COLUMN] = notes.text_of(
                checkpoint.notes,
                execution_id=checkpoint.execution_id,
                next_row=place + len(events),
            )
            history.etag = self._store.next()
            return history.etag

        return await self._connection.ask(effect)


class Instances:
    """The rows of instances, for one host."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._store = connection.store
        self._written: dict[str, str] = {}

    async def read(
        self, instance_id: str, *, with_input: bool = True, with_output: bool = True
    ) -> Instance | None:
        return await self._connection.ask(lambda: self._instance(instance_id))

    async def peek(self, instance_id: str) -> Instance | None:
        return await self.read(instance_id)

    def _instance(self, instance_id: str) -> Instance | None:
        row = self._store.instances.get(instance_id)
        if row is None:
            self._written.pop(instance_id, None)
        return None if row is None else rows.instance_of_row(row)

    async def insert(
        self, instance_id: str, row: dict[str, Any], *, over: Instance | None
    ) -> None:
        def effect() -> str:
            found = self._store.instances.get(instance_id)
            if over is None and found is not None:
                raise ConflictError(instance_id, status=409, code="")
            if over is not None and (found or {}).get("odata.etag") != over.etag:
                raise PreconditionError(instance_id, status=412, code="")
            return self._set(instance_id, row)

        etag = await self._connection.ask(effect, may_repeat=False)
        self._written[instance_id] = etag

    def _set(self, instance_id: str, row: dict[str, Any]) -> str:
        etag = self._store.next()
        self._store.instances[instance_id] = {
            "PartitionKey": instance_id,
            **row,
            "odata.etag": etag,
        }
        return etag

    async def change(
        self, instance_id: str, change: InstanceChange, *, over: Instance | None = None
    ) -> bool:
        if_match = self._written.get(instance_id) if over is None else over.etag

        def effect() -> str:
            found = self._store.instances.get(instance_id, {})
            if if_match is not None and found.get("odata.etag") != if_match:
                return ""
            return self._set(instance_id, {**found, **rows.row_of_change(change)})

        etag = await self._connection.ask(effect)
        if etag:
            self._written[instance_id] = etag
        else:
            self._written.pop(instance_id, None)
        return bool(etag)

    async def list(
        self, wanted: Filter, *, with_input: bool = True, with_output: bool = True
    ) -> InstancePage:
        raise AssertionError("no program lists instances")


class SimulatedHub:
    """One task hub, as one host reaches it; see ``localhost.taskhub.port.Hub``."""

    name = "Simulated"

    def __init__(self, connection: Connection, now: Callable[[], str]) -> None:
        self._connection = connection
        self._now = now
        self.queues = Queues(connection)
        self.histories = Histories(connection, now)
        self.instances = Instances(connection)

    async def status(
        self, instance_id: str, *, is_own: bool, with_input: bool = True
    ) -> Instance | None:
        return await self.instances.read(instance_id)

    async def insert_start(
        self, item: Received, message: TaskMessage, *, over: Instance | None
    ) -> None:
        row = rows.row_of_start(
            message.event, self._now(), hub=self.name, input_=message.event["Input"]
        )
        await self.instances.insert(message.instance_id, row, over=over)

    async def purge(self, instance_id: str) -> bool:
        raise AssertionError("no program is purged")

    async def rewind(self, row: Instance, message: TaskMessage) -> None:
        raise AssertionError("no program is rewound")

    async def has_to_rewind(self, instance_id: str) -> bool:
        return False
