"""The table of a run, and each program that went wrong, to be played again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.chaos.programs.driver import Verdict
from tests.chaos.programs.fleet import Fault
from tests.chaos.programs.generate import traits
from tests.chaos.programs.run import Report
from tests.chaos.programs.tree import Program

_MOST_SHOWN = 20
_MOST_CHARS = 2_000


def lines(report: Report) -> Iterator[str]:
    """What was done and found; programs that went wrong follow with all they have."""
    plan = report.plan
    yield f"seed {plan.seed}, faults {plan.faults}, {plan.at_once} at once"
    for fault in Fault:
        if report.faults[fault]:
            yield f"{report.faults[fault]:6}  {fault.value}"
    yield f"{report.took_s:6.0f}  seconds"
    yield f"{report.count:6}  programs"
    yield f"{len(report.wrong):6}  wrong"
    yield f"{len(report.hanging):6}  hanging"
    yield f"{report.runs_again.total():6}  runs of activities more than needed"
    yield from (f"NOTE: {oddity}" for oddity in report.oddities[:_MOST_SHOWN])
    for verdict in report.bad[:_MOST_SHOWN]:
        yield from _details(verdict, plan.seed)
    if len(report.bad) > _MOST_SHOWN:
        rest = [str(each.program.number) for each in report.bad[_MOST_SHOWN:]]
        yield f"and: {', '.join(rest)}"
    yield "" if report.bad else "every program did what it says"


def _details(verdict: Verdict, seed: int) -> Iterator[str]:
    yield ""
    yield f"FAULT: {verdict.scope} (--seed {seed} --only {verdict.program.number})"
    yield f"  {verdict.fault[:_MOST_CHARS]}"
    yield f"  program: {json.dumps(verdict.program.to_json())}"


def write_bad(report: Report, folder: Path) -> None:
    """Leave each program that went wrong in two files: itself, and what was found."""
    for verdict in report.bad:
        told = {"fault": verdict.fault, "status": verdict.history}
        for name, value in (("", verdict.program.to_json()), ("-found", told)):
            path = folder / f"{verdict.scope}{name}.json"
            path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def traits_told(programs: Sequence[Program]) -> str:
    """How many programs have which constructs."""
    counts = Counter(trait for each in programs for trait in {*traits(each)})
    return ", ".join(f"{trait} {count}" for trait, count in counts.most_common())
