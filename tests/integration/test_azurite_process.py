"""Real Azurite processes: started, used, adopted, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from pathlib import Path

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.storage.queue import QueueServiceClient

from localhost.azurite import AZURITE_SCRIPT, Endpoints, azurite
from localhost.errors import CannotStartError
from localhost.node import find_node, node_of_wheel
from localhost.processes import runs

pytestmark = [
    pytest.mark.skipif(
        not AZURITE_SCRIPT.exists(),
        reason="Azurite is not installed: python3 dev.py install",
    ),
    pytest.mark.timeout(60),
]
ACCOUNT, KEY = "mine", "c2VjcmV0"
LIMIT_S = 20.0
Host = subprocess.Popen[str]

# A host that says when Azurite is there, and lets it go when its input ends.
HOST = """
import asyncio, sys
from pathlib import Path
from localhost.azurite import Endpoints, azurite

async def main(folder, blob, queue, table):
    endpoints = Endpoints(
        host="127.0.0.1",
        blob_port=int(blob),
        queue_port=int(queue),
        table_port=int(table),
    )
    async with azurite(
        endpoints, folder=Path(folder), account="mine", key="c2VjcmV0", say=print
    ):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(name="endpoints")
def _endpoints() -> Endpoints:
    return free_endpoints()


def free_endpoints() -> Endpoints:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        blob, queue, table = (one.getsockname()[1] for one in sockets)
    return Endpoints(
        host="127.0.0.1", blob_port=blob, queue_port=queue, table_port=table
    )


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder; the Azurite that a test leaves behind in it is ended by pid."""
    folder = tmp_path / "data of azurite"
    yield folder
    with suppress(FileNotFoundError):
        if runs(recorded_pid(folder), str(folder)):
            os.kill(recorded_pid(folder), signal.SIGTERM)


@pytest.fixture(name="start_host")
def _start_host(folder: Path, endpoints: Endpoints) -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(in_folder: Path = folder, at: Endpoints = endpoints) -> Host:
        ports = map(str, at.by_service().values())
        host = subprocess.Popen(
            [sys.executable, "-c", HOST, str(in_folder), *ports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        hosts.append(host)
        return host

    yield start
    for host in hosts:
        host.kill()
        host.communicate()


def recorded_pid(folder: Path) -> int:
    return int((folder / "azurite.pid").read_text())


async def pid_of_start(folder: Path) -> int:
    """The pid as soon as it is written down; Azurite does not listen yet."""
    for _ in range(int(LIMIT_S / 0.002)):
        with suppress(FileNotFoundError, ValueError):
            return recorded_pid(folder)
        await asyncio.sleep(0.002)
    raise AssertionError(f"No pid came within {LIMIT_S} s")


def write_pid(folder: Path, pid: int) -> None:
    folder.mkdir()
    (folder / "azurite.pid").write_text(str(pid))


def wait_until_ready(host: Host) -> list[str]:
    """What the host said before it was ready."""
    assert host.stdout
    said: list[str] = []
    for line in host.stdout:
        if line == "ready\n":
            return said
        said.append(line)
    raise AssertionError(f"The host ended: {said}")


def finish(host: Host) -> str:
    """Let the host go as it wants; what it said last."""
    said, _ = host.communicate(timeout=LIMIT_S)
    assert 0 == host.returncode
    return said


def open_azurite(
    endpoints: Endpoints, folder: Path, say: Callable[[str], None] = lambda _: None
) -> AbstractAsyncContextManager[None]:
    return azurite(endpoints, folder=folder, account=ACCOUNT, key=KEY, say=say)


def queues(endpoints: Endpoints) -> QueueServiceClient:
    """The queue service by the client library, which signs with the account's key."""
    url = f"http://{endpoints.host}:{endpoints.queue_port}/{ACCOUNT}"
    return QueueServiceClient(
        url, credential={"account_name": ACCOUNT, "account_key": KEY}, retry_total=0
    )


def create_queue(endpoints: Endpoints) -> None:
    with queues(endpoints) as service:
        service.create_queue("kept")


def names(endpoints: Endpoints) -> list[str]:
    with queues(endpoints) as service:
        return [queue.name for queue in service.list_queues()]


def is_up(endpoints: Endpoints) -> bool:
    try:
        names(endpoints)
    except ServiceRequestError:
        return False
    return True


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


if sys.platform != "win32":  # where there are no sessions

    async def test_our_own_has_a_session_of_its_own(
        endpoints: Endpoints, folder: Path
    ) -> None:
        """Ctrl-C and a debugger that ends the whole group do not reach it."""
        async with open_azurite(endpoints, folder):
            pid = recorded_pid(folder)

            assert pid == os.getsid(pid)


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


async def test_it_outlives_a_killed_host_and_is_adopted(
    endpoints: Endpoints, folder: Path, start_host: Callable[..., Host]
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


async def test_one_that_a_live_host_has_is_only_used(
    endpoints: Endpoints, folder: Path, start_host: Callable[..., Host]
) -> None:
    """It is ended by the host that started it."""
    host = start_host()
    wait_until_ready(host)

    async with open_azurite(endpoints, folder):
        pass

    assert is_up(endpoints)
    finish(host)
    assert not is_up(endpoints)


async def test_one_on_earlier_ports_is_ended_before_ours_starts(
    endpoints: Endpoints, folder: Path, start_host: Callable[..., Host]
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
    endpoints: Endpoints, folder: Path, start_host: Callable[..., Host]
) -> None:
    """The next host waits for it."""
    host = start_host()
    pid = await pid_of_start(folder)
    host.kill()
    host.wait()

    async with open_azurite(endpoints, folder):
        assert pid == recorded_pid(folder)

    assert not is_up(endpoints)


@pytest.mark.parametrize("is_same_folder", [True, False])
def test_two_hosts_at_the_same_moment_share_one(
    endpoints: Endpoints,
    folder: Path,
    start_host: Callable[..., Host],
    is_same_folder: bool,
) -> None:
    """The one that comes second uses what the first started."""
    other = folder if is_same_folder else folder.with_name("other")
    hosts = [start_host(folder), start_host(other)]

    started = [len(wait_until_ready(host)) for host in hosts]

    assert [0, 1] == sorted(started)
    finish(hosts[started.index(0)])
    assert is_up(endpoints)
    finish(hosts[started.index(1)])
    assert not is_up(endpoints)


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
