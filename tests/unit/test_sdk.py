"""The contract with the SDK: what it receives, and what it returns or raises."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from localhost.durable.sdk import MARKER, OrchestratorState, context_body, state_of
from localhost.history import HistoryEvent
from localhost.outcome import Raised, Returned

Event = Callable[..., HistoryEvent]


def body(started: HistoryEvent, *history: str) -> dict[str, Any]:
    """Return what a function receives as JSON."""
    text = context_body(history, started=started, instance_id="i1", http_sleep_ms=7)
    value: dict[str, Any] = json.loads(text)
    return value


def returned(**wire: Any) -> OrchestratorState:
    """Return the state of a function that returned."""
    return state_of(
        Returned(value=json.dumps({"isDone": False, "actions": [], **wire}))
    )


def raised(message: str, type_name: str = "Exception") -> OrchestratorState:
    """Return the state of a function that raised."""
    return state_of(Raised(type_name=type_name, message=message, traceback="frames"))


# What it receives


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, None),
        ("null", None),
        ('{"a": 1}', {"a": 1}),
        ('"5"', "5"),
        ("plain text", "plain text"),
        ("", ""),
    ],
)
def test_input_is_decoded_once(
    started: Event, stored: str | None, expected: object
) -> None:
    """The stored text is JSON; what is none stays a text."""
    assert expected == body(started(Input=stored))["input"]


@pytest.mark.parametrize("is_played", [False, True])
def test_replaying_follows_the_start(started: Event, is_played: bool) -> None:
    """The first turn of an execution is the one whose start is not played."""
    start = started()
    played = HistoryEvent(
        type=start.type,
        timestamp=start.timestamp,
        is_played=is_played,
        fields=start.fields,
    )

    assert is_played is body(played)["isReplaying"]


@pytest.mark.parametrize("parent", [None, "p"])
def test_parent_is_named(started: Event, parent: str | None) -> None:
    """A child knows for whom it works."""
    assert parent == body(started(parent=parent))["parentInstanceId"]


def test_history_stands_as_it_is(started: Event) -> None:
    """Texts of events go in unchanged; no event twice through JSON."""
    text = context_body(
        ['{"a":1}', '{"b": 2}'], started=started(), instance_id="i1", http_sleep_ms=7
    )

    assert text.startswith('{"history":[{"a":1},{"b": 2}],"input":null,')


def test_pause_between_http_polls_is_told(started: Event) -> None:
    """host.json's pause reaches the code, under the name with the slip in it."""
    assert 7 == body(started())["defaultHttpAsyncRequestSleepTimeMillseconds"]


# What it returns


def test_state_is_read() -> None:
    """Every member of a state has its place."""
    state = returned(
        isDone=True,
        schemaVersion=2,
        actions=[[{"actionType": 0}]],
        output={"a": 1},
        customStatus=["b"],
    )

    assert state == OrchestratorState(
        is_done=True,
        actions=(({"actionType": 0},),),
        schema_version=2,
        output={"a": 1},
        custom_status=["b"],
    )


def test_state_of_the_first_schema_has_no_version() -> None:
    """A state that does not say its version is of the first."""
    assert 0 == returned().schema_version


@pytest.mark.parametrize("error", [None, ""])
def test_empty_error_is_none(error: str | None) -> None:
    """Only an error with a text is one."""
    assert returned(error=error).error is None


@pytest.mark.parametrize("value", [None, "", "no", "7", "[]", '{"actions": 5}'])
def test_what_is_no_state_is_an_error(value: str | None) -> None:
    """A function that returns something else fails its instance with a text."""
    error = state_of(Returned(value=value)).error

    assert str(error).startswith("the function returned no state of an orchestrator")


# What it raises


def test_state_in_an_exception_is_read() -> None:
    """The SDK hides actions and error of code that raised in its exception."""
    hidden = {"isDone": False, "actions": [[{"actionType": 0}]], "error": "no"}
    state = raised(f"no{MARKER}{json.dumps(hidden)}")

    assert "no" == state.error
    assert (({"actionType": 0},),) == state.actions


@pytest.mark.parametrize("rest", ["", "no JSON", "[]"])
def test_text_that_looks_like_the_marker_is_text(rest: str) -> None:
    """User code may say the marker by itself: that is an error like any other."""
    error = raised(f"mine{MARKER}{rest}").error

    assert f"Exception: Exception: mine{MARKER}{rest}" in str(error)


def test_other_exceptions_fail_with_type_and_stack() -> None:
    """What the SDK did not raise is told as the extension tells it."""
    assert (
        "One or more errors occurred. (Result: Failure\nException: ImportError: no x"
        "\nStack: frames)"
    ) == raised("no x", "ImportError").error


def test_failed_code_asks_for_nothing() -> None:
    """An error without state has no actions, and is no end by itself."""
    state = raised("no")

    assert (False, ((),)) == (state.is_done, state.actions)
