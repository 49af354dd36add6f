"""The table of a run: how much of each scenario is equal, different, or meant so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from tests.conformance.differences import Difference
from tests.conformance.writes import recorded_writes

_HEAD = ("scenario", "steps", "equal", "different", "excused", "by")


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a scenario went; a step is different if one difference is not excused."""

    scenario: str
    step_count: int
    different: int
    excused: int
    differences: Sequence[Difference]

    @classmethod
    def of_steps(
        cls, area: str, name: str, steps: Mapping[str, Sequence[Difference]]
    ) -> Result:
        """Return the result of steps with the differences of each."""
        return cls(
            scenario=f"{area}/{name}",
            step_count=len(steps),
            different=sum(_is_different(each) for each in steps.values()),
            excused=sum(_is_excused(each) for each in steps.values()),
            differences=[*chain(*steps.values())],
        )

    @classmethod
    def of_turns(cls, name: str, count: int, found: Sequence[Difference]) -> Result:
        """Return the result of an orchestrator; its steps are turns."""
        steps: dict[str, list[Difference]] = {
            str(number): [] for number in range(count)
        }
        for each in found:
            number = each.place.removeprefix("turns[").partition("]")[0]
            steps.setdefault(number, []).append(each)
        return cls.of_steps("turns", name, steps)

    @classmethod
    def of_writes(cls, name: str, found: Sequence[Difference]) -> Result:
        """Return the result of a scenario of the task hub; its steps are writes."""
        steps: dict[str, list[Difference]] = {}
        for index, each in enumerate(found):
            write = each.place.partition(" · ")[0]
            key = write if write != each.place else f"{write} {index}"
            steps.setdefault(key, []).append(each)
        count = len(recorded_writes(name))
        for number in range(max(0, count - len(steps))):
            steps[f"equal {number}"] = []
        return cls.of_steps("storage", name, steps)


def _is_different(found: Sequence[Difference]) -> bool:
    return any(not each.excuse for each in found)


def _is_excused(found: Sequence[Difference]) -> bool:
    return bool(found) and not _is_different(found)


@dataclass(kw_only=True)
class Report:
    """All results of a run."""

    results: list[Result] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Return the table, and below it each difference that nothing excuses."""
        rows = [_HEAD, *(_row(each) for each in self.results)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD) - 1)]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [
                cell.rjust(width)
                for cell, width in zip(row[1:-1], widths[1:], strict=True)
            ]
            yield "  ".join([*cells, row[-1]]).rstrip()
        for result in self.results:
            for each in result.differences:
                if not each.excuse:
                    yield f"\n{each}"


def _row(result: Result) -> tuple[str, ...]:
    equal = result.step_count - result.different - result.excused
    counts = (result.step_count, equal, result.different, result.excused)
    names = sorted({each.excuse for each in result.differences if each.excuse})
    return (result.scenario, *map(str, counts), ", ".join(names))
