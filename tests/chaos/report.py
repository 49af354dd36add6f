"""The tables of what was done and checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.chaos.campaign import Report
from tests.chaos.plan import Fault
from tests.chaos.verdict import Check


def lines(report: Report) -> Iterator[str]:
    """What was done, what was checked, and below it each fault by name."""
    yield f"seed {report.seed}"
    yield f"{report.kill_count:6}  host killed (SIGKILL) and started again"
    for fault in Fault:
        if fault is not Fault.NONE:
            yield f"{report.faults[fault]:6}  {fault.value}"
    yield f"{report.chaos_s:6.0f}  seconds of that; {report.settled_s:.0f} s later"
    yield ""
    yield from table(report.checks)


def table(checks: Iterable[Check]) -> Iterator[str]:
    """What was checked and, below it, each fault by name."""
    checks = list(checks)
    width = max(len(check.what) for check in checks)
    yield f"{'checked':{width}}  {'count':>6}  {'faults':>6}"
    for check in checks:
        yield f"{check.what:{width}}  {check.count:6}  {len(check.faults):6}"
    for check in checks:
        if check.note:
            yield f"note: {check.note}"
        yield from (f"FAULT: {check.what}: {fault}" for fault in check.faults)
    yield ""
    fault_count = sum(len(check.faults) for check in checks)
    yield (
        "nothing lost, nothing doubled" if not fault_count else f"{fault_count} faults"
    )
