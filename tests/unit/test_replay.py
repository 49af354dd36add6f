"""A history played against what the code asks for: answers, events, suspension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from localhost.durable.replay import Replay
from localhost.durable.sdk import OrchestratorState
from localhost.durable.turn import Turn
from localhost.history import EventType, HistoryEvent, Status

Event = Callable[..., HistoryEvent]
State = Callable[..., OrchestratorState]
Play = Callable[..., list[Turn]]
Action = Callable[..., dict[str, Any]]

CHANGED = (
    "Was a change made to the orchestrator code after this instance had already"
    " started running?"
)
SCHEDULED = "Non-Deterministic workflow detected: A previous execution of this"


def added(turn: Turn) -> list[tuple[str, int]]:
    """Return what a turn scheduled: kinds and numbers."""
    return [(e.type.name, e.event_id) for e in turn.events if e.event_id >= 0]


# Answers


def test_answer_lets_the_code_go_on(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """What stands behind an answered call is asked for now."""
    _, second = play(
        [state(call("A"))],
        [state(call("A"), call("B")), event("TaskCompleted", TaskScheduledId=0)],
    )

    assert [("TaskScheduled", 1)] == added(second)


def test_code_does_not_go_on_before_its_answer(
    play: Play, state: State, call: Action
) -> None:
    """Of two calls in a row only the first is asked for."""
    (turn,) = play([state(call("A"), call("B"))])

    assert [("TaskScheduled", 0)] == added(turn)


def test_answer_that_comes_twice_counts_once(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """The second answer to a number changes nothing."""
    answer = event("TaskCompleted", TaskScheduledId=0)
    actions = [call("A"), call("B"), call("C")]

    _, second = play([state(call("A"))], [state(*actions), answer, answer])

    assert [("TaskScheduled", 1)] == added(second)


@pytest.mark.parametrize("answers", [7, None])
def test_answer_to_nothing_is_ignored(
    play: Play, state: State, event: Event, call: Action, answers: int | None
) -> None:
    """An answer to a number that nobody gave changes nothing."""
    stray = event("TaskCompleted", TaskScheduledId=answers)

    _, second = play([state(call("A"))], [state(call("A")), stray])

    assert [] == added(second)
    assert second.finished is None


def test_failure_is_an_answer_too(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """The code decides what a failure means; here it goes on."""
    failed = event("TaskFailed", TaskScheduledId=0, Reason="no", Details="")

    _, second = play([state(call("A"))], [state(call("A"), call("B")), failed])

    assert [("TaskScheduled", 1)] == added(second)


def test_what_the_history_knows_is_not_sent_again(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """A turn without news sends nothing."""
    turns = play([state(call("A"))], [state(call("A")), event("EventRaised", Name="x")])

    assert [1, 0] == [len(turn.messages) for turn in turns]


# External events


def test_event_wakes_its_waiter(
    play: Play, state: State, event: Event, wait: Action, call: Action
) -> None:
    """Names of events are compared without case."""
    actions = [wait("Go"), call("A")]

    (turn,) = play([state(*actions), event("EventRaised", Name="gO", Input="1")])

    assert [("TaskScheduled", 0)] == added(turn)


def test_event_of_another_name_wakes_nobody(
    play: Play, state: State, event: Event, wait: Action, call: Action
) -> None:
    """An event for which nobody waits is kept, and nothing happens."""
    raised = event("EventRaised", Name="Stop", Input="1")

    (turn,) = play([state(wait("Go"), call("A")), raised])

    assert [] == added(turn)


def test_early_events_are_kept(
    play: Play, state: State, event: Event, wait: Action, call: Action
) -> None:
    """Code that waits for what has come already goes on at once."""
    early = [event("EventRaised", Name="Go", Input=text) for text in "12"]
    calls = [call("A"), wait("Go"), call("B"), wait("Go"), call("C")]
    answers = [event("TaskCompleted", TaskScheduledId=number) for number in (0, 1)]

    *_, last = play(
        [state(*calls[:1]), *early],
        [state(*calls[:3]), answers[0]],
        [state(*calls), answers[1]],
    )

    assert [("TaskScheduled", 2)] == added(last)


async def asks_for_nothing(replay: Replay) -> None:
    """Be the program of code that has no actions."""


def test_latest_waiter_is_served_first(event: Event) -> None:
    """Of two waiters for one name the one that came last gets the first event."""
    replay = Replay(program=asks_for_nothing)
    first, second = replay.event_named("Go"), replay.event_named("go")

    replay.take(event("EventRaised", Name="GO", Input="1"))

    assert (False, True, "1") == (first.is_done, second.is_done, second.value)


def test_kept_events_are_served_in_order(event: Event) -> None:
    """Events that came before anybody waited are given out first in, first out."""
    replay = Replay(program=asks_for_nothing)
    for text in "12":
        replay.take(event("EventRaised", Name="Go", Input=text))

    waiters = [replay.event_named("Go") for _ in range(3)]

    assert ["1", "2", None] == [waiter.value for waiter in waiters]


def test_answer_of_an_entity_is_known_by_its_request(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """The event that answers a call has the call's id for a name."""
    ask = {
        "actionType": 7,
        "instanceId": "@counter@k",
        "operation": "get",
        "input": "null",
    }
    (probe,) = play([state(ask)])
    request_id = str(probe.messages[0].event["Input"]).partition('"id":"')[2][:36]
    reply = event("EventRaised", Name=request_id, Input='{"result":"5"}')

    _, second = play([state(ask)], [state(ask, call("A")), reply])

    assert [("TaskScheduled", 1)] == added(second)


# Suspend and resume


def test_suspended_instance_takes_no_answer(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """While suspended an answer is written down, and nothing follows from it."""
    answer = event("TaskCompleted", TaskScheduledId=0)
    *_, last = play(
        [state(call("A"))],
        [state(call("A")), event("ExecutionSuspended", Reason="hold")],
        [state(call("A"), call("B")), answer],
    )

    assert [] == added(last)
    assert answer.timestamp in [e.timestamp for e in last.events]


def test_resumed_instance_catches_up_in_order(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """On resuming, what was held back is played and its consequences sent."""
    ahead = [call("A"), call("B")]
    *_, last = play(
        [state(call("A"))],
        [state(call("A")), event("ExecutionSuspended")],
        [state(*ahead), event("TaskCompleted", TaskScheduledId=0)],
        [state(*ahead), event("ExecutionResumed")],
    )

    assert [("TaskScheduled", 1)] == added(last)


def test_what_was_asked_for_before_a_suspension_is_parked(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """A start and a suspension in one turn: the call waits for the resumption."""
    first, second = play(
        [state(call("A")), event("ExecutionSuspended")],
        [state(call("A")), event("ExecutionResumed")],
    )

    assert [] == added(first)
    assert [("TaskScheduled", 0)] == added(second)


def test_suspended_instance_does_not_finish(
    play: Play, state: State, event: Event
) -> None:
    """Code that has ended ends its instance once it is resumed."""
    done = state(is_done=True, output=1)
    first, second = play(
        [done, event("ExecutionSuspended")], [done, event("ExecutionResumed")]
    )

    assert first.finished is None
    assert second.finished is not None


def test_second_suspension_changes_nothing(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """One resumption ends any number of suspensions."""
    *_, last = play(
        [state(call("A")), event("ExecutionSuspended"), event("ExecutionSuspended")],
        [state(call("A")), event("ExecutionResumed")],
    )

    assert [("TaskScheduled", 0)] == added(last)


# Terminate


def test_termination_ends_with_its_reason(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """A terminated instance is over at once, open calls notwithstanding."""
    terminated = event("ExecutionTerminated", Input="enough")

    _, last = play([state(call("A"))], [state(call("A")), terminated])

    assert last.finished is not None
    assert (Status.TERMINATED, "enough") == (
        last.finished.status,
        last.finished.result,
    )


def test_suspended_instance_can_be_terminated(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """Suspension holds back everything but resumption and the end."""
    _, last = play(
        [state(call("A")), event("ExecutionSuspended")],
        [state(call("A")), event("ExecutionTerminated", Input="now")],
    )

    assert last.finished is not None
    assert Status.TERMINATED is last.finished.status


def test_terminating_turn_still_sends_what_was_asked_for(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """What the code asked for in that very turn goes out, as in the real host."""
    (turn,) = play([state(call("A")), event("ExecutionTerminated", Input="x")])

    assert [("TaskScheduled", 0), ("ExecutionCompleted", 1)] == added(turn)


def test_termination_counts_before_completion(
    play: Play, state: State, event: Event
) -> None:
    """Code that ends in the turn of its termination is terminated."""
    done = state(is_done=True, output=1)

    (turn,) = play([done, event("ExecutionTerminated", Input="x")])

    assert turn.finished is not None
    assert Status.TERMINATED is turn.finished.status


# Code that no longer does what it did


def failure(play: Play, *steps: list[Any]) -> str:
    """Play turns of which the last fails; return its text."""
    *_, last = play(*steps)
    assert last.finished is not None
    assert Status.FAILED is last.finished.status
    return str(last.finished.result)


def test_other_name_is_non_deterministic(
    play: Play, state: State, call: Action
) -> None:
    """The text names both functions, with two blanks before its last sentence."""
    text = failure(play, [state(call("Hello"))], [state(call("Square"))])

    assert (
        f"{SCHEDULED} orchestration scheduled an activity task with sequence number 0"
        " named 'Hello', but the current orchestration replay instead scheduled an"
        " activity task named 'Square' with this sequence number. "
        f" {CHANGED}"
    ) == text


def test_other_kind_is_non_deterministic(
    play: Play, state: State, call: Action, timer: Action
) -> None:
    """The text names the kind of action that came instead."""
    text = failure(play, [state(call("Hello"))], [state(timer())])

    assert (
        f"{SCHEDULED} orchestration scheduled an activity task with sequence number 0"
        " named 'Hello', but the current orchestration replay instead produced a"
        f" CreateTimerOrchestratorAction action with this sequence number. {CHANGED}"
    ) == text


def test_nothing_instead_is_non_deterministic(
    play: Play, state: State, call: Action
) -> None:
    """The text says that the task has not been scheduled."""
    text = failure(play, [state(call("Hello"))], [state()])

    assert (
        f"{SCHEDULED} orchestration scheduled an activity task with sequence ID 0 and"
        " name 'Hello' (version ''), but the current replay execution hasn't (yet?)"
        f" scheduled this task. {CHANGED}"
    ) == text


def test_timer_that_is_gone_has_no_name(
    play: Play, state: State, timer: Action
) -> None:
    """Timers have no name that the text could tell."""
    text = failure(play, [state(timer())], [state()])

    assert text.startswith(
        f"{SCHEDULED} orchestration scheduled a timer task with sequence ID 0, but"
    )


def test_names_of_functions_are_compared_without_case(
    play: Play, state: State, call: Action
) -> None:
    """Renaming a function in case only is no change."""
    _, second = play([state(call("Hello"))], [state(call("HELLO"))])

    assert second.finished is None


def test_other_input_and_other_time_are_no_change(
    play: Play, state: State, call: Action, timer: Action, all_of: Action
) -> None:
    """Inputs and fire times are not compared."""
    first = all_of(call("A", 1), timer("2026-11-22T05:00:00Z"))
    other = all_of(call("A", 2), timer("2027-11-22T05:00:00Z"))

    _, second = play([state(first)], [state(other)])

    assert second.finished is None
    assert [] == added(second)


def test_failing_replay_commits_what_it_had_scheduled(
    play: Play, state: State, call: Action
) -> None:
    """The other call stands in the history, as in that of the real host."""
    _, second = play([state(call("Hello"))], [state(call("Square"))])

    assert [("TaskScheduled", 0), ("ExecutionCompleted", 1)] == added(second)


def test_rewound_events_are_not_played(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """A generic event says nothing: the call that it once was is asked for again."""
    generic = event("GenericEvent", id_=0)

    (turn,) = play([state(call("A")), generic])

    assert EventType.TaskScheduled in [e.type for e in turn.events]
