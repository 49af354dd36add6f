"""Rows of the Instances and History tables ↔ records; pure.

Columns have Durable's names and types: a null is a column that is not there, integers
are Int32, times carry ``@odata.type``, nested objects are JSON texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localhost.history import FIELDS, EventType, HistoryEvent, Status
from localhost.records import Instance
from localhost.taskhub.port import InstanceChange, UnreadableHistoryError
from localhost.text import dumps, loads
from localhost.timestamps import padded, trimmed

Row = dict[str, Any]

SENTINEL = "sentinel"
APPLIED = "LocalhostAppliedRequests"
LARGEST_VALUE_CHARS = 30_720  # 60 KiB as the table service counts: two bytes each
# Texts that may be moved into a blob when they are too large for a column.
LARGE_FIELDS = frozenset(
    {"Name", "Input", "Result", "Reason", "Details", "Correlation", "FailureDetails"}
)
# Those of an instance's row that may be the address of a blob.
LARGE_COLUMNS = frozenset({"Input", "Output"})
_JSON_FIELDS = frozenset(
    {
        "OrchestrationInstance",
        "ParentInstance",
        "Tags",
        "ParentTraceContext",
        "FailureDetails",
    }
)
_TIME_FIELDS = frozenset({"FireAt", "ScheduledStartTime"})
_LINE_ENDS = (0x2028, 0x2029)  # Azurite refuses them in the address of a transaction
_ESCAPES = {
    **str.maketrans({"^": "^^", "/": "^0", "\\": "^1", "#": "^2", "?": "^3"}),
    **{
        number: f"^{chr(number + 0xC0)}"
        for number in (*range(32), *range(127, 160), *_LINE_ENDS)
    },
}
_QUOTE = "^" + chr(ord("'") + 0xC0)
_ESCAPED = {escape[1]: chr(number) for number, escape in _ESCAPES.items()}


def key_of(instance_id: str) -> str:
    """Return the PartitionKey of an instance: characters a key may not have escaped.

    Azurite takes the text ``',RowKey='`` in an id for the end of the key.
    """
    key = instance_id.translate(_ESCAPES)
    return key.replace("'", _QUOTE) if "',RowKey=" in key else key


def id_of(key: str) -> str:
    """Return the instance id of a PartitionKey."""
    if "^" not in key:
        return key
    out, rest = [], iter(key)
    for char in rest:
        if char == "^":
            char = next(rest, "")
            char = _ESCAPED.get(char) or chr(max(0, ord(char or "\xc0") - 0xC0))
        out.append(char)
    return "".join(out)


def row_key(ordinal: int) -> str:
    """Return the RowKey of the event with that place in its execution."""
    return f"{ordinal:016X}"


def bytes_of(row: Row) -> int:
    """Return how large the texts of a row are in a request, at most.

    What is not ASCII is escaped there: six bytes for each unit of UTF-16.
    """
    texts = (value for value in row.values() if isinstance(value, str))
    return sum(
        len(text) if text.isascii() else 3 * len(text.encode("utf-16-le", "replace"))
        for text in texts
    )


def is_too_large(value: object) -> bool:
    """Whether a value has no room in a column."""
    return (
        isinstance(value, str)
        and len(value) > LARGEST_VALUE_CHARS // 2
        and len(value.encode("utf-16-le")) > 2 * LARGEST_VALUE_CHARS
    )


def place_of(row_key: str) -> int:
    """Return the place of an event in its execution. Raises ``HostError``."""
    try:
        return int(row_key, 16)
    except ValueError as exc:
        raise UnreadableHistoryError(
            f"History: a row has the RowKey '{row_key}'; expected the sentinel or 16"
            " hexadecimal digits"
        ) from exc


def row_of_event(event: HistoryEvent, execution_id: str) -> Row:
    """Return the columns of an event's row, without its keys."""
    row: Row = {}
    for name in FIELDS[event.type]:
        value = event.fields.get(name) if name != "|" else None
        if value is None:
            continue
        if name in _TIME_FIELDS:
            _set_time(row, name, value)
        elif name in _JSON_FIELDS and not isinstance(value, str):
            row[name] = dumps(value)
        else:
            row[name] = value.value if isinstance(value, Status) else value
    row["EventId"] = event.event_id
    row["IsPlayed"] = event.is_played
    _set_time(row, "_Timestamp", event.timestamp)
    row["EventType"] = event.type.name
    row["ExecutionId"] = execution_id
    return row


def event_of_row(row: Mapping[str, Any]) -> HistoryEvent:
    """Read an event's row. Raises ``UnreadableHistoryError``."""
    try:
        type_ = EventType[row["EventType"]]
        names = FIELDS[type_]
        return HistoryEvent(
            type=type_,
            timestamp=trimmed(row["_Timestamp"]),
            event_id=int(row.get("EventId", -1)),
            is_played=bool(row.get("IsPlayed", False)),
            fields={
                name: _value_of_column(name, row[name])
                for name in names
                if row.get(name) is not None
            },
        )
    except (KeyError, ValueError, TypeError) as exc:
        place = f"{row.get('PartitionKey')}/{row.get('RowKey')}"
        raise UnreadableHistoryError(
            f"row {place} of the history is no event that Durable writes: {exc!r}"
        ) from exc


def sentinel_row(
    execution_id: str, now: str, *, is_complete: bool, applied: Sequence[str] = ()
) -> Row:
    """Return the columns of the row that guards an instance's history.

    ``applied`` stands in a column of our own, which the real host leaves alone. It is
    written with the last rows of a checkpoint: what is in the rows before is known
    from them.
    """
    row: Row = {"ExecutionId": execution_id, "IsCheckpointComplete": is_complete}
    if is_complete:
        _set_time(row, "CheckpointCompletedTimestamp", now)
        if applied:
            row[APPLIED] = ",".join(applied)[-LARGEST_VALUE_CHARS:]
    return row


def applied_of(sentinel: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of requests that an entity's sentinel row tells of."""
    return tuple(filter(None, str(sentinel.get(APPLIED) or "").split(",")))


def row_of_start(started: HistoryEvent, now: str, *, hub: str, input_: Any) -> Row:
    """Return the row of an instance that a client starts; ``input_`` may be a URL."""
    row: Row = {} if input_ is None else {"Input": input_}
    _set_time(row, "CreatedTime", started.timestamp)
    row["Name"] = started["Name"]
    row["Version"] = started["Version"] or ""
    row["RuntimeStatus"] = Status.PENDING.value
    _set_time(row, "LastUpdatedTime", now)
    row["TaskHubName"] = hub
    if started["ScheduledStartTime"] is not None:
        _set_time(row, "ScheduledStartTime", started["ScheduledStartTime"])
    row["ExecutionId"] = started["OrchestrationInstance"]["ExecutionId"]
    row["Generation"] = started["Generation"]
    row["Tags"] = "null"
    return row


def row_of_change(change: InstanceChange) -> Row:
    """Return the columns that a checkpoint merges into its instance's row."""
    row: Row = {
        "CustomStatus": "null" if change.custom_status is None else change.custom_status
    }
    row["ExecutionId"] = change.execution_id
    _set_time(row, "LastUpdatedTime", change.updated_at)
    if change.started is not None:
        row["Name"] = change.started["Name"]
        row["Version"] = change.started["Version"] or ""
        _set_time(row, "CreatedTime", change.started.timestamp)
        row["RuntimeStatus"] = Status.RUNNING.value
        if change.started["Input"] is not None:
            row["Input"] = change.started["Input"]
    if change.status is not None:
        row["RuntimeStatus"] = change.status.value
    if change.completed_at is not None:
        _set_time(row, "CompletedTime", change.completed_at)
    if change.output is not None:
        row["Output"] = change.output
    return row


def instance_of_row(row: Mapping[str, Any]) -> Instance:
    """Read an Instances row; columns that are not there are null."""
    created_at = row.get("CreatedTime") or row.get("Timestamp") or "0001-01-01T00:00:00"
    custom_status = row.get("CustomStatus")
    return Instance(
        instance_id=id_of(row["PartitionKey"]),
        name=row.get("Name") or "",
        version=row.get("Version") or "",
        execution_id=row.get("ExecutionId"),
        status=Status(row.get("RuntimeStatus") or "Pending"),
        created_at=trimmed(created_at),
        updated_at=trimmed(row.get("LastUpdatedTime") or created_at),
        input=row.get("Input"),
        output=row.get("Output"),
        custom_status=None if custom_status == "null" else custom_status,
        completed_at=row.get("CompletedTime"),
        scheduled_at=row.get("ScheduledStartTime"),
        generation=row.get("Generation"),
        etag=row.get("odata.etag"),
    )


def _value_of_column(name: str, value: Any) -> Any:
    if name in _TIME_FIELDS:
        return trimmed(value)
    if name == "OrchestrationStatus":
        return Status(value)
    if name in _JSON_FIELDS and isinstance(value, str):
        return loads(value)
    return value


def _set_time(row: Row, name: str, timestamp: str) -> None:
    row[name] = padded(timestamp)
    row[name + "@odata.type"] = "Edm.DateTime"
