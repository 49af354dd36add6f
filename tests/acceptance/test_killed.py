"""SIGKILL in the middle of 60 instances: all of them finish after the next start."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from azure.data.tables import TableServiceClient

from localhost.processes import kill
from tests.acceptance.asking import (
    FINISHED,
    GREETINGS,
    ask,
    result_of,
    start_orchestrator,
    wait_for,
)
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import (
    Host,
    Storage,
    azurite_pid,
    is_azurite_alive,
)

pytestmark = pytest.mark.timeout(90)
INSTANCES = 60
RECOVERY_LIMIT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """A killed host, the one that followed it, and what became of the instances.

    ``statuses_at_kill`` are the rows as the dead host left them, ``results`` the
    instances' status bodies ``RECOVERY_LIMIT_S`` after the new host was ready.
    """

    killed: Host
    next: Host
    azurite_pid: int
    was_azurite_alive: bool
    statuses_at_kill: Counter[str]
    results: Sequence[Any]


@pytest.fixture(scope="module", name="recovery")
def _recovery(shared_hosts: Hosts) -> Recovery:
    storage = Storage.on_free_ports()
    host = shared_hosts.start(storage=storage)
    with ThreadPoolExecutor(16) as pool:
        starts = list(pool.map(start_orchestrator, [host.url] * INSTANCES))
    wait_for(lambda: completed_instances(host), "the first to finish", limit_s=10)
    kill(host.pid)
    host.exit_code()
    pid = azurite_pid(host.app)
    was_alive = is_azurite_alive(host.app, pid)
    at_kill = statuses(storage, host)
    following = shared_hosts.restart(host)
    return Recovery(
        killed=host,
        next=following,
        azurite_pid=pid,
        was_azurite_alive=was_alive,
        statuses_at_kill=at_kill,
        results=results_within(starts, limit_s=RECOVERY_LIMIT_S),
    )


def completed_instances(host: Host) -> Any:
    """What the host lists as completed: the rows that are written."""
    query = f"runtimeStatus=Completed&showInput=false&code={host.code}"
    return ask(f"{host.url}/runtime/webhooks/durabletask/instances?{query}").json()


def statuses(storage: Storage, host: Host) -> Counter[str]:
    with TableServiceClient.from_connection_string(
        storage.connection_string
    ) as service:
        table = service.get_table_client(f"{host.hub}Instances")
        return Counter(row["RuntimeStatus"] for row in table.list_entities())


def results_within(starts: Sequence[Any], *, limit_s: float) -> list[Any]:
    """The last status of each, asked until all have ended or the time is up."""
    until = time.monotonic() + limit_s
    results: dict[str, Any] = {}
    while len(results) < len(starts) and time.monotonic() < until:
        for start in starts:
            if start["id"] not in results:
                status = ask(start["statusQueryGetUri"]).json()
                if status["runtimeStatus"] in FINISHED:
                    results[start["id"]] = status
    return list(results.values())


def test_it_was_killed_in_the_middle(recovery: Recovery) -> None:
    """Some instances were finished, and some were not."""
    completed = recovery.statuses_at_kill["Completed"]

    assert INSTANCES == recovery.statuses_at_kill.total()
    assert 0 < completed < INSTANCES


def test_all_are_completed_within_10_s_of_the_next_start(recovery: Recovery) -> None:
    """None is lost, and each has the right output."""
    outputs = [status["output"] for status in recovery.results]

    assert INSTANCES == len(outputs)
    assert [GREETINGS] * INSTANCES == outputs


def test_the_azurite_that_it_started_outlives_it(recovery: Recovery) -> None:
    """A killed Azurite would forget what it has not saved."""
    assert recovery.was_azurite_alive


def test_the_next_host_adopts_that_azurite(recovery: Recovery) -> None:
    """And says so."""
    said = f"Azurite (pid {recovery.azurite_pid}) of an earlier host goes on."

    assert said in recovery.next.text().splitlines()


def test_the_next_host_ends_that_azurite(hosts: Hosts) -> None:
    """It is its own now."""
    killed = hosts.start(storage=Storage.on_free_ports())
    pid = azurite_pid(killed.app)
    killed.kill()
    following = hosts.restart(killed)

    assert 0 == following.stop()

    assert not is_azurite_alive(following.app, pid)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
def test_a_killed_host_leaves_nothing_that_keeps_a_port(hosts: Hosts) -> None:
    """The next one listens on the same port at once, and works."""
    killed = hosts.start()
    killed.kill()
    following = hosts.restart(killed)

    assert GREETINGS == result_of(start_orchestrator(following.url))["output"]
