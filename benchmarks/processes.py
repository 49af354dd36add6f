"""Processes that are measured: started, looked at, ended by their pid."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.machine import ROOT
from localhost.processes import apart, kill, terminate

END_LIMIT_S = 40.0
POLL_S = 0.005
TAIL_LINES = 15


class BenchmarkError(Exception):
    """Something did not do what is measured; the text says what was found."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that was started here, and where it writes."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def memory_mb(self) -> float:
        """Resident memory with that of its children, in millions of bytes."""
        return sum(float(each.memory_info().rss) for each in self._family()) / 1e6

    @property
    def cpu_s(self) -> float:
        """Processor time that it and its children have used so far."""
        times = [each.cpu_times() for each in self._family()]
        return sum(float(each.user + each.system) for each in times)

    def _family(self) -> list[psutil.Process]:
        """The process, and the workers that it has started."""
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]

    def must_live(self) -> None:
        """Raise with the end of its log when the process has ended."""
        if self.popen.poll() is not None:
            raise BenchmarkError(
                f"{self.name} ended with code {self.popen.returncode}; its output ends"
                f" with:\n{self.tail()}"
            )

    def tail(self) -> str:
        """The last lines of what it has printed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:]) or "(nothing)"


@asynccontextmanager
async def running(
    name: str, command: Sequence[str], *, log: Path, environ: Mapping[str, str]
) -> AsyncIterator[Process]:
    """Run a command that no Ctrl-C reaches; end it in the end, if need be by force."""
    process = Process(name=name, popen=_spawn(command, log, environ), log=log)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            terminate(process.pid)
        if not await has_ended(process, END_LIMIT_S):
            kill(process.pid)
            await has_ended(process, END_LIMIT_S)


def _spawn(
    command: Sequence[str], log: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **apart(),
        )


async def has_ended(process: Process, limit_s: float) -> bool:
    """Wait for the end of a process; False when it still runs after the limit."""
    until_s = time.monotonic() + limit_s
    while process.popen.poll() is None:
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(POLL_S)
    return True


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def is_listening(ports: Iterable[int]) -> bool:
    """Whether somebody listens on each of these ports of 127.0.0.1."""
    try:
        for port in ports:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
