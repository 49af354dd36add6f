"""Worker processes of a host that runs: how many there are, and how they end."""

from __future__ import annotations

import signal
import sys

import psutil
import pytest

from localhost.processes import kill
from tests.acceptance.asking import (
    GREETINGS,
    ask,
    result_of,
    start_orchestrator,
    wait_for,
)
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import Host

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals"),
]


def workers_of(host: Host) -> list[psutil.Process]:
    """The worker processes of a host."""
    children = psutil.Process(host.pid).children()
    return [each for each in children if "worker" in " ".join(each.cmdline())]


def gone(processes: list[psutil.Process]) -> None:
    """Wait until processes are gone."""
    wait_for(
        lambda: not any(each.is_running() for each in processes),
        "their end",
        limit_s=15,
    )


@pytest.mark.parametrize("count", [0, 1, 2])
def test_there_are_as_many_workers_as_the_setting_says(
    hosts: Hosts, count: int
) -> None:
    """Without one, the functions run in the host's own process."""
    host = hosts.start(FUNCTIONS_WORKER_PROCESS_COUNT=str(count))
    wait_for(lambda: len(workers_of(host)) == count, "all workers", limit_s=15)
    workers = workers_of(host)

    assert GREETINGS == result_of(start_orchestrator(host.url))["output"]
    assert 0 == host.stop()

    gone(workers)


def test_a_killed_host_leaves_no_worker(hosts: Hosts) -> None:
    """Also when its function never ends."""
    app = hosts.copy_app()
    code = "import time\n\ndef main(name: str) -> str:\n    time.sleep(1000)\n"
    (app / "Hello" / "__init__.py").write_text(code)
    host = hosts.start(app)
    start = start_orchestrator(host.url)
    wait_for(
        lambda: ask(start["statusQueryGetUri"]).json()["runtimeStatus"] == "Running",
        "a running instance",
        limit_s=15,
    )
    workers = workers_of(host)

    host.kill()

    assert len(workers) == 1
    gone(workers)


def test_a_killed_worker_is_replaced_and_told_of(hosts: Hosts) -> None:
    """One line; the instances go on."""
    host = hosts.start()
    [worker] = workers_of(host)

    kill(worker.pid)
    host.wait_for_text("Another one takes its place.")

    assert f"The worker process {worker.pid} ended (ended by SIGKILL)" in host.text()
    assert GREETINGS == result_of(start_orchestrator(host.url))["output"]


def test_ctrl_c_reaches_the_worker_too_and_does_nothing(hosts: Hosts) -> None:
    """A terminal sends it to all processes; the host decides what it means."""
    host = hosts.start()
    [worker] = workers_of(host)

    worker.send_signal(signal.SIGINT)

    assert GREETINGS == result_of(start_orchestrator(host.url))["output"]
    assert [worker.pid] == [each.pid for each in workers_of(host)]
