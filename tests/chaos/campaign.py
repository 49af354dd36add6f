"""A campaign: orders and faults by its seed, then the storage is held to the notes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.chaos.ground import Ground, open_ground
from tests.chaos.judge import FINISHED, Judge, Row, open_judge
from tests.chaos.patterns import ETERNAL_EVENTS, PATTERNS
from tests.chaos.plan import Fault, Round, rounds
from tests.chaos.users import Users
from tests.chaos.verdict import (
    Check,
    Evidence,
    checks,
    ghosts,
    is_settled,
    may_end,
)

_SETTLE_LIMIT_S = 60.0  # without any progress
_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was done and what was found."""

    seed: int
    kill_count: int
    faults: Counter[Fault]
    chaos_s: float
    settled_s: float
    checks: Sequence[Check]

    @property
    def fault_count(self) -> int:
        return sum(len(check.faults) for check in self.checks)


def run(folder: Path, *, seed: int, kills: int, say: Callable[[str], None]) -> Report:
    """Play a campaign; logs of all hosts stay in *folder*."""
    with open_ground(folder) as ground, closing(Users(ground, seed)) as users:
        begin_s = time.monotonic()
        for number, each in enumerate(rounds(seed, kills), 1):
            say(f"{number}/{kills}: {len(each.orders)} orders, {_told(each)}")
            _play(each, ground, users)
        chaos_s = time.monotonic() - begin_s
        say("no more faults; waiting for the end of all work.")
        with open_judge(ground.storage) as judge:
            settled_s = _settle(users, ground, judge)
            exit_code = ground.stop_host()
            evidence = _evidence(ground, judge)
        found = checks(users.notes, evidence)
        ended = [] if exit_code == 0 else [f"exit code {exit_code}"]
        return Report(
            seed=seed,
            kill_count=ground.kill_count,
            faults=ground.faults,
            chaos_s=chaos_s,
            settled_s=settled_s,
            checks=[*found, Check(what="the last host ends", count=1, faults=ended)],
        )


def _told(each: Round) -> str:
    if each.fault is Fault.NONE:
        return f"kill after {each.pause_s:.2f} s"
    return (
        f"{each.fault.name} after {each.pause_s:.2f} s for {each.fault_s:.2f} s,"
        f" kill {each.kill_s:.2f} s after its begin"
    )


def _play(each: Round, ground: Ground, users: Users) -> None:
    """One round; the storage is healthy and the host up at its end."""
    steps: list[tuple[float, Callable[[], None]]] = [
        (0.0, lambda: ground.hurt(each.fault)),
        (each.fault_s, lambda: ground.heal(each.fault)),
        (each.kill_s, ground.kill_host),
    ]
    gap_s = each.pause_s / len(each.orders)
    for count, name in enumerate(each.orders, 1):
        steps.append((-count * gap_s, partial(users.order, name)))
    begin_s = time.monotonic() + each.pause_s
    for at_s, step in sorted(steps, key=lambda step: step[0]):
        time.sleep(max(0.0, begin_s + at_s - time.monotonic()))
        step()
    ground.wait_until_up()


def _settle(users: Users, ground: Ground, judge: Judge) -> float:
    """Wait until all work is done or nothing moves any more; how long that took."""
    begin_s = time.monotonic()
    users.wait()
    moved_s = time.monotonic()
    before: object = None
    while time.monotonic() - moved_s < _SETTLE_LIMIT_S:
        rows = judge.rows()
        _raise_what_is_missing(users, rows)
        waiting = judge.message_counts().total()
        if is_settled(users.notes, rows) and _is_drained(users, ground, rows, waiting):
            break
        now = (Counter(row.status for row in rows.values()), waiting)
        if now != before:
            before, moved_s = now, time.monotonic()
        time.sleep(_POLL_S)
    return time.monotonic() - begin_s


def _is_drained(
    users: Users, ground: Ground, rows: Mapping[str, Row], waiting: int
) -> bool:
    """No message waits but those of starts without a row."""
    starts = ghosts(users.notes, rows)
    put_off = [each for _, each in ground.starts_put_off() if each in starts]
    return waiting <= len(put_off)


def _raise_what_is_missing(users: Users, rows: Mapping[str, Row]) -> None:
    """Events of instances that began unanswered; the end of those that are eternal."""
    for order in users.notes.orders:
        row = rows.get(order.instance_id)
        if row is None or row.status in FINISHED or not PATTERNS[order.name].events:
            continue
        users.raise_missing_events(order)
        if order.name == ETERNAL_EVENTS and may_end(order, row):
            users.raise_event(order, "Item", "end")


def _evidence(ground: Ground, judge: Judge) -> Evidence:
    """What is in the storage when no host runs."""
    return Evidence(
        rows=judge.rows(),
        histories=judge.histories(),
        message_counts=judge.message_counts(),
        messages=judge.visible_messages(),
        put_off=ground.starts_put_off(),
    )
