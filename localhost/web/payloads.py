"""JSON of the Durable HTTP API: status, history, links, errors; pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote_plus

from localhost.history import FIELDS, EventType, HistoryEvent
from localhost.records import Instance
from localhost.text import dumps, first_of, loads
from localhost.timestamps import padded, trimmed, whole_seconds

WEBHOOK_PATH = "/runtime/webhooks/durabletask"

# Operations of an instance: the link's key and what follows the instance's address.
_LINKS = {
    "statusQueryGetUri": "?",
    "sendEventPostUri": "/raiseEvent/{eventName}?",
    "terminatePostUri": "/terminate?reason={text}&",
    "rewindPostUri": "/rewind?reason={text}&",
    "purgeHistoryDeleteUri": "?",
    "restartPostUri": "/restart?",
    "suspendPostUri": "/suspend?reason={text}&",
    "resumePostUri": "/resume?reason={text}&",
}
_SCHEDULE_OF = {
    EventType.TaskCompleted: EventType.TaskScheduled,
    EventType.TaskFailed: EventType.TaskScheduled,
    EventType.SubOrchestrationInstanceCompleted: (
        EventType.SubOrchestrationInstanceCreated
    ),
    EventType.SubOrchestrationInstanceFailed: EventType.SubOrchestrationInstanceCreated,
}
_HIDDEN_TYPES = {EventType.OrchestratorStarted, EventType.OrchestratorCompleted}
_HIDDEN_FIELDS = {
    EventType.ExecutionStarted: {
        "OrchestrationInstance",
        "ParentInstance",
        "Version",
        "Tags",
        "Name",
    },
    EventType.TaskScheduled: {"Version"},
    EventType.SubOrchestrationInstanceCreated: {"Version"},
    EventType.TaskCompleted: {"TaskScheduledId"},
    EventType.TaskFailed: {"TaskScheduledId"},
    EventType.SubOrchestrationInstanceCompleted: {"TaskScheduledId"},
    EventType.SubOrchestrationInstanceFailed: {"TaskScheduledId"},
    EventType.TimerFired: {"TimerId"},
}


def encoded(text: str) -> str:
    """Percent-encode as .NET's ``WebUtility.UrlEncode`` does: a space is ``+``."""
    return quote_plus(text, safe="-_.!*()").replace("~", "%7E")


def universal_query(*, hub: str, connection: str, code: str) -> str:
    """Return the query that every management address carries."""
    return f"taskHub={encoded(hub)}&connection={encoded(connection)}&code={code}"


def links(origin: str, instance_id: str, query: str) -> dict[str, str]:
    """Return the addresses of an instance; ``instance_id`` is in them as given."""
    address = f"{origin}{WEBHOOK_PATH}/instances/{instance_id}"
    return {key: f"{address}{rest}{query}" for key, rest in _LINKS.items()}


def start_payload(origin: str, instance_id: str, query: str) -> dict[str, str]:
    """Return the body of a 202 to a start: id and links, but none to rewind.

    A space of the id is ``%20``: in a path, ``+`` is no space.
    """
    all_links = links(origin, encoded(instance_id).replace("+", "%20"), query)
    del all_links["rewindPostUri"]
    return {"id": instance_id, **all_links}


def client_binding(
    *,
    host: str,
    hub: str,
    binding_hub: str | None,
    binding_connection: str | None,
    code: str,
    rpc_base_url: str | None,
) -> str:
    """Return what a durableClient binding hands to the user's function."""
    origin = f"http://{host}"
    base = f"{origin}{WEBHOOK_PATH}"
    start = f"{base}/orchestrators/{{functionName}}[/{{instanceId}}]?"
    wait = "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}&"
    query = universal_query(
        hub=binding_hub or hub, connection=binding_connection or "Storage", code=code
    )
    value = {
        "taskHubName": binding_hub or hub,
        "connectionName": binding_connection,
        "creationUrls": {
            "createNewInstancePostUri": f"{start}code={code}",
            "createAndWaitOnNewInstancePostUri": f"{start}{wait}code={code}",
        },
        "managementUrls": {"id": "INSTANCEID", **links(origin, "INSTANCEID", query)},
        "baseUrl": base,
        "requiredQueryStringParameters": f"code={code}",
        "rpcBaseUrl": rpc_base_url,
        "httpBaseUrl": None,
    }
    if rpc_base_url is None:
        del value["rpcBaseUrl"]
    return dumps(value)


def status_payload(
    instance: Instance,
    *,
    show_input: bool = True,
    history: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return an instance's status as JSON; ``history`` comes last when it is asked."""
    payload = {
        "name": instance.name,
        "instanceId": instance.instance_id,
        "runtimeStatus": instance.status.value,
        "input": leniently_parsed(instance.input) if show_input else None,
        "customStatus": leniently_parsed(instance.custom_status),
        "output": leniently_parsed(instance.output),
        "createdTime": whole_seconds(instance.created_at),
        "lastUpdatedTime": whole_seconds(instance.updated_at),
    }
    return payload if history is None else {**payload, "historyEvents": history}


def history_payload(
    events: Iterable[HistoryEvent], *, show_input: bool, show_output: bool
) -> list[dict[str, Any]]:
    """Return ``historyEvents``: answers carry the name and time of their schedule."""
    events = list(events)
    answered = {
        (_SCHEDULE_OF[event.type], event.answers)
        for event in events
        if event.type in _SCHEDULE_OF
    }
    schedules = {(event.type, event.event_id): event for event in events}
    shown = []
    for event in events:
        if event.type in _HIDDEN_TYPES or (event.type, event.event_id) in answered:
            continue
        wire = _shown(event, show_output=show_output)
        if event.type in _SCHEDULE_OF:
            schedule = schedules.get((_SCHEDULE_OF[event.type], event.answers or 0))
            wire |= _of_schedule(schedule)
        if event.type is EventType.ExecutionStarted:
            wire["FunctionName"] = event["Name"]
        if not show_input:
            wire.pop("Input", None)
        shown.append(wire)
    return shown


def _shown(event: HistoryEvent, *, show_output: bool) -> dict[str, Any]:
    """Return an event as a status shows it, by itself."""
    hidden = _HIDDEN_FIELDS.get(event.type, set())
    wire: dict[str, Any] = {}
    for name in FIELDS[event.type]:
        if name == "|" or name in hidden:
            continue
        wire[name] = event[name]
    wire = _with_type(event, wire)
    if "Result" in wire:
        if show_output:
            wire["Result"] = leniently_parsed(event["Result"])
        else:
            del wire["Result"]
    if event.type is EventType.ExecutionCompleted:
        wire["OrchestrationStatus"] = event["OrchestrationStatus"].value
    wire["Timestamp"] = event.timestamp
    return wire


def _with_type(event: HistoryEvent, wire: dict[str, Any]) -> dict[str, Any]:
    if event.type is EventType.GenericEvent:
        return {**wire, "EventType": event.type.name}
    return {"EventType": event.type.name, **wire}


def _of_schedule(schedule: HistoryEvent | None) -> dict[str, Any]:
    if schedule is None:
        return {}
    return {
        "ScheduledTime": trimmed(padded(schedule.timestamp))[:-1] + "+00:00",
        "FunctionName": schedule["Name"],
        "Input": schedule["Input"],
    }


def error_payload(
    message: str, *, text: str | None = None, type_: str | None = None
) -> dict[str, str]:
    """Return an error's body; with ``text`` also that of the exception behind it."""
    if text is None:
        return {"Message": message}
    return {
        "Message": message,
        "ExceptionMessage": text,
        "ExceptionType": type_ or "System.Exception",
        "StackTrace": "",
    }


def leniently_parsed(text: str | None) -> Any:
    """Return a stored text as JSON: its first value, or the text if it is none."""
    if text is None:
        return None
    if not text.strip():
        return ""
    try:
        return first_of(text.strip())
    except ValueError:
        return text


def continuation_token(after: tuple[str, str]) -> str:
    """Return the opaque token that continues a list."""
    token = {
        "NextPartitionKey": after[0],
        "NextRowKey": after[1],
        "NextTableName": None,
        "TargetLocation": 0,
    }
    return base64.b64encode(dumps(token).encode()).decode()


def read_continuation_token(token: str) -> tuple[str, str]:
    """Read a token. Raises ``ValueError``, in the extension's words."""
    text = token
    try:
        text = base64.b64decode(token, validate=True).decode(errors="replace")
        value: Mapping[str, Any] = loads(text)
        return str(value["NextPartitionKey"]), str(value["NextRowKey"] or "")
    except (ValueError, KeyError, TypeError) as exc:
        raise ValueError(
            f"Unexpected character encountered while parsing value: {text[:1]}."
            " Path '', line 0, position 0."
        ) from exc
