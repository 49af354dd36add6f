"""The account's key is changed: the host that runs ends and says so, the next goes on.

Azurite plays it: it is stopped and started again on its data with another key.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localhost.account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from localhost.azurite import AZURITE_SCRIPT
from tests.acceptance.asking import GREETINGS, result_of, start_orchestrator, wait_for
from tests.acceptance.hosts import Gate, Hosts
from tests.acceptance.running_host import EXIT_LIMIT_S, Process, Storage, environment

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not AZURITE_SCRIPT.exists(), reason="Azurite is not installed"),
    pytest.mark.skipif(
        sys.platform == "win32", reason="Windows ends Azurite otherwise"
    ),
]
ANOTHER_KEY = "YW5vdGhlciBrZXk="


def azurite_with_another_key(storage: Storage, app: Path, log: Path) -> Process:
    """Have Azurite run on the data of an app, and let nobody in with the old key."""
    string = storage.connection_string.replace(DEVELOPMENT_KEY, ANOTHER_KEY)
    process = Process(
        ["azurite", "--app", str(app)],
        log=log,
        environ=environment(AzureWebJobsStorage=string),
    )
    process.wait_for_text("Azurite is listening on ")
    return process


def test_a_host_that_is_refused_ends_in_one_line_and_goes_on_with_the_key(
    hosts: Hosts, tmp_path: Path
) -> None:
    """With code 1; what it had begun is ended by the next host."""
    storage, azurite_app, app = (
        Storage.on_free_ports(),
        hosts.copy_app(),
        hosts.copy_app(),
    )
    azurite, gate = hosts.azurite(storage, azurite_app), Gate.in_app(app)
    host = hosts.start(app, storage=storage)
    begun = start_orchestrator(host.url)
    wait_for(gate.runs, "an activity to begin", limit_s=10)

    azurite.stop()
    other = azurite_with_another_key(storage, azurite_app, tmp_path / "other.log")
    try:
        gate.open()
        assert 1 == host.exit_code(limit_s=EXIT_LIMIT_S)
    finally:
        other.end()

    last = host.text().splitlines()[-1]
    assert last.startswith("localhost: The storage at http://127.0.0.1:")
    assert f"does not let account '{DEVELOPMENT_ACCOUNT}' in any more (" in last
    assert "HTTP 403 " in last
    assert "Check AccountKey there" in last
    assert "Critical:" not in host.text()
    assert "Traceback" not in host.text()
    hosts.azurite(storage, azurite_app)
    hosts.restart(host)
    assert GREETINGS == result_of(begun)["output"]
