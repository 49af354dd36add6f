"""A timer beyond 6 days, played to its end with the SDK: one piece after the other."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Generator
from typing import Any

import azure.durable_functions as df
import pytest

from localhost.durable.execution import Rules
from localhost.durable.outbox import Sender
from localhost.durable.sdk import context_body, state_of
from localhost.durable.turn import Turn, decide
from localhost.history import EventType, HistoryEvent, Status
from localhost.outcome import Returned
from localhost.text import dumps
from localhost.timestamps import to_datetime

Orchestrator = Callable[[df.DurableOrchestrationContext], Generator[Any, Any, Any]]
Started = Callable[..., HistoryEvent]

BEGIN = "2026-11-22T04:00:00.0000000Z"


def sleeping(days: float) -> Orchestrator:
    """Make an orchestrator that waits for some days."""

    def orchestrator(
        context: df.DurableOrchestrationContext,
    ) -> Generator[Any, Any, Any]:
        end = context.current_utc_datetime + datetime.timedelta(days=days)
        yield context.create_timer(end)
        return "awake"

    return orchestrator


def turn(code: Orchestrator, past: list[HistoryEvent], new: list[HistoryEvent]) -> Turn:
    """Play a turn: the SDK says what the code asks for, and it is decided."""
    started = next(e for e in [*past, *new] if e.type is EventType.ExecutionStarted)
    body = context_body(
        (dumps(event.to_wire()) for event in [*past, *new]),
        started=started,
        instance_id="i1",
        http_sleep_ms=7,
    )
    returned = df.Orchestrator.create(code)(body)
    return decide(
        past=past,
        new=new,
        state=state_of(Returned(value=returned)),
        rules=Rules(unknown=lambda kind, name: None),
        sender=Sender(instance_id="i1", execution_id="e1", episode=1),
        now=new[0].timestamp,
    )


def played(code: Orchestrator, started: HistoryEvent) -> tuple[list[float], Turn]:
    """Fire each timer when it is due; return after how many days each did, and the end.

    Every turn waits for one timer at most.
    """
    begin = HistoryEvent(type=EventType.OrchestratorStarted, timestamp=BEGIN)
    history: list[HistoryEvent] = []
    fired: list[float] = []
    last = turn(code, history, [begin, started])
    while last.finished is None:
        history += last.events
        (timer,) = [
            m.event for m in last.messages if m.event.type is EventType.TimerFired
        ]
        now = timer["FireAt"]
        fired.append(days_of(now))
        begin = HistoryEvent(type=EventType.OrchestratorStarted, timestamp=now)
        last = turn(code, history, [begin, timer])
    return fired, last


def days_of(now: str) -> float:
    return (to_datetime(now) - to_datetime(BEGIN)) / datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "pieces"),
    [(6, [6]), (6.5, [3, 6.5]), (9, [3, 9]), (14.5, [3, 6, 9, 14.5])],
)
def test_a_timer_fires_in_pieces(
    days: float, pieces: list[float], started: Started
) -> None:
    """Of 3 days, as long as more than 6 are left."""
    fired, end = played(sleeping(days), started())

    assert pieces == fired
    assert end.finished is not None
    assert (Status.COMPLETED, '"awake"') == (end.finished.status, end.finished.result)
