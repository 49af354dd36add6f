"""``python -m benchmarks``: arguments, progress, where results go."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.ground import fresh_ground
from benchmarks.groups import GROUPS, Group
from benchmarks.machine import ROOT, machine_facts
from benchmarks.pairs import GROUPS as PAIR_GROUPS
from benchmarks.pairs import compare
from benchmarks.peer_runs import measure_peers, python_of_peers
from benchmarks.processes import BenchmarkError
from benchmarks.profiling import ENDINGS, LOADS, find_py_spy, profile
from benchmarks.report import Results, json_of, text_of
from benchmarks.rows import ROWS
from localhost.errors import CannotStartError

RESULTS = ROOT / "benchmarks" / "results"
DONE, FAULT, INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure or profile; 0 when every group gave its figures, whatever they are."""
    options = _parser().parse_args(arguments)
    # Whoever ends us ends what we have started: SIGTERM goes the way of Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.command == "profile":
            return asyncio.run(_profile(options.format))
        if options.against is not None:
            groups = options.only or PAIR_GROUPS
            other, pairs = options.against.resolve(), options.pairs
            print(compare(other, groups=groups, pairs=pairs, say=_say))
            return DONE
        return asyncio.run(_measure(options))
    except (BenchmarkError, CannotStartError) as exc:
        _say(f"benchmarks: {exc}")
        return FAULT
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "command",
        nargs="?",
        choices=("measure", "profile"),
        default="measure",
        help="print a table of figures (default), or write flame graphs",
    )
    parser.add_argument(
        "--full", action="store_true", help="measure the long groups too (12 minutes)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[group.name for group in GROUPS],
        metavar="GROUP",
        help="measure these: %(choices)s",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="PYTHON",
        help="measure durabletask and dbos as this Python has them [a venv of their own"
        " that is made at the first run]",
    )
    parser.add_argument(
        "--no-peers",
        dest="with_peers",
        action="store_false",
        help="leave them out",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="measure another checkout and this one in turn, and print the ratios",
    )
    parser.add_argument(
        "--pairs", type=int, default=3, help="of --against: how many [%(default)s]"
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=RESULTS / f"{_now()}.json",
        metavar="FILE",
        help="where results are written [benchmarks/results/<date>.json]",
    )
    parser.add_argument(
        "--format",
        choices=ENDINGS,
        default="flamegraph",
        help="of profile: what is written [flamegraph]",
    )
    return parser


async def _measure(options: argparse.Namespace) -> int:
    peers_python = None
    if options.with_peers:
        peers_python = options.peers or await python_of_peers(_say)
    machine = machine_facts()
    run = Run()
    await run.measure_all(chosen(GROUPS, only=options.only, is_full=options.full))
    if not run.figures:
        raise BenchmarkError(f"no group gave a figure: {run.failures}")
    peers = await measure_peers(peers_python, _say) if peers_python else []
    results = Results(
        machine=machine,
        unit_ms=statistics.median(figure.unit_ms for figure in run.figures),
        figures=sorted(run.figures, key=lambda figure: ROWS.index(figure.row)),
        peers=peers,
        failures=run.failures,
        details=run.details,
    )
    print(text_of(results))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(json_of(results), indent=1), encoding="utf-8")
    _say(f"written: {options.json}")
    return FAULT if run.failures else DONE


def chosen(
    groups: Sequence[Group], *, only: Sequence[str] | None, is_full: bool
) -> list[Group]:
    """The groups of a run: those named, else all, the long ones only if asked for."""
    if only:
        return [group for group in groups if group.name in only]
    return [group for group in groups if is_full or not group.is_long]


@dataclass
class Run:
    """What the groups of one run have found; only one of them measures at a time."""

    figures: list[Figure] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def measure_all(self, groups: Sequence[Group]) -> None:
        """Measure one group after the other; what rests meanwhile begins first."""
        resting = [asyncio.create_task(self.measure(g)) for g in groups if g.rests]
        try:
            await asyncio.sleep(0)  # they have the first turns
            for group in groups:
                if not group.rests:
                    await self.measure(group)
            await asyncio.gather(*resting)
        finally:
            for task in resting:
                task.cancel()
            await asyncio.gather(*resting, return_exceptions=True)

    async def measure(self, group: Group) -> None:
        """Measure a group on a ground of its own, and the unit before and after."""
        async with self.turn:
            began_s = time.monotonic()
            try:
                await self._measure_on_fresh_ground(group)
            except BenchmarkError as exc:
                self.failures[group.name] = str(exc)
            _say(f"{group.name:14}{time.monotonic() - began_s:6.1f} s")

    async def _measure_on_fresh_ground(self, group: Group) -> None:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            async with fresh_ground(Path(folder), turn=self.turn) as ground:
                await ground.measure_unit()
                measured = await group.measure(ground)
                await ground.measure_unit()
        self.figures += [
            Figure(row=row, value=value, unit_ms=ground.unit_ms)
            for row, value in measured.values.items()
        ]
        units_ms = {"unit_ms": ground.unit_samples_ms}
        self.details[group.name] = {**units_ms, **measured.details}


async def _profile(form: str) -> int:
    find_py_spy()  # says what is missing before anything is started
    RESULTS.mkdir(parents=True, exist_ok=True)
    for load in LOADS:
        file = RESULTS / f"{_now()}-{load}.{ENDINGS[form]}"
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            async with fresh_ground(Path(folder)) as ground:
                await profile(ground, load, form=form, file=file)
        _say(f"written: {file}")
    return DONE


def _now() -> str:
    return datetime.now().strftime("%Y-%m-%d-%H%M%S")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
