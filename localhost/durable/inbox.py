"""Which messages of an instance a turn takes, drops, or lets wait; pure.

Messages come at least once: twice, late, or before the checkpoint that they answer.
The history decides what each one means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from localhost.durable.replay import request_id_of
from localhost.history import ANSWERS, SCHEDULES, EventType, HistoryEvent, Status
from localhost.records import Instance, TaskMessage
from localhost.taskhub.hub import Received, Stored
from localhost.timestamps import plus_ms, to_ticks

STARTS_BEFORE_DROP = 10  # dequeues of a start without a row
# An answer waits for its question until it is old and was tried often. Tries alone say
# nothing: each host that is killed with a message in hand adds one. Nor does age: there
# may have been no host all night.
LONGEST_WAIT_MS = 10 * 60_000
ANSWERS_BEFORE_DROP = 20


@dataclass(kw_only=True)
class Inbox:
    """The messages of one batch, told apart.

    ``taken`` become events of the turn, ``dropped`` are deleted (``reasons`` says
    why), ``waiting`` stay for another message that must come first.
    """

    taken: list[Received] = field(default_factory=list)
    dropped: list[Received] = field(default_factory=list)
    waiting: list[Received] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def events(self) -> list[HistoryEvent]:
        """Return the events of the messages that are taken, the start first."""
        events = [_message(item).event for item in self.taken]
        return sorted(events, key=lambda e: e.type is not EventType.ExecutionStarted)


@dataclass(kw_only=True)
class _Known:
    """What the history, and the messages taken so far, say."""

    now: str
    is_pending: bool = False
    applied: frozenset[str] = frozenset()
    parent: object = None
    execution_id: str | None = None
    is_started: bool = False
    is_finished: bool = False
    scheduled: set[int] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    replied: set[str] = field(default_factory=set)
    seen: set[tuple[Any, ...]] = field(default_factory=set)
    timers: dict[int, str] = field(default_factory=dict)

    def add(self, event: HistoryEvent) -> None:
        if event.type in SCHEDULES:
            self.scheduled.add(event.event_id)
            if event.type is EventType.TimerCreated:
                self.timers[event.event_id] = event["FireAt"]
            if event.type is EventType.EventSent:
                self.requests.add(request_id_of(event["Input"]))
        elif event.type is EventType.ExecutionStarted:
            self.is_started = True
            self.parent = event["ParentInstance"]
            self.execution_id = event["OrchestrationInstance"]["ExecutionId"]
        elif event.type is EventType.ExecutionCompleted:
            self.is_finished = True
        elif event.type is EventType.EventRaised and event["Name"] in self.requests:
            self.replied.add(event["Name"])
        self.seen.add(_identity(event))

    def has_seen(self, message: TaskMessage) -> bool:
        """Whether a message came before; an entity answers a request only once."""
        if _is_of_entity(message) and message.event["Name"] in self.replied:
            return True
        if mark_of(message.event) in self.applied:
            return True
        return _identity(message.event) in self.seen

    def is_late(self, item: Received) -> bool:
        """Whether what a message waits for will hardly come any more."""
        if item.dequeue_count <= ANSWERS_BEFORE_DROP:
            return False
        last = plus_ms(_message(item).event.timestamp, LONGEST_WAIT_MS)
        return to_ticks(self.now) > to_ticks(last)

    def is_of_another_timer(self, event: HistoryEvent) -> bool:
        """Whether a timer fired that a turn created which a crash undid.

        The turn that took its place created a later one under the same number.
        """
        if event.type is not EventType.TimerFired:
            return False
        created = self.timers.get(event["TimerId"])
        return created is not None and to_ticks(event["FireAt"]) < to_ticks(created)

    def is_asked_later(self, message: TaskMessage) -> bool:
        """Whether a message answers what the history has not asked for yet."""
        if _is_of_entity(message):
            return message.event["Name"] not in self.requests
        answers = message.event.answers
        return answers is not None and answers not in self.scheduled


def sort_messages(
    stored: Stored, items: Sequence[Received], *, now: str, is_pending: bool = False
) -> Inbox:
    """Tell apart the messages of a batch, given the history as it is stored.

    ``is_pending`` tells of an instance without history whether its start is on the
    way. A start that must not run (see ``verdict_on_start``) is not among ``items``.
    """
    known = _Known(now=now, is_pending=is_pending, applied=frozenset(stored.applied))
    inbox = Inbox()
    for event in stored.events:
        known.add(event)
    for item in sorted(items, key=_start_first):
        _sort(item, inbox, known)
    return inbox


def verdict_on_start(
    message: TaskMessage, row: Instance | None, dequeue_count: int
) -> Literal["run", "drop", "later"]:
    """Say whether a start from the queue may run, by its instance's row.

    A client writes the message before the row: a start without its row either will
    have one soon or belongs to a caller who never got an answer.
    """
    if row is not None and row.execution_id in (None, message.execution_id):
        return "run"
    if dequeue_count >= STARTS_BEFORE_DROP:
        return "drop"
    if row is not None and (row.generation or 0) > (message.event["Generation"] or 0):
        return "drop"  # the instance has been started again since
    if row is not None and row.generation == message.event["Generation"]:
        is_older = to_ticks(row.created_at) < to_ticks(message.event.timestamp)
        if (is_older and row.status is Status.PENDING) or dequeue_count > 1:
            return "drop"
    return "later"


def _sort(item: Received, inbox: Inbox, known: _Known) -> None:
    message = _message(item)
    if message.event.type is EventType.ExecutionStarted:
        return _sort_start(item, message, inbox, known)
    event = message.event
    if not known.is_started:
        is_early = event.type in ANSWERS and not known.is_late(item)
        if known.is_pending or is_early:
            return inbox.waiting.append(item)
        return _drop(item, inbox, "there is no such instance")
    if message.execution_id and message.execution_id != known.execution_id:
        return _drop(item, inbox, "it is for an execution that is over")
    if known.is_finished:
        return _drop(item, inbox, "the instance has ended")
    if known.has_seen(message):
        return _drop(item, inbox, "it came before")
    if known.is_asked_later(message):
        if known.is_late(item):
            return _drop(item, inbox, "nobody has asked for it")
        return inbox.waiting.append(item)
    if known.is_of_another_timer(event):
        return _drop(item, inbox, "it is of a turn that did not happen")
    _take(item, inbox, known)


def _sort_start(
    item: Received, message: TaskMessage, inbox: Inbox, known: _Known
) -> None:
    """Take a start unless the execution that it asks for has begun already.

    A start under the id of an instance that runs takes its place. A child that went on
    under a new execution is known by the place of its parent that started it.
    """
    parent = message.event["ParentInstance"]
    is_same = known.is_started and message.execution_id == known.execution_id
    if is_same or (parent is not None and parent == known.parent):
        return _drop(item, inbox, "it came before")
    known.is_finished = False
    known.scheduled.clear()
    known.timers.clear()
    known.requests.clear()
    known.replied.clear()
    known.seen.clear()
    _take(item, inbox, known)


def _take(item: Received, inbox: Inbox, known: _Known) -> None:
    known.add(_message(item).event)
    inbox.taken.append(item)


def _drop(item: Received, inbox: Inbox, reason: str) -> None:
    inbox.dropped.append(item)
    inbox.reasons.append(f"{_message(item).event.type.name}: {reason}")


def _identity(event: HistoryEvent) -> tuple[Any, ...]:
    """Return what makes two messages the same one.

    Answers are known by what they answer, whoever sent them; the rest by their bytes:
    no clock gives two events the same tick.
    """
    if event.type in ANSWERS:
        return ("answer", event.answers)
    if event.type is EventType.EventRaised:
        return (event.type, event["Name"], event["Input"], event.timestamp)
    reason = event["Reason"] or event["Input"] or event["Data"]
    if isinstance(reason, str):
        return (event.type, reason, event.timestamp)
    return (event.type, event.timestamp)


def mark_of(event: HistoryEvent) -> str:
    """Return a short text that tells an event from all others of its instance.

    An execution that continues as new forgets its history, not what it took from it.
    """
    text = "|".join(str(part) for part in _identity(event))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]


def marks_of(events: Sequence[HistoryEvent]) -> list[str]:
    """Return the marks of events that only their marks can tell when they come again.

    Answers and starts are told by their execution.
    """
    told = (EventType.ExecutionStarted, EventType.OrchestratorCompleted, *ANSWERS)
    return [mark_of(event) for event in events if event.type not in told]


def _is_of_entity(message: TaskMessage) -> bool:
    return message.sender[0].startswith("@")


def _start_first(item: Received) -> tuple[bool, str]:
    event = _message(item).event
    return (event.type is not EventType.ExecutionStarted, event.timestamp)


def _message(item: Received) -> TaskMessage:
    if item.message is None:
        raise ValueError(f"unreadable message in an inbox: {item.fault}")
    return item.message
