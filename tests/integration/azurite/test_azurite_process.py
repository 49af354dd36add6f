"""Real Azurite processes: started, used, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localhost.azurite import AZURITE_SCRIPT, Endpoints
from localhost.errors import CannotStartError
from localhost.node import find_node, node_of_wheel
from localhost.processes import runs
from tests.integration.azurite.conftest import (
    ACCOUNT,
    KEY,
    NEEDS_AZURITE,
    create_queue,
    eventually,
    is_up,
    names,
    open_azurite,
    pid_of_start,
    posix,
    recorded_pid,
)

pytestmark = NEEDS_AZURITE


if sys.platform != "win32":  # where there are no sessions

    async def test_our_own_has_a_session_of_its_own(
        endpoints: Endpoints, folder: Path
    ) -> None:
        """Ctrl-C and a debugger that ends the whole group do not reach it."""
        async with open_azurite(endpoints, folder):
            pid = recorded_pid(folder)

            assert pid == os.getsid(pid)


def write_pid(folder: Path, pid: int) -> None:
    folder.mkdir()
    (folder / "azurite.pid").write_text(str(pid))


@pytest.fixture(name="foreign")
def _foreign(tmp_path: Path, endpoints: Endpoints) -> Iterator[subprocess.Popen[bytes]]:
    """An Azurite that somebody else started, and that listens."""
    folder = tmp_path / "foreign"
    arguments = ["-l", str(folder), "--skipApiVersionCheck", "--disableTelemetry"]
    for service, port in endpoints.by_service().items():
        arguments += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
    process = subprocess.Popen(
        [find_node(os.environ, wheel=node_of_wheel()), AZURITE_SCRIPT, *arguments],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    for line in process.stdout:
        if b"Table service is successfully listening" in line:
            break
    yield process
    process.terminate()
    process.communicate()


async def test_our_own_listens_inside_and_is_gone_outside(
    endpoints: Endpoints, folder: Path
) -> None:
    """It knows the account that it was given."""
    async with open_azurite(endpoints, folder):
        assert [] == names(endpoints)

    assert not is_up(endpoints)
    assert not (folder / "azurite.pid").exists()


async def test_its_start_is_said_with_pid_and_folder(
    endpoints: Endpoints, folder: Path
) -> None:
    """Once."""
    said: list[str] = []

    async with open_azurite(endpoints, folder, said.append):
        pid = recorded_pid(folder)

    assert [f"Azurite started (pid {pid}), its data is in {folder}."] == said


async def test_what_was_answered_is_there_after_a_restart(
    endpoints: Endpoints, folder: Path
) -> None:
    """It is given the time to save."""
    async with open_azurite(endpoints, folder):
        create_queue(endpoints)

    async with open_azurite(endpoints, folder):
        assert ["kept"] == names(endpoints)


async def test_it_ends_when_the_host_fails(endpoints: Endpoints, folder: Path) -> None:
    """As after every other end."""
    with pytest.raises(RuntimeError):
        async with open_azurite(endpoints, folder):
            raise RuntimeError

    assert not is_up(endpoints)


async def test_a_host_that_is_stopped_while_it_starts_leaves_none(
    endpoints: Endpoints, folder: Path
) -> None:
    """Ctrl-C may come before it listens."""

    async def enter() -> None:
        async with open_azurite(endpoints, folder):
            raise AssertionError("stopped too late")

    task = asyncio.create_task(enter())
    pid = await pid_of_start(folder)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not runs(pid, str(folder))
    assert not (folder / "azurite.pid").exists()


async def test_somebody_elses_is_used_and_not_ended(
    endpoints: Endpoints, folder: Path, foreign: subprocess.Popen[bytes]
) -> None:
    """Nothing is written to our folder either."""
    async with open_azurite(endpoints, folder):
        assert [] == names(endpoints)

    assert foreign.poll() is None
    assert "data of azurite" not in os.listdir(folder.parent)


async def test_somebody_elses_is_not_taken_for_ours_by_an_old_pid(
    endpoints: Endpoints, folder: Path, foreign: subprocess.Popen[bytes]
) -> None:
    """The pid of a process that ended may be anybody's."""
    write_pid(folder, foreign.pid)

    async with open_azurite(endpoints, folder):
        pass

    assert foreign.poll() is None


async def test_an_old_pid_does_not_keep_ours_from_starting(
    endpoints: Endpoints, folder: Path
) -> None:
    """Here it is that of the test itself."""
    write_pid(folder, os.getpid())

    async with open_azurite(endpoints, folder):
        assert is_up(endpoints)


async def test_a_port_that_is_taken_without_listening_is_told_by_the_log(
    endpoints: Endpoints, folder: Path
) -> None:
    """Azurite's own words are passed on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", endpoints.table_port))
        with pytest.raises(CannotStartError) as caught:
            async with open_azurite(endpoints, folder):
                pass

    assert str(caught.value).startswith("Azurite ended at once; expected is that it")
    assert f"address already in use 127.0.0.1:{endpoints.table_port}" in str(
        caught.value
    )


@posix
async def test_one_that_ends_already_is_not_asked_again(
    endpoints: Endpoints, folder: Path
) -> None:
    """A second SIGTERM would end it before it has saved."""
    async with open_azurite(endpoints, folder):
        create_queue(endpoints)
        os.kill(recorded_pid(folder), signal.SIGTERM)
        log = folder / "azurite.log"
        await eventually(lambda: "is closing" in log.read_text(), pause_s=0.0)

    said: list[str] = []
    async with open_azurite(endpoints, folder, said.append):
        assert ["kept"] == names(endpoints)

    assert ["Azurite started"] == [line[:15] for line in said]


@pytest.mark.parametrize(
    "name",
    [
        "__azurite_db_blob__.json",
        "__azurite_db_queue__.json",
        "__azurite_db_queue_extent__.json",
        "__azurite_db_table__.json",
    ],
)
async def test_a_data_file_cut_in_the_middle_is_named_with_the_way_out(
    endpoints: Endpoints, folder: Path, name: str
) -> None:
    """A full disk or a power cut leaves such a file."""
    async with open_azurite(endpoints, folder):
        pass
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])

    with pytest.raises(CannotStartError) as caught:
        async with open_azurite(endpoints, folder):
            pass

    assert str(caught.value).startswith(f"{folder / name} is damaged (")
    assert str(caught.value).endswith(
        "so that Azurite ended at once; expected is what an Azurite saved. Move"
        f" {folder} away, or delete it, and start again: the instances in it are lost."
    )
