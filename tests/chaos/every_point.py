"""Walk every pass through every crash point until a host gets through all its work."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.hosts import running_azurite
from tests.acceptance.running_host import Storage, copy_app
from tests.chaos.parts import ALL
from tests.chaos.points import Outcome, Scenario, play
from tests.chaos.report import table
from tests.chaos.verdict import Check

_AT_ONCE = 6
_TOLD = re.compile(r"^crash point: (.+)$", re.M)


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The outcomes by number of the pass; the last hosts ended nowhere."""

    outcomes: Mapping[int, Outcome]

    @property
    def fault_count(self) -> int:
        return sum(len(outcome.faults) for outcome in self.outcomes.values())


def walk(folder: Path, *, step: int, say: Callable[[str], None]) -> Walk:
    """End a host at every *step*-th pass; all logs stay in *folder*."""
    storage = Storage.on_free_ports()
    outcomes: dict[int, Outcome] = {}

    def play_to(number: int) -> Outcome:
        return play(
            Scenario(point="any", number=number, parts=ALL),
            folder=folder / f"pass-{number:04}",
            connection_string=storage.connection_string,
            hub=f"Pass{number:04}",
        )

    with (
        (folder / "ended.txt").open("w", encoding="utf-8") as ended,
        redirect_stdout(ended),
        running_azurite(storage, copy_app(folder / "azurite"), folder),
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        for numbers in _batches(step):
            for number, outcome in zip(
                numbers, pool.map(play_to, numbers), strict=True
            ):
                outcomes[number] = outcome
                say(f"pass {number}: {point_of(outcome)}")
                for fault in outcome.faults:
                    say(f"FAULT: pass {number}: {fault}")
            if outcomes[numbers[-1]].exit_code is None:
                return Walk(outcomes=outcomes)
    raise AssertionError("numbers end")


def point_of(outcome: Outcome) -> str:
    """The point at which a host ended."""
    found = _TOLD.search(outcome.told)
    return found.group(1) if found else "got through"


def lines(walked: Walk) -> Iterator[str]:
    """How often a host ended where, and what was checked each time."""
    points = Counter(map(point_of, walked.outcomes.values()))
    yield f"{len(walked.outcomes):6}  hosts, each in a task hub of its own, ended"
    for point, count in sorted(points.items()):
        yield f"{count:6}  {point}"
    yield ""
    yield from table(_summed(list(walked.outcomes.values())))


def _summed(outcomes: Sequence[Outcome]) -> Iterator[Check]:
    """Each line of the table for all hosts together."""
    for same in zip(*(outcome.checks for outcome in outcomes), strict=True):
        yield Check(
            what=same[0].what,
            count=sum(check.count for check in same),
            faults=[fault for check in same for fault in check.faults],
        )


def _batches(step: int) -> Iterator[Sequence[int]]:
    for first in itertools.count(1, _AT_ONCE * step):
        yield range(first, first + _AT_ONCE * step, step)
