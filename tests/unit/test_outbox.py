"""The messages that a turn sends: to whom, what, and under which ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from localhost.durable.sdk import OrchestratorState
from localhost.durable.turn import Turn
from localhost.history import HistoryEvent
from localhost.records import TaskMessage

Event = Callable[..., HistoryEvent]
State = Callable[..., OrchestratorState]
Play = Callable[..., list[Turn]]
Action = Callable[..., dict[str, Any]]

CHILD = {"actionType": 2, "functionName": "Child", "input": '"x"', "instanceId": None}
ASK = {"actionType": 7, "instanceId": "@c@k", "operation": "get", "input": "1"}
CONTINUE = {"actionType": 4, "input": "1"}


def ids(turn: Turn) -> list[tuple[str, str | None, str]]:
    """Return the ids that a turn's messages carry."""
    return [
        (m.instance_id, m.execution_id, str(json_of(m).get("id")))
        for m in turn.messages
    ]


def json_of(message: TaskMessage) -> dict[str, Any]:
    """Return the JSON object in a message's input, if it is one."""
    try:
        value = json.loads(message.event["Input"] or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def test_activity_is_sent_with_its_number(
    play: Play, state: State, call: Action
) -> None:
    """A work item is the event of the history, with its input."""
    (message,) = play([state(call("Hello", 1))])[0].messages

    assert ("TaskScheduled", 0, "Hello") == (
        message.event.type.name,
        message.event.event_id,
        message.event["Name"],
    )
    assert ("i1", "e1") == (message.instance_id, message.execution_id)


def test_timer_is_an_event_to_oneself(play: Play, state: State, timer: Action) -> None:
    """A timer is the message that it has fired, for later."""
    (message,) = play([state(timer("2027-01-01T00:00:00Z"))])[0].messages

    assert ("TimerFired", -1, 0, "2027-01-01T00:00:00Z") == (
        message.event.type.name,
        message.event.event_id,
        message.event["TimerId"],
        message.event["FireAt"],
    )
    assert ("i1", "e1") == (message.instance_id, message.execution_id)


def test_child_knows_its_parent(play: Play, state: State) -> None:
    """A child's start says whom to answer, and under which number."""
    (message,) = play([state(CHILD)])[0].messages
    parent = message.event["ParentInstance"]

    assert ("Orch", 0) == (parent["Name"], parent["TaskScheduleId"])
    target = parent["OrchestrationInstance"]
    assert {"InstanceId": "i1", "ExecutionId": "e1"} == target
    assert message.execution_id == message.event["OrchestrationInstance"]["ExecutionId"]


def test_event_is_for_whatever_execution_is_current(play: Play, state: State) -> None:
    """Who sends an event does not know the execution of its receiver."""
    (message,) = play([state(ASK)])[0].messages

    assert ("@c@k", None) == (message.instance_id, message.execution_id)
    assert ("EventRaised", "op") == (message.event.type.name, message.event["Name"])


@pytest.mark.parametrize("action", [CHILD, ASK, ASK | {"actionType": 9}])
def test_turn_decided_twice_sends_the_same_ids(
    play: Play, state: State, action: dict[str, Any]
) -> None:
    """Who got the first message knows the second: no id is random."""
    first, again = (play([state(action)])[0] for _ in range(2))

    assert ids(first) == ids(again)


def test_ids_differ_by_number_and_execution(
    play: Play, state: State, started: Event, all_of: Action
) -> None:
    """Two children, or children of two generations, never get the same execution."""
    both = state(all_of(CHILD, CHILD))
    turns = [play([both], start=started(execution=e))[0] for e in ("e1", "e2")]

    executions = [m.execution_id for turn in turns for m in turn.messages]

    assert 4 == len(set(executions))
    assert {32} == {len(str(execution)) for execution in executions}


def test_messages_of_a_turn_have_different_times(
    play: Play, state: State, call: Action, all_of: Action
) -> None:
    """Equal messages of one turn are two: no two have the same timestamp."""
    (turn,) = play([state(all_of(*(call() for _ in range(20))))])

    assert 20 == len({m.event.timestamp for m in turn.messages})


def test_messages_tell_who_sends_them(
    play: Play, state: State, event: Event, call: Action
) -> None:
    """Sender and turn stand in every message."""
    answer = event("TaskCompleted", TaskScheduledId=0)

    turns = play([state(call())], [state(call(), call()), answer])

    assert [1, 2] == [turn.messages[0].episode for turn in turns]
    assert ("i1", "e1") == turns[1].messages[0].sender


# Answers to a parent


def test_result_is_told_to_the_parent(play: Play, state: State, started: Event) -> None:
    """The answer carries the number under which the parent waits."""
    (turn,) = play([state(is_done=True, output={"a": 1})], start=started(parent="p"))
    (message,) = turn.messages

    assert ("p", "pe1") == (message.instance_id, message.execution_id)
    assert ("SubOrchestrationInstanceCompleted", 3, '{"a":1}') == (
        message.event.type.name,
        message.event["TaskScheduledId"],
        message.event["Result"],
    )


def test_failure_is_told_to_the_parent(
    play: Play, state: State, started: Event
) -> None:
    """A parent learns the child's output and what the code raised."""
    (turn,) = play([state(error="no")], start=started(parent="p"))
    event = turn.messages[0].event

    assert "SubOrchestrationInstanceFailed" == event.type.name
    assert "Orchestrator function 'Orch' failed: no" == event["Reason"]
    assert event["Details"].startswith("Message: no, StackTrace: ")


def test_termination_is_a_failure_to_the_parent(
    play: Play, state: State, started: Event, event: Event
) -> None:
    """The reason of the termination is the reason of the failure."""
    terminated = event("ExecutionTerminated", Input="enough")

    (turn,) = play([state(), terminated], start=started(parent="p"))

    assert ("SubOrchestrationInstanceFailed", "enough") == (
        turn.messages[0].event.type.name,
        turn.messages[0].event["Reason"],
    )


def test_instance_without_parent_answers_nobody(play: Play, state: State) -> None:
    """What a client has started tells its end by its row only."""
    (turn,) = play([state(is_done=True)])

    assert [] == turn.messages
