"""What the judge of a campaign calls lost, doubled, or left over."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.chaos.judge import Row
from tests.chaos.users import Notes, Order, Tally
from tests.chaos.verdict import Evidence, checks

QUEUE = "chaoshub-control-00"


def row(
    instance_id: str,
    *,
    status: str = "Completed",
    output: Any = None,
    state: Any = None,
) -> Row:
    return Row(
        instance_id=instance_id,
        name="",
        status=status,
        input=json.dumps({"exists": True, "state": state}),
        output=json.dumps(output),
    )


def order(name: str, **options: Any) -> Order:
    return Order(instance_id="a", name=name, is_answered=True, **options)


def faults(notes: Notes, *rows: Row, visible: tuple[str, ...] = ()) -> list[str]:
    """Everything that is wrong with a storage of these rows and messages."""
    evidence = Evidence(
        rows={each.instance_id: each for each in rows},
        histories={each.instance_id for each in rows},
        message_counts=Counter({QUEUE: len(visible)}),
        messages={QUEUE: visible},
        put_off=(),
    )
    return [fault for check in checks(notes, evidence) for fault in check.faults]


def test_a_right_output_is_no_fault() -> None:
    """The instance was answered, is completed, and says what it should."""
    assert [] == faults(Notes(orders=[order("Eternal")]), row("a", output=3))


def test_an_instance_without_a_row_is_lost() -> None:
    """Its start was answered with 202."""
    assert ["a Eternal: no row"] == faults(Notes(orders=[order("Eternal")]))


def test_an_instance_that_does_not_end_is_lost() -> None:
    """It is named with its status."""
    notes = Notes(orders=[order("Eternal")])

    assert ["a Eternal: Running null"] == faults(notes, row("a", status="Running"))


def test_an_event_that_comes_twice_is_doubled() -> None:
    """Each has a value of its own."""
    events = order("EternalEvents", sent=["a/0"], answered=["a/0"])
    notes = Notes(orders=[events])

    assert [] == faults(notes, row("a", output=["a/0"]))
    assert 1 == len(faults(notes, row("a", output=["a/0", "a/0"])))


def test_an_answered_event_that_is_missing_is_lost() -> None:
    """One whose answer broke off may be missing."""
    events = order("EternalEvents", sent=["a/0", "a/1"], answered=["a/1"])
    notes = Notes(orders=[events])

    assert [] == faults(notes, row("a", output=["a/1"]))
    assert 1 == len(faults(notes, row("a", output=["a/0"])))


def test_signals_are_counted_one_by_one() -> None:
    """Of 1 + 4 + 16 the second was applied twice, the third not at all."""
    notes = Notes(tallies=[Tally(key="t", is_answered=[True, True, True])])

    assert [
        "t signal 2: answered, not applied",
        "t signal 1: applied 2 times",
    ] == faults(notes, row("@counter@t", status="Running", state="9"))


def test_a_message_of_an_answered_instance_is_left_over() -> None:
    """A start without a row may wait, nothing else."""
    lost = Order(instance_id="b", name="Eternal")
    notes = Notes(orders=[order("Eternal"), lost])
    visible = ("ExecutionStarted a", "ExecutionStarted b")

    assert [f"{QUEUE}: ExecutionStarted a"] == faults(
        notes, row("a", output=3), visible=visible
    )
