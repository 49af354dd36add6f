"""Payloads of 60 KB, 1 MB and 20 MB go through a real host, and lie where they should.

One instance carries a text of its own as input, activity result, event and output. The
Azure SDKs say what the storage holds of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from tests.acceptance.asking import Answer, ask, wait_for
from tests.acceptance.hosts import write_function
from tests.conftest import Emulator
from tests.integration.conftest import Judge
from tests.integration.hosted import ORCHESTRATOR, Hosted, hosts_on

pytestmark = pytest.mark.timeout(90)

HUB = "LargePayloads"
END_LIMIT_S = 60.0
MIXED = "a😀ß日"  # 10 bytes in UTF-8, 10 in UTF-16
TEXTS = {
    "60KB": MIXED * 6_144,  # with its quotes just too large for a column
    "1MB": MIXED * 100_000,
    "20MB": "Hello! 20." * 2_000_000,
}
# What is sent through queues; a host hands an activity's answer to itself if it can.
MESSAGES = {"ExecutionStarted", "TaskScheduled", "EventRaised"}
# Events with a large value, in the order of the history, and the value's column.
VALUES = (
    ("ExecutionStarted", "Input"),
    ("TaskCompleted", "Result"),
    ("EventRaised", "Input"),
    ("ExecutionCompleted", "Result"),
)
LARGEST_COLUMN_UNITS = 30_720  # of UTF-16
CARRIES = """made = yield context.call_activity("Turned", context.get_input()["text"])
    told = yield context.wait_for_external_event("Told")
    return [len(made), told["text"]]"""
MAKES = 'return (yield context.call_activity("Smiles", str(context.get_input())))'
ACTIVITIES = {
    "Turned": "def main(text: str) -> str:\n    return text[::-1]\n",
    "Smiles": 'def main(text: str) -> str:\n    return "😀" * int(text)\n',
}


@dataclass(frozen=True, kw_only=True)
class Carried:
    """An instance that has carried a large text, as the host and the SDKs see it."""

    text: str
    instance_id: str
    status: dict[str, Any]
    row: dict[str, Any]
    history: dict[str, dict[str, Any]]
    blobs: dict[str, str]

    def blob_of(self, event: str, column: str) -> str:
        """The name that a history blob of this instance must have."""
        place = self.history[event]["RowKey"]
        pattern = rf"/history-{place}-{event}-[0-9A-F]{{8}}-{column}\.json\.gz"
        (name,) = (
            name
            for name in self.blobs
            if re.fullmatch(self.instance_id + pattern, name)
        )
        return name

    def message_blobs(self) -> dict[str, str]:
        """The names of this instance's message blobs by the kind in them."""
        pattern = r"/message-[0-9a-f]{32}-(\w+)\.json\.gz"
        found = [re.fullmatch(self.instance_id + pattern, name) for name in self.blobs]
        return {match[1]: match[0] for match in found if match}


@pytest.fixture(scope="module", name="hosted")
def _hosted(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosted]:
    with hosts_on(tmp_path_factory.mktemp("large")) as hosts:
        app = hosts.copy_app()
        for name, body in {"Carries": CARRIES, "Makes": MAKES}.items():
            trigger = _trigger("orchestrationTrigger", "context")
            write_function(app, name, ORCHESTRATOR.format(body=body), trigger)
        for name, script in ACTIVITIES.items():
            write_function(app, name, script, _trigger("activityTrigger", "text"))
        host = hosts.start(
            app,
            AzureWebJobsStorage=emulator.connection_string,
            AzureFunctionsJobHost__extensions__durableTask__hubName=HUB,
        )
        yield Hosted(host=host, hosts=hosts, hub=HUB)


def _trigger(kind: str, name: str) -> dict[str, str]:
    return {"name": name, "type": kind, "direction": "in"}


@pytest.fixture(scope="module", name="sdk")
def _sdk(emulator: Emulator) -> Iterator[Judge]:
    text = emulator.connection_string
    with (
        TableServiceClient.from_connection_string(text) as tables,
        QueueServiceClient.from_connection_string(text) as queues,
        BlobServiceClient.from_connection_string(text) as blobs,
    ):
        yield Judge(hub=HUB, tables=tables, queues=queues, blobs=blobs)


@pytest.fixture(scope="module", params=TEXTS, name="carried")
def _carried(request: pytest.FixtureRequest, hosted: Hosted, sdk: Judge) -> Carried:
    text, instance_id = TEXTS[request.param], f"carries-{request.param}"
    send(hosted, f"orchestrators/Carries/{instance_id}", {"text": text})
    send(hosted, f"instances/{instance_id}/raiseEvent/Told", {"text": text})
    wait_for(
        lambda: row_of(sdk, instance_id)["RuntimeStatus"] in ("Completed", "Failed"),
        f"the end of {instance_id}",
        limit_s=END_LIMIT_S,
    )
    shown = "showHistory=true&showHistoryOutput=true"
    return Carried(
        text=text,
        instance_id=instance_id,
        status=call(hosted, "GET", f"instances/{instance_id}", query=shown).json(),
        row=row_of(sdk, instance_id),
        history={
            row.get("EventType", "sentinel"): dict(row)
            for row in sdk.rows("History", instance_id)
        },
        blobs={n: sdk.blob(n) for n in sdk.blob_names() if of(instance_id, n)},
    )


def call(
    hosted: Hosted, method: str, path: str, *, query: str = "", body: object = None
) -> Answer:
    url = f"{hosted.host.url}/runtime/webhooks/durabletask/{path}"
    return ask(f"{url}?code={hosted.host.code}&{query}", method=method, body=body)


def send(hosted: Hosted, path: str, body: object) -> None:
    answer = call(hosted, "POST", path, body=body)
    assert 202 == answer.status, answer.text[:500]


def row_of(sdk: Judge, instance_id: str) -> dict[str, Any]:
    (row,) = sdk.rows("Instances", instance_id)
    return dict(row)


def of(instance_id: str, blob: str) -> bool:
    return blob.startswith(f"{instance_id}/")


def test_the_status_shows_input_and_output(carried: Carried) -> None:
    """As they were sent and returned, to the letter."""
    assert "Completed" == carried.status["runtimeStatus"]
    assert {"text": carried.text} == carried.status["input"]
    assert [len(carried.text), carried.text] == carried.status["output"]


def test_the_history_shows_result_and_event(carried: Carried) -> None:
    """The activity returned the text turned round; the event was the text itself."""
    shown = {each["EventType"]: each for each in carried.status["historyEvents"]}

    assert carried.text[::-1] == shown["TaskCompleted"]["Result"]
    assert {"text": carried.text} == json.loads(shown["EventRaised"]["Input"])


def test_each_message_is_a_blob_that_holds_the_whole_envelope(carried: Carried) -> None:
    """Its name tells the kind; it is read as any message."""
    names = carried.message_blobs()

    # An activity that begins at once is not put, nor is its answer.
    put_only_sometimes = {"TaskScheduled", "TaskCompleted"}
    assert set(names) - put_only_sometimes == MESSAGES - put_only_sometimes
    for kind, name in names.items():
        envelope = json.loads(carried.blobs[name])
        assert "DurableTask.AzureStorage.MessageData" == envelope["$type"]
        assert envelope["CompressedBlobName"] is None
        event = envelope["TaskMessage"]["Event"]
        assert f"DurableTask.Core.History.{kind}Event" == event["$type"]
        value = json.loads(event.get("Input") or event.get("Result"))
        assert carried.text in (_text_of(value), _text_of(value)[::-1])


def _text_of(value: Any) -> str:
    """The text in an event's value: of an activity's argument, an object or bare."""
    inner = json.loads(value[0]) if isinstance(value, list) else value
    return str(inner["text"] if isinstance(inner, dict) else inner)


def test_each_value_of_the_history_is_a_blob_that_its_row_names(
    carried: Carried,
) -> None:
    """The column itself is empty then."""
    for event, column in VALUES:
        name = carried.blob_of(event, column)
        row = carried.history[event]

        assert ("", name) == (row[column], row[f"{column}BlobName"])
    assert carried.text in carried.blobs[carried.blob_of("ExecutionStarted", "Input")]


def test_the_row_holds_addresses_of_input_and_output(
    carried: Carried, sdk: Judge
) -> None:
    """Those of the blobs of the first and of the last event."""
    container = sdk.blobs.get_container_client(f"{HUB.lower()}-largemessages")
    blobs = {
        "Input": carried.blob_of("ExecutionStarted", "Input"),
        "Output": carried.blob_of("ExecutionCompleted", "Result"),
    }

    for column, name in blobs.items():
        assert container.get_blob_client(name).url == carried.row[column]


def test_nothing_is_kept_but_one_blob_for_each_message_and_value(
    carried: Carried,
) -> None:
    """No second copy of anything."""
    assert len(carried.message_blobs()) + len(VALUES) == len(carried.blobs)


def test_a_purge_removes_rows_and_blobs(
    carried: Carried, hosted: Hosted, sdk: Judge
) -> None:
    """However many and however large; it is the last thing done to this instance."""
    answer = hosted.ask("DELETE", f"instances/{carried.instance_id}")

    assert {"instancesDeleted": 1} == answer.json()
    assert [] == [name for name in sdk.blob_names() if of(carried.instance_id, name)]
    assert [] == sdk.rows("History", carried.instance_id)
    assert [] == sdk.rows("Instances", carried.instance_id)


@pytest.mark.parametrize(
    ("smiles", "is_blob"),
    [(LARGEST_COLUMN_UNITS // 2 - 1, False), (LARGEST_COLUMN_UNITS // 2, True)],
)
def test_a_column_counts_surrogate_pairs_as_two(
    hosted: Hosted, sdk: Judge, smiles: int, is_blob: bool
) -> None:
    """Two quotes and so many pairs: 30,720 units of UTF-16 fit, 30,722 do not."""
    instance_id = f"smiles-{smiles}"
    send(hosted, f"orchestrators/Makes/{instance_id}", str(smiles))

    assert "😀" * smiles == hosted.end_of(instance_id)["output"]
    rows = sdk.rows("History", instance_id)
    (row,) = (row for row in rows if row.get("EventType") == "TaskCompleted")
    assert is_blob is ("ResultBlobName" in row)
    assert is_blob is ("" == row["Result"])
