"""Azurite processes that a killed host left behind, and what became of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from localhost.azurite import Endpoints
from localhost.processes import runs
from tests.integration.azurite.conftest import (
    CUT_OFF,
    NEEDS_AZURITE,
    StartHost,
    create_queue,
    eventually,
    free_endpoints,
    is_up,
    kill,
    names,
    open_azurite,
    pid_of_start,
    posix,
    recorded_pid,
    replaced,
    wait_until_ready,
)

pytestmark = NEEDS_AZURITE


async def test_it_outlives_a_killed_host_and_is_adopted(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """What was answered is kept, and the next host ends it."""
    host = start_host()
    wait_until_ready(host)
    create_queue(endpoints)
    pid = recorded_pid(folder)
    host.kill()
    host.wait()
    said: list[str] = []

    async with open_azurite(endpoints, folder, said.append):
        assert ["kept"] == names(endpoints)

    assert [f"Azurite (pid {pid}) of an earlier host goes on."] == said
    assert not is_up(endpoints)


async def test_one_on_earlier_ports_is_ended_before_ours_starts(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """Two on one folder would spoil the data."""
    before = free_endpoints()
    host = start_host(at=before)
    wait_until_ready(host)
    create_queue(before)
    host.kill()
    host.wait()

    async with open_azurite(endpoints, folder):
        assert ["kept"] == names(endpoints)
        assert not is_up(before)


async def test_one_that_still_starts_when_its_host_dies_is_adopted(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """The next host waits for it."""
    host = start_host()
    pid = await pid_of_start(folder)
    host.kill()
    host.wait()

    async with open_azurite(endpoints, folder):
        assert pid == recorded_pid(folder)

    assert not is_up(endpoints)


@posix
async def test_an_adopted_one_that_is_killed_is_replaced(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """It is no child of this host."""
    host = start_host()
    wait_until_ready(host)
    first = recorded_pid(folder)
    host.kill()
    host.wait()

    async with open_azurite(endpoints, folder) as keeper:
        kill(first)
        await replaced(keeper, first)
        assert is_up(endpoints)

    assert not is_up(endpoints)


@posix
async def test_one_that_was_killed_while_no_host_ran_is_told_by_the_next(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """Once: the start after that says nothing any more."""
    host = start_host()
    wait_until_ready(host)
    host.kill()
    host.wait()
    kill(recorded_pid(folder))
    await eventually(lambda: not is_up(endpoints))

    told = []
    for _ in range(2):
        said: list[str] = []
        async with open_azurite(endpoints, folder, said.append):
            pass
        told.append([line.startswith(CUT_OFF) for line in said])

    assert [[True, False], [False]] == told


@posix
async def test_one_that_somebody_else_asked_to_end_is_not_called_killed(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """A machine that is shut down does so, with no host left that sees it."""
    host = start_host()
    wait_until_ready(host)
    create_queue(endpoints)
    pid = recorded_pid(folder)
    host.kill()
    host.wait()
    os.kill(pid, signal.SIGTERM)
    await eventually(lambda: not runs(pid, str(folder)))

    said: list[str] = []
    async with open_azurite(endpoints, folder, said.append):
        assert ["kept"] == names(endpoints)

    assert ["Azurite started"] == [line[:15] for line in said]
