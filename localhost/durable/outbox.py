"""The messages that a turn sends; pure.

Ids derive from instance, execution and number of the action: a message that is sent
again after a crash is the same message to whoever receives it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from localhost.durable.execution import Execution
from localhost.durable.replay import Replay, Scheduled
from localhost.history import EventType, HistoryEvent, Status
from localhost.records import TaskMessage


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who sends a turn's messages: instance and execution, and its turn's number."""

    instance_id: str
    execution_id: str
    episode: int


def messages(
    replay: Replay,
    execution: Execution,
    sender: Sender,
    times: Mapping[int, str],
) -> list[TaskMessage]:
    """Return what a turn sends for what it schedules, by number.

    ``times`` are the timestamps of the events that say so in the history: whoever
    answers a message names the time at which it was scheduled.
    """
    return [
        _sent(_MESSAGES[planned.type](planned, execution), sender, times[planned.id])
        for planned in replay.in_order()
    ]


def messages_again(
    replay: Replay, execution: Execution, sender: Sender, numbers: Collection[int]
) -> dict[int, TaskMessage]:
    """Return the messages for what the history has scheduled under some numbers."""
    found: dict[int, TaskMessage] = {}
    for number in sorted(numbers):
        if number in replay.met:
            planned, event = replay.met[number]
            planned = replace(planned, fields={**planned.fields, **event.fields})
            message = _MESSAGES[planned.type](planned, execution)
            found[number] = _sent(message, sender, event.timestamp)
    return found


def answer_to_parent(
    started: HistoryEvent, completed: HistoryEvent, sender: Sender
) -> TaskMessage | None:
    """Return the message that tells a parent how its child ended, if there is one."""
    parent = started["ParentInstance"]
    if parent is None:
        return None
    fields: dict[str, Any] = {"TaskScheduledId": parent["TaskScheduleId"]}
    status, result = completed["OrchestrationStatus"], completed["Result"]
    if status is Status.COMPLETED:
        type_ = EventType.SubOrchestrationInstanceCompleted
        fields["Result"] = result
    else:
        type_ = EventType.SubOrchestrationInstanceFailed
        has_failed = status is Status.FAILED
        details = details_of(started["Name"], result) if has_failed else None
        fields |= {"Reason": result, "Details": details}
    target = parent["OrchestrationInstance"]
    message = TaskMessage(
        event=HistoryEvent(type=type_, timestamp="", fields=fields),
        instance_id=target["InstanceId"],
        execution_id=target["ExecutionId"],
    )
    return _sent(message, sender, completed.timestamp)


def details_of(name: str, reason: str | None) -> str:
    """Return the details of a failure, as a parent gets them."""
    bare = (reason or "").removeprefix(f"Orchestrator function '{name}' failed: ")
    return f"Message: {bare}, StackTrace: "


def _sent(message: TaskMessage, sender: Sender, at: str) -> TaskMessage:
    return replace(
        message,
        event=replace(message.event, timestamp=at),
        sender=(sender.instance_id, sender.execution_id),
        episode=sender.episode,
    )


def _activity_message(planned: Scheduled, execution: Execution) -> TaskMessage:
    return TaskMessage(
        event=HistoryEvent(
            type=EventType.TaskScheduled,
            timestamp="",
            event_id=planned.id,
            fields={**planned.fields, "Input": planned.input},
        ),
        instance_id=execution.instance_id,
        execution_id=execution.execution_id,
    )


def _timer_message(planned: Scheduled, execution: Execution) -> TaskMessage:
    fields = {"TimerId": planned.id, "FireAt": planned.fields["FireAt"]}
    return TaskMessage(
        event=HistoryEvent(type=EventType.TimerFired, timestamp="", fields=fields),
        instance_id=execution.instance_id,
        execution_id=execution.execution_id,
    )


def _child_message(planned: Scheduled, execution: Execution) -> TaskMessage:
    child_id = planned.fields["InstanceId"]
    child = {
        "InstanceId": child_id,
        "ExecutionId": execution.derived_id(planned.id, "child"),
    }
    parent = {
        "Name": execution.name,
        "OrchestrationInstance": {
            "InstanceId": execution.instance_id,
            "ExecutionId": execution.execution_id,
        },
        "TaskScheduleId": planned.id,
        "Version": "",
    }
    fields = {
        "OrchestrationInstance": child,
        "ParentInstance": parent,
        "Name": planned.fields["Name"],
        "Version": "",
        "Input": planned.input,
    }
    return TaskMessage(
        event=HistoryEvent(
            type=EventType.ExecutionStarted, timestamp="", fields=fields
        ),
        instance_id=child_id,
        execution_id=child["ExecutionId"],
    )


def _event_message(planned: Scheduled, execution: Execution) -> TaskMessage:
    fields = {"Name": planned.fields["Name"], "Input": planned.fields["Input"]}
    return TaskMessage(
        event=HistoryEvent(type=EventType.EventRaised, timestamp="", fields=fields),
        instance_id=planned.fields["InstanceId"],
        execution_id=None,
    )


_MESSAGES = {
    EventType.TaskScheduled: _activity_message,
    EventType.TimerCreated: _timer_message,
    EventType.SubOrchestrationInstanceCreated: _child_message,
    EventType.EventSent: _event_message,
}
