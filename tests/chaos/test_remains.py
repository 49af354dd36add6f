"""What the judge of a crash scenario calls lost, doubled, or left over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from localhost.taskhub.queues import partition_of
from tests.chaos.histories import faults_of_history
from tests.chaos.remains import Remains, checks
from tests.chaos.users import Tally
from tests.chaos.wanted import Wanted, Wishes
from tests.integration.conftest import PARTITIONS

QUEUE = f"hub-control-{partition_of('a', PARTITIONS):02}"
EVENTS = (
    {"EventType": "OrchestratorStarted"},
    {"EventType": "ExecutionStarted"},
    {"EventType": "TaskScheduled", "EventId": 0},
    {"EventType": "OrchestratorCompleted"},
    {"EventType": "OrchestratorStarted"},
    {"EventType": "TaskCompleted", "TaskScheduledId": 0},
    {"EventType": "ExecutionCompleted"},
    {"EventType": "OrchestratorCompleted"},
)
ROW = {
    "PartitionKey": "a",
    "RowKey": "",
    "ExecutionId": "e",
    "Name": "Echo",
    "RuntimeStatus": "Completed",
    "CompletedTime": "2026-11-22",
    "CustomStatus": "null",
    "Output": '"out"',
}


def history(*events: Mapping[str, Any], **sentinel: Any) -> list[dict[str, Any]]:
    """The rows of an execution whose events these are."""
    keys = {"PartitionKey": "a", "ExecutionId": "e"}
    guard = {"RowKey": "sentinel", "IsCheckpointComplete": True, **keys, **sentinel}
    rows = [{"RowKey": f"{n:016X}", **keys, **e} for n, e in enumerate(events)]
    return [*rows, guard]


def remains(row: Mapping[str, Any] = ROW, **changes: Any) -> Remains:
    """A hub that holds one instance, which has ended, and nothing else."""
    found = Remains(
        hub="Hub",
        rows={"a": row},
        histories={"a": history(*EVENTS)},
        counts={QUEUE: 0},
        poison={},
        blobs={},
    )
    return replace(found, **changes)


def wishes(**changes: Any) -> Wishes:
    """That the instance has ended with its output."""
    wanted = {"is_answered": True, "output": "out", **changes}
    instance = Wanted(instance_id="a", name="Echo", **wanted)
    return Wishes(instances={"a": instance})


def faults(wanted: Wishes, found: Remains) -> list[str]:
    return [fault for check in checks(wanted, found) for fault in check.faults]


def test_what_ended_right_is_no_fault() -> None:
    """Nothing is left but a row and its history."""
    assert [] == faults(wishes(), remains())


@pytest.mark.parametrize(
    "change",
    [
        {"Output": '"other"'},
        {"Output": "no JSON"},
        {"RuntimeStatus": "Running"},
        {"CustomStatus": '"late"'},
        {"Name": "Other"},
    ],
)
def test_a_row_that_says_something_else_is_a_fault(change: dict[str, str]) -> None:
    """In any column that a caller sees."""
    assert faults(wishes(), remains({**ROW, **change}))


def test_an_answered_start_without_a_row_is_lost() -> None:
    """And only that: one that nobody answered may have left no trace."""
    nothing = remains(rows={}, histories={})

    assert ["a: no row"] == faults(wishes(), nothing)
    assert [] == faults(wishes(is_answered=False), nothing)


def test_a_message_may_wait_only_for_a_start_without_row_and_answer() -> None:
    """One for each such start, in its own queue."""
    nothing = remains(rows={}, histories={}, counts={QUEUE: 1, "hub-workitems": 0})
    unanswered = wishes(is_answered=False)

    assert [] == faults(unanswered, nothing)
    assert 1 == len(faults(unanswered, replace(nothing, counts={QUEUE: 2})))
    assert 1 == len(faults(unanswered, replace(nothing, counts={"hub-workitems": 1})))
    assert 1 == len(faults(wishes(), remains(counts={QUEUE: 1})))


def test_a_child_too_many_is_a_fault() -> None:
    """It began twice."""
    child = {**ROW, "PartitionKey": "e:0"}
    both = {"a": ROW, "e:0": child}
    found = remains(rows=both, histories=dict.fromkeys(both, history(*EVENTS)))

    assert [] == faults(wishes(child_count=1), found)
    assert 1 == len(faults(wishes(), found))
    assert 1 == len(faults(wishes(child_count=2), found))


@pytest.mark.parametrize(("state", "count"), [(5, 0), (6, 1), (1, 1), (9, 1), (10, 2)])
def test_operations_are_counted_one_by_one(state: int, count: int) -> None:
    """Of 1 + 4 each should be there once."""
    wanted = Wishes(tally=Tally(key="t", is_answered=[True, True]))
    key = "@counter@t"
    entity = {
        "PartitionKey": key,
        "RuntimeStatus": "Running",
        "ExecutionId": "e",
        "Input": json.dumps({"state": str(state)}),
    }
    started = [{"EventType": kind} for kind in ("ExecutionStarted",)]
    events = history(*started, {"EventType": "OrchestratorCompleted"})
    found = remains(rows={key: entity}, histories={key: events})

    assert count == len(faults(wanted, found))


def test_what_was_purged_must_leave_nothing() -> None:
    """No row, no history, no blob."""
    left = remains(blobs={"a/history.json.gz": ""})
    found = faults(Wishes(purged={"a"}), left)

    assert {"a: row", "a: history", "a: blob"} <= set(found)


def test_a_row_names_a_blob_that_is_there() -> None:
    """An output that no row can hold is read from it."""
    address = "http://127.0.0.1/hub-largemessages/a/output.json.gz"
    row = {**ROW, "Output": address}
    there = {"a/output.json.gz": '"out"'}

    assert [] == faults(wishes(), remains(row, blobs=there))
    assert 2 == len(faults(wishes(), remains(row)))


@pytest.mark.parametrize(("count", "is_right"), [(0, 0), (1, 1), (2, 1), (3, 0)])
def test_poison_is_moved_once_or_twice(count: int, is_right: int) -> None:
    """Never lost, never again and again."""
    wanted = replace(wishes(), poison={QUEUE: "text"})
    moved = {f"{QUEUE}-poison": ["text"] * count} if count else {}

    assert bool(is_right) is not bool(faults(wanted, remains(poison=moved)))


def test_a_history_without_row_or_a_row_without_history_is_a_fault() -> None:
    """They are written together and purged together."""
    assert faults(wishes(), remains(histories={}))
    assert faults(Wishes(), remains(rows={}))


def test_a_whole_history_has_no_fault() -> None:
    """Rows of older executions may lie behind it."""
    older = {"RowKey": f"{len(EVENTS):016X}", "ExecutionId": "older"}
    rows = [*history(*EVENTS), {**older, "EventType": "TaskScheduled"}]

    assert [] == list(faults_of_history(rows, ROW))


@pytest.mark.parametrize(
    "rows",
    [
        history(*EVENTS)[:-1],
        history(*EVENTS[:-1]),
        history(*EVENTS, IsCheckpointComplete=False),
        history(*EVENTS, ExecutionId="other"),
        history(*EVENTS[:2], EVENTS[2], *EVENTS[2:]),
        history(*EVENTS[:6], EVENTS[5], *EVENTS[6:]),
        history(*EVENTS[:2], *EVENTS[3:]),
        history(*EVENTS[:5], *EVENTS[6:]),
        history(*EVENTS, *EVENTS[-2:]),
        [*history(*EVENTS)[:3], *history(*EVENTS)[4:]],
        history(*EVENTS[:4], {**EVENTS[4], "ExecutionId": "older"}, *EVENTS[5:]),
    ],
    ids=[
        "no sentinel",
        "no end",
        "an incomplete checkpoint",
        "a sentinel of another execution",
        "scheduled twice",
        "answered twice",
        "answered, but not scheduled",
        "no answer",
        "ended twice",
        "a row missing",
        "a row of an older execution within",
    ],
)
def test_a_history_that_is_not_whole_is_a_fault(rows: list[dict[str, Any]]) -> None:
    """As any reader of the table would see it."""
    assert list(faults_of_history(rows, ROW))
