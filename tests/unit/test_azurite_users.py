"""Who uses an Azurite: counted by locks that a process loses with its end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localhost.azurite_users import Users
from localhost.errors import CannotStartError

# A host that has forked a process which lives on, and is gone without leaving.
FORKING_HOST = """
import os, sys
from pathlib import Path
from localhost.azurite_users import Users

users = Users(Path(sys.argv[1]), say=print)
users.join()
if os.fork():
    os._exit(0)
print("forked", flush=True)
sys.stdin.read()
"""


def users(
    folder: Path, say: Callable[[str], None] = lambda _: None, *, limit_s: float = 10.0
) -> Users:
    return Users(folder, say=say, limit_s=limit_s)


def test_who_has_joined_is_one_of_the_others_until_he_leaves(tmp_path: Path) -> None:
    """Seen by each of the two."""
    first, second = users(tmp_path), users(tmp_path)

    seen = []
    for step in (first.join, second.join, first.leave, second.leave):
        step()
        seen.append((first.has_others(), second.has_others()))

    assert [(False, True), (True, True), (True, False), (False, False)] == seen


def test_who_joins_twice_leaves_once(tmp_path: Path) -> None:
    """Such as a host whose Azurite was started again."""
    first = users(tmp_path)
    first.join()
    first.join()
    assert first.has_me

    first.leave()

    assert not first.has_me
    assert not users(tmp_path).has_others()


def test_the_place_of_one_that_left_is_taken_again(tmp_path: Path) -> None:
    """The files do not become more and more."""
    for _ in range(3):
        one = users(tmp_path)
        one.join()
        one.leave()

    assert ["azurite.user.0"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_process_that_a_killed_host_forked_is_no_user(tmp_path: Path) -> None:
    """User code may have a pool of them."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKING_HOST, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as host:
        assert host.stdout
        assert b"forked\n" == host.stdout.readline()
        host.wait()

        assert not users(tmp_path).has_others()


async def test_only_one_is_alone(tmp_path: Path) -> None:
    """The next one waits for its end."""
    steps: list[str] = []

    async def enter(name: str) -> None:
        async with users(tmp_path).alone():
            steps.append(f"{name} comes")
            await asyncio.sleep(0)
            steps.append(f"{name} goes")

    await asyncio.gather(enter("first"), enter("second"))

    assert ["first comes", "first goes", "second comes", "second goes"] == steps


async def test_a_wait_without_end_is_told_and_given_up(tmp_path: Path) -> None:
    """The folder is named both times."""
    said: list[str] = []
    async with users(tmp_path).alone():
        with pytest.raises(CannotStartError) as caught:
            async with users(tmp_path, said.append, limit_s=0.1).alone():
                pass

    assert [
        f"Another host starts or ends the Azurite of {tmp_path}; waiting for it."
    ] == said
    assert str(caught.value).startswith(
        f"Another host has been starting or ending the Azurite of {tmp_path} for 0 s"
    )
