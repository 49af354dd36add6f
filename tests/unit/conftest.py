"""Factories of histories and turns for the tests of the pure centre."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from localhost.durable.execution import Kind, Rules
from localhost.durable.outbox import Sender
from localhost.durable.sdk import OrchestratorState
from localhost.durable.turn import Turn, decide
from localhost.history import EventType, HistoryEvent
from localhost.records import TaskMessage
from localhost.taskhub.port import Lock, Received

NOW = "2026-11-22T04:00:00Z"


@pytest.fixture(name="data")
def _data() -> Path:
    """The folder of recordings."""
    return Path(__file__).parents[1] / "data"


@pytest.fixture(name="event")
def _event() -> Callable[..., HistoryEvent]:
    """Makes events by the name of their type; each a millisecond after the last."""
    numbers = itertools.count()

    def make(
        type_: str, *, id_: int = -1, at: str | None = None, **fields: Any
    ) -> HistoryEvent:
        stamp = f"2026-11-22T03:00:00.{next(numbers):03}1Z"
        return HistoryEvent(
            type=EventType[type_], timestamp=at or stamp, event_id=id_, fields=fields
        )

    return make


@pytest.fixture(name="started")
def _started(event: Callable[..., HistoryEvent]) -> Callable[..., HistoryEvent]:
    """Makes the event that starts an execution; ``parent`` is an instance id."""

    def make(
        *, execution: str = "e1", parent: str | None = None, **fields: Any
    ) -> HistoryEvent:
        target = {"InstanceId": "i1", "ExecutionId": execution}
        parent_instance = parent and {
            "Name": "Parent",
            "OrchestrationInstance": {"InstanceId": parent, "ExecutionId": "pe1"},
            "TaskScheduleId": 3,
            "Version": "",
        }
        known = {
            "OrchestrationInstance": target,
            "ParentInstance": parent_instance,
            "Name": "Orch",
            "Version": "",
            "Input": None,
            "Generation": 0,
        }
        return event("ExecutionStarted", **{**known, **fields})

    return make


@pytest.fixture(name="state")
def _state() -> Callable[..., OrchestratorState]:
    """Makes what an orchestrator returned, by default with one list of actions."""

    def make(*actions: Mapping[str, Any], **fields: Any) -> OrchestratorState:
        known: dict[str, Any] = {
            "is_done": False,
            "actions": (actions,),
            "schema_version": 2,
        }
        return OrchestratorState(**{**known, **fields})

    return make


@pytest.fixture(name="play")
def _play(
    event: Callable[..., HistoryEvent], started: Callable[..., HistoryEvent]
) -> Callable[..., list[Turn]]:
    """Plays the turns of one instance, each a state and the events that came in.

    The first turn begins with ``start``; functions named ``Nope…`` are unknown.
    """

    def unknown(kind: Kind, name: str) -> str | None:
        return f"there is no {kind} {name}" if name.startswith("Nope") else None

    def play(
        *steps: list[Any], start: HistoryEvent | None = None, **rules: Any
    ) -> list[Turn]:
        past: list[HistoryEvent] = []
        turns = []
        for number, (state, *inbound) in enumerate(steps, 1):
            first = [] if past else [start or started()]
            new = [event("OrchestratorStarted"), *first, *inbound]
            turn = decide(
                past=past,
                new=new,
                state=state,
                rules=Rules(**{"unknown": unknown, **rules}),
                sender=Sender(instance_id="i1", execution_id="e1", episode=number),
                now=NOW,
            )
            turns.append(turn)
            past += turn.events
        return turns

    return play


@pytest.fixture(name="received")
def _received() -> Callable[..., Received]:
    """Makes a message in our hands that carries an event for instance ``i1``."""

    def make(
        event: HistoryEvent,
        *,
        execution: str | None = "e1",
        sender: tuple[str, str | None] = ("", ""),
        dequeue_count: int = 1,
    ) -> Received:
        return Received(
            queue="hub-control-00",
            message_id=f"m{event.timestamp}",
            dequeue_count=dequeue_count,
            lock=Lock(receipt="p", until_s=0.0),
            message=TaskMessage(
                event=event, instance_id="i1", execution_id=execution, sender=sender
            ),
        )

    return make


@pytest.fixture(name="call")
def _call() -> Callable[..., dict[str, Any]]:
    """Makes the action of ``call_activity``."""

    def make(name: str = "Hello", input_: object = "x") -> dict[str, Any]:
        text = json.dumps(input_)
        return {"actionType": 0, "functionName": name, "input": text}

    return make


@pytest.fixture(name="timer")
def _timer() -> Callable[..., dict[str, Any]]:
    """Makes the action of ``create_timer``."""

    def make(fire_at: str = NOW, *, cancelled: bool = False) -> dict[str, Any]:
        return {"actionType": 5, "fireAt": fire_at, "isCanceled": cancelled}

    return make


@pytest.fixture(name="wait")
def _wait() -> Callable[[str], dict[str, Any]]:
    """Makes the action of ``wait_for_external_event``."""

    def make(name: str) -> dict[str, Any]:
        return {"actionType": 6, "externalEventName": name, "reason": "ExternalEvent"}

    return make


@pytest.fixture(name="any_of")
def _any_of() -> Callable[..., dict[str, Any]]:
    """Makes the action of ``task_any``."""
    return lambda *actions: {"actionType": 11, "compoundActions": list(actions)}


@pytest.fixture(name="all_of")
def _all_of() -> Callable[..., dict[str, Any]]:
    """Makes the action of ``task_all``."""
    return lambda *actions: {"actionType": 12, "compoundActions": list(actions)}
