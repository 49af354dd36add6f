"""Histories kept in memory, and what they say of their instances' rows; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from localhost.durable.known import Known
from localhost.history import EventType, HistoryEvent, Status
from localhost.records import Instance, dumps
from localhost.taskhub.hub import LARGEST_VALUE_CHARS, InstanceChange, Stored
from localhost.timestamps import to_ticks

MOST_APPLIED_MARKS = 800


@dataclass(kw_only=True)
class InHand:
    """A history kept in memory; checked by its ETag when it is written.

    ``texts`` are the events as a function receives them, ``known`` is what they say of
    messages, ``turns`` how many of them begin one; ``next_row`` is the place where the
    next event is written. ``is_row_sure`` says that the instance's row has been written
    with this history (``custom_status`` with what), ``is_row_behind`` that it does not
    say yet what the history says. ``applied`` are marks of events that earlier
    executions took, see ``known.mark_of``.
    """

    execution_id: str | None = None
    events: list[HistoryEvent] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    started: HistoryEvent | None = None
    turns: int = 0
    next_row: int = 0
    etag: str | None = None
    is_row_sure: bool = False
    is_row_behind: bool = False
    custom_status: str | None = None
    applied: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: Stored) -> InHand:
        """Take a history as it was read from the storage."""
        in_hand = cls(
            execution_id=stored.execution_id,
            etag=stored.etag,
            applied=stored.applied,
            known=Known(applied=frozenset(stored.applied)),
        )
        in_hand.add(stored.events)
        in_hand.next_row = stored.next_row
        return in_hand

    def add(self, events: Sequence[HistoryEvent]) -> None:
        """Append events that are stored now."""
        self.events.extend(events)
        self.next_row += len(events)
        for event in events:
            self.known.add(event)
            if event.type is EventType.OrchestratorStarted:
                self.turns += 1
            elif event.type is EventType.ExecutionStarted and self.started is None:
                self.started = event

    def written(self) -> list[str]:
        """Return the events as a function receives them; each is written once."""
        behind = self.events[len(self.texts) :]
        self.texts.extend(dumps(event.to_wire()) for event in behind)
        return self.texts

    def compare(self, row: Instance | None) -> None:
        """See whether the instance's row says what the history says.

        A crash after a history was written may have left its row behind. A row that is
        Pending under another execution is that of a start which is still to come.
        """
        if row is None:
            self.is_row_behind = True
            return
        if row.execution_id != self.execution_id:
            self.is_row_behind = row.status is not Status.PENDING
            return
        self.custom_status = row.custom_status
        was_rewound = any(e.type is EventType.GenericEvent for e in self.events)
        awaits_turn = row.status is Status.PENDING and was_rewound
        self.is_row_behind = not awaits_turn and row.status is not status_of(
            self.events
        )
        self.is_row_sure = not self.is_row_behind

    def remember(self, marks: Iterable[str]) -> None:
        """Keep the marks of events that an execution took before it went on as new."""
        new = [mark for mark in marks if mark not in self.applied]
        self.applied = (*self.applied, *new)[-MOST_APPLIED_MARKS:]
        self.known.applied = frozenset(self.applied)

    def restart(self) -> None:
        """Forget the events of an execution that another one follows."""
        self.events, self.texts, self.next_row = [], [], 0
        self.known = Known(applied=frozenset(self.applied))
        self.started, self.turns = None, 0


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
) -> InstanceChange:
    """Return what events say of their instance's row."""
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
            change = replace(
                change,
                status=event["OrchestrationStatus"],
                output=event["Result"],
                completed_at=now,
            )
    return change


def without_large_input(started: HistoryEvent) -> HistoryEvent:
    """Leave a large input to the blob whose address the row has already."""
    input_ = started["Input"]
    if not isinstance(input_, str) or len(input_) <= LARGEST_VALUE_CHARS // 2:
        return started
    return replace(started, fields={**started.fields, "Input": None})


def turn_time(events: Sequence[HistoryEvent], now: str) -> str:
    """Return when a turn takes place: never before a timer that has fired in it.

    User code compares the two, and clocks differ by some microseconds.
    """
    times: list[str] = [e["FireAt"] for e in events if e.type is EventType.TimerFired]
    return max([now, *times], key=to_ticks)


def start_of(new: Sequence[HistoryEvent], in_hand: InHand) -> HistoryEvent:
    """Return the event that started the execution, which may be a new one."""
    if in_hand.started is not None:
        return in_hand.started
    return next(e for e in new if e.type is EventType.ExecutionStarted)
