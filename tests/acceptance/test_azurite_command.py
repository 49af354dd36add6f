"""``azurite``: only the storage, for whoever runs the app with Core Tools."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.acceptance.asking import GREETINGS, result_of, start_orchestrator
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import (
    Process,
    Storage,
    azurite_pid,
    is_azurite_alive,
)

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(name="storage_apart")
def _storage_apart() -> Storage:
    return Storage.on_free_ports()


@pytest.fixture(name="app")
def _app(hosts: Hosts) -> Path:
    return hosts.copy_app()


@pytest.fixture(name="azurite")
def _azurite(hosts: Hosts, app: Path, storage_apart: Storage) -> Process:
    return hosts.azurite(storage_apart, app)


def test_it_says_where_azurite_listens(
    azurite: Process, storage_apart: Storage
) -> None:
    """The editor's task waits for this line."""
    ports = ", ".join(map(str, storage_apart.ports))

    last = azurite.text().splitlines()[-1]

    assert f"Azurite is listening on 127.0.0.1:{ports}" == last


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends Azurite otherwise")
def test_it_ends_azurite_when_it_is_asked_to_end(azurite: Process, app: Path) -> None:
    """With code 0."""
    pid = azurite_pid(app)
    assert is_azurite_alive(app, pid)

    assert 0 == azurite.stop()

    assert not is_azurite_alive(app, pid)


def test_a_host_uses_it_and_leaves_it(
    azurite: Process, app: Path, hosts: Hosts, storage_apart: Storage
) -> None:
    """Also one on the same folder."""
    host = hosts.start(app, storage=storage_apart)

    assert 0 == host.stop()

    assert is_azurite_alive(app, azurite_pid(app))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends Azurite otherwise")
def test_a_host_keeps_it_when_the_command_ends(
    azurite: Process, app: Path, hosts: Hosts, storage_apart: Storage
) -> None:
    """And ends it itself."""
    host = hosts.start(app, storage=storage_apart)

    assert 0 == azurite.stop()

    assert GREETINGS == result_of(start_orchestrator(host.url))["output"]
    assert 0 == host.stop()
    assert not is_azurite_alive(app, azurite_pid(app))
