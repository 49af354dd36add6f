"""History events: what an instance went through, and their JSON.

The names of fields are Durable's own on the wire (``TaskScheduledId``, ``FireAt`` …).
One table, ``FIELDS``, says which fields an event has; messages, rows of the History
table and the body that a function receives are all made from it.

Imports nothing of ours but ``errors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

from localhost.errors import HostError


class UnreadableMessageError(HostError):
    """A queue message is not one that Durable writes; the text says why."""


class EventType(IntEnum):
    """Kinds of history events; the numbers are those on the wire."""

    ExecutionStarted = 0
    ExecutionCompleted = 1
    ExecutionFailed = 2
    ExecutionTerminated = 3
    TaskScheduled = 4
    TaskCompleted = 5
    TaskFailed = 6
    SubOrchestrationInstanceCreated = 7
    SubOrchestrationInstanceCompleted = 8
    SubOrchestrationInstanceFailed = 9
    TimerCreated = 10
    TimerFired = 11
    OrchestratorStarted = 12
    OrchestratorCompleted = 13
    EventSent = 14
    EventRaised = 15
    ContinueAsNew = 16
    GenericEvent = 17
    HistoryState = 18
    ExecutionSuspended = 19
    ExecutionResumed = 20


class Status(str, Enum):
    """Runtime status of an instance, as the Instances table spells it."""

    RUNNING = "Running"
    COMPLETED = "Completed"
    CONTINUED_AS_NEW = "ContinuedAsNew"
    FAILED = "Failed"
    CANCELED = "Canceled"
    TERMINATED = "Terminated"
    PENDING = "Pending"
    SUSPENDED = "Suspended"

    @property
    def is_terminal(self) -> bool:
        """Whether an instance in this status never runs again by itself."""
        return self in _TERMINAL


_TERMINAL = {Status.COMPLETED, Status.FAILED, Status.CANCELED, Status.TERMINATED}
STATUS_NUMBERS = {status: number for number, status in enumerate(Status)}

_TASK_FAILED = ("TaskScheduledId", "Reason", "Details", "FailureDetails")
# Fields of each event in the order of the wire; those before the bar stand before
# EventType there.
FIELDS: Mapping[EventType, tuple[str, ...]] = {
    EventType.ExecutionStarted: (
        "OrchestrationInstance",
        "|",
        "ParentInstance",
        "Name",
        "Version",
        "Input",
        "Tags",
        "Correlation",
        "ParentTraceContext",
        "ScheduledStartTime",
        "Generation",
    ),
    EventType.ExecutionCompleted: ("OrchestrationStatus", "Result", "FailureDetails"),
    EventType.ExecutionTerminated: ("Input",),
    EventType.TaskScheduled: ("Name", "Version", "Input", "ParentTraceContext"),
    EventType.TaskCompleted: ("TaskScheduledId", "Result"),
    EventType.TaskFailed: _TASK_FAILED,
    EventType.SubOrchestrationInstanceCreated: (
        "Name",
        "Version",
        "InstanceId",
        "Input",
        "ClientSpanId",
    ),
    EventType.SubOrchestrationInstanceCompleted: ("TaskScheduledId", "Result"),
    EventType.SubOrchestrationInstanceFailed: _TASK_FAILED,
    EventType.TimerCreated: ("FireAt",),
    EventType.TimerFired: ("TimerId", "FireAt"),
    EventType.OrchestratorStarted: (),
    EventType.OrchestratorCompleted: (),
    EventType.EventSent: ("InstanceId", "Name", "Input"),
    EventType.EventRaised: ("Name", "Input", "ParentTraceContext"),
    EventType.ContinueAsNew: ("OrchestrationStatus", "Result", "FailureDetails"),
    EventType.GenericEvent: ("Data", "|"),
    EventType.ExecutionSuspended: ("Reason",),
    EventType.ExecutionResumed: ("Reason",),
}

# Answers to what an execution scheduled, and the field that names the schedule.
ANSWERS: Mapping[EventType, str] = {
    EventType.TaskCompleted: "TaskScheduledId",
    EventType.TaskFailed: "TaskScheduledId",
    EventType.SubOrchestrationInstanceCompleted: "TaskScheduledId",
    EventType.SubOrchestrationInstanceFailed: "TaskScheduledId",
    EventType.TimerFired: "TimerId",
}
# Kinds that stand in histories only.
NEVER_SENT = frozenset(
    {
        EventType.ExecutionCompleted,
        EventType.SubOrchestrationInstanceCreated,
        EventType.TimerCreated,
        EventType.OrchestratorStarted,
        EventType.OrchestratorCompleted,
        EventType.EventSent,
        EventType.ContinueAsNew,
    }
)
SCHEDULES = frozenset(
    {
        EventType.TaskScheduled,
        EventType.SubOrchestrationInstanceCreated,
        EventType.TimerCreated,
        EventType.EventSent,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryEvent:
    """One event of an instance's history, or the event that a message carries.

    ``timestamp`` is a timestamp text; ``fields`` holds the event's own fields under
    their wire names, a missing one being null. ``OrchestrationStatus`` is a ``Status``.
    """

    type: EventType
    timestamp: str
    event_id: int = -1
    is_played: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """Return one of the event's own fields, None when it is not there."""
        return self.fields.get(name)

    @property
    def answers(self) -> int | None:
        """The id of the task or timer that this event answers."""
        name = ANSWERS.get(self.type)
        return None if name is None else self.fields.get(name)

    def to_wire(self) -> dict[str, Any]:
        """Return the event as a function sees it in its history, in order."""
        names = FIELDS[self.type]
        wire: dict[str, Any] = {}
        if "|" not in names:
            wire["EventType"] = int(self.type)
        for name in names:
            if name == "|":
                wire["EventType"] = int(self.type)
            else:
                wire[name] = self.fields.get(name)
        if "OrchestrationStatus" in wire:
            wire["OrchestrationStatus"] = STATUS_NUMBERS[wire["OrchestrationStatus"]]
        wire["EventId"] = self.event_id
        wire["IsPlayed"] = self.is_played
        wire["Timestamp"] = self.timestamp
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> HistoryEvent:
        """Read the event of a message; unknown properties are ignored.

        Raises ``UnreadableMessageError`` when it is no event that travels in messages.
        """
        try:
            type_ = EventType(wire["EventType"])
            names = FIELDS[type_]
            timestamp = wire["Timestamp"]
            return cls(
                type=type_,
                timestamp=timestamp if isinstance(timestamp, str) else str(timestamp),
                event_id=int(wire.get("EventId", -1)),
                is_played=bool(wire.get("IsPlayed", False)),
                fields={n: _without_types(wire[n]) for n in names if n in wire},
            )
        except (KeyError, ValueError, TypeError) as exc:
            raise UnreadableMessageError(
                f"the message holds no event that Durable sends: {exc!r}"
            ) from exc


def _without_types(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {k: _without_types(v) for k, v in value.items() if k != "$type"}
