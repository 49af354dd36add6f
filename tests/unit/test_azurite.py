"""What is said when Azurite cannot be had, and what of it is looked at first."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from localhost.azurite import Endpoints, azurite
from localhost.errors import CannotStartError
from localhost.processes import try_lock

KEY = "c2VjcmV0"


@pytest.fixture(name="sockets")
def _sockets() -> Iterator[list[socket.socket]]:
    """Three bound sockets that do not listen: their ports are free but reserved."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        yield found


@pytest.fixture(name="endpoints")
def _endpoints(sockets: list[socket.socket]) -> Endpoints:
    blob, queue, table = (one.getsockname()[1] for one in sockets)
    return Endpoints(
        host="127.0.0.1", blob_port=blob, queue_port=queue, table_port=table
    )


async def enter(endpoints: Endpoints, folder: Path, **changed: object) -> list[str]:
    """Enter and leave; what was said."""
    said: list[str] = []
    arguments = {
        "folder": folder,
        "account": "mine",
        "key": KEY,
        "say": said.append,
        "environ": {"PATH": ""},
        "script": Path(__file__),
    } | changed
    async with azurite(endpoints, **arguments):  # type: ignore[arg-type]
        pass
    return said


async def fault(endpoints: Endpoints, folder: Path, **changed: object) -> str:
    with pytest.raises(CannotStartError) as caught:
        await enter(endpoints, folder, **changed)
    return str(caught.value)


async def test_what_listens_is_used_without_node_or_azurite(
    tmp_path: Path, sockets: list[socket.socket], endpoints: Endpoints
) -> None:
    """Nothing is looked for, written or said."""
    for one in sockets:
        one.listen()

    assert [] == await enter(endpoints, tmp_path / "data", script=tmp_path / "gone")
    assert not (tmp_path / "data").exists()


async def test_half_an_azurite_is_refused(
    tmp_path: Path, sockets: list[socket.socket], endpoints: Endpoints
) -> None:
    """Which port listens and which does not is told."""
    sockets[1].listen()

    assert (await fault(endpoints, tmp_path)).startswith(
        "Only some of Azurite's ports on 127.0.0.1 listen:"
        f" {endpoints.queue_port} (queue) does, {endpoints.blob_port} (blob),"
        f" {endpoints.table_port} (table) does not; expected is all three or none."
    )


async def test_azurite_that_is_not_installed_is_told_with_the_command(
    tmp_path: Path, endpoints: Endpoints
) -> None:
    """The command installs it."""
    script = tmp_path / "gone.js"

    assert (
        f"Azurite is not installed: {script} does not exist. Install it with:"
        " python3 dev.py install"
    ) == await fault(endpoints, tmp_path, script=script)


async def test_a_node_that_cannot_be_run_is_told(
    tmp_path: Path, endpoints: Endpoints
) -> None:
    """The path and the command that gets another are told."""
    node = tmp_path / "node.exe"
    node.write_bytes(b"\x7fELF no program")
    node.chmod(0o755)

    message = await fault(endpoints, tmp_path, environ={"LOCALHOST_NODE": str(node)})

    assert message.startswith(f"{node} cannot be run: ")


async def test_a_process_that_ends_is_told_with_its_last_words(
    tmp_path: Path, endpoints: Endpoints
) -> None:
    """Here Python stands for Node: it has a version that is new enough for nobody."""
    script = tmp_path / "azurite.js"
    script.write_text("raise SystemExit('no room left')")

    message = await fault(
        endpoints, tmp_path, script=script, environ={"LOCALHOST_NODE": sys.executable}
    )

    assert message.startswith(f"{sys.executable} is Python 3.")
    assert "Azurite needs Node 20 or later" in message
    assert "no room left" in (tmp_path / "azurite.log").read_text()


async def test_a_failed_start_leaves_no_pid_and_no_lock(
    tmp_path: Path, endpoints: Endpoints
) -> None:
    """The next host finds the folder free."""
    await fault(endpoints, tmp_path, script=tmp_path / "gone.js")

    lock = try_lock(tmp_path / "azurite.lock")
    assert lock
    lock.close()
    assert not (tmp_path / "azurite.pid").exists()


def test_a_lock_is_for_one(tmp_path: Path) -> None:
    """The second asks in vain until the first is closed."""
    first = try_lock(tmp_path / "lock")
    assert first
    assert try_lock(tmp_path / "lock") is None
    first.close()

    second = try_lock(tmp_path / "lock")
    assert second
    second.close()


async def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, endpoints: Endpoints
) -> None:
    """A file stands in its way."""
    (tmp_path / "file").write_text("")

    message = await fault(endpoints, tmp_path / "file" / "data")

    assert "azurite.lock cannot be written" in message
