"""Two hosts on one app folder share the Azurite that the first has started."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localhost.azurite import AZURITE_SCRIPT
from tests.acceptance.asking import GREETINGS, result_of, start_orchestrator
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import (
    Host,
    Storage,
    azurite_pid,
    is_azurite_alive,
)

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not AZURITE_SCRIPT.exists(), reason="Azurite is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]


@pytest.fixture(name="pair")
def _pair(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    with Hosts(tmp_path, Storage.on_free_ports()) as hosts:
        app = hosts.copy_app()
        yield hosts.start(app), hosts.start(app)


@pytest.mark.parametrize("is_killed", [False, True])
def test_the_second_goes_on_without_the_first_and_ends_azurite(
    pair: tuple[Host, Host], is_killed: bool
) -> None:
    """However the first ended; it says so when it can."""
    first, second = pair
    pid = azurite_pid(first.app)

    if is_killed:
        first.kill()
    else:
        assert 0 == first.stop()

    is_told = f"Azurite (pid {pid}) goes on: another host uses it." in first.text()
    assert is_told is not is_killed
    assert GREETINGS == result_of(start_orchestrator(second.url))["output"]
    assert 0 == second.stop()
    assert not is_azurite_alive(second.app, pid)
    assert "Warning: The storage" not in second.text()
