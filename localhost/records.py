"""Task messages and instances: what is written down beside history, and its JSON.

Imports nothing of ours but ``errors``, ``history`` and ``text``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localhost.history import (
    NEVER_SENT,
    EventType,
    HistoryEvent,
    Status,
    UnreadableMessageError,
)
from localhost.text import dumps, loads

_CORE = "DurableTask.Core."
_ASKED_AT = "LocalhostAskedAt"  # of our own; the real host reads past it
_TYPES_OF_FIELDS = {
    "OrchestrationInstance": _CORE + "OrchestrationInstance",
    "ParentInstance": _CORE + "ParentInstance",
    "FailureDetails": _CORE + "FailureDetails",
    "InnerFailure": _CORE + "FailureDetails",
    "ParentTraceContext": _CORE + "Tracing.DistributedTraceContext",
}
_TAGS_TYPE = (
    "System.Collections.Generic.Dictionary`2[[System.String, System.Private.CoreLib],"
    "[System.String, System.Private.CoreLib]]"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskMessage:
    """A message of a control queue or of the work-item queue.

    ``execution_id`` None means whatever execution is current. ``sender`` is instance
    id and execution id, both empty for a client; ``episode`` the sender's turn.
    ``asked_at`` of an activity's answer is the timestamp of the very TaskScheduled that
    it answers; None when whoever sent it did not say so.
    """

    event: HistoryEvent
    instance_id: str
    execution_id: str | None
    sender: tuple[str, str | None] = ("", "")
    episode: int | None = None
    asked_at: str | None = None

    def to_json(self, *, activity_id: str, sequence_number: int) -> str:
        """Return the envelope as the extension writes it; ids are the sender's."""
        envelope: dict[str, Any] = {
            "$type": "DurableTask.AzureStorage.MessageData",
            "ActivityId": activity_id,
            "TaskMessage": {
                "$type": _CORE + "TaskMessage",
                "Event": self._event_with_types(),
                "SequenceNumber": 0,
                "OrchestrationInstance": {
                    "$type": _CORE + "OrchestrationInstance",
                    "InstanceId": self.instance_id,
                    "ExecutionId": self.execution_id,
                },
                "OrchestrationExecutionContext": self._execution_context(),
            },
            "CompressedBlobName": None,
            "SequenceNumber": sequence_number,
            "Episode": self.episode,
            "Sender": {"InstanceId": self.sender[0], "ExecutionId": self.sender[1]},
            "SerializableTraceContext": None,
        }
        if self.episode is None:
            del envelope["Episode"]
        if self.asked_at is not None:
            envelope[_ASKED_AT] = self.asked_at
        return dumps(envelope)

    def _event_with_types(self) -> dict[str, Any]:
        kind = self.event.type.name.removesuffix("Event")  # GenericEvent is its class
        type_name = f"{_CORE}History.{kind}Event"
        wire = {
            name: _with_types(name, value)
            for name, value in self.event.to_wire().items()
        }
        return {"$type": type_name, **wire}

    def _execution_context(self) -> dict[str, Any] | None:
        """What a parent passes on to its activities and children: its tags."""
        is_child = self.event["ParentInstance"] is not None
        if not is_child and self.event.type is not EventType.TaskScheduled:
            return None
        return {
            "$type": _CORE + "OrchestrationExecutionContext",
            "OrchestrationTags": {"$type": _TAGS_TYPE},
        }

    @classmethod
    def from_json(cls, text: str) -> TaskMessage:
        """Read an envelope. Raises ``UnreadableMessageError``."""
        try:
            envelope = loads(text)
            message = envelope["TaskMessage"]
            target = message["OrchestrationInstance"]
            sender = envelope.get("Sender") or {}
            event = HistoryEvent.from_wire(message["Event"])
            if event.type in NEVER_SENT:
                raise ValueError(f"{event.type.name} is never sent")
            return cls(
                event=event,
                instance_id=str(target["InstanceId"]),
                execution_id=target.get("ExecutionId"),
                sender=(sender.get("InstanceId") or "", sender.get("ExecutionId")),
                episode=envelope.get("Episode"),
                asked_at=envelope.get(_ASKED_AT),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as exc:
            raise UnreadableMessageError(
                f"the message is no task message in JSON: {exc!r}"
            ) from exc


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """The row of one instance: what a status shows. Times are timestamp texts.

    ``input``, ``output`` and ``custom_status`` are texts as stored (JSON, or the plain
    text of a failure); None is none. ``etag`` is that of the row that was read.
    """

    instance_id: str
    name: str
    execution_id: str | None
    status: Status
    created_at: str
    updated_at: str
    input: str | None = None
    output: str | None = None
    custom_status: str | None = None
    completed_at: str | None = None
    scheduled_at: str | None = None
    generation: int | None = None
    version: str = ""
    etag: str | None = None


def _with_types(name: str, value: Any) -> Any:
    """Add ``$type`` to a nested object of a message, as the extension does."""
    if not isinstance(value, dict) or name not in _TYPES_OF_FIELDS:
        return value
    inner = {key: _with_types(key, item) for key, item in value.items()}
    return {"$type": _TYPES_OF_FIELDS[name], **inner}


def json_object(text: str | None) -> dict[str, Any]:
    """Return the JSON object in a text; an empty one when there is none."""
    try:
        value = loads(text or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
