"""Differences from the recordings, and which of them are meant.

What is meant stands in ``docs/differences.md`` with its reason; an excuse names its
entry there and says where in the recordings it shows. Nothing else is excused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.conformance.comparing import ABSENT, Unlike

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
_ENTRY = re.compile(r"^\| `([a-z0-9-]+)` \|", re.M)
_FRAMES = re.compile(r'\\*"<\.NET frames>\\*"|<\.NET frames>')
_QUIET = {"CustomStatus", "ExecutionId", "LastUpdatedTime"}
SHOWN_CHARS = 160
_BEFORE_CHARS = 60


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One place in which a run is not like the recording."""

    area: str  # "http", "turns" or "storage"
    scenario: str
    step: str
    place: str
    expected: Any
    found: Any
    excuse: str = ""

    def __str__(self) -> str:
        expected, found = _shown(self.expected, self.found)
        where = " · ".join(
            each for each in (self.scenario, self.step, self.place) if each
        )
        return f"{where}\n    recorded: {expected}\n    found:    {found}"


def _shown(expected: object, found: object) -> tuple[str, str]:
    """Return both values as texts, from shortly before they part."""
    one, other = repr(expected), repr(found)
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    start = max(0, same - _BEFORE_CHARS)
    return _window(one, start), _window(other, start)


def _window(text: str, start: int) -> str:
    end = start + SHOWN_CHARS
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def differences(
    found: Iterable[Unlike], *, area: str, scenario: str, step: str = ""
) -> list[Difference]:
    """Return the differences of one step, those that are meant with their excuse."""
    return [
        _excused(
            Difference(
                area=area,
                scenario=scenario,
                step=step,
                place=place,
                expected=expected,
                found=other,
            )
        )
        for place, expected, other in found
    ]


def _excused(difference: Difference) -> Difference:
    excuse = next((each for each in EXCUSES if each.fits(difference)), None)
    return replace(difference, excuse=excuse.name) if excuse else difference


@dataclass(frozen=True, kw_only=True)
class Excuse:
    """Where an entry of the page shows: expressions for the whole step and place."""

    name: str
    areas: tuple[str, ...]
    step: str = ".*"
    place: str = ".*"
    when: Callable[[Any, Any], bool] = lambda expected, found: True

    def fits(self, difference: Difference) -> bool:
        """Say whether a difference is what this excuse is for."""
        step = f"{difference.scenario} · {difference.step}"
        return (
            difference.area in self.areas
            and re.fullmatch(self.step, step, re.S) is not None
            and re.fullmatch(self.place, difference.place, re.S) is not None
            and self.when(difference.expected, difference.found)
        )


def entries() -> frozenset[str]:
    """The names of the differences that the page explains."""
    return frozenset(_ENTRY.findall(PAGE.read_text(encoding="utf-8")))


def unused(area: str, found: Iterable[Difference]) -> list[str]:
    """The names of the excuses of an area that excuse nothing any more."""
    used = {each.excuse for each in found}
    return [
        each.name for each in EXCUSES if area in each.areas and each.name not in used
    ]


def _lacks_frames(expected: Any, found: Any) -> bool:
    """Say whether one text is the other without its .NET frames."""
    if not isinstance(expected, str) or not isinstance(found, str):
        return False
    bare = _FRAMES.sub(lambda m: "null" if '"' in m[0] else "", expected)
    return expected != bare == found


def _lacks_server(expected: Any, found: Any) -> bool:
    """Say whether two answers of ``call_http`` differ only by the called server."""
    try:
        one, other = json.loads(expected), json.loads(found)
        one["headers"].pop("Server")
    except (TypeError, ValueError, KeyError):
        return False
    return bool(one == other)


def _is_quiet_row(expected: Any, found: Any) -> bool:
    if found is not ABSENT or not isinstance(expected, Mapping):
        return False
    return {key for key in expected if "@" not in key} == _QUIET


def _has_failed_by_itself(expected: Any, found: Any) -> bool:
    if expected == "Running":
        return bool(found == "Failed")
    sentence = "The function 'Nope' doesn't exist, is disabled, or is not an activity"
    return expected is None and sentence in str(found)


def _is_later(expected: Any, found: Any) -> bool:
    return bool(expected == "false" and found == "true")


def _is_answer(message: Any) -> bool:
    """Say whether a message answers an activity, by its event or by its blob."""
    return re.search("Task(Completed|Failed)|<gzip>", str(message)) is not None


EVERYWHERE = ("http", "turns", "storage")
EXCUSES = (
    Excuse(
        name="empty-stack-trace",
        areas=("http",),
        place=r"body\.StackTrace",
        when=lambda expected, found: found == "",
    ),
    Excuse(name="stack-frames", areas=EVERYWHERE, when=_lacks_frames),
    Excuse(
        name="unknown-function-fails",
        areas=("http",),
        step=r"patterns · \d+ (status|history) UnknownActivity",
    ),
    Excuse(
        name="unknown-function-fails",
        areas=("http",),
        step=r"listing · .*",
        place=r"body\[\d+\]\.(runtimeStatus|output)",
        when=_has_failed_by_itself,
    ),
    Excuse(
        name="json-error-wording",
        areas=("http",),
        step=r".* bad json",
        place=r"body\.ExceptionMessage",
    ),
    Excuse(
        name="webhook-key-only",
        areas=("http",),
        step=r"functions_http · \d+ \w+ /"
        r"(api/KeyedHttp|api/keyedhttp|admin/host/status|admin/functions.*)",
    ),
    Excuse(
        name="own-home-page",
        areas=("http",),
        step=r"functions_http · \d+ GET /",
        place="body",
    ),
    Excuse(
        name="no-server-header",
        areas=("http",),
        place=r"body\W.*\bheaders(\.Server| \(order of keys\))",
    ),
    Excuse(name="no-server-header", areas=("turns", "storage"), when=_lacks_server),
    Excuse(
        name="quiet-row",
        areas=("storage",),
        place=r"MERGE PatternsHubInstances row .*",
        when=_is_quiet_row,
    ),
    Excuse(
        name="row-as-it-was-written",
        areas=("storage",),
        place=r"MERGE PatternsHubInstances row (?!.* Pending ·).* · headers\.if-match",
        when=lambda expected, found: expected is ABSENT,
    ),
    Excuse(
        name="own-messages-hidden",
        areas=("storage",),
        place=r"message in .* · query",
        when=lambda expected, found: found == "messagettl=-1&visibilitytimeout=5",
    ),
    Excuse(
        name="rewind-again",
        areas=("storage",),
        step="25-rewind · .*",
        place=r"MERGE PatternsHubInstances row .* Pending · headers\.if-match",
    ),
    Excuse(
        name="own-answers-in-hand",
        areas=("storage",),
        place=r"message in \S+: (Task(Completed|Failed)Event .*|in a blob)"
        r"|PUT \S+-Task(Completed|Failed)\.json\.gz",
        when=lambda expected, found: found is ABSENT and _is_answer(expected),
    ),
    Excuse(
        name="activities-begun-at-once",
        areas=("storage",),
        place=r"message in \S+workitems: (TaskScheduledEvent .*|in a blob)"
        r"|PUT \S+-TaskScheduled\.json\.gz",
        when=lambda expected, found: found is ABSENT,
    ),
    Excuse(
        name="notes-beside-history",
        areas=("storage",),
        place=r".* · content\.LocalhostNotes",
        when=lambda expected, found: expected is ABSENT,
    ),
    Excuse(
        name="timers-on-time",
        areas=("storage",),
        step="03-timer · .*",
        place=r".* · content\.(Result|Output)",
        when=_is_later,
    ),
    Excuse(
        name="entity-exactly-once",
        areas=("storage",),
        place=r".* · content\.LocalhostAppliedRequests",
        when=lambda expected, found: expected is ABSENT,
    ),
    Excuse(
        name="purge-whatever-version",
        areas=("storage",),
        step="23-purge · .*",
        place=r"DELETE PatternsHubHistory .* · headers\.if-match",
    ),
    Excuse(
        name="table-partitions",
        areas=("storage",),
        step="(00|29)-.*",
        place=r"PUT patternshub-leases.*|\w+ PatternsHubPartitions.*"
        r"|POST Tables PatternsHubPartitions",
    ),
    Excuse(
        name="no-app-lease",
        areas=("storage",),
        place=r"PUT patternshub-applease(/\S+| restype=container&comp=lease)",
        when=lambda expected, found: found is ABSENT,
    ),
    Excuse(
        name="no-host-lock",
        areas=("storage",),
        place=r"PUT azure-webjobs-hosts.*",
        when=lambda expected, found: found is ABSENT,
    ),
    Excuse(
        name="worker-id",
        areas=("storage",),
        place=r".* PatternsHubPartitions .* · content\.CurrentOwner",
        when=lambda expected, found: expected == "vm",
    ),
    Excuse(
        name="partition-pace",
        areas=("storage",),
        step="42-.*",
        place=r"PUT PatternsHubPartitions .*draining",
        when=lambda expected, found: found is ABSENT,
    ),
)
