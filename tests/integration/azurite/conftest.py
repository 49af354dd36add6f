"""Azurite processes for the tests of how they are started, shared and ended."""

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
from localhost.processes import runs

NEEDS_AZURITE = [
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
CUT_OFF = "Azurite did not end by itself the last time (it was killed)"
LIMIT_S = 20.0
Host = subprocess.Popen[str]
StartHost = Callable[..., Host]

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
def _start_host(folder: Path, endpoints: Endpoints) -> Iterator[StartHost]:
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


def recorded_pid(folder: Path) -> int:
    return int((folder / "azurite.pid").read_text())


async def pid_of_start(folder: Path) -> int:
    """The pid as soon as it is written down; Azurite does not listen yet."""
    for _ in range(int(LIMIT_S / 0.002)):
        with suppress(FileNotFoundError, ValueError):
            return recorded_pid(folder)
        await asyncio.sleep(0.002)
    raise AssertionError(f"No pid came within {LIMIT_S} s")


async def replaced(keeper: Keeper, pid: int) -> int:
    """Wait until a host has another Azurite, and return its pid."""
    await eventually(lambda: bool(keeper.own and keeper.own.pid != pid))
    assert keeper.own
    return keeper.own.pid


def kill(pid: int) -> None:
    """End it as the system does when memory is short."""
    os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


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


async def until_up(endpoints: Endpoints) -> None:
    """Wait until the queue service answers."""
    for _ in range(int(LIMIT_S / 0.05)):
        if await asyncio.to_thread(is_up, endpoints):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"It did not answer within {LIMIT_S} s")


async def eventually(holds: Callable[[], bool], pause_s: float = 0.02) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until, f"not within {LIMIT_S} s"
        await asyncio.sleep(pause_s)
