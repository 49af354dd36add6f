"""The messages that a turn sends; pure.

Ids derive from instance, execution and number of the action: a message that is sent
again after a crash is the same message to whoever receives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from localhost.durable.execution import Execution
from localhost.durable.replay import Finished, Replay, Scheduled
from localhost.history import EventType, HistoryEvent, Status
from localhost.records import TaskMessage
from localhost.timestamps import from_ticks, to_ticks


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who sends a turn's messages: instance and execution, and its turn's number."""

    instance_id: str
    execution_id: str
    episode: int


def messages(
    started: HistoryEvent,
    execution: Execution,
    replay: Replay,
    sender: Sender,
    now: str,
) -> list[TaskMessage]:
    """Return what the turn sends; no two messages of it have the same timestamp."""
    envelopes = [_message_of(planned, execution) for planned in replay.in_order()]
    if replay.finished is not None and started["ParentInstance"] is not None:
        envelopes.append(_answer_to_parent(started["ParentInstance"], replay.finished))
    first_tick = to_ticks(now)
    return [
        replace(
            message,
            event=replace(message.event, timestamp=from_ticks(first_tick + place)),
            sender=(sender.instance_id, sender.execution_id),
            episode=sender.episode,
        )
        for place, message in enumerate(envelopes)
    ]


def _message_of(planned: Scheduled, execution: Execution) -> TaskMessage:
    make = _MESSAGES[planned.type]
    return make(planned, execution)


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


def _answer_to_parent(parent: Mapping[str, Any], finished: Finished) -> TaskMessage:
    number = parent["TaskScheduleId"]
    fields: dict[str, Any] = {"TaskScheduledId": number}
    if finished.status is Status.COMPLETED:
        type_ = EventType.SubOrchestrationInstanceCompleted
        fields["Result"] = finished.result
    else:
        type_ = EventType.SubOrchestrationInstanceFailed
        fields |= {"Reason": finished.result, "Details": finished.details}
    target = parent["OrchestrationInstance"]
    return TaskMessage(
        event=HistoryEvent(type=type_, timestamp="", fields=fields),
        instance_id=target["InstanceId"],
        execution_id=target["ExecutionId"],
    )


_MESSAGES = {
    EventType.TaskScheduled: _activity_message,
    EventType.TimerCreated: _timer_message,
    EventType.SubOrchestrationInstanceCreated: _child_message,
    EventType.EventSent: _event_message,
}
