"""The orchestrator: the SDK replays it over histories as a host sends them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import azure.functions as func
import pytest
from azure.durable_functions.models.history import HistoryEventType as Kind

# The SDK calls a function that azure-functions advises against.
pytestmark = pytest.mark.filterwarnings(
    "ignore:azure.functions df_loads was called without:DeprecationWarning"
)

# The template leaves its generator without annotations. Imported by name, mypy
# neither follows nor judges it.
main: Callable[[func.OrchestrationContext], str] = importlib.import_module(
    "HelloOrchestrator"
).main

CITIES = ["Tokyo", "Seattle", "London"]
GREETINGS = ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]


def event(kind: Kind, second: int, **fields: object) -> dict[str, object]:
    """One history event with the fields that every event has."""
    return {
        "EventType": kind.value,
        "EventId": -1,
        "IsPlayed": False,
        "Timestamp": f"2026-01-01T00:00:{second:02}.0000000Z",
        **fields,
    }


def history(results: list[str]) -> list[dict[str, object]]:
    """The history of an instance whose first activities returned ``results``."""
    events = [
        event(Kind.ORCHESTRATOR_STARTED, 0),
        event(
            Kind.EXECUTION_STARTED, 0, Name="HelloOrchestrator", Version="", Input=None
        ),
    ]
    for task_id, result in enumerate(results):
        events += [
            event(Kind.TASK_SCHEDULED, task_id, EventId=task_id, Name="Hello"),
            event(Kind.ORCHESTRATOR_COMPLETED, task_id),
            event(Kind.ORCHESTRATOR_STARTED, task_id + 1),
            event(
                Kind.TASK_COMPLETED,
                task_id + 1,
                TaskScheduledId=task_id,
                Result=json.dumps(result),
            ),
        ]
    return events


def turn(results: list[str]) -> dict[str, Any]:
    """What the orchestrator answers to a host that holds these results."""
    body = {
        "history": history(results),
        "input": None,
        "instanceId": "abc",
        "isReplaying": bool(results),
        "parentInstanceId": None,
        "upperSchemaVersion": 1,
        "upperSchemaVersionNew": 2,
        "longRunningTimerIntervalDuration": "3.00:00:00",
        "maximumShortTimerDuration": "6.00:00:00",
        "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,
    }
    state: dict[str, Any] = json.loads(
        main(func.OrchestrationContext(json.dumps(body)))
    )
    return state


@pytest.mark.parametrize("done", [0, 1, 2])
def test_next_city_is_asked_for_when_the_one_before_has_answered(done: int) -> None:
    """Each turn schedules one more ``Hello``, in the order of the quickstart."""
    state = turn(GREETINGS[:done])

    assert [
        {"actionType": 0, "functionName": "Hello", "input": json.dumps(city)}
        for city in CITIES[: done + 1]
    ] == state["actions"][0]


@pytest.mark.parametrize("done", [0, 1, 2])
def test_it_is_not_done_before_the_third_answer(done: int) -> None:
    """With an activity outstanding there is no output."""
    state = turn(GREETINGS[:done])

    assert (False, None) == (state["isDone"], state.get("output"))


def test_three_answers_are_its_output() -> None:
    """After the third answer it is done; its output is the list of all three."""
    state = turn(GREETINGS)

    assert (True, GREETINGS) == (state["isDone"], state["output"])


def test_output_is_what_the_activities_returned() -> None:
    """The orchestrator passes on results and greets nobody itself."""
    assert ["a", "b", "c"] == turn(["a", "b", "c"])["output"]
