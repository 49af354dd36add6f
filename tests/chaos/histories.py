"""Whether a history is whole, as any reader of the ``History`` table would find it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_SENTINEL = "sentinel"
# What answers what, and the column that says which.
_ANSWERS = {
    "TaskCompleted": ("TaskScheduled", "TaskScheduledId"),
    "TaskFailed": ("TaskScheduled", "TaskScheduledId"),
    "SubOrchestrationInstanceCompleted": (
        "SubOrchestrationInstanceCreated",
        "TaskScheduledId",
    ),
    "SubOrchestrationInstanceFailed": (
        "SubOrchestrationInstanceCreated",
        "TaskScheduledId",
    ),
    "TimerFired": ("TimerCreated", "TimerId"),
}
_FINISHED = ("Completed", "Failed", "Terminated")

Row = Mapping[str, Any]


def faults_of_history(rows: Sequence[Row], instance: Row) -> Iterator[str]:
    """Say what is wrong with a history, given the row of its instance.

    Rows of older executions may lie behind those of the current one: every reader
    stops there.
    """
    events = sorted(
        (row for row in rows if row["RowKey"] != _SENTINEL),
        key=lambda row: str(row["RowKey"]),
    )
    sentinels = [row for row in rows if row["RowKey"] == _SENTINEL]
    if not sentinels or not events:
        yield f"{len(sentinels)} sentinels, {len(events)} events"
        return
    execution_id = sentinels[0]["ExecutionId"]
    if not sentinels[0]["IsCheckpointComplete"]:
        yield "the last checkpoint is not complete"
    if instance.get("ExecutionId") != execution_id:
        yield f"of execution {execution_id}; its row: {instance.get('ExecutionId')}"
    current = [row for row in events if row["ExecutionId"] == execution_id]
    places = [int(str(row["RowKey"]), 16) for row in current]
    if places != list(range(len(places))):
        yield f"rows of its execution are at {places}"
    yield from _faults_of_events(current, instance)


def _faults_of_events(events: Sequence[Row], instance: Row) -> Iterator[str]:
    kinds = Counter(str(row["EventType"]) for row in events)
    is_over = instance.get("RuntimeStatus") in _FINISHED
    expected = {"ExecutionStarted": 1, "ExecutionCompleted": int(is_over)}
    seen = {kind: kinds[kind] for kind in expected}
    if seen != expected:
        yield f"{seen}; expected {expected}"
    if events and events[-1]["EventType"] != "OrchestratorCompleted":
        yield f"its last event is {events[-1]['EventType']}"
    asked = Counter(
        (str(row["EventType"]), row["EventId"])
        for row in events
        if row["EventType"] in {kind for kind, _ in _ANSWERS.values()}
    )
    answered: Counter[tuple[str, Any]] = Counter()
    for row in events:
        if row["EventType"] in _ANSWERS:
            kind, column = _ANSWERS[str(row["EventType"])]
            answered[kind, row[column]] += 1
    yield from (f"{n} × {place}" for place, n in asked.items() if n > 1)
    yield from (f"answered {n} × {place}" for place, n in answered.items() if n > 1)
    yield from (f"not asked: {place}" for place in answered.keys() - asked.keys())
    if is_over:
        yield from (f"no answer: {place}" for place in asked.keys() - answered.keys())
