"""Real Azurite processes: started, used, adopted, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from pathlib import Path

import pytest
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.storage.queue import QueueServiceClient

from localhost.azurite import AZURITE_SCRIPT, Endpoints, Keeper, azurite
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
posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no such signals"
)
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
) -> AbstractAsyncContextManager[Keeper]:
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
    except (ServiceRequestError, ServiceResponseError):
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


CUT_OFF = "Azurite did not end by itself the last time (it was killed)"


def kill(pid: int) -> None:
    """End it as the system does when memory is short."""
    os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


async def pid_of_another(folder: Path, pid: int) -> int:
    """Wait until another Azurite runs on a folder, and return its pid."""
    for _ in range(int(LIMIT_S / 0.01)):
        with suppress(FileNotFoundError, ValueError):
            if recorded_pid(folder) != pid:
                return recorded_pid(folder)
        await asyncio.sleep(0.01)
    raise AssertionError(f"Nothing came in the place of {pid} within {LIMIT_S} s")


async def eventually(holds: Callable[[], bool], pause_s: float = 0.02) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until, f"not within {LIMIT_S} s"
        await asyncio.sleep(pause_s)


async def until_up(endpoints: Endpoints) -> None:
    """Wait until the queue service answers."""
    for _ in range(int(LIMIT_S / 0.05)):
        if await asyncio.to_thread(is_up, endpoints):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"It did not answer within {LIMIT_S} s")


@posix
async def test_one_that_is_killed_while_it_is_needed_is_replaced(
    endpoints: Endpoints, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On the same ports; that something may be lost is said once."""
    said: list[str] = []
    async with open_azurite(endpoints, folder, said.append):
        first = recorded_pid(folder)
        kill(first)
        second = await pid_of_another(folder, first)
        await until_up(endpoints)

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
    async with open_azurite(endpoints, folder, said.append):
        create_queue(endpoints)
        first = recorded_pid(folder)
        os.kill(first, signal.SIGTERM)
        await pid_of_another(folder, first)
        await until_up(endpoints)
        assert ["kept"] == names(endpoints)

    assert ["Azurite started", "Azurite started"] == [line[:15] for line in said]


@posix
async def test_an_adopted_one_that_is_killed_is_replaced(
    endpoints: Endpoints, folder: Path, start_host: Callable[..., Host]
) -> None:
    """It is no child of this host."""
    host = start_host()
    wait_until_ready(host)
    first = recorded_pid(folder)
    host.kill()
    host.wait()

    async with open_azurite(endpoints, folder):
        kill(first)
        await pid_of_another(folder, first)
        await until_up(endpoints)

    assert not is_up(endpoints)


@posix
async def test_one_of_another_host_is_not_replaced(
    endpoints: Endpoints, folder: Path, start_host: Callable[..., Host]
) -> None:
    """The host that started it does that."""
    host = start_host()
    wait_until_ready(host)
    first = recorded_pid(folder)
    said: list[str] = []

    async with open_azurite(endpoints, folder, said.append):
        kill(first)
        await pid_of_another(folder, first)
        await until_up(endpoints)

    assert [] == said
    assert is_up(endpoints)
    assert CUT_OFF in finish(host)


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
async def test_one_that_was_killed_while_no_host_ran_is_told_by_the_next(
    endpoints: Endpoints, folder: Path, start_host: Callable[..., Host]
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


@posix
async def test_one_that_somebody_else_asked_to_end_is_not_called_killed(
    endpoints: Endpoints, folder: Path, start_host: Callable[..., Host]
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
