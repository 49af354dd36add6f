"""Figures of two checkouts in pairs: one run there, one run here, again and again.

A machine that others use is now fast and now slow: only what is measured one after the
other can be compared, and only as a ratio.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.processes import BenchmarkError
from benchmarks.report import aligned, shown

GROUPS = ("chain", "requests", "burst-500", "fan-out-1000")
Values = Mapping[str, float]


def compare(
    other: Path, *, groups: Sequence[str], pairs: int, say: Callable[[str], None]
) -> str:
    """Measure both checkouts in turn; return the table of ratios, here ÷ there."""
    found: list[tuple[Values, Values]] = []
    for number in range(1, pairs + 1):
        there, here = (_measured(each, groups) for each in (other, ROOT))
        found.append((there, here))
        say(f"pair {number} of {pairs}")
    return "\n".join(_lines(found))


def _measured(checkout: Path, groups: Sequence[str]) -> Values:
    """Run the benchmarks of a checkout, which has its own; return values by row."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks", "--no-peers"]
        command += ["--json", str(file), "--only", *groups]
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
        if done.returncode:
            raise BenchmarkError(f"{checkout}: {done.stderr.strip()[-500:]}")
        figures = json.loads(file.read_text(encoding="utf-8"))["figures"]
    return {each["name"]: each["in_units"] or each["value"] for each in figures}


def _lines(found: Sequence[tuple[Values, Values]]) -> Iterator[str]:
    names = [name for name in found[0][0] if all(name in here for _, here in found)]
    names = [name for name in names if found[0][0][name]]
    rows = [("", "there", "here", *(f"pair {n}" for n in range(1, len(found) + 1)))]
    for name in names:
        there, here = ([each[k][name] for each in found] for k in (0, 1))
        ratios = (shown(h / t) for t, h in zip(there, here, strict=True))
        medians = (shown(statistics.median(values)) for values in (there, here))
        rows.append((name, *medians, *ratios))
    yield aligned(rows)
    yield "there, here: medians, times and rates in units; of each pair: here ÷ there"
