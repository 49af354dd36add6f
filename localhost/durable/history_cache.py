"""Histories kept in memory, and what they say of their instances' rows; pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from localhost.durable.pending import Pending
from localhost.durable.seen import Seen
from localhost.history import EventType, HistoryEvent, Status
from localhost.records import TaskMessage
from localhost.taskhub.port import InstanceChange, Stored
from localhost.text import dumps
from localhost.timestamps import to_ticks

MOST_APPLIED_MARKS = 800
LARGE_INPUT_CHARS = 15_360  # beyond it a row may hold an address in its place
MEMORY_BYTES = 64 * 1024 * 1024
NO_OUTPUT = "null"  # a merge cannot empty a column
MOST_LET_GO = 10_000  # instances of which no more is known than what is pending
EVENT_BYTES = 600  # of an event in memory, beside its texts


@dataclass(kw_only=True, eq=False)
class InstanceHistory:
    """The history of an instance's current execution.

    ``texts`` are the events as a function receives them, ``seen`` is what they say of
    messages, ``turns`` how many of them begin one; ``next_row`` is the place where the
    next event is written, ``etag`` that of the sentinel on which it is. ``is_row_sure``
    says that the row says what the history does (``custom_status`` of it), or that a
    message will come again by which it is repaired.
    ``applied`` are marks of events that earlier executions took, see ``seen.mark_of``.

    ``pending`` are messages that the history tells of and that may not have been sent.
    ``is_whole`` is False when a crash left the last turn half written, ``has_notes``
    when the last turn was written by another kind of host.
    """

    instance_id: str
    execution_id: str | None = None
    events: list[HistoryEvent] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    started: HistoryEvent | None = None
    turns: int = 0
    next_row: int = 0
    etag: str | None = None
    is_row_sure: bool = False
    custom_status: str | None = None
    applied: tuple[str, ...] = ()
    pending: Pending = field(default_factory=Pending)
    is_whole: bool = True
    has_notes: bool = True
    size_bytes: int = 0

    @classmethod
    def of(cls, instance_id: str, stored: Stored) -> InstanceHistory:
        """Take a history as it was read from the storage."""
        history = cls(
            instance_id=instance_id,
            execution_id=stored.execution_id,
            etag=stored.etag,
            applied=stored.applied,
            seen=Seen(applied=frozenset(stored.applied)),
            custom_status=stored.notes.custom_status if stored.notes else None,
            pending=Pending.of(stored.notes, is_unsure=bool(stored.events)),
            is_whole=stored.is_whole,
            has_notes=stored.notes is not None,
            is_row_sure=stored.notes is not None,
        )
        history.add(stored.events)
        history.next_row = stored.next_row
        return history

    def add(self, events: Sequence[HistoryEvent]) -> None:
        """Append events that are stored now."""
        self.events.extend(events)
        self.next_row += len(events)
        for event in events:
            self.seen.add(event)
            self.size_bytes += _size_of(event)
            if event.answers is not None:
                self.pending.answered(event.answers)
            if event.type is EventType.OrchestratorStarted:
                self.turns += 1
            elif event.type is EventType.ExecutionStarted and self.started is None:
                self.started = event

    def written(self) -> list[str]:
        """Return the events as a function receives them; each is written once."""
        behind = self.events[len(self.texts) :]
        self.texts.extend(dumps(event.to_wire()) for event in behind)
        return self.texts

    def remember(self, marks: Iterable[str]) -> None:
        """Keep the marks of events that an execution took before it went on as new."""
        new = [mark for mark in marks if mark not in self.applied]
        self.applied = (*self.applied, *new)[-MOST_APPLIED_MARKS:]
        self.seen.applied = frozenset(self.applied)

    def restart(self, made: Mapping[int, TaskMessage]) -> None:
        """Forget the events of an execution that another one follows.

        What was not sent is to be sent still; ``made`` are the messages of its numbers.
        """
        self.pending = Pending(
            self.pending.after(made), is_unsure=self.pending.is_unsure
        )
        self.events, self.texts, self.next_row, self.size_bytes = [], [], 0, 0
        self.seen = Seen(applied=frozenset(self.applied))
        self.started, self.turns = None, 0


class Kept(Protocol):
    """What is kept of an instance in memory."""

    instance_id: str
    etag: str | None
    pending: Pending

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, roughly."""


K = TypeVar("K", bound=Kept)


class HistoryCache(Generic[K]):
    """What is in memory of instances that run, as much as memory allows.

    What was used longest ago goes first. What is known of its pending messages stays:
    whoever reads it again need not send them again. That ends duplicates, which else
    would be answered with duplicates for ever.
    """

    def __init__(self, *, most_bytes: int = MEMORY_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, tuple[K, int]] = OrderedDict()
        self._pending: OrderedDict[str, tuple[str | None, Pending]] = OrderedDict()
        self._size_bytes = 0
        self.age = 0

    def take(self, instance_id: str) -> K | None:
        """Return what is kept, and keep it no longer: whoever takes it puts it back."""
        kept = self._kept.pop(instance_id, None)
        if kept is None:
            return None
        self._size_bytes -= kept[1]
        return kept[0]

    def keep(self, kept: K, *, age: int) -> None:
        """Keep something until it is taken, or others need the memory.

        What is of an earlier ``age`` of the cache is not kept: others may have changed
        it meanwhile.
        """
        self.take(kept.instance_id)
        if age != self.age:
            return
        size_bytes = kept.size_bytes
        self._kept[kept.instance_id] = (kept, size_bytes)
        self._size_bytes += size_bytes
        while self._size_bytes > self._most_bytes and self._kept:
            oldest, _ = self._kept[next(iter(self._kept))]
            self.let_go(oldest, age=age)

    def let_go(self, kept: K, *, age: int) -> None:
        """Keep no more of an instance than what is known of its pending messages."""
        self.take(kept.instance_id)
        if age != self.age:
            return
        kept.pending.left()
        self._pending[kept.instance_id] = (kept.etag, kept.pending)
        if len(self._pending) > MOST_LET_GO:
            self._pending.popitem(last=False)

    def pending_of(self, instance_id: str, etag: str | None) -> Pending | None:
        """Return what is pending of an instance that was read again as it was let go.

        None when it is not known, or others have written since.
        """
        known, pending = self._pending.pop(instance_id, (None, None))
        return pending if known == etag else None

    def drop(self, is_meant: Callable[[str], bool]) -> None:
        """Forget some instances, those that are in work too."""
        self.age += 1
        for instance_id in [each for each in self._kept if is_meant(each)]:
            self.take(instance_id)
        for instance_id in [each for each in self._pending if is_meant(each)]:
            del self._pending[instance_id]


def _size_of(event: HistoryEvent) -> int:
    """Return how much memory an event takes, as itself and as a function's text."""
    texts = (value for value in event.fields.values() if isinstance(value, str))
    return EVENT_BYTES + 2 * sum(map(len, texts))


def status_of(events: Sequence[HistoryEvent]) -> Status:
    """Return the status of an execution that has begun, by its history."""
    status = Status.RUNNING
    for event in events:
        if event.type is EventType.ExecutionSuspended:
            status = Status.SUSPENDED
        elif event.type is EventType.ExecutionResumed:
            status = Status.RUNNING
        elif event.type is EventType.ExecutionCompleted:
            status = event["OrchestrationStatus"]
    return status


def change_of(
    events: Sequence[HistoryEvent],
    *,
    started: HistoryEvent | None,
    execution_id: str,
    custom_status: str | None,
    now: str,
    was_suspended: bool = False,
) -> InstanceChange:
    """Return what events say of their instance's row.

    ``was_suspended`` tells that a reason may stand in the column of the output.
    """
    change = InstanceChange(
        execution_id=execution_id,
        updated_at=events[-1].timestamp,
        custom_status=custom_status,
        started=started,
    )
    for event in events:
        if event.type is EventType.ExecutionSuspended:
            change = replace(change, status=Status.SUSPENDED, output=event["Reason"])
        elif event.type is EventType.ExecutionResumed:
            change = replace(change, status=Status.RUNNING, output=event["Reason"])
        elif event.type is EventType.ExecutionCompleted:
            output = event["Result"]
            change = replace(
                change,
                status=event["OrchestrationStatus"],
                output=NO_OUTPUT if output is None and was_suspended else output,
                completed_at=now,
            )
    return change


def was_suspended(events: Sequence[HistoryEvent]) -> bool:
    """Whether an execution was suspended or resumed with a reason."""
    kinds = (EventType.ExecutionSuspended, EventType.ExecutionResumed)
    return any(e.type in kinds and e["Reason"] is not None for e in events)


def without_large_input(started: HistoryEvent) -> HistoryEvent:
    """Leave a large input to the blob whose address the row has already."""
    input_ = started["Input"]
    if not isinstance(input_, str) or len(input_) <= LARGE_INPUT_CHARS:
        return started
    return replace(started, fields={**started.fields, "Input": None})


def turn_time(events: Sequence[HistoryEvent], now: str) -> str:
    """Return when a turn takes place: never before a timer that has fired in it.

    User code compares the two, and clocks differ by some microseconds.
    """
    times: list[str] = [e["FireAt"] for e in events if e.type is EventType.TimerFired]
    return max([now, *times], key=to_ticks)


def start_of(new: Sequence[HistoryEvent], history: InstanceHistory) -> HistoryEvent:
    """Return the event that started the execution, which may be a new one."""
    if history.started is not None:
        return history.started
    return next(e for e in new if e.type is EventType.ExecutionStarted)
