"""Azurite processes that end while a host needs them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from localhost.azurite import Endpoints
from localhost.processes import runs
from tests.integration.azurite.conftest import (
    CUT_OFF,
    NEEDS_AZURITE,
    create_queue,
    eventually,
    is_up,
    kill,
    names,
    open_azurite,
    posix,
    recorded_pid,
    replaced,
    until_up,
)

pytestmark = NEEDS_AZURITE


@posix
async def test_one_that_is_killed_while_it_is_needed_is_replaced(
    endpoints: Endpoints, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On the same ports; that something may be lost is said once."""
    said: list[str] = []
    async with open_azurite(endpoints, folder, said.append) as keeper:
        first = recorded_pid(folder)
        kill(first)
        second = await replaced(keeper, first)
        assert is_up(endpoints)

    assert [f"Azurite (pid {first}) has ended (SIGKILL); it is started again."] == (
        caplog.messages
    )
    assert [
        f"Azurite started (pid {first}), its data is in {folder}.",
        f"{CUT_OFF}: what it had not saved to {folder} is gone.",
        f"Azurite started (pid {second}), its data is in {folder}.",
    ] == said
    assert not is_up(endpoints)
    assert not (folder / "azurite.pid").exists()


@posix
async def test_its_end_is_told_before_another_listens(
    endpoints: Endpoints, folder: Path
) -> None:
    """What the host remembers may be more than what the next one knows."""
    was_up: list[bool] = []
    async with open_azurite(endpoints, folder) as keeper:
        keeper.on_end = lambda: was_up.append(is_up(endpoints))
        kill(recorded_pid(folder))
        await eventually(lambda: bool(was_up))
        await until_up(endpoints)

    assert [False] == was_up


@posix
async def test_one_that_is_asked_to_end_while_it_is_needed_is_replaced(
    endpoints: Endpoints, folder: Path
) -> None:
    """It has saved everything, and nothing else is said."""
    said: list[str] = []
    async with open_azurite(endpoints, folder, said.append) as keeper:
        create_queue(endpoints)
        first = recorded_pid(folder)
        os.kill(first, signal.SIGTERM)
        await replaced(keeper, first)
        assert ["kept"] == names(endpoints)

    assert ["Azurite started", "Azurite started"] == [line[:15] for line in said]


@posix
async def test_one_that_cannot_be_started_again_is_tried_until_it_can(
    endpoints: Endpoints, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Why it cannot is said, once."""
    damaged = folder / "__azurite_db_table__.json"
    async with open_azurite(endpoints, folder):
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[:-10])
        kill(recorded_pid(folder))
        await eventually(lambda: "is damaged" in caplog.text)
        damaged.write_bytes(whole)
        await until_up(endpoints)

    assert 1 == caplog.text.count("is damaged")


@posix
@pytest.mark.parametrize("name", ["azurite.pid", "azurite.log"])
async def test_a_folder_that_cannot_be_written_ends_no_watch(
    endpoints: Endpoints, folder: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Why it cannot is said; when it can, one Azurite of ours is there again."""
    async with open_azurite(endpoints, folder):
        pid = recorded_pid(folder)
        (folder / name).unlink()
        (folder / name).mkdir()
        kill(pid)
        await eventually(lambda: name in caplog.text)
        (folder / name).rmdir()
        await until_up(endpoints)
        await eventually(lambda: (folder / "azurite.pid").is_file())
        again = recorded_pid(folder)

        assert again != pid
        assert runs(again, str(folder))


@posix
async def test_one_that_was_killed_just_before_its_host_ended_is_told_by_the_next(
    endpoints: Endpoints, folder: Path
) -> None:
    """The host itself had no time to see it."""
    async with open_azurite(endpoints, folder):
        kill(recorded_pid(folder))

    said: list[str] = []
    async with open_azurite(endpoints, folder, said.append):
        pass

    assert said[0].startswith(CUT_OFF)
