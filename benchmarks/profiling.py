"""Where the host's time goes: py-spy beside it while it works."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from benchmarks.ground import QUICKSTART, Ground, Host
from benchmarks.groups import CHAIN
from benchmarks.processes import BenchmarkError, Process, has_ended
from benchmarks.user import user_of
from localhost.processes import terminate

SAMPLES_PER_S = 500
CHAINS, BURST = 300, 500
WRITE_LIMIT_S = 60.0
ENDINGS = {"flamegraph": "svg", "speedscope": "json", "raw": "txt"}


async def _chains(host: Host) -> None:
    async with user_of(host.url) as user:
        for _ in range(CHAINS):
            await user.run(CHAIN)


async def _burst(host: Host) -> None:
    async with user_of(host.url) as user:
        started = await user.start_many(CHAIN, BURST)
        await user.until_none_is_left(started[0])


LOADS: dict[str, Callable[[Host], Awaitable[None]]] = {
    "chains": _chains,
    "burst": _burst,
}


async def profile(ground: Ground, load: str, *, form: str, file: Path) -> None:
    """Write a profile of a host under a load; of its start as well.

    py-spy starts the host, because most systems let it look at its children only.
    """
    command = [find_py_spy(), "record", "--threads", "--rate", str(SAMPLES_PER_S)]
    command += ["--format", form, "--output", str(file), "--"]
    async with ground.host(QUICKSTART, below=command) as host:
        try:
            await LOADS[load](host)
        finally:
            _end_children(host.process)
        await has_ended(host.process, WRITE_LIMIT_S)
        _must_be_written(file, host.process)


def find_py_spy() -> str:
    """The py-spy of this Python, or the one on the PATH."""
    beside = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("py-spy")
    if not found:
        raise BenchmarkError(
            "py-spy, which looks at the running host, is missing. Get it with:"
            f" {sys.executable} -m pip install py-spy"
        )
    return found


def _must_be_written(file: Path, process: Process) -> None:
    if not file.exists():
        raise BenchmarkError(f"py-spy wrote no {file}:\n{process.tail()}")


def _end_children(process: Process) -> None:
    """End the host below py-spy, which writes its file then."""
    for child in psutil.Process(process.pid).children():
        terminate(child.pid)
