"""SIGKILL, twice, while entities work: each operation is applied exactly once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient

from tests.acceptance.asking import ask, wait_for
from tests.acceptance.client_functions import Functions, copy_recorded_app
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import Host, Storage

pytestmark = pytest.mark.timeout(90)

INSTANCES = [f"free-{n}" for n in range(18)] + [f"held-{n}" for n in range(2)]
ADDED = range(1, 11)  # what ten clients add to one counter
RECOVERY_LIMIT_S = 15.0
# The app's own entity, but the last operation of some instances waits for a file.
HELD_COUNTER = """

import pathlib
import time

gate = pathlib.Path(__file__).with_name("open")


def held(context):
    is_last = context.operation_name == "get" and context.entity_key[:4] == "held"
    while is_last and not gate.exists():
        time.sleep(0.01)
    entity(context)


main = df.Entity.create(held)
"""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The task hub as the Azure SDK reads it: instances and histories by id."""

    instances: Mapping[str, Mapping[str, Any]]
    histories: Mapping[str, Sequence[Mapping[str, Any]]]

    @classmethod
    def of(cls, storage: Storage, hub: str) -> Rows:
        text = storage.connection_string
        with TableServiceClient.from_connection_string(text) as service:
            rows = list(service.get_table_client(f"{hub}Instances").list_entities())
            events = list(service.get_table_client(f"{hub}History").list_entities())
        instances = {row["PartitionKey"]: row for row in rows}
        histories = {
            id_: [event for event in events if event["PartitionKey"] == id_]
            for id_ in instances
        }
        return cls(instances=instances, histories=histories)

    def statuses(self) -> Counter[str]:
        """How many of the orchestrations are in which state."""
        return Counter(self.instances[id_]["RuntimeStatus"] for id_ in INSTANCES)


@dataclass(frozen=True, kw_only=True)
class Killed:
    """What two killed hosts left behind, and what the third one made of it."""

    at_kills: tuple[Counter[str], Counter[str]]
    call: Functions
    storage: Storage

    def rows(self) -> Rows:
        return Rows.of(self.storage, self.call.host.hub)


@pytest.fixture(scope="module", name="killed")
def _killed(
    shared_hosts: Hosts, storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Killed:
    app = copy_recorded_app(tmp_path_factory.mktemp("killed-entities"))
    counter = app / "Counter" / "__init__.py"
    counter.write_text(counter.read_text() + HELD_COUNTER)
    first = shared_hosts.start(app)
    with ThreadPoolExecutor(10) as pool:
        starts = pool.map(partial(start, first), INSTANCES)
        signals = pool.map(partial(add, first), ADDED[:5])
        assert len([*starts, *signals]) == 25  # all of them were accepted
    at_first_kill = kill_after(first, storage, finished=1)
    second = shared_hosts.restart(first)
    with ThreadPoolExecutor(5) as pool:
        assert len([*pool.map(partial(add, second), ADDED[5:])]) == 5
    more = min(18, at_first_kill["Completed"] + 1)
    at_second_kill = kill_after(second, storage, finished=more)
    counter.with_name("open").touch()
    third = shared_hosts.restart(second)
    return Killed(
        at_kills=(at_first_kill, at_second_kill), call=call_of(third), storage=storage
    )


def call_of(host: Host) -> Functions:
    return Functions(host=host, healed=Path())


def start(host: Host, instance_id: str) -> str:
    answer: str = call_of(host)("start_new", "EntityOrch", instance_id)
    return answer


def add(host: Host, number: int) -> None:
    call_of(host)("signal_entity", ["Counter", "sum"], "add", number)


def kill_after(host: Host, storage: Storage, *, finished: int) -> Counter[str]:
    """Kill a host when so many instances have finished; return all their states."""
    path = "/runtime/webhooks/durabletask/instances"
    query = f"runtimeStatus=Completed&showInput=false&code={host.code}"

    def have_finished() -> bool:
        return len(ask(f"{host.url}{path}?{query}").json()) >= finished

    wait_for(have_finished, f"{finished} instances to finish", limit_s=20)
    host.kill()
    return Rows.of(storage, host.hub).statuses()


@pytest.mark.parametrize("kill", [0, 1])
def test_it_was_killed_in_the_middle(killed: Killed, kill: int) -> None:
    """Some instances were finished, and some were not."""
    states = killed.at_kills[kill]

    assert len(INSTANCES) == states.total()
    assert 0 < states["Completed"] < len(INSTANCES)


@pytest.mark.parametrize("instance_id", INSTANCES)
def test_each_operation_of_an_instance_is_applied_once(
    killed: Killed, instance_id: str
) -> None:
    """Add 5, signal that 2 be added, get: 7."""
    status = killed.call.ended(instance_id)

    assert ("Completed", 7) == (status["runtime_status"], status["output"])


def test_each_signal_of_a_client_is_applied_once(killed: Killed) -> None:
    """The counter holds the sum."""
    killed.call.wait_for_entity("sum", sum(ADDED))


def test_nothing_is_left_in_the_queues(killed: Killed) -> None:
    """Hidden messages count as well."""
    with queues(killed) as service:
        names = [each.name for each in service.list_queues() if each.name]
        own = [n for n in names if n.startswith(killed.call.host.hub.lower())]

        def are_empty() -> bool:
            return all(not count(service, name) for name in own)

        wait_for(are_empty, "empty queues", limit_s=RECOVERY_LIMIT_S)

    assert 5 == len(own)


@contextmanager
def queues(killed: Killed) -> Iterator[QueueServiceClient]:
    text = killed.storage.connection_string
    with QueueServiceClient.from_connection_string(text) as service:
        yield service


def count(service: QueueServiceClient, queue: str) -> int:
    properties = service.get_queue_client(queue).get_queue_properties()
    return properties.approximate_message_count or 0


def test_every_entity_has_a_row(killed: Killed) -> None:
    """One each, and none besides."""
    ids = {f"@counter@{key}" for key in [*INSTANCES, "sum"]}

    rows = killed.rows().instances

    assert {*ids, *INSTANCES} == set(rows)
    assert {"Running"} == {rows[id_]["RuntimeStatus"] for id_ in ids}
    assert {'{"entityExists":true}'} == {rows[id_]["CustomStatus"] for id_ in ids}


@pytest.mark.parametrize("key", [*INSTANCES, "sum"])
def test_an_entitys_row_and_history_agree(killed: Killed, key: str) -> None:
    """On the state and on the execution; each request stands there once."""
    rows = killed.rows()
    row, history = rows.instances[f"@counter@{key}"], rows.histories[f"@counter@{key}"]

    *events, sentinel = history
    kinds = ["OrchestratorStarted", "ExecutionStarted", "OrchestratorCompleted"]
    assert kinds == [event["EventType"] for event in events]
    assert {row["ExecutionId"]} == {event["ExecutionId"] for event in history}
    assert row["Input"] == events[1]["Input"]
    assert str(sum(ADDED) if key == "sum" else 7) == json.loads(row["Input"])["state"]
    applied = sentinel["LocalhostAppliedRequests"].split(",")
    asked = len(ADDED) if key == "sum" else 3
    assert asked == len(set(applied)) == len(applied)
