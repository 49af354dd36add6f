"""A host loses a partition while it works on it; the SDKs play the host that takes it.

One host runs for the whole module; each test takes another of its four partitions, and
gives it back.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.data.tables import TableServiceClient, UpdateMode
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from tests.acceptance.asking import wait_for
from tests.conftest import Emulator
from tests.integration.conftest import EXECUTION, Judge
from tests.integration.hosted import (
    Hosted,
    answer,
    envelope,
    go,
    history_of_waiting,
    hosts_on,
    row_of,
    start_on,
    types_in_history,
)

pytestmark = pytest.mark.timeout(60)

OTHER = "other-host"
LIMIT_S = 10.0
ASKED = 4  # times that the queues that are still its own are looked at
GATED = """
import pathlib
import time

import azure.durable_functions as df

gate = pathlib.Path(__file__).parents[1] / "gate"


def orchestrator_function(context):
    yield context.call_activity("Hello", "Tokyo")
    (gate / "begun").touch()
    while not (gate / "open").exists():
        time.sleep(0.01)
    data = yield context.wait_for_external_event("Go")
    return data


main = df.Orchestrator.create(orchestrator_function)
"""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A host that owns all four partitions of a hub, and the SDKs."""

    hosted: Hosted
    judge: Judge
    azurite_log: Path

    def name_on(self, number: int) -> str:
        """An instance id of a partition that no other test has."""
        queue = self.queue(number)
        names = (f"{uuid.uuid4().hex[:8]}" for _ in range(1000))
        return next(name for name in names if self.hosted.queue_of(name) == queue)

    def queue(self, number: int) -> str:
        return f"{self.judge.hub.lower()}-control-{number:02}"

    @contextmanager
    def lost(self, number: int) -> Iterator[None]:
        """Let another host claim a partition, as one does whose clock is ahead.

        The block begins when our host has seen it; afterwards it is free again.
        """
        table = self.judge.tables.get_table_client(f"{self.judge.hub}Partitions")
        now = datetime.now(timezone.utc)
        row = {"PartitionKey": "", "RowKey": self.queue(number), "IsDraining": False}
        times = {"OwnedSince": now, "LastRenewal": now}
        times["ExpiresAt"] = now + timedelta(seconds=60)
        printed = len(self.hosted.host.text())
        table.upsert_entity({**row, **times, "CurrentOwner": OTHER}, UpdateMode.REPLACE)
        try:
            self.wait_for_line(f"; {number:02}: {OTHER}.", printed)
            yield
        finally:
            printed = len(self.hosted.host.text())
            table.upsert_entity(row, UpdateMode.REPLACE)
        self.wait_for_line("00, 01, 02, 03: this host.", printed)

    def wait_for_line(self, words: str, start: int = 0) -> None:
        """Wait until the host has printed some words, after what it had printed."""
        host = self.hosted.host
        wait_for(lambda: words in host.text()[start:], repr(words), limit_s=LIMIT_S)

    def times_asked(self, queue: str) -> int:
        """How often a queue was asked for messages, by Azurite's log."""
        asked = f"GET /testaccount/{queue}/messages?numofmessages="
        return self.azurite_log.read_text(errors="replace").count(asked)

    def events(self, name: str) -> list[str]:
        return types_in_history(self.judge, name)


@pytest.fixture(scope="module", name="ground")
def _ground(
    tmp_path_factory: pytest.TempPathFactory, emulator: Emulator
) -> Iterator[Ground]:
    text, hub = emulator.connection_string, f"Hub{uuid.uuid4().hex[:20]}"
    with (
        hosts_on(tmp_path_factory.mktemp("lost")) as hosts,
        TableServiceClient.from_connection_string(text) as tables,
        QueueServiceClient.from_connection_string(text) as queues,
        BlobServiceClient.from_connection_string(text) as blobs,
    ):
        yield Ground(
            hosted=start_on(hosts, emulator, hub, Gated=GATED),
            judge=Judge(hub=hub, tables=tables, queues=queues, blobs=blobs),
            azurite_log=emulator.log,
        )


def test_nothing_more_is_taken_from_a_lost_queue(ground: Ground) -> None:
    """Within the pass that sees it; the other queues are still looked at."""
    name, others = ground.name_on(0), [ground.queue(n) for n in (1, 2, 3)]
    ground.hosted.start_waiting(ground.judge, name)

    with ground.lost(0):
        ground.judge.put(ground.queue(0), go(name))
        before = {
            queue: ground.times_asked(queue) for queue in (*others, ground.queue(0))
        }
        wait_for(
            lambda: all(ground.times_asked(q) >= before[q] + ASKED for q in others),
            "the other queues to be asked",
            limit_s=LIMIT_S,
        )
        assert ground.times_asked(ground.queue(0)) <= before[ground.queue(0)] + 1
        assert 1 == len(ground.judge.visible(ground.queue(0)))

    assert ["Hello Tokyo!", 1] == ground.hosted.end_of(name)["output"]


def test_what_waits_in_memory_is_given_back(ground: Ground) -> None:
    """An early answer, whose question the next owner may have asked meanwhile."""
    name, queue = ground.name_on(1), ground.queue(1)
    execution_id = ground.hosted.start_waiting(ground.judge, name)
    ground.judge.put(queue, answer(name, execution_id, 7))
    wait_for(lambda: not ground.judge.visible(queue), "it to be taken", limit_s=LIMIT_S)

    with ground.lost(1):
        wait_for(lambda: ground.judge.visible(queue), "it to come back", limit_s=2.0)


def test_a_turn_does_not_overwrite_what_the_next_owner_wrote(ground: Ground) -> None:
    """Its write is refused; what both did stands in the history once, in order."""
    name, gate = ground.name_on(2), ground.hosted.host.app / "gate"
    gate.mkdir()
    ground.hosted.start("Gated", name)
    wait_for((gate / "begun").exists, "the turn", limit_s=LIMIT_S)

    with ground.lost(2):
        take_turn(ground.judge, name)
        (gate / "open").touch()
        ground.wait_for_line(f"{name}: its history moved on")

    assert "elsewhere" == ground.hosted.end_of(name)["output"]
    rows = [r for r in ground.judge.rows("History", name) if r["RowKey"] != "sentinel"]
    begun, ended = "OrchestratorStarted", "OrchestratorCompleted"
    assert [f"{place:016X}" for place in range(len(rows))] == [
        r["RowKey"] for r in rows
    ]
    assert [
        *(begun, "ExecutionStarted", "TaskScheduled", ended),
        *(begun, "EventRaised", ended),
        *(begun, "TaskCompleted", "ExecutionCompleted", ended),
    ] == ground.events(name)


def test_what_was_known_of_instances_is_forgotten(ground: Ground) -> None:
    """The other host has let one go on under a new execution; nothing is lost of it."""
    name = ground.name_on(3)
    assert EXECUTION != ground.hosted.start_waiting(ground.judge, name)

    with ground.lost(3):
        begin_anew(ground.judge, name)
    event = {"EventType": 15, "Name": "Go", "Input": "2"}
    ground.judge.put(ground.queue(3), envelope(event, name, EXECUTION))

    assert ["Hello Tokyo!", 2] == ground.hosted.end_of(name)["output"]


def take_turn(judge: Judge, name: str) -> None:
    """Write a turn that raises an event, as the extension does: rows and sentinel."""
    table = judge.tables.get_table_client(f"{judge.hub}History")
    *past, sentinel = judge.rows("History", name)
    keys = {"PartitionKey": name, "ExecutionId": sentinel["ExecutionId"]}
    at = datetime.now(timezone.utc)
    raised = {"EventType": "EventRaised", "Name": "Go", "Input": '"elsewhere"'}
    events = [
        {"EventType": "OrchestratorStarted"},
        raised,
        {"EventType": "OrchestratorCompleted"},
    ]
    rows = [
        {"RowKey": f"{n:016X}", "_Timestamp": at, "EventId": -1, **keys, **event}
        for n, event in enumerate(events, len(past))
    ]
    table.submit_transaction(
        [
            *(("upsert", row, {"mode": UpdateMode.REPLACE}) for row in rows),
            (
                "update",
                {"RowKey": "sentinel", "IsCheckpointComplete": True, **keys},
                {
                    "mode": UpdateMode.MERGE,
                    "etag": sentinel.metadata["etag"],
                    "match_condition": MatchConditions.IfNotModified,
                },
            ),
        ]
    )


def begin_anew(judge: Judge, name: str) -> None:
    """Write the history of a new execution over the one that is there."""
    history = judge.tables.get_table_client(f"{judge.hub}History")
    for row in history_of_waiting(name, EXECUTION):
        history.upsert_entity(row, UpdateMode.REPLACE)
    instances = judge.tables.get_table_client(f"{judge.hub}Instances")
    instances.upsert_entity(row_of(name, EXECUTION, "Running"), UpdateMode.REPLACE)
