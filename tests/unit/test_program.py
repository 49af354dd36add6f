"""What an orchestrator's actions mean: numbers, order, retries, compounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from localhost.durable.sdk import OrchestratorState
from localhost.durable.turn import Turn
from localhost.history import EventType, HistoryEvent, Status
from localhost.timestamps import to_ticks

Event = Callable[..., HistoryEvent]
State = Callable[..., OrchestratorState]
Play = Callable[..., list[Turn]]
Action = Callable[..., dict[str, Any]]


def added(turn: Turn) -> list[tuple[str, int]]:
    """Return what a turn scheduled: kinds and numbers."""
    return [(e.type.name, e.event_id) for e in turn.events if e.event_id >= 0]


def child(name: str = "Child", instance_id: str | None = None) -> dict[str, Any]:
    """Return the action of ``call_sub_orchestrator``."""
    return {
        "actionType": 2,
        "functionName": name,
        "input": '"x"',
        "instanceId": instance_id,
    }


def retried(
    attempts: int = 2, first_ms: float = 1_000, **more: float
) -> dict[str, Any]:
    """Return the action of ``call_activity_with_retry``."""
    options = {
        "firstRetryIntervalInMilliseconds": first_ms,
        "maxNumberOfAttempts": attempts,
        **more,
    }
    return {
        "actionType": 1,
        "functionName": "Hello",
        "input": '"x"',
        "retryOptions": options,
    }


@pytest.fixture(name="failed")
def _failed(event: Event) -> Callable[[int], HistoryEvent]:
    """Makes the failure of an activity."""
    return lambda number: event(
        "TaskFailed", TaskScheduledId=number, Reason="no", Details=""
    )


def failure(turn: Turn) -> str:
    """Return the text with which a turn failed its instance."""
    assert turn.finished is not None
    assert Status.FAILED is turn.finished.status
    return str(turn.finished.result)


# Activities, children, HTTP


def test_activity_input_is_a_list_of_one(
    play: Play, state: State, call: Action
) -> None:
    """The SDK's text becomes the only element of a list, as a text."""
    (turn,) = play([state(call("Hello", {"a": "é"}))])

    assert '["{\\"a\\": \\"\\\\u00e9\\"}"]' == turn.messages[0].event["Input"]


@pytest.mark.parametrize(("stores", "expected"), [(False, None), (True, '["\\"x\\""]')])
def test_history_holds_inputs_only_when_asked(
    play: Play, state: State, call: Action, stores: bool, expected: str | None
) -> None:
    """host.json decides whether inputs stand in the history; messages have them."""
    (turn,) = play([state(call())], store_inputs=stores)
    scheduled = next(e for e in turn.events if e.type is EventType.TaskScheduled)

    assert expected == scheduled["Input"]
    assert '["\\"x\\""]' == turn.messages[0].event["Input"]


def test_child_gets_an_id_of_its_parents_execution(play: Play, state: State) -> None:
    """Without an id of its own a child has the parent's execution and its number."""
    (turn,) = play([state(child())])

    assert "e1:0" == turn.messages[0].instance_id


def test_child_keeps_the_id_that_it_was_given(play: Play, state: State) -> None:
    """An id that the code chose is the child's."""
    (turn,) = play([state(child(instance_id="mine"))])

    assert "mine" == turn.messages[0].instance_id


def test_input_of_a_child_is_text_in_json(play: Play, state: State) -> None:
    """A child's input is encoded once more, as the real host does."""
    (turn,) = play([state(child())])

    assert '"\\"x\\""' == turn.messages[0].event["Input"]


@pytest.mark.parametrize("instance_id", ["@entity@k", "i1", "I1", "p", "P"])
def test_child_cannot_have_an_id_of_its_parents(
    play: Play, state: State, started: Event, instance_id: str
) -> None:
    """An id that is taken by those who wait for it fails with a text."""
    (turn,) = play([state(child(instance_id=instance_id))], start=started(parent="p"))

    assert f"'{instance_id}' cannot be the instance id" in failure(turn)


def test_http_call_is_an_activity_of_the_host(play: Play, state: State) -> None:
    """The request travels as the real host writes it, what is missing as null."""
    request = {"method": "GET", "uri": "http://x/y", "content": None, "headers": None}

    (turn,) = play([state({"actionType": 8, "httpRequest": request})])
    (written,) = json.loads(turn.messages[0].event["Input"])

    assert "BuiltIn::HttpActivity" == turn.messages[0].event["Name"]
    assert {"method": "GET", "uri": "http://x/y", "headers": {}, "content": None} == {
        name: written[name] for name in ("method", "uri", "headers", "content")
    }
    assert written["asynchronousPatternEnabled"] is False


# What cannot be


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ({"actionType": 0, "functionName": "Nope"}, "there is no activity Nope"),
        (child("Nope"), "there is no orchestrator Nope"),
        (
            {"actionType": 7, "instanceId": "@Nope@k", "operation": "o"},
            "there is no entity Nope",
        ),
        ({"actionType": 10}, "an action of type 10"),
        ({}, "an action of type None"),
    ],
)
def test_unknown_is_a_failure_that_says_so(
    play: Play, state: State, action: Mapping[str, Any], text: str
) -> None:
    """What does not exist ends the instance with its name."""
    (turn,) = play([state(action)])

    assert failure(turn).startswith("Orchestrator function 'Orch' failed: ")
    assert text in failure(turn)


def test_unknown_function_is_not_tried_again(play: Play, state: State) -> None:
    """A child that does not exist fails at once, retry options or not."""
    again = child("Nope") | {
        "actionType": 3,
        "retryOptions": retried()["retryOptions"],
    }

    (turn,) = play([state(again)])

    assert "there is no orchestrator Nope" in failure(turn)


def test_too_many_actions_are_refused(play: Play, state: State, call: Action) -> None:
    """host.json limits what one orchestrator may ask for."""
    (turn,) = play([state(call(), call(), call())], max_actions=2)

    assert "asked for 3 actions, more than maxOrchestrationActions (2)" in failure(turn)


def test_as_many_actions_as_allowed_are_accepted(
    play: Play, state: State, call: Action
) -> None:
    """The limit itself is allowed."""
    (turn,) = play([state(call(), call())], max_actions=2)

    assert turn.finished is None


# Numbers


def test_numbers_count_what_is_scheduled(
    play: Play, state: State, call: Action, timer: Action, wait: Action, all_of: Action
) -> None:
    """Calls, timers and children take a number each; waiting takes none."""
    actions = all_of(call(), wait("Go"), timer(), child())

    (turn,) = play([state(actions)])

    assert [
        ("TaskScheduled", 0),
        ("TimerCreated", 1),
        ("SubOrchestrationInstanceCreated", 2),
    ] == added(turn)


def test_end_takes_the_next_number(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """The completion is counted like an action."""
    answer = event("TaskCompleted", TaskScheduledId=0)

    _, last = play([state(call())], [state(call(), is_done=True), answer])

    assert [("ExecutionCompleted", 1)] == added(last)


# Compounds


def test_all_waits_for_every_one(
    play: Play, state: State, event: Event, call: Action, all_of: Action
) -> None:
    """One answer of two is not enough, a failure not either."""
    both = all_of(call("A"), call("B"))
    failed = event("TaskFailed", TaskScheduledId=0, Reason="no", Details="")
    done = event("TaskCompleted", TaskScheduledId=1)

    _, second, third = play(
        [state(both)], [state(both, call("C")), failed], [state(both, call("C")), done]
    )

    assert [] == added(second)
    assert [("TaskScheduled", 2)] == added(third)


def test_any_goes_on_after_the_first(
    play: Play, state: State, event: Event, call: Action, any_of: Action
) -> None:
    """The first answer is enough."""
    either = any_of(call("A"), call("B"))
    done = event("TaskCompleted", TaskScheduledId=1)

    _, second = play([state(either)], [state(either, call("C")), done])

    assert [("TaskScheduled", 2)] == added(second)


@pytest.mark.parametrize("kind", [11, 12])
def test_compound_of_nothing_is_done(
    play: Play, state: State, call: Action, kind: int
) -> None:
    """Waiting for none of no tasks ends at once."""
    empty = {"actionType": kind, "compoundActions": []}

    (turn,) = play([state(empty, call())])

    assert [("TaskScheduled", 0)] == added(turn)


def test_open_task_holds_the_execution_open(
    play: Play, state: State, event: Event, call: Action, any_of: Action
) -> None:
    """Code that has ended waits for what it left behind, then ends."""
    either = any_of(call("A"), call("B"))
    done = state(either, is_done=True, output="fast")
    answers = [event("TaskCompleted", TaskScheduledId=number) for number in (0, 1)]

    _, second, third = play([state(either)], [done, answers[0]], [done, answers[1]])

    assert second.finished is None
    assert third.finished is not None
    assert '"fast"' == third.finished.result


def test_open_task_holds_a_failure_back_too(
    play: Play, state: State, event: Event, call: Action, all_of: Action
) -> None:
    """An error of the code counts once its other tasks have ended."""
    both = all_of(call("A"), call("B"))
    wrong = state(both, error="oh")
    answers = [event("TaskCompleted", TaskScheduledId=number) for number in (0, 1)]

    _, second, third = play([state(both)], [wrong, answers[0]], [wrong, answers[1]])

    assert second.finished is None
    assert "Orchestrator function 'Orch' failed: oh" == failure(third)


@pytest.mark.parametrize("cancelled", [True, False])
def test_timer_holds_the_execution_open_unless_cancelled(
    play: Play,
    state: State,
    event: Event,
    wait: Action,
    timer: Action,
    any_of: Action,
    cancelled: bool,
) -> None:
    """A timeout that nobody cancelled is waited for, a cancelled one is not."""
    raised = event("EventRaised", Name="Go", Input="1")
    done = state(any_of(wait("Go"), timer(cancelled=cancelled)), is_done=True)

    _, last = play([state(any_of(wait("Go"), timer()))], [done, raised])

    assert cancelled is (last.finished is not None)


def test_waiting_for_an_event_does_not_hold_open(
    play: Play, state: State, event: Event, wait: Action, timer: Action, any_of: Action
) -> None:
    """An event that never comes does not keep an instance from its end."""
    either = any_of(wait("Go"), timer())
    fired = event("TimerFired", TimerId=0, FireAt="2026-11-22T04:00:00Z")

    _, last = play([state(either)], [state(either, is_done=True), fired])

    assert last.finished is not None


def test_timer_that_was_cancelled_later_has_not_come_first(
    play: Play,
    state: State,
    event: Event,
    failed: Callable[[int], HistoryEvent],
    call: Action,
    timer: Action,
    any_of: Action,
) -> None:
    """Numbers stay as they were before the code cancelled it."""
    waiting = state(any_of(retried(), timer()))
    over = state(any_of(retried(), timer(cancelled=True)), call("Next"))

    *_, last = play(
        [waiting],
        [waiting, failed(0)],
        [waiting, event("TimerFired", TimerId=2)],
        [over, event("TaskCompleted", TaskScheduledId=3)],
    )

    assert last.finished is None
    assert [4] == [e.event_id for e in last.events if e.event_id >= 0]


# Retries


def test_first_failure_is_followed_by_a_pause(
    play: Play, state: State, failed: Callable[[int], HistoryEvent]
) -> None:
    """The pause is a timer, counted from the turn's time."""
    _, second = play([state(retried())], [state(retried()), failed(0)])
    begun, timer = second.events[0], second.events[2]

    assert [("TimerCreated", 1)] == added(second)
    pause_ticks = to_ticks(timer["FireAt"]) - to_ticks(begun.timestamp)
    assert 10_000_000 == pause_ticks


def test_pause_is_followed_by_the_next_try(
    play: Play, state: State, event: Event, failed: Callable[[int], HistoryEvent]
) -> None:
    """The second try is another task, with a number of its own."""
    *_, third = play(
        [state(retried())],
        [state(retried()), failed(0)],
        [state(retried()), event("TimerFired", TimerId=1)],
    )

    assert [("TaskScheduled", 2)] == added(third)


def test_last_failure_waits_for_a_timer_that_is_due(
    play: Play, state: State, event: Event, failed: Callable[[int], HistoryEvent]
) -> None:
    """The SDK waits for that timer, so there must be one; it is due at once."""
    *_, last = play([state(retried(1))], [state(retried(1)), failed(0)])
    timer = next(e for e in last.events if e.type is EventType.TimerCreated)

    assert [("TimerCreated", 1)] == added(last)
    assert last.events[0].timestamp == timer["FireAt"]


def test_failure_counts_after_its_last_timer(
    play: Play, state: State, event: Event, failed: Callable[[int], HistoryEvent]
) -> None:
    """What follows the tries is asked for when the last timer has fired."""
    action = retried(1)
    wrong = state(action, error="no")

    _, second, third = play(
        [state(action)],
        [state(action), failed(0)],
        [wrong, event("TimerFired", TimerId=1)],
    )

    assert second.finished is None
    assert "Orchestrator function 'Orch' failed: no" == failure(third)


def test_success_ends_the_tries(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """After an answer that is no failure nothing is tried again."""
    done = event("TaskCompleted", TaskScheduledId=0)

    _, second = play([state(retried())], [state(retried(), call()), done])

    assert [("TaskScheduled", 1)] == added(second)


@pytest.mark.parametrize(
    ("options", "pauses_ms"),
    [
        ({}, [1_000, 1_000, 1_000]),
        ({"backoffCoefficient": 2}, [1_000, 2_000, 4_000]),
        (
            {"backoffCoefficient": 3, "maxRetryIntervalInMilliseconds": 2_500},
            [1_000, 2_500, 2_500],
        ),
    ],
)
def test_pauses_grow_up_to_a_limit(
    play: Play,
    state: State,
    event: Event,
    failed: Callable[[int], HistoryEvent],
    options: dict[str, float],
    pauses_ms: list[float],
) -> None:
    """Each pause is the one before times the coefficient, at most the limit."""
    step = state(retried(4, **options))
    inbound: list[HistoryEvent] = []
    for number in (0, 2, 4):
        inbound += [failed(number), event("TimerFired", TimerId=number + 1)]
    turns = play([step], *([step, each] for each in inbound))

    timers = [
        to_ticks(e["FireAt"]) - to_ticks(turn.events[0].timestamp)
        for turn in turns
        for e in turn.events
        if e.type is EventType.TimerCreated
    ]
    assert [pause_ms * 10_000 for pause_ms in pauses_ms] == timers


def test_retried_child_with_an_id_keeps_it(
    play: Play, state: State, event: Event
) -> None:
    """A child that is tried again under an id of its own has that id each time."""
    action = child(instance_id="mine") | {
        "actionType": 3,
        "retryOptions": retried()["retryOptions"],
    }
    failed = event("SubOrchestrationInstanceFailed", TaskScheduledId=0)

    turns = play(
        [state(action)],
        [state(action), failed],
        [state(action), event("TimerFired", TimerId=1)],
    )

    assert ["mine", "i1", "mine"] == [t.messages[0].instance_id for t in turns]


# Entities


def test_signal_does_not_wait(play: Play, state: State, call: Action) -> None:
    """The code goes on right after a signal."""
    signal = {
        "actionType": 9,
        "instanceId": "@counter@k",
        "operation": "add",
        "input": "1",
    }

    (turn,) = play([state(signal, call())])

    assert [("EventSent", 0), ("TaskScheduled", 1)] == added(turn)


def test_call_of_an_entity_waits(play: Play, state: State, call: Action) -> None:
    """The code goes on when the entity has answered."""
    ask = {
        "actionType": 7,
        "instanceId": "@counter@k",
        "operation": "get",
        "input": "1",
    }

    (turn,) = play([state(ask, call())])

    assert [("EventSent", 0)] == added(turn)


# Schema versions


def test_first_schema_has_one_list_for_each_yield(
    play: Play, state: State, call: Action
) -> None:
    """In version 1 a list of several is what one yield asked for: all at once."""
    yielded = state(schema_version=0, actions=((call("A"), call("B")), (call("C"),)))

    (turn,) = play([yielded])

    assert [("TaskScheduled", 0), ("TaskScheduled", 1)] == added(turn)


def test_first_schema_goes_on_after_the_first_answer(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """In version 1 nobody can tell all from any: the first answer moves on."""
    yielded = state(schema_version=0, actions=((call("A"), call("B")), (call("C"),)))

    _, second = play([yielded], [yielded, event("TaskCompleted", TaskScheduledId=1)])

    assert [("TaskScheduled", 2)] == added(second)


def test_first_schema_skips_empty_lists(play: Play, state: State, call: Action) -> None:
    """A yield that asked for nothing holds nothing up."""
    (turn,) = play([state(schema_version=0, actions=((), (call(),)))])

    assert [("TaskScheduled", 0)] == added(turn)


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("version", [1, 2])
def test_later_schemas_have_exactly_one_list(
    play: Play, state: State, version: int, count: int
) -> None:
    """Any other number of lists fails the instance, in the extension's words."""
    (turn,) = play([state(schema_version=version, actions=((),) * count)])

    assert failure(turn).endswith(
        f"With OOProc schema V{version + 1}, expected actions array to be of length 1"
        f" in outer layer but got size: {count}"
    )
