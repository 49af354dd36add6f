"""What an activity gets, and the event that tells how it went."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localhost.durable.activities import argument_of, details_of, event_of
from localhost.history import HistoryEvent
from localhost.outcome import Outcome, Raised, Returned

Event = Callable[..., HistoryEvent]

NOW = "2026-11-22T04:00:00Z"
BOOM = Raised(type_name="ValueError", message="boom: é", traceback="  File …\n")


def answer(event: Event, outcome: Outcome) -> HistoryEvent:
    """Return the event that answers task 7, an activity named Hello."""
    return event_of(outcome, event("TaskScheduled", id_=7, Name="Hello"), now=NOW)


@pytest.mark.parametrize(
    ("input_", "expected"),
    [
        ('["\\"Tokyo\\""]', '"Tokyo"'),
        ('["null"]', "null"),
        ('["{\\"a\\": 1}"]', '{"a": 1}'),
        ('["Tokyo"]', "Tokyo"),
        ("[5]", "5"),
        ('[{"a":"東京"}]', '{"a":"東京"}'),
        ("[null]", "null"),
        ("[]", "null"),
        (None, "null"),
        ("7", "null"),
        ("no JSON", "no JSON"),
    ],
)
def test_argument_is_the_first_element(input_: str | None, expected: str) -> None:
    """A text goes in bare, because the SDK made JSON of it; all else as JSON."""
    assert expected == argument_of(input_)


@pytest.mark.parametrize("value", [None, "null", '"Hello!"', '{"a":1}'])
def test_result_is_passed_on(event: Event, value: str | None) -> None:
    """The function's JSON is the result, nothing is the result of None."""
    completed = answer(event, Returned(value=value))

    assert ("TaskCompleted", -1, NOW) == (
        completed.type.name,
        completed.event_id,
        completed.timestamp,
    )
    assert (7, value) == (completed["TaskScheduledId"], completed["Result"])


def test_reason_names_function_and_error(event: Event) -> None:
    """There are two blanks behind the colon, as orchestrators know it."""
    failed = answer(event, BOOM)

    assert ("TaskFailed", 7) == (failed.type.name, failed["TaskScheduledId"])
    assert "Activity function 'Hello' failed:  ValueError: boom: é" == failed["Reason"]


def test_what_the_host_could_not_do_is_said_bare(event: Event) -> None:
    """The host's own text stands without a prefix, in reason and details."""
    gone = Raised(type_name="", message="there is no answer", traceback="")

    failed = answer(event, gone)

    assert "there is no answer" == failed["Reason"]
    assert failed["Details"].endswith(": there is no answer")


def test_details_are_an_exception_of_net() -> None:
    """Code that looks into the details finds message and stack."""
    inner = json.loads(details_of(BOOM))["InnerException"]

    assert ("ValueError: boom: é", "  File …\n") == (
        inner["RemoteMessage"],
        inner["RemoteStackTrace"],
    )
    assert (
        "Result: Failure\nException: ValueError: boom: é\nStack:   File …\n"
        == (inner["Message"])
    )


def test_details_are_raw_json() -> None:
    """Characters beyond ASCII stand as they are."""
    assert "boom: é" in details_of(BOOM)


def recorded_details(data: Path) -> dict[str, Any]:
    """Return the details of a failure that the real host has written."""
    lines = (data / "storage" / "07-failactivity.jsonl").read_text("utf-8").splitlines()
    for line in map(json.loads, lines):
        event = (line.get("message") or {}).get("TaskMessage", {}).get("Event", {})
        if "Details" in event:
            value: dict[str, Any] = json.loads(event["Details"])
            return value
    raise AssertionError("there is no failure in the recording")


def test_details_have_the_recorded_members(data: Path) -> None:
    """The same members in the same order, both outside and inside."""
    expected, actual = recorded_details(data), json.loads(details_of(BOOM))

    assert list(expected) == list(actual)
    assert list(expected["InnerException"]) == list(actual["InnerException"])


def test_details_have_the_recorded_values(data: Path) -> None:
    """What does not depend on the failure is what the real host writes."""
    expected, actual = recorded_details(data), json.loads(details_of(BOOM))
    named = {"Message", "InnerException"}

    assert _without(expected, named) == _without(actual, named)
    inner = {"Message", "RemoteMessage", "RemoteStackTrace", "StackTrace"}
    assert _without(expected["InnerException"], inner) == _without(
        actual["InnerException"], inner
    )


def _without(value: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {k: v for k, v in value.items() if k not in names}
