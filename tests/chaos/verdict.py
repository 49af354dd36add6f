"""What was lost and what was doubled: notes and storage compared; does no I/O."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.judge import FINISHED, Row
from tests.chaos.patterns import (
    ETERNAL_EVENTS,
    PATTERNS,
    is_right,
    times_applied,
)
from tests.chaos.users import Notes, Order, Tally

# A request that is repeated after a cut leaves a message twice.
_COPIES = 2
_START = "ExecutionStarted"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The storage at the end.

    ``messages`` are the names of the visible ones; ``put_off`` holds queue and
    instance of each start without a row that is hidden until its next try.
    """

    rows: Mapping[str, Row]
    histories: Collection[str]
    message_counts: Counter[str]
    messages: Mapping[str, Sequence[str]]
    put_off: Collection[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the table: how many were looked at, and each that is not right.

    ``note`` names what is allowed, but worth to be known.
    """

    what: str
    count: int
    faults: Sequence[str] = ()
    note: str = ""


def checks(notes: Notes, evidence: Evidence) -> list[Check]:
    """Everything that is held against the storage."""
    return [
        *(_of_pattern(name, notes, evidence) for name in PATTERNS),
        _of_unanswered(notes, evidence),
        _of_children(notes, evidence),
        *_of_signals(notes, evidence),
        _of_messages(notes, evidence),
        Check(
            what="histories without a row",
            count=len(evidence.histories),
            faults=sorted(set(evidence.histories) - set(evidence.rows)),
        ),
        Check(
            what="rows without a history",
            count=len(evidence.rows),
            faults=sorted(set(evidence.rows) - set(evidence.histories)),
        ),
        Check(what="answers that nobody expects", count=0, faults=notes.oddities),
    ]


def fault_of(order: Order, row: Row | None) -> str:
    """Why an instance is not as it should be, or nothing."""
    if row is None:
        return f"{order.instance_id} {order.name}: no row"
    if row.status != "Completed":
        return f"{order.instance_id} {order.name}: {row.status} {row.output[:200]}"
    output = value_of(row.output)
    if is_right(order.name, output, sent=order.sent, answered=order.answered):
        return ""
    asked = f"sent {order.sent}, answered {order.answered}" if order.sent else ""
    return f"{order.instance_id} {order.name}: wrong output {row.output[:400]} {asked}"


def value_of(text: str) -> Any:
    """The value in a column of JSON; ``None`` when it is empty."""
    return json.loads(text) if text else None


def is_settled(notes: Notes, rows: Mapping[str, Row]) -> bool:
    """Every instance that was answered or has a row is finished; all signals are in."""
    for order in notes.orders:
        row = rows.get(order.instance_id)
        if row is None and order.is_answered:
            return False
        if row is not None and row.status not in FINISHED:
            return False
    return not any(_lost_signals(tally, rows) for tally in notes.tallies)


def may_end(order: Order, row: Row) -> bool:
    """An eternal instance has all that was sent to it and answered."""
    if order.name != ETERNAL_EVENTS or row.status != "Running":
        return False
    held = value_of(row.input)
    # The SDK hands a new input over as text, which is then stored as JSON again.
    items = json.loads(held) if isinstance(held, str) else held
    return set(order.answered) <= set(items or [])


def ghosts(notes: Notes, rows: Mapping[str, Row]) -> set[str]:
    """Starts that were not answered and have no row: a message of theirs may wait."""
    return {
        order.instance_id
        for order in notes.orders
        if not order.is_answered and order.instance_id not in rows
    }


def _of_pattern(name: str, notes: Notes, evidence: Evidence) -> Check:
    orders = [each for each in notes.orders if each.name == name and each.is_answered]
    faults = (fault_of(each, evidence.rows.get(each.instance_id)) for each in orders)
    return Check(
        what=f"{name}, answered with 202",
        count=len(orders),
        faults=[fault for fault in faults if fault],
    )


def _of_unanswered(notes: Notes, evidence: Evidence) -> Check:
    began = [
        (order, row)
        for order in notes.orders
        if not order.is_answered and (row := evidence.rows.get(order.instance_id))
    ]
    faults = (fault_of(order, row) for order, row in began)
    return Check(
        what="started though the answer broke off",
        count=len(began),
        faults=[fault for fault in faults if fault],
    )


def _of_children(notes: Notes, evidence: Evidence) -> Check:
    """Children have ids of their own: one that began twice is one row too many."""
    ours = {order.instance_id: order.name for order in notes.orders}
    rows = [row for row in evidence.rows.values() if not row.is_entity]
    children = [row for row in rows if row.instance_id not in ours]
    wanted = sum(
        PATTERNS[ours[row.instance_id]].child_count
        for row in rows
        if row.instance_id in ours
    )
    faults = [
        f"{row.instance_id} {row.name}: {row.status}"
        for row in children
        if row.status != "Completed"
    ]
    if wanted != len(children):
        faults.append(f"{len(children)} children of {wanted} expected")
    return Check(what="sub-orchestrations", count=len(children), faults=faults)


def _of_signals(notes: Notes, evidence: Evidence) -> Iterator[Check]:
    lost = [
        each for tally in notes.tallies for each in _lost_signals(tally, evidence.rows)
    ]
    doubled = [
        f"{tally.key} signal {digit}: applied {times} times"
        for tally in notes.tallies
        for digit, times in enumerate(_applied(tally, evidence.rows))
        if times > 1
    ]
    answered = sum(sum(tally.is_answered) for tally in notes.tallies)
    sent = sum(len(tally.is_answered) for tally in notes.tallies)
    yield Check(what="signals answered: applied", count=answered, faults=lost)
    yield Check(what="signals sent: not applied twice", count=sent, faults=doubled)


def _lost_signals(tally: Tally, rows: Mapping[str, Row]) -> list[str]:
    applied = _applied(tally, rows)
    return [
        f"{tally.key} signal {digit}: answered, not applied"
        for digit, (times, is_answered) in enumerate(
            zip(applied, tally.is_answered, strict=True)
        )
        if is_answered and not times
    ]


def _applied(tally: Tally, rows: Mapping[str, Row]) -> list[int]:
    row = rows.get(f"@counter@{tally.key}")
    return times_applied(_sum(row) if row else 0, len(tally.is_answered))


def _sum(row: Row) -> int:
    """The state of an entity, which stands in its input."""
    state = value_of(row.input)["state"]
    return int(state) if state is not None else 0


def _of_messages(notes: Notes, evidence: Evidence) -> Check:
    """Starts without a row may wait: the host drops them after its tenth try."""
    allowed = {f"{_START} {each}" for each in ghosts(notes, evidence.rows)}
    faults: list[str] = []
    named: set[str] = set()
    for queue, count in evidence.message_counts.items():
        visible = evidence.messages[queue]
        faults += [f"{queue}: {name}" for name in visible if name not in allowed]
        starts = {
            f"{_START} {each}" for where, each in evidence.put_off if where == queue
        }
        starts &= allowed
        hidden = count - len(visible)
        if hidden > _COPIES * len(starts):
            faults.append(f"{queue}: {hidden} hidden; starts put off: {sorted(starts)}")
        named |= (starts if hidden > 0 else set()) | (allowed & set(visible))
    return Check(
        what="messages left, but for starts without a row",
        count=evidence.message_counts.total(),
        faults=faults,
        note=f"{len(named)} starts without a row: {_ids(named)}",
    )


def _ids(names: Collection[str]) -> str:
    return ", ".join(sorted(name.rpartition(" ")[2] for name in names)) or "-"
