"""A hub that the real host left when it was killed with 42 instances in work.

34 of its instances were Running, 6 Pending, 2 Completed. 36 work items lay in their
queue, of which 18 are in no history. Six starts have no row: their callers never got an
answer.
"""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from azure.data.tables import TableEntity, TableServiceClient
from azure.storage.queue import QueueServiceClient

from localhost.azurite import AZURITE_SCRIPT
from tests.acceptance.asking import GREETINGS, result_of, start_orchestrator, wait_for
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import ROOT, Host, Storage

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not AZURITE_SCRIPT.exists(), reason="Azurite is not installed"),
]

FOLDER = ROOT / "tests" / "data" / "hubs" / "killed-quickstart"
HUB = "TestHubName"
INSTANCES, GHOSTS = 42, 6
FINISH_LIMIT_S = 10.0
START_LIMIT_S = 4.0


@dataclass(frozen=True, kw_only=True)
class Rescue:
    """The hub after a host has worked on it; ``took_s`` is counted from readiness."""

    host: Host
    ghosts: frozenset[str]
    before: frozenset[str]
    took_s: float
    rows: list[TableEntity]
    histories: frozenset[str]


@pytest.fixture(scope="module", name="rescue")
def _rescue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rescue]:
    storage = Storage.on_free_ports()
    text = storage.connection_string
    with (
        Hosts(tmp_path_factory.mktemp("hub"), storage) as hosts,
        TableServiceClient.from_connection_string(text) as tables,
        QueueServiceClient.from_connection_string(text) as queues,
    ):
        app = hosts.copy_app()
        shutil.copytree(FOLDER / "azurite", app / ".azurite")
        hosts.azurite(storage, app)
        before = {row["PartitionKey"] for row in rows_of(tables, "Instances")}
        ghosts = started_in(queues) - before
        host = hosts.launch(
            app, AzureFunctionsJobHost__extensions__durableTask__hubName=HUB
        )
        began_s = host.wait_until_ready()
        wait_for(
            lambda: all_completed(tables), "the end of all", limit_s=2 * FINISH_LIMIT_S
        )
        yield Rescue(
            host=host,
            ghosts=frozenset(ghosts),
            before=frozenset(before),
            took_s=time.monotonic() - began_s,
            rows=rows_of(tables, "Instances"),
            histories=frozenset(r["PartitionKey"] for r in rows_of(tables, "History")),
        )


def rows_of(tables: TableServiceClient, table: str) -> list[TableEntity]:
    return list(tables.get_table_client(f"{HUB}{table}").list_entities())


def all_completed(tables: TableServiceClient) -> bool:
    statuses = [row["RuntimeStatus"] for row in rows_of(tables, "Instances")]
    return statuses == ["Completed"] * len(statuses)


def started_in(queues: QueueServiceClient) -> set[str]:
    """The ids of instances whose start lies in a control queue."""
    found = set()
    for number in range(4):
        queue = queues.get_queue_client(f"{HUB.lower()}-control-{number:02}")
        for message in queue.peek_messages(32):
            sent = json.loads(base64.b64decode(message.content))["TaskMessage"]
            if sent["Event"]["EventType"] == 0:
                found.add(sent["OrchestrationInstance"]["InstanceId"])
    return found


def test_the_folder_is_the_hub_of_which_its_list_tells(rescue: Rescue) -> None:
    """Each id that had been answered with 202 has a row; six starts have none."""
    listed = json.loads((FOLDER / "instances.json").read_text())

    assert INSTANCES == len(listed)
    assert rescue.before == frozenset(listed)
    assert GHOSTS == len(rescue.ghosts)


def test_every_instance_completes_with_its_greetings(rescue: Rescue) -> None:
    """Whatever was written of it when the real host was killed."""
    ended = {row["PartitionKey"]: json.loads(row["Output"]) for row in rescue.rows}

    assert dict.fromkeys(rescue.before, GREETINGS) == ended


def test_all_are_completed_within_ten_seconds(rescue: Rescue) -> None:
    """Counted from the moment at which the host says that it runs."""
    assert rescue.took_s < FINISH_LIMIT_S


def test_a_start_without_a_row_never_runs(rescue: Rescue) -> None:
    """It gets neither row nor history, and its function is not called."""
    called = [g for g in rescue.ghosts if f"{g}: Executed" in rescue.host.text()]

    assert [] == called
    assert not rescue.ghosts & rescue.histories
    assert not rescue.ghosts & {row["PartitionKey"] for row in rescue.rows}


def test_a_start_without_a_row_is_put_off_with_a_line(rescue: Rescue) -> None:
    """It is tried again after 2, 4, 8 … s, and dropped at the tenth try."""
    for ghost in rescue.ghosts:
        rescue.host.wait_for_text(f"{ghost}: put off for 2 s", limit_s=5)


def test_starts_without_a_row_delay_nobody(rescue: Rescue) -> None:
    """New instances complete at once, on every control queue."""
    began_s = time.monotonic()

    starts = [start_orchestrator(rescue.host.url) for _ in range(8)]

    assert [GREETINGS] * 8 == [result_of(start)["output"] for start in starts]
    assert time.monotonic() - began_s < START_LIMIT_S
