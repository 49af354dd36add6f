"""Which messages of an instance a turn takes, drops, or lets wait; pure.

Messages come at least once: twice, late, or before the checkpoint that they answer.
The history decides what each one means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from localhost.delivery.messages import Answer, Control
from localhost.durable.seen import Seen
from localhost.history import ANSWERS, EventType, HistoryEvent, Status
from localhost.records import Instance, TaskMessage
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

    taken: list[Control] = field(default_factory=list)
    dropped: list[Control] = field(default_factory=list)
    waiting: list[Control] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def events(self) -> list[HistoryEvent]:
        """Return the events of the messages that are taken, the start first."""
        events = [_message(item).event for item in self.taken]
        return sorted(events, key=lambda e: e.type is not EventType.ExecutionStarted)


def sort_messages(
    seen: Seen, items: Sequence[Control], *, now: str, is_pending: bool = False
) -> Inbox:
    """Tell apart the messages of a batch, given what the history says.

    ``is_pending`` tells of an instance without history whether its start is on the
    way. A start that must not run (see ``verdict_on_start``) is not among ``items``.
    """
    batch = _Batch(seen=seen.branch(), now=now, is_pending=is_pending)
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

    seen: Seen
    now: str
    is_pending: bool
    inbox: Inbox = field(default_factory=Inbox)

    def sort(self, item: Control) -> None:
        message, seen = _message(item), self.seen
        if message.event.type is EventType.ExecutionStarted:
            return self._sort_start(item, message)
        if not seen.is_started:
            if self.is_pending or self._may_be_early(item, message):
                return self.inbox.waiting.append(item)
            return self._drop(item, "there is no such instance")
        if message.execution_id and message.execution_id != seen.execution_id:
            return self._drop(item, "it is for an execution that is over")
        if seen.is_finished:
            return self._drop(item, "the instance has ended")
        if self._has_seen(message):
            return self._drop(item, "it came before")
        if self._is_asked_later(message):
            if isinstance(item, Answer) or self._is_late(item):
                return self._drop(item, "nobody has asked for it")
            return self.inbox.waiting.append(item)
        if seen.is_of_another(message):
            return self._drop(item, "it is of a turn that did not happen")
        self._take(item)

    def _may_be_early(self, item: Control, message: TaskMessage) -> bool:
        """Whether a message answers a history that another kind of host still writes.

        What this process has in hand it has begun for a history that was written.
        """
        if isinstance(item, Answer):
            return False
        return message.event.type in ANSWERS and not self._is_late(item)

    def _sort_start(self, item: Control, message: TaskMessage) -> None:
        """Take a start unless the execution that it asks for has begun already.

        A start under the id of an instance that runs takes its place.
        """
        if self.seen.is_same_start(message) or self.seen.has_seen(message.event):
            return self._drop(item, "it came before")
        self.seen = self.seen.anew()
        self._take(item)

    def _has_seen(self, message: TaskMessage) -> bool:
        """Whether a message came before; an entity answers a request only once."""
        if _is_of_entity(message) and self.seen.is_replied(message.event["Name"]):
            return True
        return self.seen.has_seen(message.event)

    def _is_asked_later(self, message: TaskMessage) -> bool:
        """Whether a message answers what the history has not asked for yet."""
        if _is_of_entity(message):
            return not self.seen.has_request(message.event["Name"])
        answers = message.event.answers
        return answers is not None and self.seen.question(answers) is None

    def _is_late(self, item: Control) -> bool:
        """Whether what a message waits for will hardly come any more."""
        if item.dequeue_count <= ANSWERS_BEFORE_DROP:
            return False
        last = plus_ms(_message(item).event.timestamp, LONGEST_WAIT_MS)
        return to_ticks(self.now) > to_ticks(last)

    def _take(self, item: Control) -> None:
        self.seen.add(_message(item).event)
        self.inbox.taken.append(item)

    def _drop(self, item: Control, reason: str) -> None:
        self.inbox.dropped.append(item)
        self.inbox.reasons.append(f"{_message(item).event.type.name}: {reason}")


def _is_of_entity(message: TaskMessage) -> bool:
    return message.sender[0].startswith("@")


def _start_first(item: Control) -> tuple[bool, int]:
    """The order of a batch: the start, then what was sent first."""
    event = _message(item).event
    return (event.type is not EventType.ExecutionStarted, to_ticks(event.timestamp))


def _message(item: Control) -> TaskMessage:
    if item.message is None:
        raise ValueError(f"unreadable message in an inbox: {item.fault}")
    return item.message
