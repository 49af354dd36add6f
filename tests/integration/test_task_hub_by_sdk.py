"""The Azure SDKs read what the task hub writes, and write what it reads."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty, TableEntity

from localhost.history import EventType, HistoryEvent, Status
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.port import Received
from localhost.taskhub.queues import LARGEST_MESSAGE_BYTES
from localhost.taskhub.rows import LARGEST_VALUE_CHARS
from tests.integration.conftest import (
    EXECUTION,
    PARTITIONS,
    Judge,
    add,
    checkpoint,
    completed,
    event,
    message,
    put,
    raised,
    receive,
    started,
    write,
)

LARGE = "ß" * (LARGEST_VALUE_CHARS + 1)
MOMENT = "2026-11-22T04:28:42.7055910Z"
TARGET = {"InstanceId": "abc", "ExecutionId": EXECUTION}


def type_of(value: object) -> str:
    """The type that the table service says a column has."""
    if isinstance(value, EntityProperty):
        edm_type = value.edm_type
        return edm_type.value if isinstance(edm_type, EdmType) else str(edm_type)
    for kind, name in (
        (bool, "Edm.Boolean"),
        (int, "Edm.Int32"),  # the SDK wraps an Int64
        (datetime, "Edm.DateTime"),
        (str, "Edm.String"),
    ):
        if isinstance(value, kind):
            return name
    raise AssertionError(f"a column of type {type(value)}")


def types(row: TableEntity) -> dict[str, str]:
    """Columns and their types, without the keys."""
    keys = ("PartitionKey", "RowKey")
    return {name: type_of(value) for name, value in row.items() if name not in keys}


def ticks(row: TableEntity, column: str) -> str:
    """A time as the service wrote it, which a datetime cannot hold."""
    value = row[column]
    return str(getattr(value, "tables_service_value", "") or value)


def decoded(text: str) -> Any:
    return json.loads(base64.b64decode(text, validate=True))


async def receive_all(hub: TaskHub) -> list[Received]:
    found = [await receive(hub, queue, 32) for queue in hub.queues.control]
    return [item for items in found for item in items]


def control_queue(hub: TaskHub) -> str:
    """The queue of the instance ``abc``."""
    return hub.queues.control[3]


# What the hub writes


async def test_a_message_is_base64_of_the_envelope(hub: TaskHub, judge: Judge) -> None:
    """Its properties stand in the order in which the extension writes them."""
    start = started("abc", Input='"日本"')

    await put(hub, message(start, "abc", execution_id=EXECUTION))
    (text,) = judge.visible(control_queue(hub))

    instance = {"$type": "DurableTask.Core.OrchestrationInstance", **TARGET}
    envelope = decoded(text)
    assert {
        "$type": "DurableTask.AzureStorage.MessageData",
        "ActivityId": envelope["ActivityId"],
        "TaskMessage": {
            "$type": "DurableTask.Core.TaskMessage",
            "Event": {
                "$type": "DurableTask.Core.History.ExecutionStartedEvent",
                "OrchestrationInstance": instance,
                "EventType": 0,
                "ParentInstance": None,
                "Name": "Chain",
                "Version": "",
                "Input": '"日本"',
                "Tags": None,
                "Correlation": None,
                "ParentTraceContext": None,
                "ScheduledStartTime": None,
                "Generation": 0,
                "EventId": -1,
                "IsPlayed": False,
                "Timestamp": start.timestamp,
            },
            "SequenceNumber": 0,
            "OrchestrationInstance": instance,
            "OrchestrationExecutionContext": None,
        },
        "CompressedBlobName": None,
        "SequenceNumber": 1,
        "Sender": {"InstanceId": "", "ExecutionId": ""},
        "SerializableTraceContext": None,
    } == envelope
    assert json.dumps(envelope, ensure_ascii=False, separators=(",", ":")) == (
        base64.b64decode(text).decode()
    )
    first_of_event = next(iter(envelope["TaskMessage"]["Event"]))
    assert ("$type", "$type") == (next(iter(envelope)), first_of_event)


async def test_a_large_message_is_a_wrapper_and_a_gzipped_blob(
    hub: TaskHub, judge: Judge
) -> None:
    """The blob holds the whole envelope."""
    sent = raised("abc", "x" * LARGEST_MESSAGE_BYTES)

    await put(hub, sent)
    (text,) = judge.visible(control_queue(hub))
    (name,) = judge.blob_names()

    envelope = json.loads(judge.blob(name))
    assert {
        "$type": "DurableTask.AzureStorage.MessageData",
        "ActivityId": "00000000-0000-0000-0000-000000000000",
        "TaskMessage": None,
        "CompressedBlobName": name,
        "SequenceNumber": 0,
        "Sender": None,
        "SerializableTraceContext": None,
    } == decoded(text)
    number = envelope["ActivityId"].replace("-", "")
    assert f"abc/message-{number}-EventRaised.json.gz" == name
    assert sent.event["Input"] == envelope["TaskMessage"]["Event"]["Input"]


async def test_messages_never_expire(hub: TaskHub, judge: Judge) -> None:
    """A host may be away for more than the week that is usual."""
    await put(hub, raised("abc"))

    client = judge.queues.get_queue_client(control_queue(hub))
    (peeked,) = client.peek_messages(1)

    assert peeked.expires_on and peeked.expires_on.year == 9999


async def test_a_start_writes_the_columns_of_a_pending_row(
    hub: TaskHub, judge: Judge
) -> None:
    """Their types are those that the extension asks for."""
    start = started("abc", Input="1", ScheduledStartTime=MOMENT)

    await add(hub, message(start, "abc", execution_id=EXECUTION))
    (row,) = judge.rows("Instances")

    assert ("abc", "") == (row["PartitionKey"], row["RowKey"])
    assert {
        "Input": "Edm.String",
        "CreatedTime": "Edm.DateTime",
        "Name": "Edm.String",
        "Version": "Edm.String",
        "RuntimeStatus": "Edm.String",
        "LastUpdatedTime": "Edm.DateTime",
        "TaskHubName": "Edm.String",
        "ScheduledStartTime": "Edm.DateTime",
        "ExecutionId": "Edm.String",
        "Generation": "Edm.Int32",
        "Tags": "Edm.String",
    } == types(row)
    assert ("Pending", "1", 0, "null", judge.hub) == (
        row["RuntimeStatus"],
        row["Input"],
        row["Generation"],
        row["Tags"],
        row["TaskHubName"],
    )


async def test_a_history_row_has_durables_columns(hub: TaskHub, judge: Judge) -> None:
    """A null is a column that is not there; nested objects are JSON texts."""
    start = started("abc", Input="1")

    await write(hub, checkpoint("abc", start))
    row, sentinel = judge.rows("History")

    assert ("abc", "0" * 16) == (row["PartitionKey"], row["RowKey"])
    assert {
        "Name": "Edm.String",
        "Version": "Edm.String",
        "Input": "Edm.String",
        "Generation": "Edm.Int32",
        "OrchestrationInstance": "Edm.String",
        "EventId": "Edm.Int32",
        "IsPlayed": "Edm.Boolean",
        "_Timestamp": "Edm.DateTime",
        "EventType": "Edm.String",
        "ExecutionId": "Edm.String",
    } == types(row)
    assert TARGET == json.loads(row["OrchestrationInstance"])
    assert ("ExecutionStarted", -1) == (row["EventType"], row["EventId"])
    assert "sentinel" == sentinel["RowKey"]


async def test_times_in_rows_have_seven_digits(hub: TaskHub, judge: Judge) -> None:
    """A tick lost would change what a replay sees."""
    timer = HistoryEvent(
        type=EventType.TimerCreated, timestamp=MOMENT, fields={"FireAt": MOMENT}
    )

    await write(hub, checkpoint("abc", timer))
    row = judge.rows("History")[0]

    assert [MOMENT] * 2 == [ticks(row, "_Timestamp"), ticks(row, "FireAt")]


async def test_the_sentinel_names_the_execution(hub: TaskHub, judge: Judge) -> None:
    """It is the last row of its partition and says that the checkpoint is whole."""
    events = [event(EventType.OrchestratorStarted) for _ in range(120)]

    await write(hub, checkpoint("abc", *events))
    *rows, sentinel = judge.rows("History")

    assert [f"{number:016X}" for number in range(120)] == [r["RowKey"] for r in rows]
    assert {
        "ExecutionId": "Edm.String",
        "IsCheckpointComplete": "Edm.Boolean",
        "CheckpointCompletedTimestamp": "Edm.DateTime",
        "LocalhostNotes": "Edm.String",
    } == types(sentinel)
    assert (EXECUTION, True) == (
        sentinel["ExecutionId"],
        sentinel["IsCheckpointComplete"],
    )


async def test_a_checkpoint_merges_the_columns_of_an_end(
    hub: TaskHub, judge: Judge
) -> None:
    """What a start wrote stays: its input, generation and hub."""
    start = started("abc", Input="1")
    await add(hub, message(start, "abc", execution_id=EXECUTION))

    await write(
        hub,
        checkpoint(
            "abc",
            start,
            completed("[2]"),
            started=start,
            status=Status.COMPLETED,
            output="[2]",
            completed_at=MOMENT,
        ),
    )
    (row,) = judge.rows("Instances")

    assert {"CustomStatus": "Edm.String", "CompletedTime": "Edm.DateTime"}.items() <= (
        types(row).items()
    )
    assert ("Completed", "[2]", "null", "1", 0, judge.hub) == (
        row["RuntimeStatus"],
        row["Output"],
        row["CustomStatus"],
        row["Input"],
        row["Generation"],
        row["TaskHubName"],
    )


async def test_a_large_result_is_a_blob_that_history_and_row_name(
    hub: TaskHub, judge: Judge
) -> None:
    """The history by its name, the row by its address."""
    await write(hub, checkpoint("a/b", completed(LARGE), output=LARGE))
    (name,) = judge.blob_names()
    row, _ = judge.rows("History")
    (instance,) = judge.rows("Instances")

    assert LARGE == judge.blob(name)
    assert name.startswith("a^0b/history-0000000000000000-ExecutionCompleted-")
    assert name.endswith("-Result.json.gz")
    assert ("", name) == (row["Result"], row["ResultBlobName"])
    address = judge.blobs.get_blob_client(f"{judge.hub.lower()}-largemessages", name)
    assert address.url == instance["Output"]


async def test_a_large_input_of_a_start_is_the_address_of_its_message(
    hub: TaskHub, judge: Judge
) -> None:
    """Readers know it by the end of its name."""
    start = started("abc", Input="x" * 50_000)

    await add(hub, message(start, "abc", execution_id=EXECUTION))
    (name,) = judge.blob_names()
    (row,) = judge.rows("Instances")

    assert name.endswith("-ExecutionStarted.json.gz")
    address = judge.blobs.get_blob_client(f"{judge.hub.lower()}-largemessages", name)
    assert address.url == row["Input"]


async def test_the_partitions_table_has_a_row_for_each_queue(
    hub: TaskHub, judge: Judge
) -> None:
    """Its PartitionKey is empty, and nobody owns it yet."""
    rows = judge.rows("Partitions")

    assert [("", queue) for queue in hub.queues.control] == [
        (row["PartitionKey"], row["RowKey"]) for row in rows
    ]
    assert [{"IsDraining": "Edm.Boolean"}] * PARTITIONS == [types(row) for row in rows]


async def test_an_owned_partition_says_by_whom_and_until_when(
    hub: TaskHub, judge: Judge
) -> None:
    """For 30 s from its last renewal."""
    partitions = hub.partitions(
        worker_id="machine-localhost-7071",
        listen=lambda queue, was_killed: None,
        unlisten=lambda queue, is_lost: None,
        drained=lambda queue: True,
        others=lambda are_there: None,
    )

    await partitions.step()
    row = judge.rows("Partitions")[0]

    assert {
        "CurrentOwner": "Edm.String",
        "OwnedSince": "Edm.DateTime",
        "LastRenewal": "Edm.DateTime",
        "ExpiresAt": "Edm.DateTime",
        "IsDraining": "Edm.Boolean",
    } == types(row)
    assert "machine-localhost-7071" == row["CurrentOwner"]
    assert 30 == (row["ExpiresAt"] - row["LastRenewal"]).total_seconds()

    await partitions.release()
    assert "CurrentOwner" not in judge.rows("Partitions")[0]


async def test_the_hub_has_the_extensions_queues_tables_and_containers(
    hub: TaskHub, judge: Judge
) -> None:
    """Names of queues and containers are in lower case."""
    low = judge.hub.lower()

    queues = [each.name for each in judge.queues.list_queues(name_starts_with=low)]
    tables = [
        each.name
        for each in judge.tables.list_tables()
        if each.name.startswith(judge.hub)
    ]
    containers = judge.blobs.list_containers(name_starts_with=low)

    controls = [f"{low}-control-{number:02}" for number in range(PARTITIONS)]
    assert {*controls, f"{low}-workitems"} == set(queues)
    names = ("History", "Instances", "Partitions")
    assert {f"{judge.hub}{name}" for name in names} == set(tables)
    assert [f"{low}-applease"] == [each.name for each in containers]


# What the hub reads


def envelope_of(event_: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return an envelope as another writer sends it, with what is needed only."""
    return {
        "$type": "DurableTask.AzureStorage.MessageData",
        "ActivityId": "cb340ad9-7347-40c5-ab74-7f79193fc197",
        "TaskMessage": {
            "Event": event_,
            "OrchestrationInstance": {"InstanceId": "abc", "ExecutionId": None},
        },
        "CompressedBlobName": None,
        "SequenceNumber": 2,
        "Sender": {"InstanceId": "", "ExecutionId": ""},
        **changes,
    }


RAISED = {
    "$type": "DurableTask.Core.History.EventRaisedEvent",
    "EventType": 15,
    "Name": "Go",
    "Input": '"日本"',
    "EventId": -1,
    "IsPlayed": False,
    "Timestamp": "2026-11-22T04:28:42.5Z",
}


@pytest.mark.parametrize("is_base64", [True, False])
async def test_a_message_is_read_in_either_encoding(
    hub: TaskHub, judge: Judge, is_base64: bool
) -> None:
    """Versions of the extension differ in it."""
    text = json.dumps(envelope_of(RAISED), ensure_ascii=False)
    packed = base64.b64encode(text.encode()).decode()

    judge.put(control_queue(hub), packed if is_base64 else text)
    (item,) = await receive_all(hub)

    assert item.message and '"日本"' == item.message.event["Input"]
    assert ("abc", None) == (item.message.instance_id, item.message.execution_id)
    assert "2026-11-22T04:28:42.5Z" == item.message.event.timestamp


async def test_a_message_may_hold_what_we_do_not_know(
    hub: TaskHub, judge: Judge
) -> None:
    """Newer versions add properties, and a type to every object."""
    event_ = {**RAISED, "Tags": {"$type": "x", "a": "b"}, "New": [1]}

    judge.put(control_queue(hub), json.dumps(envelope_of(event_, New={"a": 1})))
    (item,) = await receive_all(hub)

    assert item.message and "Go" == item.message.event["Name"]


@pytest.mark.parametrize("is_base64", [True, False])
async def test_a_wrapper_is_read_from_its_blob(
    hub: TaskHub, judge: Judge, is_base64: bool
) -> None:
    """The blob's envelope takes its place."""
    name = "abc/message-1f79193fc197-EventRaised.json.gz"
    judge.write_blob(name, json.dumps(envelope_of(RAISED)))
    wrapper = envelope_of(RAISED, TaskMessage=None, CompressedBlobName=name)
    text = json.dumps(wrapper, separators=(",", ":"))
    packed = base64.b64encode(text.encode()).decode()

    judge.put(control_queue(hub), packed if is_base64 else text)
    (item,) = await receive_all(hub)

    assert item.message and '"日本"' == item.message.event["Input"]


def history_row(
    ordinal: int, type_: str, execution_id: str = EXECUTION, **columns: Any
) -> dict[str, Any]:
    """Return a row as the extension writes it."""
    return {
        "PartitionKey": "abc",
        "RowKey": f"{ordinal:016X}",
        "EventType": type_,
        "ExecutionId": execution_id,
        "_Timestamp": datetime(2026, 11, 22, 4, 28, 42, 500_000, timezone.utc),
        **columns,
    }


def write_history(judge: Judge, *rows: dict[str, Any]) -> None:
    """Write rows and the sentinel that belongs to them."""
    sentinel = {
        "PartitionKey": "abc",
        "RowKey": "sentinel",
        "ExecutionId": EXECUTION,
        "IsCheckpointComplete": True,
    }
    for row in (*rows, sentinel):
        judge.write("History", row)


START_ROW = history_row(
    0,
    "ExecutionStarted",
    Name="Chain",
    Version="",
    EventId=-1,
    IsPlayed=True,
    OrchestrationInstance=json.dumps(TARGET),
)


async def test_a_history_is_read_without_its_optional_columns(
    hub: TaskHub, judge: Judge
) -> None:
    """What is not there is null; unknown columns do not disturb."""
    write_history(
        judge,
        START_ROW,
        history_row(1, "TaskCompleted", TaskScheduledId=0, New="1", NewToo=True),
    )

    stored = await hub.histories.load("abc")

    start, answer = stored.events
    assert TARGET == start["OrchestrationInstance"]
    assert (None, None, True) == (start["Input"], start["Tags"], start.is_played)
    assert (0, None, -1, False) == (
        answer["TaskScheduledId"],
        answer["Result"],
        answer.event_id,
        answer.is_played,
    )
    assert "2026-11-22T04:28:42.5Z" == answer.timestamp


async def test_a_null_that_newer_versions_write_as_text_is_null(
    hub: TaskHub, judge: Judge
) -> None:
    """They fill every JSON column."""
    row = {**START_ROW, "ParentInstance": "null", "Tags": "null"}
    write_history(judge, row)

    (start,) = (await hub.histories.load("abc")).events

    assert (None, None) == (start["ParentInstance"], start["Tags"])


async def test_a_large_value_is_read_from_the_blob_that_its_row_names(
    hub: TaskHub, judge: Judge
) -> None:
    """Whatever the blob is called."""
    name = "abc/history-0000000000000001-TaskCompleted-6D7B08A1-Result.json.gz"
    judge.write_blob(name, LARGE)
    write_history(
        judge,
        START_ROW,
        history_row(
            1, "TaskCompleted", TaskScheduledId=0, Result="", ResultBlobName=name
        ),
    )

    stored = await hub.histories.load("abc")

    assert LARGE == stored.events[1]["Result"]


async def test_surplus_rows_of_an_older_execution_are_not_read(
    hub: TaskHub, judge: Judge
) -> None:
    """Nor what follows them."""
    write_history(
        judge,
        START_ROW,
        history_row(1, "OrchestratorCompleted"),
        history_row(2, "TaskScheduled", "0" * 32, Name="Old"),
        history_row(3, "OrchestratorCompleted"),
    )

    stored = await hub.histories.load("abc")

    assert 2 == len(stored.events)
    assert EXECUTION == stored.execution_id


async def test_a_history_that_another_wrote_is_written_on(
    hub: TaskHub, judge: Judge
) -> None:
    """The ETag that was read guards the next rows."""
    write_history(judge, START_ROW)
    stored = await hub.histories.load("abc")

    await write(
        hub,
        checkpoint("abc", completed("1"), first_row=1, etag=stored.etag, output="1"),
    )

    assert ["ExecutionStarted", "ExecutionCompleted", None] == [
        row.get("EventType") for row in judge.rows("History")
    ]


async def test_an_instance_row_is_read_without_its_optional_columns(
    hub: TaskHub, judge: Judge
) -> None:
    """A sub-orchestration of an old version has hardly any."""
    judge.write("Instances", {"PartitionKey": "a^0b", "RowKey": "", "New": 1})

    row = await hub.instances.read("a/b")

    assert row and ("a/b", "", Status.PENDING, None, None) == (
        row.instance_id,
        row.name,
        row.status,
        row.input,
        row.generation,
    )


async def test_an_output_that_is_an_address_of_a_blob_is_followed(
    hub: TaskHub, judge: Judge
) -> None:
    """An address of anywhere else is a text like any other."""
    name = "it's 日本/history-0000000000000003-ExecutionCompleted-1-Result.json.gz"
    judge.write_blob(name, LARGE)
    address = judge.blobs.get_blob_client(f"{judge.hub.lower()}-largemessages", name)
    row = {"RowKey": "", "RuntimeStatus": "Completed", "Name": "Chain"}
    judge.write("Instances", {**row, "PartitionKey": "here", "Output": address.url})
    other = "https://example.org/a/b.json.gz"
    judge.write("Instances", {**row, "PartitionKey": "there", "Output": other})

    here = await hub.instances.read("here")
    there = await hub.instances.read("there")

    assert here and LARGE == here.output
    assert there and other == there.output


async def test_a_free_partition_of_the_extension_is_taken(
    hub: TaskHub, judge: Judge
) -> None:
    """Its columns are empty texts or not there at all."""
    client = judge.tables.get_table_client(f"{judge.hub}Partitions")
    for number, row in enumerate(judge.rows("Partitions")):
        owner = {} if number % 2 else {"CurrentOwner": "", "NextOwner": ""}
        client.upsert_entity({**row, **owner})
    owned: list[str] = []
    partitions = hub.partitions(
        worker_id="me",
        listen=lambda queue, was_killed: owned.append(queue),
        unlisten=lambda queue, is_lost: owned.remove(queue),
        drained=lambda queue: True,
        others=lambda are_there: None,
    )

    await partitions.step()

    assert list(hub.queues.control) == owned
