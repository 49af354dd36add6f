"""The scenarios of crash points: where a host ends, and what is to pass there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from localhost.crashpoints import EXIT_CODE
from tests.acceptance.asking import wait_for
from tests.acceptance.running_host import HUB_VARIABLE
from tests.chaos.crashing_host import KILLED_BY_ACTIVITY, CrashingHost
from tests.chaos.parts import (
    Part,
    again,
    chain,
    chains,
    children,
    custom_status,
    custom_statuses,
    entities,
    eternal,
    events,
    exits,
    fan_out,
    large,
    last_signal,
    poison,
    purged_large,
    purged_wide,
    rewound,
    rewound_parent,
    slow,
    stopped,
    suspended,
    terminated,
    timers,
    wide,
)
from tests.chaos.remains import (
    checks,
    ghosts,
    is_over,
    message_counts,
    remains_of,
)
from tests.chaos.verdict import Check
from tests.chaos.work import POLL_S, Work
from tests.integration.conftest import Judge, open_judge

IN_AN_ACTIVITY = "during an activity"
_DRAIN_LIMIT_S = 75.0  # an answer to what was purged is dropped after five tries


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A host that ends at the ``number``-th pass through a point.

    Without ``asks_again`` the caller of a start that was not answered gives up.
    """

    point: str
    number: int = 1
    parts: Sequence[Part]
    asks_again: bool = True

    @property
    def name(self) -> str:
        parts = ", ".join(part.__name__.replace("_", " ") for part in self.parts)
        given_up = "" if self.asks_again else ", given up"
        return f"{self.point}#{self.number} ({parts}{given_up})"

    @property
    def end(self) -> tuple[int, str]:
        """How the process is to end, and what it says before."""
        if self.point == IN_AN_ACTIVITY:
            return KILLED_BY_ACTIVITY, ""
        return EXIT_CODE, f"crash point: {self.point}\n"

    @property
    def variable(self) -> str:
        """What the first host is told."""
        return "" if self.point == IN_AN_ACTIVITY else f"{self.point}#{self.number}"


def at(point: str, *passes: tuple[int, Part], **options: bool) -> list[Scenario]:
    return [
        Scenario(point=point, number=number, parts=[part], **options)
        for number, part in passes
    ]


SCENARIOS = [
    *at(
        "before history", (3, chain), (2, suspended), (1, entities), (2, custom_status)
    ),
    *at("after history", (1, chain), (2, chain), (4, chain), (1, chains), (3, chains)),
    *at("after history", (1, entities), (2, entities), (5, entities), (3, events)),
    *at("after history", (2, terminated), (2, suspended), (4, events)),
    *at("after history", (3, custom_status), (2, custom_statuses), (1, children)),
    *at("after history", (4, children), (2, eternal), (1, fan_out), (1, timers)),
    *at("after history", (1, last_signal)),
    *at("between two outbox messages", (1, wide), (2, children), (2, entities)),
    *at("after outbox", (1, entities), (3, children), (2, eternal), (1, fan_out)),
    *at("after outbox", (3, custom_status), (3, chains)),
    *at("between two history transactions", (1, wide)),
    *at("after instance row", (1, timers), (2, entities), (1, slow), (1, fan_out)),
    *at("after the work item of an activity in work", (1, slow), (2, slow)),
    *at("before delete", (5, children), (4, entities), (3, events)),
    *at("before delete", (1, again)),
    *at("start: after message", (1, large), (2, again)),
    *at("start: after message", (1, chain), asks_again=False),
    *at("start: after instance row", (1, large), (2, again)),
    *at("start: after instance row", (1, chain), asks_again=False),
    *at("rewind: after message", (1, rewound), (1, rewound_parent)),
    *at("rewind: after history", (1, rewound), (2, rewound_parent)),
    *at("rewind: after instance row", (1, rewound), (2, rewound_parent)),
    *at("rewind: after message", (2, rewound_parent)),
    *at("after history", *((n, rewound_parent) for n in range(4, 9))),
    *at("after instance row", *((n, rewound_parent) for n in range(3, 7))),
    *at("rewind: after history", (1, rewound_parent)),
    *at("rewind: after instance row", (1, rewound_parent)),
    *at("purge: after some of the history", (1, purged_wide)),
    *at("purge: after history", (1, purged_large)),
    *at("purge: after blobs", (1, purged_large)),
    *at("poison: before delete", (1, poison)),
    *at("during an entity batch", (1, entities), (3, entities)),
    *at("after an activity", (7, fan_out)),
    *at("after the answer of an activity", (1, stopped)),
    *at("after a message blob", (1, large), (2, large), (3, large)),
    *at("after a history blob", (3, large)),
    *at("after a claim of partitions", (1, chain), (2, timers)),
    *at(IN_AN_ACTIVITY, (1, exits)),
]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a scenario: how its first host ended, and what is left."""

    exit_code: int | None
    told: str
    checks: Sequence[Check]

    @property
    def faults(self) -> list[str]:
        return [f"{c.what}: {fault}" for c in self.checks for fault in c.faults]


def play(
    scenario: Scenario, *, folder: Path, connection_string: str, hub: str
) -> Outcome:
    """Let a host end, another finish its work, and look at what is left."""
    folder.mkdir()
    variables = {"AzureWebJobsStorage": connection_string, HUB_VARIABLE: hub}
    host = CrashingHost(folder, variables, at=scenario.variable)
    with open_judge(connection_string, hub) as judge:
        work = Work(host, judge, asks_again=scenario.asks_again)
        try:
            faults = list(_faults_at_work(scenario, work, host, judge))
        finally:
            host.end()
        done = Check(what="hosts did as they were asked", count=1, faults=faults)
        return Outcome(
            exit_code=host.exit_code,
            told=host.told(),
            checks=[*checks(work.wishes, remains_of(judge)), done],
        )


def _faults_at_work(
    scenario: Scenario, work: Work, host: CrashingHost, judge: Judge
) -> Iterator[str]:
    try:
        for part in scenario.parts:
            part(work)
        _wait_until_drained(work, host, judge)
        if exit_code := host.stop():
            yield f"exit code {exit_code}"
    except AssertionError as fault:
        yield str(fault)


def _wait_until_drained(work: Work, host: CrashingHost, judge: Judge) -> None:
    """Wait until nothing waits in the hub any more; what still does is a fault."""

    def is_drained() -> bool:
        host.watched()
        rows = {row["PartitionKey"]: row for row in judge.rows("Instances")}
        if any(not is_over(each, rows) for each in work.wishes.instances.values()):
            return False
        allowed = ghosts(work.wishes, rows, judge.hub)
        # Twice, because what goes from queue to queue may be missed.
        return all(
            count <= allowed[queue] or queue.endswith("-poison")
            for _ in range(2)
            for queue, count in message_counts(judge).items()
        )

    wait_for(is_drained, "an empty hub", limit_s=_DRAIN_LIMIT_S, poll_s=POLL_S)
