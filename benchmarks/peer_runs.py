"""Runs the peers, each in a process of its own, if they are installed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from benchmarks.figures import percentile
from benchmarks.machine import ROOT
from benchmarks.peers import PEERS
from benchmarks.report import Peer

INSTALL = "python -m pip install -r benchmarks/requirements.txt"


async def measure_peers(python: str, say: Callable[[str], None]) -> list[Peer]:
    """Measure those peers that ``python`` can import; say how to get the others."""
    found = []
    for name in PEERS:
        if not await _can_import(python, name):
            say(f"{name} is not installed for {python}; get it with: {INSTALL}")
            continue
        say(f"measuring {name} ...")
        if peer := await _measure(python, name, say):
            found.append(peer)
    return found


async def _measure(python: str, name: str, say: Callable[[str], None]) -> Peer | None:
    code, output, errors = await _run(python, "-m", "benchmarks.peers", name)
    if code:
        tail = "\n".join(errors.splitlines()[-5:])
        say(f"{name} gave no figures (code {code}):\n{tail}")
        return None
    measured = json.loads(output)
    return Peer(
        name=name,
        p50_ms=percentile(measured["times_ms"], 50),
        p95_ms=percentile(measured["times_ms"], 95),
        burst_per_s=measured["burst_per_s"],
    )


async def _can_import(python: str, name: str) -> bool:
    code, _, _ = await _run(python, "-c", f"import {name}")
    return code == 0


async def _run(python: str, *arguments: str) -> tuple[int, str, str]:
    """Run Python in the root folder; return code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        python,
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(), errors.decode(errors="replace")
