"""Azurite is killed: what it had not saved is gone, and new instances run all the same.

Here the host has an Azurite of its own, as somebody who only types the command has.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localhost.azurite import AZURITE_SCRIPT
from tests.acceptance.asking import (
    GREETINGS,
    ask,
    result_of,
    start_orchestrator,
    wait_for,
)
from tests.acceptance.hosts import Gate, Hosts
from tests.acceptance.running_host import (
    EXIT_LIMIT_S,
    Host,
    Storage,
    azurite_pid,
    is_azurite_alive,
)

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(not AZURITE_SCRIPT.exists(), reason="Azurite is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]

CUT_OFF = (
    "Azurite did not end by itself the last time (it was killed): what it had not"
    " saved to "
)
SAVE_LIMIT_S = 30.0  # Azurite saves every 5 s what has changed, leases every 8 s
SAVING_S = 0.5  # a file that is newer than now by this was begun from now on
COMMON_DATA = ("__azurite_db_table__.json", "__azurite_db_queue__.json")


@pytest.fixture(name="hosts")
def _hosts(tmp_path: Path) -> Iterator[Hosts]:
    with Hosts(tmp_path, Storage.on_free_ports()) as hosts:
        yield hosts


def kill_azurite(host: Host) -> None:
    """Kill the host's Azurite, and nothing else."""
    pid = azurite_pid(host.app)
    assert is_azurite_alive(host.app, pid)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_azurite_alive(host.app, pid), "its end", limit_s=5)


def wait_until_saved(host: Host) -> None:
    """Wait until Azurite has saved tables and queues as they are by now."""
    files = [host.app / ".azurite" / name for name in COMMON_DATA]
    least_s = time.time() + SAVING_S

    def is_saved() -> bool:
        return all(file.stat().st_mtime > least_s for file in files)

    wait_for(is_saved, "tables and queues to be saved", limit_s=SAVE_LIMIT_S)


@contextmanager
def standing_still(host: Host) -> Iterator[None]:
    """Keep a host from starting another Azurite meanwhile."""
    host.send(signal.SIGSTOP)
    try:
        yield
    finally:
        host.send(signal.SIGCONT)


def is_back(host: Host) -> bool:
    """Another Azurite was started; the one before is told first."""
    return "Azurite started (pid" in host.text().partition(CUT_OFF)[2]


def assert_goes_on(host: Host) -> None:
    """It said once what a kill costs, new instances run, and nothing went wrong."""
    assert GREETINGS == result_of(start_orchestrator(host.url))["output"]
    assert 0 == host.stop()
    assert 1 == host.text().count(CUT_OFF)
    assert "Traceback" not in host.text()


@pytest.mark.parametrize("is_host_killed", [False, True])
def test_new_instances_run_after_a_kill_before_anything_was_saved(
    hosts: Hosts, is_host_killed: bool
) -> None:
    """The whole task hub is gone then, while the host runs or with the host."""
    host = hosts.start()
    start_orchestrator(host.url)

    if is_host_killed:
        host.kill()
    kill_azurite(host)
    if is_host_killed:
        host = hosts.restart(host)

    assert_goes_on(host)


@pytest.mark.parametrize("is_host_killed", [False, True])
def test_what_was_saved_before_a_kill_is_kept(
    hosts: Hosts, is_host_killed: bool
) -> None:
    """An instance that had ended is known, and new ones run."""
    host = hosts.start()
    old = start_orchestrator(host.url)
    result_of(old)
    wait_until_saved(host)

    if is_host_killed:
        host.kill()
    kill_azurite(host)
    if is_host_killed:
        host = hosts.restart(host)

    assert GREETINGS == result_of(old)["output"]
    assert_goes_on(host)


def test_instances_in_work_go_on_from_what_was_saved(hosts: Hosts) -> None:
    """What the host had in memory was more than that, and is forgotten."""
    app = hosts.copy_app()
    gate = Gate.in_app(app)
    host = hosts.start(app)
    starts = [start_orchestrator(host.url) for _ in range(5)]
    wait_for(lambda: len(gate.runs()) == len(starts), "all to begin", limit_s=10)
    wait_until_saved(host)

    kill_azurite(host)
    gate.open()
    wait_for(lambda: is_back(host), "another Azurite", limit_s=20)

    outputs = [result_of(start, limit_s=40)["output"] for start in starts]
    assert [GREETINGS] * len(starts) == outputs
    assert_goes_on(host)


def test_a_hub_that_was_lost_is_told_and_made_again_once(hosts: Hosts) -> None:
    """However many requests meet the gap; what was in it is unknown now."""
    host = hosts.start()
    lost = start_orchestrator(host.url)
    result_of(lost)

    with standing_still(host):
        kill_azurite(host)
        for file in (host.app / ".azurite").glob("__azurite_db_*"):
            file.unlink()
    host.wait_for_text("it is made again.")

    assert GREETINGS == result_of(start_orchestrator(host.url))["output"]
    assert 404 == ask(lost["statusQueryGetUri"]).status
    assert 1 == host.text().count(
        f"Warning: The storage has lost the task hub {host.hub}; it is made again."
    )


@pytest.mark.parametrize("name", COMMON_DATA)
def test_a_data_file_cut_in_the_middle_ends_the_start(hosts: Hosts, name: str) -> None:
    """With code 3, the file's name and the way out."""
    host = hosts.start()
    assert 0 == host.stop()
    damaged = host.app / ".azurite" / name
    damaged.write_bytes(damaged.read_bytes()[:-20])

    again = hosts.launch(
        host.app, AzureWebJobsStorage=host.environ["AzureWebJobsStorage"]
    )

    assert 3 == again.exit_code(limit_s=EXIT_LIMIT_S)
    last = again.text().splitlines()[-1]
    assert last.startswith(f"localhost: {damaged} is damaged (")
    assert f"Move {damaged.parent} away, or delete it, and start again" in last
