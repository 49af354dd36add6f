"""When a message may be worked on: timers, starts and signals that are scheduled."""

from __future__ import annotations

import time

from localhost.history import EventType
from localhost.records import TaskMessage
from localhost.timestamps import TICKS_PER_S, steady_ticks, to_datetime, to_ticks


def hidden_for_s(message: TaskMessage, now: str) -> int | None:
    """Return how long a new message stays invisible; None for one of now.

    The queue counts whole seconds, cut off; what arrives early waits in memory.
    """
    due_at = _due_at(message)
    if due_at is None:
        return None
    return max(0, int((to_datetime(due_at) - to_datetime(now)).total_seconds()))


def due_at_s(message: TaskMessage | None) -> float:
    """Return the moment of ``time.monotonic`` from which on a message is due.

    Raises ``ValueError`` when what should be its time is none.
    """
    due_at = _due_at(message) if message is not None else None
    if due_at is None:
        return 0.0
    # In this order: a pause between the two readings makes it late, never early.
    wait_s = (to_ticks(due_at) - steady_ticks()) / TICKS_PER_S
    return wait_s + time.monotonic()


def _due_at(message: TaskMessage) -> str | None:
    """The timestamp before which a message must not be worked on."""
    event = message.event
    if event.type is EventType.TimerFired:
        return str(event["FireAt"])
    if event.type is EventType.ExecutionStarted and event["ScheduledStartTime"]:
        return str(event["ScheduledStartTime"])
    if event.type is EventType.EventRaised and message.instance_id.startswith("@"):
        operation, _, due_at = str(event["Name"] or "").partition("@")
        return due_at or None if operation == "op" else None
    return None
