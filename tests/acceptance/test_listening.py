"""Where the host listens, and what it says when somebody else does."""

from __future__ import annotations

import re
import socket
import sys

import pytest

from tests.acceptance.asking import ask
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import Host, Storage, environment, run_command

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", name="host")
def _host(shared_hosts: Hosts) -> Host:
    return shared_hosts.start()


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
def test_it_listens_on_this_machine(host: Host, address: str) -> None:
    """By number and by name."""
    assert 200 == ask(f"http://{address}:{host.port}/admin/host/ping").status


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_it_listens_on_the_other_half_of_localhost_too(host: Host) -> None:
    """``localhost`` is ::1 for some clients."""
    assert 200 == ask(f"http://[::1]:{host.port}/admin/host/ping").status


def test_a_port_that_is_taken_is_told_with_its_holder(
    host: Host, storage: Storage
) -> None:
    """Exit code 3; the first host goes on."""
    ended = run_command(
        "start",
        "--app",
        str(host.app),
        "--port",
        str(host.port),
        environ=environment(AzureWebJobsStorage=storage.connection_string),
    )

    assert 3 == ended.code
    assert ended.error.startswith(f"localhost: Port {host.port} is unavailable. ")
    assert "choose another port with --port (for example --port 7072)" in ended.error
    if sys.platform == "linux":
        assert f"is held by process {host.pid} (" in ended.error
    assert 200 == ask(f"{host.url}/admin/host/ping").status


def test_port_0_takes_a_free_one_and_says_which(hosts: Hosts) -> None:
    """The list of functions shows it."""
    host = hosts.launch(port=0)
    host.wait_for_text("Worker process started and initialized.")

    found = re.search(r"http://localhost:(\d+)/api/orchestrators", host.text())

    assert found
    assert 200 == ask(f"http://127.0.0.1:{found[1]}/admin/host/ping").status
