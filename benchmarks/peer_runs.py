"""Runs the peers, each in a process of its own, in a venv of theirs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import percentile
from benchmarks.machine import ROOT
from benchmarks.peers import PEERS
from benchmarks.report import Peer

VENV = ROOT / "benchmarks" / ".venv"
REQUIREMENTS = ROOT / "benchmarks" / "requirements.txt"


async def measure_peers(python: Path, say: Callable[[str], None]) -> list[Peer]:
    """Measure those peers that ``python`` can import; say which it cannot."""
    found = []
    for name in PEERS:
        if not await _can_import(python, name):
            say(f"{name} is left out: {python} cannot import it")
        elif peer := await _measure(python, name, say):
            found.append(peer)
    return found


async def python_of_peers(say: Callable[[str], None]) -> Path:
    """Return the Python of the peers' venv, which is made when it is not there.

    They are kept apart from what the host runs on: a user does not have them either.
    """
    python = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    made_of = VENV / "made-of.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if made_of.is_file() and made_of.read_text(encoding="utf-8") == wanted:
        return python
    say(f"installing the peers into {VENV.relative_to(ROOT)} (once) ...")
    for command in (
        (Path(sys.executable), "-m", "venv", str(VENV)),
        (python, "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)),
    ):
        code, _, errors = await _run(*command)
        if code:
            say(f"that failed (code {code}):\n{_tail(errors)}")
            return python
    made_of.write_text(wanted, encoding="utf-8")
    return python


async def _measure(python: Path, name: str, say: Callable[[str], None]) -> Peer | None:
    code, output, errors = await _run(python, "-m", "benchmarks.peers", name)
    if code:
        say(f"{name} gave no figures (code {code}):\n{_tail(errors)}")
        return None
    measured = json.loads(output)
    return Peer(
        name=name,
        p50_ms=percentile(measured["times_ms"], 50),
        p95_ms=percentile(measured["times_ms"], 95),
        burst_per_s=measured["burst_per_s"],
    )


async def _can_import(python: Path, name: str) -> bool:
    try:
        code, _, _ = await _run(python, "-c", f"import {name}")
    except FileNotFoundError:
        return False
    return code == 0


def _tail(errors: str) -> str:
    return "\n".join(errors.splitlines()[-5:])


async def _run(python: Path, *arguments: str) -> tuple[int, str, str]:
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
