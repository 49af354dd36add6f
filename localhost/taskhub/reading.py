"""The text of a queue message → the task message in it, or why nobody can read it.

A message that was read here can be worked on: it has what its kind needs, texts where
texts belong, and its times are times. Anything else would fail again and again later.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

from localhost.history import ANSWERS, EventType, HistoryEvent, UnreadableMessageError
from localhost.records import TaskMessage
from localhost.taskhub.due import due_at_s
from localhost.timestamps import to_ticks

_TEXTS = ("Name", "Version", "Input", "Result", "Reason", "Details", "Data")
_NAMED = (EventType.ExecutionStarted, EventType.TaskScheduled, EventType.EventRaised)


def unpacked(text: str) -> str:
    """Return the JSON of a message, which is plain or in Base64."""
    if text.startswith("{"):
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError as exc:
        raise UnreadableMessageError(f"neither JSON nor Base64: {exc}") from exc


def task_message_of(text: str) -> TaskMessage:
    """Read an envelope. Raises ``UnreadableMessageError``."""
    try:
        message = TaskMessage.from_json(text)
        to_ticks(message.event.timestamp)
        due_at_s(message)
    except (RecursionError, ValueError, OverflowError) as exc:
        raise UnreadableMessageError(f"no message that Durable sends: {exc}") from exc
    for fault in _faults(message):
        raise UnreadableMessageError(f"{message.event.type.name}: {fault}")
    return message


def _faults(message: TaskMessage) -> Iterator[str]:
    """Say what a message lacks to be worked on."""
    event = message.event
    if not message.instance_id:
        yield "it names no instance"
    if not isinstance(message.execution_id, str | None):
        yield "its ExecutionId is no text"
    for name in _TEXTS:
        if not isinstance(event[name], str | None):
            yield f"its {name} is no text"
    if event.type in _NAMED and event["Name"] is None:
        yield "it has no Name"
    if event.type in ANSWERS and not isinstance(event.answers, int):
        yield f"its {ANSWERS[event.type]} is no number"
    if event.type is EventType.ExecutionStarted:
        yield from _faults_of_start(event)


def _faults_of_start(event: HistoryEvent) -> Iterator[str]:
    if not _names_execution(event["OrchestrationInstance"]):
        yield "its OrchestrationInstance names no execution"
    parent = event["ParentInstance"]
    if parent is None:
        return
    if not isinstance(parent, Mapping) or not _names_execution(
        parent.get("OrchestrationInstance")
    ):
        yield "its ParentInstance names no execution"
    elif not isinstance(parent.get("TaskScheduleId"), int):
        yield "its ParentInstance has no TaskScheduleId"


def _names_execution(target: object) -> bool:
    """Whether an OrchestrationInstance has both ids."""
    return isinstance(target, Mapping) and all(
        isinstance(target.get(name), str) for name in ("InstanceId", "ExecutionId")
    )
