"""Where the host listens, and what it says when somebody else does."""

from __future__ import annotations

import re
import socket
import sys

import pytest

from tests.acceptance.asking import ask
from tests.acceptance.hosts import Hosts, write_function
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


# What an app sees while it is imported, and what its client is told.
WHERE = """
import json
import os

import azure.functions as func
import azure.durable_functions as df

SEEN = os.environ["WEBSITE_HOSTNAME"]


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    links = client.create_http_management_payload("x")
    return func.HttpResponse(json.dumps([SEEN, links["statusQueryGetUri"]]))
"""
WHERE_BINDINGS = (
    {"name": "req", "type": "httpTrigger", "direction": "in", "authLevel": "anonymous"},
    {"name": "$return", "type": "http", "direction": "out"},
    {"name": "starter", "type": "durableClient", "direction": "in"},
)


def test_port_0_takes_a_free_one_and_says_which(hosts: Hosts) -> None:
    """The list of functions shows it, and the app knows it."""
    app = hosts.copy_app()
    write_function(app, "Where", WHERE, *WHERE_BINDINGS)
    host = hosts.launch(app, port=0)
    host.wait_for_text("Worker process started and initialized.")

    found = re.search(r"http://localhost:(\d+)/api/orchestrators", host.text())

    assert found
    assert 200 == ask(f"http://127.0.0.1:{found[1]}/admin/host/ping").status
    seen, link = ask(f"http://127.0.0.1:{found[1]}/api/Where").json()
    assert f"localhost:{found[1]}" == seen
    assert link.startswith(f"http://localhost:{found[1]}/runtime/")


@pytest.mark.skipif(sys.platform == "darwin", reason="there is no 127.0.0.2")
def test_an_address_of_its_own_is_what_the_app_is_told(hosts: Hosts) -> None:
    """``localhost`` would lead somewhere else."""
    app = hosts.copy_app()
    write_function(app, "Where", WHERE, *WHERE_BINDINGS)
    host = hosts.launch(app, LOCALHOST_HOST="127.0.0.2")
    host.wait_for_text("Worker process started and initialized.")

    seen, link = ask(f"http://127.0.0.2:{host.port}/api/Where").json()

    assert f"127.0.0.2:{host.port}" == seen
    assert link.startswith(f"http://127.0.0.2:{host.port}/runtime/")


def test_an_unknown_name_is_refused_until_it_is_allowed(hosts: Hosts) -> None:
    """The answer says how."""
    host = hosts.start()
    headers = {"Host": "box.example"}
    refused = ask(f"{host.url}/api/orchestrators/HelloOrchestrator", headers=headers)
    host.end()
    host.environ["LOCALHOST_ALLOWED_HOSTS"] = "*.example"
    again = hosts.restart(host)

    assert 403 == refused.status
    assert "LOCALHOST_ALLOWED_HOSTS=box.example" in refused.text
    assert 200 == ask(f"{again.url}/admin/host/ping", headers=headers).status
