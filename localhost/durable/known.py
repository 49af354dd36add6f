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
from localhost.timestamps import to_ticks

Identity = tuple[Any, ...]
_ANSWERED_SOON = (EventType.TaskScheduled, EventType.SubOrchestrationInstanceCreated)


@dataclass(kw_only=True)
class Known:
    """What the events so far say.

    ``applied`` are marks of events that earlier executions took. ``open`` are the
    activities and children whose answers are still to come. What is added to a
    ``branch`` does not show in what it branched from.
    """

    applied: frozenset[str] = frozenset()
    parent: object = None
    execution_id: str | None = None
    is_started: bool = False
    is_finished: bool = False
    open: set[int] = field(default_factory=set)
    _scheduled: set[int] = field(default_factory=set)
    _requests: set[str] = field(default_factory=set)
    _replied: set[str] = field(default_factory=set)
    _seen: set[Identity] = field(default_factory=set)
    _timers: dict[int, str] = field(default_factory=dict)
    _trunk: Known | None = None

    @classmethod
    def of(cls, events: Sequence[HistoryEvent], applied: Sequence[str] = ()) -> Known:
        """Read a whole history."""
        known = cls(applied=frozenset(applied))
        for event in events:
            known.add(event)
        return known

    def branch(self) -> Known:
        """Return what is known here, to add the messages of one batch to it."""
        return Known(
            applied=self.applied,
            parent=self.parent,
            execution_id=self.execution_id,
            is_started=self.is_started,
            is_finished=self.is_finished,
            _trunk=self,
        )

    def anew(self) -> Known:
        """Return what is known when another execution takes the place of this one."""
        return Known(
            applied=self.applied,
            parent=self.parent,
            execution_id=self.execution_id,
            is_started=self.is_started,
        )

    def add(self, event: HistoryEvent) -> None:
        """Take note of an event that follows."""
        if event.type in SCHEDULES:
            self._scheduled.add(event.event_id)
            if event.type in _ANSWERED_SOON:
                self.open.add(event.event_id)
            elif event.type is EventType.TimerCreated:
                self._timers[event.event_id] = event["FireAt"]
            else:
                self._requests.add(request_id_of(event["Input"]))
        elif event.type in ANSWERS:
            self.open -= {event.answers}
        elif event.type is EventType.ExecutionStarted:
            self.is_started = True
            self.parent = event["ParentInstance"]
            self.execution_id = event["OrchestrationInstance"]["ExecutionId"]
        elif event.type is EventType.ExecutionCompleted:
            self.is_finished = True
        elif event.type is EventType.EventRaised and self.has_request(event["Name"]):
            self._replied.add(event["Name"])
        self._seen.add(identity_of(event))

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

    def has_scheduled(self, number: int) -> bool:
        """Whether a task or timer has this number."""
        trunk = self._trunk
        return number in self._scheduled or bool(trunk and trunk.has_scheduled(number))

    def is_of_another_timer(self, event: HistoryEvent) -> bool:
        """Whether a timer fired that a turn created which a crash undid.

        The turn that took its place created a later one under the same number.
        """
        if event.type is not EventType.TimerFired:
            return False
        created = self._fires_at(event["TimerId"])
        return created is not None and to_ticks(event["FireAt"]) < to_ticks(created)

    def _fires_at(self, number: int) -> str | None:
        found = self._timers.get(number)
        return found or (self._trunk._fires_at(number) if self._trunk else None)

    def _has_seen(self, identity: Identity) -> bool:
        trunk = self._trunk
        return identity in self._seen or bool(trunk and trunk._has_seen(identity))


def identity_of(event: HistoryEvent) -> Identity:
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
    text = "|".join(str(part) for part in identity_of(event))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]


def marks_of(events: Sequence[HistoryEvent]) -> list[str]:
    """Return the marks of events that only their marks can tell when they come again.

    Answers and starts are told by their execution.
    """
    told = (EventType.ExecutionStarted, EventType.OrchestratorCompleted, *ANSWERS)
    return [mark_of(event) for event in events if event.type not in told]
