"""Random programs on simulated hosts; see ``tests.chaos.programs`` for the programs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from localhost.history import EventType
from tests.chaos.programs.driver import Driver, Verdict
from tests.chaos.programs.tree import Program
from tests.simulation.fleet import Fault, Fleet
from tests.simulation.virtual_time import run_in_virtual_time

STORM_S = 12.0
QUIET_LIMIT_S = 120.0  # without a fault, in virtual time
DRAIN_LIMIT_S = 900.0  # a start without its row is tried ten times


@dataclass(kw_only=True)
class Report:
    """What was done and what was found."""

    count: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    bad: list[Verdict] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.count += other.count
        self.faults += other.faults
        self.bad += other.bad
        self.oddities += other.oddities


def play(programs: Sequence[Program], kinds: Sequence[Fault], seed: str) -> Report:
    """Play programs side by side on one hub while faults of some kinds happen."""
    return run_in_virtual_time(lambda: _play(programs, kinds, seed), seed=seed)


async def _play(
    programs: Sequence[Program], kinds: Sequence[Fault], seed: str
) -> Report:
    chance = Random(seed)
    fleet = Fleet(chance)
    fleet.open()
    drivers = [
        Driver(
            program=program,
            scope=f"p{program.number}",
            fleet=fleet,
            limit_s=QUIET_LIMIT_S,
            is_quiet=not kinds,
        )
        for program in programs
    ]
    playing = [asyncio.create_task(driver.play()) for driver in drivers]
    weather = asyncio.create_task(_blow(fleet, kinds))
    verdicts = list(await asyncio.gather(*playing))
    await weather
    report = Report(count=len(programs), faults=fleet.faults)
    report.bad += [verdict for verdict in verdicts if verdict.fault]
    report.oddities += await _left(fleet)
    for driver, verdict in zip(drivers, verdicts, strict=True):
        fault = "" if verdict.fault else await driver.recheck()
        if fault:
            report.bad.append(
                Verdict(
                    program=driver.program, scope=driver.scope, fault=f"later {fault}"
                )
            )
    await fleet.close()
    report.oddities += fleet.oddities
    return report


async def _blow(fleet: Fleet, kinds: Sequence[Fault]) -> None:
    """Let faults happen one after the other, for a while."""
    end_s = time.monotonic() + STORM_S
    while kinds:
        await asyncio.sleep(fleet.chance.uniform(0.05, 1.5))
        if time.monotonic() >= end_s:
            return
        await fleet.play(fleet.chance.choice(kinds))


async def _left(fleet: Fleet) -> list[str]:
    """What lies in queues when all is over, but for timers that were cancelled."""
    left: list[str] = []
    end_s = time.monotonic() + DRAIN_LIMIT_S
    while time.monotonic() < end_s:
        left = [
            f"left in {queue}: {message.instance_id} {message.event.type.name}"
            for queue, message in fleet.store.messages()
            if message.event.type is not EventType.TimerFired
        ]
        left += fleet.kept()
        if not left:
            break
        await asyncio.sleep(1.0)
    return left
