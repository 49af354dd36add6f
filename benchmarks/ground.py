"""What a group of figures stands on: an Azurite of its own, hosts, and the unit.

Azurite slows down as it fills, so each group gets a fresh one, in memory.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from benchmarks.machine import ROOT
from benchmarks.processes import (
    POLL_S,
    BenchmarkError,
    Process,
    free_ports,
    is_listening,
    running,
)
from localhost.account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from localhost.azurite import AZURITE_SCRIPT
from localhost.compat import timeout
from localhost.node import find_node, node_of_wheel
from localhost.taskhub.hub import Account

QUICKSTART = ROOT
PATTERNS = ROOT / "benchmarks" / "app"
SERVICES = ("blob", "queue", "table")
START_LIMIT_S = 30.0
EMPTY_LIMIT_S = 120.0
COLD_SENDS, UNIT_SENDS = 300, 100
UNIT_TEXT = "x" * 900  # about as long as a task message


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host that is ready; ``ready_s`` is how long its start took."""

    process: Process
    url: str
    ready_s: float


@dataclass(frozen=True, kw_only=True)
class Ground:
    """One Azurite, the folder for logs, and what ``send_message`` takes on it.

    Whoever measures has the ``turn``; nothing else is measured then.
    """

    folder: Path
    azurite: Process
    ports: Mapping[str, int]
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    unit_samples_ms: list[float] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def unit_ms(self) -> float:
        """The median of the samples so far."""
        return statistics.median(self.unit_samples_ms)

    async def rest(self, seconds: float) -> None:
        """Let others measure for so long, or until they are done with what they do."""
        self.turn.release()
        try:
            await asyncio.sleep(seconds)
        finally:
            await self.turn.acquire()

    async def until_no_work_item_is_left(self) -> None:
        """Wait until the queues of work items are empty."""
        service = QueueServiceClient.from_connection_string(connection(self.ports))
        async with service:
            queues = [
                service.get_queue_client(queue)
                async for queue in service.list_queues()
                if queue.name.endswith("-workitems")
            ]
            until_s = time.monotonic() + EMPTY_LIMIT_S
            for queue in queues:
                while (await queue.get_queue_properties()).approximate_message_count:
                    if time.monotonic() > until_s:
                        raise BenchmarkError(f"{queue.queue_name} does not get empty")
                    await asyncio.sleep(10 * POLL_S)

    async def measure_unit(self, sends: int = UNIT_SENDS) -> None:
        """Send messages one after the other; their median is one more sample.

        The first messages to a new Azurite go before the first sample: Node has not
        compiled yet what handles them, and a unit that is too long flatters.
        """
        service = QueueServiceClient.from_connection_string(connection(self.ports))
        async with service:
            queue = await service.create_queue(f"unit-{next(self._numbers)}")
            if not self.unit_samples_ms:
                await _times_to_send_ms(queue, COLD_SENDS)
            times_ms = await _times_to_send_ms(queue, sends)
            await queue.delete_queue()
        self.unit_samples_ms.append(statistics.median(times_ms))

    @asynccontextmanager
    async def host(
        self,
        app: Path,
        *,
        hub: str = "",
        ports: Mapping[str, int] | None = None,
        below: Sequence[str] = (),
    ) -> AsyncIterator[Host]:
        """Start a host as a user would, and end it by SIGTERM.

        ``hub`` takes the place of the app's task hub name, ``ports`` that of
        Azurite's. ``below`` is a command that runs the host as its child: who gives
        one ends the host.
        """
        [port] = free_ports(1)
        environ = {**os.environ, "AzureWebJobsStorage": connection(ports or self.ports)}
        if hub:
            environ["AzureFunctionsJobHost__extensions__durableTask__hubName"] = hub
        start = [sys.executable, "-m", "localhost", "start", "--app", str(app)]
        command = [*below, *start, "--port", str(port), "--log-level", "warning"]
        log = self.folder / f"host-{next(self._numbers)}.log"
        began_s = time.perf_counter()
        async with running("the host", command, log=log, environ=environ) as process:
            url = f"http://127.0.0.1:{port}"
            await _until_ready(process, url)
            ready_s = time.perf_counter() - began_s
            try:
                yield Host(process=process, url=url, ready_s=ready_s)
            except (BenchmarkError, aiohttp.ClientError) as exc:
                said = f"the host's output ends with:\n{process.tail()}"
                raise BenchmarkError(f"{exc}; {said}") from exc
            if not below:
                process.must_live()


@asynccontextmanager
async def fresh_ground(
    folder: Path, *, in_memory: bool = True, turn: asyncio.Lock | None = None
) -> AsyncIterator[Ground]:
    """Start an Azurite on free ports; it keeps everything in memory or the folder."""
    turn = turn or asyncio.Lock()
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    node = find_node(os.environ, wheel=node_of_wheel())
    place = ["--inMemoryPersistence"] if in_memory else ["--location", str(folder)]
    command = [str(node), str(AZURITE_SCRIPT), *place, "--silent"]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    for service, port in ports.items():
        command += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
    log = folder / "azurite.log"
    async with running("Azurite", command, log=log, environ=os.environ) as process:
        until_s = time.monotonic() + START_LIMIT_S
        while not is_listening(ports.values()):
            process.must_live()
            if time.monotonic() > until_s:
                raise BenchmarkError(f"Azurite does not listen:\n{process.tail()}")
            await asyncio.sleep(POLL_S)
        yield Ground(folder=folder, azurite=process, ports=ports, turn=turn)


def account_at(ports: Mapping[str, int]) -> Account:
    """The account of an Azurite on these ports, to ask it without a host."""

    def url(service: str) -> str:
        return f"http://127.0.0.1:{ports[service]}/{DEVELOPMENT_ACCOUNT}"

    return Account(
        name=DEVELOPMENT_ACCOUNT,
        key=DEVELOPMENT_KEY,
        urls={"blob": url("blob"), "queue": url("queue"), "table": url("table")},
    )


def connection(ports: Mapping[str, int]) -> str:
    """The connection string of an Azurite on these ports."""
    endpoints = (
        f"{service.capitalize()}Endpoint=http://127.0.0.1:{port}/{DEVELOPMENT_ACCOUNT}"
        for service, port in ports.items()
    )
    account = f"AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY}"
    return ";".join([account, *endpoints])


async def _times_to_send_ms(queue: QueueClient, count: int) -> list[float]:
    times_ms = []
    for _ in range(count):
        began_s = time.perf_counter()
        await queue.send_message(UNIT_TEXT)
        times_ms.append((time.perf_counter() - began_s) * 1000)
    return times_ms


async def _until_ready(process: Process, url: str) -> None:
    try:
        async with aiohttp.ClientSession(url) as session, timeout(START_LIMIT_S):
            while await _state(session) != "Running":
                process.must_live()
                await asyncio.sleep(POLL_S)
    except asyncio.TimeoutError:
        raise BenchmarkError(
            f"the host was not ready after {START_LIMIT_S:.0f} s:\n{process.tail()}"
        ) from None


async def _state(session: aiohttp.ClientSession) -> str:
    """The state that the host tells; empty while it does not listen."""
    try:
        async with session.get("/admin/host/status") as answer:
            return str((await answer.json())["state"]) if answer.status == 200 else ""
    except aiohttp.ClientError:
        return ""
