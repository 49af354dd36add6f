"""Many programs at once, in batches: faults while they run, then calm to the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.programs.driver import Driver, Verdict
from tests.chaos.programs.fleet import FAULTS_OF, Fault, Fleet, Weather, open_fleet
from tests.chaos.programs.oracle import outcomes
from tests.chaos.programs.tree import Program

Say = Callable[[str], None]
_MOST_CHARS = 1_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How programs are played; *faults* is a key of ``FAULTS_OF``."""

    seed: int
    faults: str = "none"
    at_once: int = 30
    limit_s: float = 60.0
    storm_s: float = 15.0


@dataclass(kw_only=True)
class Report:
    """What was done and what was found."""

    plan: Plan
    count: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    took_s: float = 0.0
    bad: list[Verdict] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    runs_again: Counter[str] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        """Take over what another part of the same plan has found."""
        self.count += other.count
        self.faults += other.faults
        self.took_s += other.took_s
        self.bad += other.bad
        self.oddities += other.oddities
        self.runs_again += other.runs_again

    @property
    def hanging(self) -> list[Verdict]:
        return [verdict for verdict in self.bad if verdict.is_hanging]

    @property
    def wrong(self) -> list[Verdict]:
        return [verdict for verdict in self.bad if not verdict.is_hanging]

    @property
    def is_good(self) -> bool:
        return not self.bad and not self.oddities


def run(
    folder: Path, connection: str, plan: Plan, programs: Sequence[Program], say: Say
) -> Report:
    """Play programs on hosts of their own; their logs stay in *folder*."""
    begin_at = time.monotonic()
    report = Report(plan=plan)
    kinds = FAULTS_OF[plan.faults]
    size = plan.at_once if kinds else max(1, len(programs))
    drivers: list[Driver] = []
    with open_fleet(folder, connection) as fleet:
        for number in range(0, len(programs), size):
            batch = [
                Driver(
                    program=program,
                    scope=f"p{plan.seed}-{program.number}",
                    fleet=fleet,
                    limit_s=plan.limit_s,
                    is_quiet=not kinds,
                )
                for program in programs[number : number + size]
            ]
            bad = _play(batch, fleet, kinds, f"{plan.seed}/{number}", plan)
            for verdict in bad:
                say(f"FAULT: {verdict.scope}: {verdict.fault[:_MOST_CHARS]}")
            report.bad += bad
            report.count += len(batch)
            drivers += batch
            say(_told(report, len(programs), time.monotonic() - begin_at))
        report.bad += _rechecked(drivers, report.bad, plan)
        report.runs_again = _runs_again(drivers, fleet.runs())
    if not kinds:
        report.oddities += [f"ran again: {tag}" for tag in report.runs_again]
    report.faults, report.took_s = fleet.faults, time.monotonic() - begin_at
    report.oddities += fleet.oddities
    return report


def _told(report: Report, count: int, took_s: float) -> str:
    return (
        f"{report.count}/{count} programs after {took_s:.0f} s:"
        f" {len(report.wrong)} wrong, {len(report.hanging)} hanging"
    )


def _play(
    batch: Sequence[Driver],
    fleet: Fleet,
    kinds: tuple[Fault, ...],
    seed: str,
    plan: Plan,
) -> list[Verdict]:
    with ThreadPoolExecutor(plan.at_once) as pool:
        playing = [pool.submit(asyncio.run, driver.play()) for driver in batch]
        if not kinds:
            return [*_bad(playing)]
        with Weather(fleet, kinds, seed) as weather:
            wait(playing, timeout=plan.storm_s)
            weather.calm()
            return [*_bad(playing)]


def _bad(playing: Sequence[Future[Verdict]]) -> Iterator[Verdict]:
    verdicts = [each.result() for each in playing]
    yield from (verdict for verdict in verdicts if verdict.fault)


def _rechecked(
    drivers: Sequence[Driver], bad: Sequence[Verdict], plan: Plan
) -> list[Verdict]:
    """Look at all once more: what came late, or twice, shows now."""
    known = {verdict.scope for verdict in bad}
    good = [driver for driver in drivers if driver.scope not in known]
    with ThreadPoolExecutor(plan.at_once) as pool:
        faults = pool.map(lambda driver: asyncio.run(driver.recheck()), good)
        return [
            Verdict(program=driver.program, scope=driver.scope, fault=f"later {fault}")
            for driver, fault in zip(good, faults, strict=True)
            if fault
        ]


def _runs_again(drivers: Sequence[Driver], runs: Counter[str]) -> Counter[str]:
    """Activities that ran more often than any way of their program asks for."""
    most: Counter[str] = Counter()
    for driver in drivers:
        _, times = driver.played.runs
        for outcome in outcomes(
            driver.program, driver.scope, times=times, is_quiet=driver.is_quiet
        ):
            most |= outcome.runs
    return runs - most
