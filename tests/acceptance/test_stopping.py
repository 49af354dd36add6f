"""SIGINT and SIGTERM: what runs is finished, what is owned is given up."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient

from tests.acceptance.asking import (
    GREETINGS,
    ask,
    result_of,
    start_orchestrator,
    wait_for,
)
from tests.acceptance.hosts import Gate, Hosts
from tests.acceptance.running_host import (
    Host,
    Storage,
    azurite_pid,
    is_azurite_alive,
)

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]
ONE_AT_A_TIME = (
    "AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions"
)


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A host that was asked to end while an activity ran, one of three instances."""

    host: Host
    gate: Gate
    starts: list[Any]
    code: int
    ran: list[str]


@pytest.fixture(scope="module", name="stopped", params=["SIGINT", "SIGTERM"])
def _stopped(request: pytest.FixtureRequest, shared_hosts: Hosts) -> Stopped:
    app = shared_hosts.copy_app()
    gate = Gate.in_app(app)
    host = shared_hosts.start(app, **{ONE_AT_A_TIME: "1"})
    starts = [start_orchestrator(host.url) for _ in range(3)]
    wait_for(gate.runs, "the begin of an activity", limit_s=10)
    host.send(signal.Signals[request.param])
    host.wait_for_text("Stopping: what runs may take 30 s to end.")
    gate.open()
    code = host.exit_code()
    return Stopped(host=host, gate=gate, starts=starts, code=code, ran=gate.runs())


def test_it_ends_with_code_0(stopped: Stopped) -> None:
    """It was asked to."""
    assert 0 == stopped.code


def test_what_runs_is_finished_and_nothing_else_begun(stopped: Stopped) -> None:
    """The activity ended after the signal; the two others never began."""
    assert ["Tokyo begins", "Tokyo ends"] == stopped.ran


def test_the_partitions_are_given_up(stopped: Stopped, storage: Storage) -> None:
    """The next host, on whatever port, owns them at once."""
    with TableServiceClient.from_connection_string(
        storage.connection_string
    ) as service:
        table = service.get_table_client(f"{stopped.host.hub}Partitions")
        rows = list(table.list_entities())

    assert 4 == len(rows)
    assert [None] * 4 == [row.get("CurrentOwner") for row in rows]


def test_no_message_stays_hidden(stopped: Stopped, storage: Storage) -> None:
    """What was not begun can be taken by the next host at once."""
    prefix = stopped.host.hub.lower()
    with QueueServiceClient.from_connection_string(
        storage.connection_string
    ) as service:
        queues = [
            service.get_queue_client(queue)
            for queue in service.list_queues(name_starts_with=prefix)
        ]
        there = [q.get_queue_properties().approximate_message_count for q in queues]
        visible = [len(queue.peek_messages(max_messages=32)) for queue in queues]

    assert 5 == len(queues)
    assert there == visible


def test_all_is_done_after_the_next_start(stopped: Stopped, hosts: Hosts) -> None:
    """Each activity ran once: the result of the finished one was kept."""
    if stopped.gate.runs() == stopped.ran:
        hosts.restart(stopped.host)

    results = [result_of(start)["output"] for start in stopped.starts]

    assert [GREETINGS] * 3 == results
    assert 2 * 9 == len(stopped.gate.runs())


def test_somebody_elses_azurite_goes_on(stopped: Stopped, storage: Storage) -> None:
    """Its folder was not touched either."""
    with TableServiceClient.from_connection_string(
        storage.connection_string
    ) as service:
        assert list(service.list_tables())
    assert not (stopped.host.app / ".azurite").exists()


@pytest.fixture(name="host")
def _host(hosts: Hosts) -> Iterator[Host]:
    """A host with an Azurite of its own."""
    yield hosts.start(storage=Storage.on_free_ports())


def test_its_own_azurite_ends_with_it(host: Host) -> None:
    """After it has saved; its pid file is gone too."""
    pid = azurite_pid(host.app)
    assert is_azurite_alive(host.app, pid)

    assert 0 == host.stop()

    assert not is_azurite_alive(host.app, pid)
    assert not (host.app / ".azurite" / "azurite.pid").exists()


def test_its_own_azurite_keeps_what_was_there(host: Host, hosts: Hosts) -> None:
    """A finished instance is known after the next start."""
    start = start_orchestrator(host.url)
    result_of(start)
    host.stop()

    hosts.restart(host)

    assert GREETINGS == ask(start["statusQueryGetUri"]).json()["output"]


def test_a_second_signal_ends_it_at_once(hosts: Hosts) -> None:
    """An activity that never ends does not hold whoever presses Ctrl-C twice."""
    app = hosts.copy_app()
    gate = Gate.in_app(app)
    host = hosts.start(app)
    start_orchestrator(host.url)
    wait_for(gate.runs, "the begin of an activity", limit_s=10)
    host.send(signal.SIGINT)
    host.wait_for_text("Stopping: what runs may take 30 s to end.")

    host.send(signal.SIGINT)

    assert 1 == host.exit_code(limit_s=5)


@pytest.mark.parametrize("is_nohup", [False, True])
def test_a_hangup_ends_it_unless_nohup_says_otherwise(
    hosts: Hosts, is_nohup: bool
) -> None:
    """``nohup`` has the process ignore SIGHUP; who closes a terminal means that."""
    before = signal.signal(
        signal.SIGHUP, signal.SIG_IGN if is_nohup else signal.SIG_DFL
    )
    try:
        host = hosts.start()  # inherits it
    finally:
        signal.signal(signal.SIGHUP, before)

    host.send(signal.SIGHUP)

    if is_nohup:
        assert GREETINGS == result_of(start_orchestrator(host.url))["output"]
        host.send(signal.SIGTERM)
    assert 0 == host.exit_code()
