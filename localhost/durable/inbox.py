"""Which messages of an instance a turn takes, drops, or lets wait; pure.

Messages come at least once: twice, late, or before the checkpoint that they answer.
The history decides what each one means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from localhost.durable.known import Known
from localhost.history import ANSWERS, EventType, HistoryEvent, Status
from localhost.records import Instance, TaskMessage
from localhost.taskhub.hub import Received
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


def sort_messages(
    known: Known, items: Sequence[Received], *, now: str, is_pending: bool = False
) -> Inbox:
    """Tell apart the messages of a batch, given what the history says.

    ``is_pending`` tells of an instance without history whether its start is on the
    way. A start that must not run (see ``verdict_on_start``) is not among ``items``.
    """
    batch = _Batch(known=known.branch(), now=now, is_pending=is_pending)
    for item in sorted(items, key=_start_first):
        batch.sort(item)
    return batch.inbox


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


@dataclass(kw_only=True)
class _Batch:
    """The messages of one batch, told apart one after the other."""

    known: Known
    now: str
    is_pending: bool
    inbox: Inbox = field(default_factory=Inbox)

    def sort(self, item: Received) -> None:
        message, known = _message(item), self.known
        if message.event.type is EventType.ExecutionStarted:
            return self._sort_start(item, message)
        if not known.is_started:
            is_early = message.event.type in ANSWERS and not self._is_late(item)
            if self.is_pending or is_early:
                return self.inbox.waiting.append(item)
            return self._drop(item, "there is no such instance")
        if message.execution_id and message.execution_id != known.execution_id:
            return self._drop(item, "it is for an execution that is over")
        if known.is_finished:
            return self._drop(item, "the instance has ended")
        if self._has_seen(message):
            return self._drop(item, "it came before")
        if self._is_asked_later(message):
            if self._is_late(item):
                return self._drop(item, "nobody has asked for it")
            return self.inbox.waiting.append(item)
        if known.is_of_another_timer(message.event):
            return self._drop(item, "it is of a turn that did not happen")
        self._take(item)

    def _sort_start(self, item: Received, message: TaskMessage) -> None:
        """Take a start unless the execution that it asks for has begun already.

        A start under the id of an instance that runs takes its place. A child that
        went on under a new execution is known by the place of its parent that started
        it.
        """
        parent, known = message.event["ParentInstance"], self.known
        is_same = known.is_started and message.execution_id == known.execution_id
        if is_same or (parent is not None and parent == known.parent):
            return self._drop(item, "it came before")
        self.known = known.anew()
        self._take(item)

    def _has_seen(self, message: TaskMessage) -> bool:
        """Whether a message came before; an entity answers a request only once."""
        if _is_of_entity(message) and self.known.is_replied(message.event["Name"]):
            return True
        return self.known.has_seen(message.event)

    def _is_asked_later(self, message: TaskMessage) -> bool:
        """Whether a message answers what the history has not asked for yet."""
        if _is_of_entity(message):
            return not self.known.has_request(message.event["Name"])
        answers = message.event.answers
        return answers is not None and not self.known.has_scheduled(answers)

    def _is_late(self, item: Received) -> bool:
        """Whether what a message waits for will hardly come any more."""
        if item.dequeue_count <= ANSWERS_BEFORE_DROP:
            return False
        last = plus_ms(_message(item).event.timestamp, LONGEST_WAIT_MS)
        return to_ticks(self.now) > to_ticks(last)

    def _take(self, item: Received) -> None:
        self.known.add(_message(item).event)
        self.inbox.taken.append(item)

    def _drop(self, item: Received, reason: str) -> None:
        self.inbox.dropped.append(item)
        self.inbox.reasons.append(f"{_message(item).event.type.name}: {reason}")


def _is_of_entity(message: TaskMessage) -> bool:
    return message.sender[0].startswith("@")


def _start_first(item: Received) -> tuple[bool, str]:
    event = _message(item).event
    return (event.type is not EventType.ExecutionStarted, event.timestamp)


def _message(item: Received) -> TaskMessage:
    if item.message is None:
        raise ValueError(f"unreadable message in an inbox: {item.fault}")
    return item.message
