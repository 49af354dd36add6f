"""Actions with values of any JSON type: each is taken or refused with a sentence."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from localhost.durable import turn as turn_module
from localhost.durable.actions import LONGEST_KEY_CHARS, action_of
from localhost.durable.execution import RefusedError
from localhost.durable.sdk import OrchestratorState
from localhost.durable.turn import Turn
from localhost.history import EventType, HistoryEvent, Status

State = Callable[..., OrchestratorState]
Play = Callable[..., list[Turn]]
Action = Callable[..., dict[str, Any]]
Event = Callable[..., HistoryEvent]

RETRY = {"firstRetryIntervalInMilliseconds": 1_000, "maxNumberOfAttempts": 2}
HTTP = {"method": "GET", "uri": "http://x/"}
FIRE_AT = "2026-11-22T04:00:00.000000Z"
ACTIVITY = {"actionType": 0, "functionName": "A", "input": '"x"'}
WHOLE: dict[str, dict[str, Any]] = {
    "call_activity": ACTIVITY,
    "call_activity_with_retry": {**ACTIVITY, "actionType": 1, "retryOptions": RETRY},
    "call_sub_orchestrator": {**ACTIVITY, "actionType": 2, "instanceId": "kid"},
    "call_sub_orchestrator_with_retry": {
        **ACTIVITY,
        "actionType": 3,
        "instanceId": "kid",
        "retryOptions": RETRY,
    },
    "continue_as_new": {"actionType": 4, "input": "1"},
    "create_timer": {"actionType": 5, "fireAt": FIRE_AT, "isCanceled": False},
    "wait_for_external_event": {"actionType": 6, "externalEventName": "E"},
    "call_entity": {
        "actionType": 7,
        "instanceId": "@e@k",
        "operation": "add",
        "input": "1",
    },
    "call_http": {"actionType": 8, "httpRequest": HTTP},
    "signal_entity": {
        "actionType": 9,
        "instanceId": "@e@k",
        "operation": "add",
        "input": "1",
    },
    "task_any": {"actionType": 11, "compoundActions": [ACTIVITY]},
    "task_all": {"actionType": 12, "compoundActions": [ACTIVITY]},
}
MISSING = object()
ODD: list[object] = [
    *(MISSING, None, 0, 5, -1, 10**400, 1.5, 1e300, float("nan"), float("inf")),
    *(float("-inf"), True, False, "", " ", "x", "\ud800", "@", "x" * 600, "/" * 300),
    *([], [1], [None], {}, {"a": 1}, [{"actionType": 0}], [[ACTIVITY]]),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z", "2026-02-30T00:00:00Z"),
]


def places() -> list[tuple[str, tuple[str, ...]]]:
    """Return every property of every action, those of inner objects too."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for name, whole in WHOLE.items():
        for key, value in whole.items():
            found.append((name, (key,)))
            if isinstance(value, dict):
                found += [(name, (key, inner)) for inner in value]
    return found


def changed(whole: dict[str, Any], path: tuple[str, ...], value: object) -> Any:
    """Return an action in which one property has another value."""
    first, *rest = path
    if rest:
        return {**whole, first: changed(whole[first], tuple(rest), value)}
    copy = {**whole, first: value}
    if value is MISSING:
        del copy[first]
    return copy


def failure(turn: Turn) -> str:
    """Return the text with which a turn failed its instance."""
    assert turn.finished is not None
    assert Status.FAILED is turn.finished.status
    return str(turn.finished.result)


@pytest.mark.parametrize(("name", "path"), places(), ids=str)
def test_any_value_of_a_property_is_taken_or_refused(
    play: Play, state: State, name: str, path: tuple[str, ...]
) -> None:
    """Whatever stands there, the turn is decided, and never by our own fault."""
    for value in ODD:
        (turn,) = play([state(changed(WHOLE[name], path, value))])
        for said in (turn.fault, turn.finished and turn.finished.result):
            assert "fault of the local host" not in str(said), value


@pytest.mark.parametrize("odd", [None, 5, "x", [], [ACTIVITY], True])
def test_what_is_not_an_action_is_refused(
    play: Play, state: State, odd: Any, all_of: Action
) -> None:
    """Also inside task_all."""
    for asked in (odd, all_of(odd)):
        (turn,) = play([state(asked)])
        assert "expected: an action" in failure(turn)


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), (True, "True"), (False, "False"), (0, "0"), (1.5, "1.5"), (2.0, "2")],
)
def test_what_has_a_plain_text_is_taken_as_it(
    play: Play, state: State, value: object, text: str
) -> None:
    """As the extension's JSON reader does; a name and an id alike."""
    child = {**WHOLE["call_sub_orchestrator"], "instanceId": value}
    activity = {**ACTIVITY, "functionName": value}

    (one,), (other,) = play([state(child)]), play([state(activity)])

    assert text == one.outbox[0].instance_id
    assert text == other.outbox[0].event["Name"]


def test_refusal_names_action_property_value_and_expectation(
    play: Play, state: State
) -> None:
    """So that the user finds the call."""
    (turn,) = play([state({**WHOLE["call_sub_orchestrator"], "instanceId": [1]})])

    said = "call_sub_orchestrator: 'instanceId' is [1]; expected: a text."
    assert f"Orchestrator function 'Orch' failed: {said}" in failure(turn)


@pytest.mark.parametrize(
    ("name", "path", "value", "text"),
    [
        ("call_activity", ("functionName",), None, "is None; expected: a text"),
        ("call_activity", ("functionName",), MISSING, "is missing; expected: a text"),
        ("create_timer", ("fireAt",), 5, "'fireAt' is 5; expected: a time such as"),
        ("create_timer", ("fireAt",), "1600-01-01T00:00:00Z", "in the years 1601"),
        ("create_timer", ("isCanceled",), [], "'isCanceled' is []; expected: true or"),
        ("call_entity", ("instanceId",), "e@k", "expected: @name@key"),
        ("signal_entity", ("operation",), {}, "signal_entity: 'operation' is {};"),
        (
            "call_activity_with_retry",
            ("retryOptions", "maxNumberOfAttempts"),
            0,
            "retryOptions: 'maxNumberOfAttempts' is 0; expected: a whole number from 1",
        ),
        (
            "call_activity_with_retry",
            ("retryOptions", "firstRetryIntervalInMilliseconds"),
            "soon",
            "'firstRetryIntervalInMilliseconds' is 'soon'; expected: a number",
        ),
        ("call_activity_with_retry", ("retryOptions",), MISSING, "expected: an object"),
        ("task_any", ("compoundActions",), None, "expected: a list of actions"),
        ("call_http", ("httpRequest",), None, "expected: an object"),
    ],
)
def test_what_has_no_sense_is_refused(
    play: Play, state: State, name: str, path: tuple[str, ...], value: object, text: str
) -> None:
    """The sentence says what is expected."""
    (turn,) = play([state(changed(WHOLE[name], path, value))])

    assert text in failure(turn)


@pytest.mark.parametrize(
    ("instance_id", "is_taken"),
    [
        ("x" * LONGEST_KEY_CHARS, True),
        ("x" * (LONGEST_KEY_CHARS + 1), False),
        ("/" * (LONGEST_KEY_CHARS // 2), True),
        ("/" * (LONGEST_KEY_CHARS // 2 + 1), False),
        ("\N{GRINNING FACE}" * (LONGEST_KEY_CHARS // 2 + 1), False),
    ],
)
def test_id_is_as_long_as_a_key_may_be(
    play: Play, state: State, instance_id: str, is_taken: bool
) -> None:
    """The table service would refuse a longer one with every try."""
    (turn,) = play(
        [state({**WHOLE["call_sub_orchestrator"], "instanceId": instance_id})]
    )

    assert is_taken is (turn.finished is None)
    if not is_taken:
        assert "expected: at most 512 characters" in failure(turn)


def test_long_value_is_cut_in_a_message() -> None:
    """A megabyte does not go into the failure."""
    action = action_of({"actionType": 6, "externalEventName": ["x" * 1_000_000]})

    with pytest.raises(RefusedError) as caught:
        action.text("externalEventName")

    assert len(str(caught.value)) < 300


def test_offset_of_a_time_becomes_utc(play: Play, state: State) -> None:
    """The storage keeps UTC."""
    wire = {**WHOLE["create_timer"], "fireAt": "2026-11-22T06:00:00+02:00"}

    (turn,) = play([state(wire)])

    assert "2026-11-22T04:00:00Z" == turn.outbox[0].event["FireAt"]


def test_refusal_in_a_later_try_ends(play: Play, state: State, event: Event) -> None:
    """What came after the refusal is played too: nothing stays open for ever."""
    both = [WHOLE["call_activity_with_retry"], ACTIVITY]
    asked = itertools.count()

    def unknown(kind: str, name: str) -> str | None:
        return None if next(asked) < len(both) else "it is gone"

    (turn,) = play(
        [
            state({"actionType": 12, "compoundActions": both}),
            event("TaskFailed", TaskScheduledId=0, Reason="no", Details=""),
            event("TimerFired", TimerId=2),
            event("TaskCompleted", TaskScheduledId=1, Result="1"),
        ],
        unknown=unknown,
    )

    assert "it is gone" in failure(turn)


def test_own_fault_fails_the_instance_and_says_so(
    play: Play, state: State, monkeypatch: pytest.MonkeyPatch, call: Action
) -> None:
    """It would come again with every try; the console has the traceback."""

    def broken(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(turn_module, "_played", broken)

    (turn,) = play([state(call())])

    assert "This is a fault of the local host" in failure(turn)
    assert "Traceback" in str(turn.fault)
    assert EventType.OrchestratorCompleted is turn.events[-1].type
