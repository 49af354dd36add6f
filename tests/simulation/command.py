"""``dev.py chaos --programs N --simulated``: random programs on simulated hosts."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

from tests.chaos.programs.tree import Program
from tests.simulation.fleet import FAULTS_OF, Fault
from tests.simulation.play import Report, play

AT_ONCE = 3
TOLD_EVERY_S = 30.0
_MOST_CHARS = 2_000


def play_all(
    programs: Sequence[Program], *, faults: str, seed: int, say: Callable[[str], None]
) -> int:
    """Play programs, a few on each hub; return how much went wrong."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    begin_s = told_s = time.perf_counter()
    report = Report()
    for first in range(0, len(programs), AT_ONCE):
        some = programs[first : first + AT_ONCE]
        found = play(some, FAULTS_OF[faults], f"{seed}/{some[0].number}")
        for line in _faults_in(found, seed):
            say(line)
        report.add(found)
        if time.perf_counter() - told_s > TOLD_EVERY_S:
            told_s = time.perf_counter()
            say(f"{report.count}/{len(programs)} programs: {len(report.bad)} wrong")
    for line in lines(report, time.perf_counter() - begin_s):
        say(line)
    return len(report.bad) + len(report.oddities)


def lines(report: Report, took_s: float) -> Iterator[str]:
    """What was done and found."""
    yield ""
    for fault in Fault:
        if report.faults[fault]:
            yield f"{report.faults[fault]:6}  {fault.value}"
    hanging = sum(each.is_hanging for each in report.bad)
    yield f"{took_s:6.0f}  seconds"
    yield f"{report.count:6}  programs"
    yield f"{len(report.bad) - hanging:6}  wrong"
    yield f"{hanging:6}  hanging"
    yield f"{len(report.oddities):6}  left in queues or in hand"


def _faults_in(report: Report, seed: int) -> Iterator[str]:
    for each in report.bad:
        yield f"FAULT: {each.scope} (--seed {seed}): {each.fault[:_MOST_CHARS]}"
        yield f"  program: {json.dumps(each.program.to_json())}"
    yield from (f"NOTE: {oddity}" for oddity in report.oddities)
