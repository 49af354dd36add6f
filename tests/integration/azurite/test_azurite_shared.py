"""One Azurite for all hosts on a folder: the last one that uses it ends it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from localhost.azurite import Endpoints
from localhost.errors import CannotStartError
from tests.integration.azurite.conftest import (
    CUT_OFF,
    NEEDS_AZURITE,
    StartHost,
    create_queue,
    finish,
    free_endpoints,
    is_up,
    kill,
    names,
    open_azurite,
    posix,
    recorded_pid,
    replaced,
    wait_until_ready,
)

pytestmark = NEEDS_AZURITE


def goes_on(pid: int) -> str:
    """What a host says that ends before the others."""
    return f"Azurite (pid {pid}) goes on: another host uses it."


@pytest.mark.parametrize("is_same_folder", [True, False])
def test_two_hosts_at_the_same_moment_share_one(
    endpoints: Endpoints, folder: Path, start_host: StartHost, is_same_folder: bool
) -> None:
    """The one that comes second uses what the first started."""
    other = folder if is_same_folder else folder.with_name("other")
    hosts = [start_host(folder), start_host(other)]

    said = ["".join(wait_until_ready(host)) for host in hosts]

    started = [text.count("Azurite started") for text in said]
    assert [0, 1] == sorted(started)
    finish(hosts[started.index(0)])
    assert is_up(endpoints)
    finish(hosts[started.index(1)])
    assert not is_up(endpoints)


async def test_it_goes_on_when_the_second_ends(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """The first, which has started it, ends it."""
    host = start_host()
    wait_until_ready(host)
    pid = recorded_pid(folder)
    said: list[str] = []

    async with open_azurite(endpoints, folder, said.append):
        pass

    assert [goes_on(pid)] == said
    assert is_up(endpoints)
    assert "" == finish(host)
    assert not is_up(endpoints)


async def test_it_goes_on_when_the_first_ends(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """The second ends it."""
    host = start_host()
    wait_until_ready(host)
    pid = recorded_pid(folder)
    said: list[str] = []

    async with open_azurite(endpoints, folder, said.append):
        assert goes_on(pid) == finish(host).rstrip()
        assert is_up(endpoints)
        assert pid == recorded_pid(folder)

    assert [] == said
    assert not is_up(endpoints)
    assert not (folder / "azurite.pid").exists()


async def test_the_second_ends_it_when_the_first_was_killed(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """A host that is gone uses nothing."""
    host = start_host()
    wait_until_ready(host)

    async with open_azurite(endpoints, folder):
        host.kill()
        host.wait()
        assert is_up(endpoints)

    assert not is_up(endpoints)
    assert not (folder / "azurite.pid").exists()


def test_hosts_that_end_at_once_leave_none_and_lose_nothing(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """All but one say that it goes on."""
    hosts = [start_host() for _ in range(3)]
    for host in hosts:
        wait_until_ready(host)
    create_queue(endpoints)
    pid = recorded_pid(folder)

    with ThreadPoolExecutor(len(hosts)) as pool:
        said = "".join(pool.map(finish, hosts))

    assert len(hosts) - 1 == said.count(goes_on(pid))
    assert not is_up(endpoints)
    assert not (folder / "azurite.pid").exists()
    wait_until_ready(start_host())
    assert ["kept"] == names(endpoints)


@pytest.mark.parametrize("is_first_to_leave", [True, False])
async def test_a_host_that_comes_while_the_last_one_leaves_has_it(
    endpoints: Endpoints, folder: Path, start_host: StartHost, is_first_to_leave: bool
) -> None:
    """Either the same, or another when that has ended: never one that just ends."""
    starter = start_host()
    wait_until_ready(starter)
    create_queue(endpoints)
    starter.kill()
    starter.wait()
    async with AsyncExitStack() as comer, AsyncExitStack() as leaver:
        await leaver.enter_async_context(open_azurite(endpoints, folder))
        steps = [
            leaver.aclose(),
            comer.enter_async_context(open_azurite(endpoints, folder)),
        ]
        await asyncio.gather(*(steps if is_first_to_leave else steps[::-1]))

        assert ["kept"] == names(endpoints)

    assert not is_up(endpoints)


@posix
async def test_the_host_that_is_left_replaces_it(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """As if it had started it."""
    host = start_host()
    wait_until_ready(host)
    pid = recorded_pid(folder)

    async with open_azurite(endpoints, folder) as keeper:
        finish(host)
        kill(pid)
        await replaced(keeper, pid)
        assert is_up(endpoints)

    assert not is_up(endpoints)


@posix
async def test_one_that_several_use_is_replaced_once(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """By the one that sees its end first; the other uses the new one."""
    host = start_host()
    wait_until_ready(host)
    pid = recorded_pid(folder)
    said: list[str] = []

    async with open_azurite(endpoints, folder, said.append) as keeper:
        kill(pid)
        another = await replaced(keeper, pid)
        said += finish(host).splitlines()

    assert 1 == sum(line.startswith(CUT_OFF) for line in said)
    assert [goes_on(another)] == [line for line in said if "goes on" in line]
    assert not is_up(endpoints)


@posix
async def test_its_end_is_told_to_all_that_use_it(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """What each of them remembers may be more than what the next one knows."""
    host = start_host()
    wait_until_ready(host)
    pid = recorded_pid(folder)
    told: list[bool] = []

    async with open_azurite(endpoints, folder) as keeper:
        keeper.on_end = lambda: told.append(True)
        kill(pid)
        await replaced(keeper, pid)
        finish(host)

    assert [True] == told


async def test_one_on_other_ports_that_a_live_host_uses_is_not_ended(
    endpoints: Endpoints, folder: Path, start_host: StartHost
) -> None:
    """Two on one folder would spoil the data: the second host does not start."""
    before = free_endpoints()
    wait_until_ready(start_host(at=before))
    pid = recorded_pid(folder)

    with pytest.raises(CannotStartError) as caught:
        async with open_azurite(endpoints, folder):
            pass

    assert str(caught.value) == (
        f"Another host uses {folder} with an Azurite (pid {pid}) that is not on"
        f" {endpoints}; expected is one Azurite for a folder. End the other host, or"
        " give both the same AzureWebJobsStorage."
    )
    assert is_up(before)
