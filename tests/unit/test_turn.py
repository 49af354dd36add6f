"""A turn as a whole: its rows, its end, custom status and what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from localhost.durable.sdk import OrchestratorState
from localhost.durable.turn import Turn
from localhost.history import EventType, HistoryEvent, Status

Event = Callable[..., HistoryEvent]
State = Callable[..., OrchestratorState]
Play = Callable[..., list[Turn]]
Action = Callable[..., dict[str, Any]]

CONTINUE = {"actionType": 4, "input": '{"n": 1}'}
LARGEST_TEXT = "x" * (8 * 1024 - 2)  # with its two quotes 16 KiB of UTF-16


def kinds(events: tuple[HistoryEvent, ...]) -> list[str]:
    """Return the types of events."""
    return [event.type.name for event in events]


# Rows


def test_rows_of_a_turn_stand_in_order(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """What came in, what is scheduled, and the end of the turn."""
    raised = event("EventRaised", Name="x")

    (turn,) = play([state(call()), raised])

    assert [
        "OrchestratorStarted",
        "ExecutionStarted",
        "EventRaised",
        "TaskScheduled",
        "OrchestratorCompleted",
    ] == kinds(turn.events)


def test_what_came_in_is_stored_as_played(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """Inbound events are played, the turn's own events are not."""
    (turn,) = play([state(call()), event("EventRaised", Name="x")])

    assert ["ExecutionStarted", "EventRaised"] == [
        e.type.name for e in turn.events if e.is_played
    ]


def test_everything_scheduled_has_a_time_of_its_own_turn(
    play: Play, state: State, call: Action, timer: Action, all_of: Action
) -> None:
    """A tick each, from the time of the turn on; its message has the same."""
    (turn,) = play([state(all_of(call(), timer()))])

    times = ["2026-11-22T04:00:00Z", "2026-11-22T04:00:00.0000001Z"]
    assert times == [e.timestamp for e in turn.events[2:4]]
    assert times == [message.event.timestamp for message in turn.messages]


def test_turn_is_decided_alike_again(
    play: Play, state: State, started: Event, call: Action
) -> None:
    """The same history and the same answer give the same turn, ids included."""
    start = started(Input='"x"')
    signal = {"actionType": 9, "instanceId": "@c@k", "operation": "o", "input": "1"}

    first, again = (play([state(signal, call())], start=start)[0] for _ in range(2))

    normal = [replace(e, timestamp="") for e in first.events[3:]]
    assert normal == [replace(e, timestamp="") for e in again.events[3:]]


# The end


@pytest.mark.parametrize(
    ("output", "result"),
    [
        (None, None),
        ("", '""'),
        (0, "0"),
        (False, "false"),
        (["東京", 1.5], '["東京",1.5]'),
    ],
)
def test_output_is_compact_json(
    play: Play, state: State, output: object, result: str | None
) -> None:
    """No output is none; falsy outputs are outputs."""
    (turn,) = play([state(is_done=True, output=output)])

    assert turn.finished is not None
    assert (Status.COMPLETED, result) == (turn.finished.status, turn.finished.result)


def test_error_fails_with_the_functions_name(play: Play, state: State) -> None:
    """The output of a failed instance is plain text."""
    (turn,) = play([state(error="orchestrator says no")])

    assert turn.finished is not None
    assert "Orchestrator function 'Orch' failed: orchestrator says no" == (
        turn.finished.result
    )


def test_error_after_actions_waits_for_them(
    play: Play, state: State, call: Action
) -> None:
    """What the code asked for before it raised is done first."""
    (turn,) = play([state(call(), error="no")])

    assert turn.finished is None
    assert "TaskScheduled" in kinds(turn.events)


def test_code_that_waits_for_nothing_goes_on_for_ever(play: Play, state: State) -> None:
    """Code that neither ended nor asked for anything just stays."""
    (turn,) = play([state()])

    assert turn.finished is None


def test_completion_stands_before_the_end_of_the_turn(play: Play, state: State) -> None:
    """ExecutionCompleted is the last but one row."""
    (turn,) = play([state(is_done=True, output=1)])
    completed = turn.events[-2]

    assert EventType.ExecutionCompleted is completed.type
    assert (Status.COMPLETED, "1") == (
        completed["OrchestrationStatus"],
        completed["Result"],
    )


# Custom status


@pytest.mark.parametrize(
    ("status", "text"),
    [(None, None), ("", None), ("a", '"a"'), ({"é": 1}, '{"é":1}'), ([1], "[1]")],
)
def test_custom_status_is_json(
    play: Play, state: State, status: object, text: str | None
) -> None:
    """A custom status is stored as JSON text, a falsy one as none."""
    (turn,) = play([state(custom_status=status)])

    assert text == turn.custom_status


def test_custom_status_of_16_kib_is_allowed(play: Play, state: State) -> None:
    """The limit counts two bytes for each character, quotes included."""
    (turn,) = play([state(custom_status=LARGEST_TEXT)])

    assert turn.finished is None
    assert f'"{LARGEST_TEXT}"' == turn.custom_status


def test_larger_custom_status_fails(play: Play, state: State, call: Action) -> None:
    """One character more fails the instance before any of its actions."""
    (turn,) = play([state(call(), custom_status=LARGEST_TEXT + "x")])

    assert turn.finished is not None
    assert str(turn.finished.result).endswith(
        "must not exceed 16 KB. The current payload is 16.00 KB."
    )
    assert "TaskScheduled" not in kinds(turn.events)


# Continue as new


def test_continuation_begins_a_new_execution(
    play: Play, state: State, started: Event
) -> None:
    """Name and parent stay, input and execution are new, the generation is none."""
    (turn,) = play([state(CONTINUE, is_done=True)], start=started(parent="p"))
    following = turn.continued[1]

    assert '"{\\"n\\": 1}"' == following["Input"]
    assert ("Orch", None) == (following["Name"], following["Generation"])
    assert following["ParentInstance"] is not None
    target = following["OrchestrationInstance"]
    assert "i1" == target["InstanceId"]
    assert target["ExecutionId"] not in ("", "e1")


def test_continuation_is_neither_finished_nor_told_to_the_parent(
    play: Play, state: State, started: Event
) -> None:
    """A parent waits for the last generation."""
    (turn,) = play([state(CONTINUE, is_done=True)], start=started(parent="p"))

    assert turn.finished is None
    assert [] == turn.messages


def test_continuation_after_a_crash_has_the_same_execution(
    play: Play, state: State, started: Event
) -> None:
    """A turn that is decided again continues under the same execution id."""
    start = started()
    done = state(CONTINUE, is_done=True)

    first, again = (play([done], start=start)[0].continued[1] for _ in range(2))

    assert first["OrchestrationInstance"] == again["OrchestrationInstance"]


def test_later_events_of_the_batch_are_carried_over(
    play: Play, state: State, event: Event, wait: Action
) -> None:
    """Events behind the one that the code continued on belong to what follows."""
    raised = [event("EventRaised", Name="Go", Input=text) for text in "12"]

    (turn,) = play([state(wait("Go"), CONTINUE, is_done=True), *raised])

    assert [("2", True)] == [
        (e["Input"], e.is_played)
        for e in turn.continued
        if e.type is EventType.EventRaised
    ]


def test_earlier_events_are_dropped(
    play: Play, state: State, event: Event, wait: Action
) -> None:
    """Events that came before and that nobody took are forgotten."""
    raised = [event("EventRaised", Name=name, Input="1") for name in ("Other", "Go")]

    (turn,) = play([state(wait("Go"), CONTINUE, is_done=True), *raised])

    assert "EventRaised" not in kinds(turn.continued)


def test_open_task_holds_the_continuation_back(
    play: Play, state: State, event: Event, call: Action, any_of: Action
) -> None:
    """What was left behind is waited for before the next generation begins."""
    either = any_of(call("A"), call("B"))
    done = state(either, CONTINUE, is_done=True)
    answers = [event("TaskCompleted", TaskScheduledId=number) for number in (0, 1)]

    _, second, third = play([state(either)], [done, answers[0]], [done, answers[1]])

    assert () == second.continued
    assert () != third.continued


def test_termination_counts_before_continuation(
    play: Play, state: State, event: Event
) -> None:
    """A terminated instance does not begin anew."""
    done = state(CONTINUE, is_done=True)

    (turn,) = play([done, event("ExecutionTerminated", Input="x")])

    assert turn.finished is not None
    assert () == turn.continued


def test_suspended_instance_does_not_continue(
    play: Play, state: State, event: Event
) -> None:
    """A continuation waits for the resumption."""
    done = state(CONTINUE, is_done=True)

    first, second = play(
        [done, event("ExecutionSuspended")], [done, event("ExecutionResumed")]
    )

    assert () == first.continued
    assert () != second.continued


# What a user should know


def test_notice_names_what_an_ended_function_waits_for(
    play: Play, state: State, timer: Action, call: Action, any_of: Action, event: Event
) -> None:
    """A timer that nobody cancelled keeps the instance running."""
    actions = any_of(call(), timer("2026-11-22T05:00:00Z"))
    done = event("TaskCompleted", TaskScheduledId=0, Result='"hi"')

    first, second = play([state(actions)], [state(actions, is_done=True), done])

    assert (None, None) == (first.notice, second.finished)
    assert "has ended, but the instance is Running" in str(second.notice)
    assert "(timers: 1)" in str(second.notice)


def test_notice_is_given_once(
    play: Play, state: State, timer: Action, event: Event
) -> None:
    """Later turns of the same wait have none, nor has the last."""
    actions = [timer("2026-11-22T05:00:00Z"), {"actionType": 4, "input": "1"}]
    ends = state({"actionType": 11, "compoundActions": actions}, is_done=True)

    first, second, third = play(
        [ends],
        [ends, event("EventRaised", Name="x")],
        [ends, event("TimerFired", TimerId=0)],
    )

    assert first.notice is not None
    assert (None, None) == (second.notice, third.notice)


@pytest.mark.parametrize(
    "actions",
    [(), ({"actionType": 9, "instanceId": "@c@k", "operation": "o", "input": "1"},)],
    ids=["set_custom_status", "signal_entity"],
)
def test_notice_tells_of_a_yield_that_never_ends(
    play: Play, state: State, event: Event, actions: tuple[dict[str, Any], ...]
) -> None:
    """Nothing that can come would make the function go on."""
    waits = state(*actions)

    first, second = play([waits], [waits, event("EventRaised", Name="x")])

    assert (None, None) == (first.finished, second.notice)
    assert "Remove the yield before context.signal_entity(...)" in str(first.notice)


def test_no_notice_while_something_can_come(
    play: Play, state: State, call: Action, wait: Action, timer: Action
) -> None:
    """An activity, an event, a timer, an entity's answer, an end, a next execution."""
    ask = {"actionType": 7, "instanceId": "@c@k", "operation": "o", "input": "1"}
    waiting = [state(call()), state(wait("E")), state(timer()), state(ask)]
    over = [state(is_done=True), state(error="no"), state(CONTINUE, is_done=True)]

    assert [None] * 7 == [play([each])[0].notice for each in (*waiting, *over)]
