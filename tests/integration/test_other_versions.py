"""A whole instance as extension 3.x writes it, put by hand, runs to its end here.

Plain JSON messages, execution ids with hyphens, ``GenerateNewTrace`` and ``Tags`` in
message and row, columns that hold the text ``null``, large values in blobs. How single
rows and messages are read is tested in ``test_task_hub_by_sdk``.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.conftest import Emulator
from tests.integration.conftest import Judge
from tests.integration.hosted import (
    Hosted,
    envelope,
    go,
    history_of_waiting,
    hosts_on,
    row_of,
    start_on,
)

pytestmark = pytest.mark.timeout(60)

GREETINGS = ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]
AT = "2026-11-22T04:28:42.1234567Z"
TAGS_TYPE = (
    "System.Collections.Generic.Dictionary`2[[System.String, System.Private.CoreLib],"
    "[System.String, System.Private.CoreLib]]"
)
LARGE = {"text": "日本" * 40_000}
LARGE_TEXT = json.dumps(LARGE, ensure_ascii=False)
NULLS = {"ParentInstance": "null", "Tags": "null", "ParentTraceContext": "null"}


@pytest.fixture(scope="module")
def hub_name() -> str:
    """One hub for all of them."""
    return f"Newer{time.monotonic_ns()}"


@pytest.fixture(scope="module", name="hosted")
def _hosted(
    emulator: Emulator, hub_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosted]:
    with hosts_on(tmp_path_factory.mktemp("newer")) as hosts:
        yield start_on(hosts, emulator, hub_name)


def start_of(
    name: str, instance_id: str, execution_id: str, input_: str | None = None
) -> dict[str, Any]:
    """Return the event that a client of 3.x sends."""
    return {
        "OrchestrationInstance": {
            "$type": "DurableTask.Core.OrchestrationInstance",
            "InstanceId": instance_id,
            "ExecutionId": execution_id,
        },
        "EventType": 0,
        "ParentInstance": None,
        "Name": name,
        "Version": "",
        "Input": input_,
        "Tags": {"$type": TAGS_TYPE, "team": "blue"},
        "Correlation": None,
        "ParentTraceContext": {
            "$type": "DurableTask.Core.Tracing.DistributedTraceContext",
            "TraceParent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "TraceState": None,
            "Id": None,
            "SpanId": None,
            "ActivityStartTime": AT,
        },
        "ScheduledStartTime": None,
        "Generation": 0,
        "GenerateNewTrace": True,
        "SomethingNewer": [{"$type": "Some.Type", "A": 1}],
        "EventId": -1,
        "IsPlayed": False,
        "Timestamp": AT,
    }


def pending_row(
    name: str, instance_id: str, execution_id: str, **columns: Any
) -> dict[str, Any]:
    """Return the row that a client of 3.x writes."""
    return {
        "PartitionKey": instance_id,
        "RowKey": "",
        "Name": name,
        "Version": "",
        "CreatedTime": datetime(2026, 11, 22, 4, 28, 42, 123_456, timezone.utc),
        "LastUpdatedTime": datetime(2026, 11, 22, 4, 28, 42, 130_000, timezone.utc),
        "RuntimeStatus": "Pending",
        "TaskHubName": "newer",
        "ExecutionId": execution_id,
        "Generation": 0,
        "Tags": '{"team":"blue"}',
        "SomethingNewer": True,
        **columns,
    }


def put_start(
    hosted: Hosted, judge: Judge, event: Mapping[str, Any], **columns: Any
) -> None:
    """Put message and row of a start, the message first, as a client does."""
    target = event["OrchestrationInstance"]
    instance_id, execution_id = target["InstanceId"], target["ExecutionId"]
    text = envelope(event, instance_id, execution_id, Something="newer")
    judge.put(hosted.queue_of(instance_id), text)
    row = pending_row(event["Name"], instance_id, execution_id, **columns)
    judge.write("Instances", row)


def test_a_start_of_3x_runs_to_its_end(hosted: Hosted, judge: Judge) -> None:
    """Its execution keeps the id with hyphens; the row keeps what we do not know."""
    execution_id = str(uuid.uuid4())
    put_start(hosted, judge, start_of("HelloOrchestrator", "newer", execution_id))

    status = hosted.end_of("newer")

    assert ("Completed", GREETINGS) == (status["runtimeStatus"], status["output"])
    (row,) = judge.rows("Instances", "newer")
    assert (execution_id, "newer", '{"team":"blue"}', True) == tuple(
        row[name] for name in ("ExecutionId", "TaskHubName", "Tags", "SomethingNewer")
    )
    rows = judge.rows("History", "newer")
    assert {execution_id} == {row["ExecutionId"] for row in rows}


def test_a_large_start_of_3x_runs_to_its_end(hosted: Hosted, judge: Judge) -> None:
    """Message in a blob, named by a wrapper and by the row's input."""
    execution_id = str(uuid.uuid4())
    event = start_of("Echoes", "large", execution_id, LARGE_TEXT)
    name = f"large/message-{uuid.uuid4().hex}-ExecutionStarted.json.gz"
    judge.write_blob(name, envelope(event, "large", execution_id))
    url = judge.blobs.get_blob_client(f"{judge.hub.lower()}-largemessages", name).url
    wrapper = {"TaskMessage": None, "CompressedBlobName": name, "Sender": None}

    judge.put(hosted.queue_of("large"), envelope({}, "", **wrapper))
    judge.write("Instances", pending_row("Echoes", "large", execution_id, Input=url))

    status = hosted.end_of("large")
    assert LARGE == status["output"]
    assert LARGE == status["input"]


def test_a_running_instance_of_3x_goes_on(hosted: Hosted, judge: Judge) -> None:
    """Texts ``null``, an answer in a blob, and rows with columns of newer versions."""
    execution_id = str(uuid.uuid4())
    name = "mine/history-0000000000000005-TaskCompleted-6D7B08A1-Result.json.gz"
    judge.write_blob(name, LARGE_TEXT)
    news: dict[str, dict[str, Any]] = {
        "ExecutionStarted": {**NULLS, "GenerateNewTrace": False},
        "TaskScheduled": {"Tags": "null", "ParentTraceContext": "null"},
        "TaskCompleted": {"Result": "", "ResultBlobName": name, "FailureDetails": ""},
    }
    for row in history_of_waiting("mine", execution_id):
        judge.write("History", {**row, **news.get(row.get("EventType", ""), {})})
    row = row_of("mine", execution_id, "Running")
    judge.write("Instances", {**row, "Tags": "null", "CustomStatus": "null"})

    judge.put(hosted.queue_of("mine"), go("mine"))

    status = hosted.end_of("mine")
    assert [LARGE, 1] == status["output"]
    assert status["customStatus"] is None


def test_a_child_of_3x_answers_its_parent(hosted: Hosted, judge: Judge) -> None:
    """It has no row before its first turn; its parent takes the answer."""
    child, parent = str(uuid.uuid4()), str(uuid.uuid4())
    begun, start, task, ended, *_, sentinel = history_of_waiting("parent", parent)
    created = {
        **task,
        "EventType": "SubOrchestrationInstanceCreated",
        "Name": "HelloOrchestrator",
        "InstanceId": "child",
        "Tags": "null",
    }
    for row in (begun, {**start, "Name": "CallsChild"}, created, ended, sentinel):
        judge.write("History", row)
    row = row_of("parent", parent, "Running")
    judge.write("Instances", {**row, "Name": "CallsChild"})
    event = start_of("HelloOrchestrator", "child", child)
    event["ParentInstance"] = {
        "$type": "DurableTask.Core.ParentInstance",
        "Name": "CallsChild",
        "OrchestrationInstance": {"InstanceId": "parent", "ExecutionId": parent},
        "TaskScheduleId": 0,
        "Version": "",
    }

    judge.put(hosted.queue_of("child"), envelope(event, "child", child))

    assert GREETINGS == hosted.end_of("child")["output"]
    assert GREETINGS == hosted.end_of("parent")["output"]
