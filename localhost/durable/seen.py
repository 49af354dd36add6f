"""What a history says of the messages that may still come; pure.

Kept beside the history and added to with each event, so that a message is told apart
without looking through thousands of events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from localhost.durable.replay import request_id_of
from localhost.history import ANSWERS, SCHEDULES, EventType, HistoryEvent
from localhost.records import TaskMessage
from localhost.timestamps import to_ticks

Identity = tuple[Any, ...]
# What an answer answers.
_QUESTIONS = {
    EventType.TaskCompleted: EventType.TaskScheduled,
    EventType.TaskFailed: EventType.TaskScheduled,
    EventType.SubOrchestrationInstanceCompleted: (
        EventType.SubOrchestrationInstanceCreated
    ),
    EventType.SubOrchestrationInstanceFailed: EventType.SubOrchestrationInstanceCreated,
    EventType.TimerFired: EventType.TimerCreated,
}
# The real host gives a message and its row times of their own, some microseconds apart.
# A turn that a crash undid comes again seconds later.
SAME_TICKS = 500_000


@dataclass(kw_only=True)
class Seen:
    """What the events so far say.

    ``applied`` are marks of events that earlier executions took. What is added to a
    ``branch`` does not show in what it branched from.
    """

    applied: frozenset[str] = frozenset()
    start: HistoryEvent | None = None
    is_finished: bool = False
    _questions: dict[int, HistoryEvent] = field(default_factory=dict)
    _answered: set[int] = field(default_factory=set)
    _requests: set[str] = field(default_factory=set)
    _replied: set[str] = field(default_factory=set)
    _seen: set[Identity] = field(default_factory=set)
    _rewound: set[str] = field(default_factory=set)
    _trunk: Seen | None = None

    @classmethod
    def of(cls, events: Sequence[HistoryEvent], applied: Sequence[str] = ()) -> Seen:
        """Read a whole history."""
        seen = cls(applied=frozenset(applied))
        for event in events:
            seen.add(event)
        return seen

    @property
    def is_started(self) -> bool:
        """Whether an execution has begun."""
        return self.start is not None

    @property
    def execution_id(self) -> str | None:
        """The id of the execution that has begun."""
        if self.start is None:
            return None
        return str(self.start["OrchestrationInstance"]["ExecutionId"])

    def branch(self) -> Seen:
        """Return what is known here, to add the messages of one batch to it."""
        return Seen(
            applied=self.applied,
            start=self.start,
            is_finished=self.is_finished,
            _trunk=self,
        )

    def anew(self) -> Seen:
        """Return what is known when another execution takes the place of this one."""
        return Seen(applied=self.applied, start=self.start)

    def add(self, event: HistoryEvent) -> None:
        """Take note of an event that follows."""
        if event.type in SCHEDULES:
            self._questions[event.event_id] = event
            if event.type is EventType.EventSent:
                self._requests.add(request_id_of(event["Input"]))
        elif event.answers is not None:
            self._answered.add(event.answers)
        elif event.type is EventType.GenericEvent:
            self._rewound.add(event.timestamp)
        elif event.type is EventType.ExecutionStarted:
            self.start = event
        elif event.type is EventType.ExecutionCompleted:
            self.is_finished = True
        elif event.type is EventType.EventRaised and self.has_request(event["Name"]):
            self._replied.add(event["Name"])
        self._seen.add(identity_of(event))

    def is_same_start(self, message: TaskMessage) -> bool:
        """Whether the execution that a start asks for has begun already.

        A child that went on under a new execution is known by the place of its parent
        that started it, and by what it was asked for there: a turn that a crash undid
        in another host may have started something else from the same place.
        """
        if self.start is None:
            return False
        if message.execution_id == self.execution_id:
            return True
        parent, begun = message.event["ParentInstance"], self.start
        is_same_place = parent is not None and parent == begun["ParentInstance"]
        return is_same_place and message.event["Name"] == begun["Name"]

    def has_seen(self, event: HistoryEvent) -> bool:
        """Whether the same event came before."""
        was_applied = bool(self.applied) and mark_of(event) in self.applied
        return was_applied or self._has_seen(identity_of(event))

    def has_request(self, name: str) -> bool:
        """Whether an entity was asked under this name."""
        trunk = self._trunk
        return name in self._requests or bool(trunk and trunk.has_request(name))

    def is_replied(self, name: str) -> bool:
        """Whether the entity that was asked under this name has answered."""
        trunk = self._trunk
        return name in self._replied or bool(trunk and trunk.is_replied(name))

    def question(self, number: int) -> HistoryEvent | None:
        """Return what was scheduled under a number."""
        found = self._questions.get(number)
        if found is None and self._trunk is not None:
            return self._trunk.question(number)
        return found

    def is_open(self, number: int) -> bool:
        """Whether what was scheduled under a number is still to be answered."""
        return number in self._questions and number not in self._answered

    def is_of_another(self, message: TaskMessage) -> bool:
        """Whether an answer is not that to what was scheduled under its number.

        Then it answers a turn that a crash undid, and whose place another one took; or
        it is the failure of a child that runs again, because it was rewound.
        """
        event = message.event
        if event.answers is None:
            return False
        question = self.question(event.answers)
        if question is None:
            return False
        if question.type is not _QUESTIONS[event.type]:
            return True
        if question.type is EventType.TimerCreated:
            return to_ticks(event["FireAt"]) != to_ticks(question["FireAt"])
        if question.type is EventType.SubOrchestrationInstanceCreated:
            child = message.sender[0]
            is_another = bool(child) and child != question["InstanceId"]
            return is_another or self._was_rewound(event.timestamp)
        return not is_asked_at(message, question.timestamp)

    def _was_rewound(self, timestamp: str) -> bool:
        trunk = self._trunk
        return timestamp in self._rewound or bool(
            trunk and trunk._was_rewound(timestamp)
        )

    def _has_seen(self, identity: Identity) -> bool:
        trunk = self._trunk
        return identity in self._seen or bool(trunk and trunk._has_seen(identity))


def is_asked_at(message: TaskMessage, scheduled_at: str) -> bool:
    """Whether an activity's answer may be that to what was scheduled then.

    An older version and the real host do not say what they answer. What was answered
    before it was scheduled is the answer to something else.
    """
    if message.asked_at is None:
        return to_ticks(message.event.timestamp) >= to_ticks(scheduled_at) - SAME_TICKS
    return abs(to_ticks(message.asked_at) - to_ticks(scheduled_at)) <= SAME_TICKS


def identity_of(event: HistoryEvent) -> Identity:
    """Return what makes two messages the same one.

    Answers are known by what they answer, whoever sent them; the rest by their bytes:
    no clock gives two events the same tick.
    """
    if event.type in ANSWERS:
        return ("answer", event.answers)
    if event.type is EventType.ExecutionStarted:
        return (event.type, event["OrchestrationInstance"]["ExecutionId"])
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
    text = "|".join(str(part) for part in identity_of(event))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]


def marks_of(events: Sequence[HistoryEvent]) -> list[str]:
    """Return the marks of events that only their marks can tell when they come again.

    Answers are told by their execution.
    """
    told = (EventType.OrchestratorCompleted, *ANSWERS)
    return [mark_of(event) for event in events if event.type not in told]
