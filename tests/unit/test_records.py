"""Task messages: the envelope around an event."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from localhost.history import HistoryEvent, UnreadableMessageError
from localhost.records import TaskMessage, json_object
from localhost.text import dumps

CORE = "DurableTask.Core."


def written(event: HistoryEvent, **fields: Any) -> dict[str, Any]:
    """Return the envelope of a message as JSON."""
    known = {"instance_id": "i1", "execution_id": "e1", **fields}
    text = TaskMessage(event=event, **known).to_json(activity_id="a", sequence_number=9)
    envelope: dict[str, Any] = json.loads(text)
    return envelope


def test_message_of_a_client_has_no_episode(event: Callable[..., HistoryEvent]) -> None:
    """A client has had no turn, so there is no member for its number."""
    envelope = written(event("EventRaised", Name="Go"))

    assert "Episode" not in envelope
    assert {"InstanceId": "", "ExecutionId": ""} == envelope["Sender"]


def test_message_of_an_instance_tells_its_turn(
    event: Callable[..., HistoryEvent],
) -> None:
    """Episode and Sender say which turn sent it."""
    envelope = written(event("TaskScheduled"), sender=("p", "pe"), episode=4)

    assert 4 == envelope["Episode"]
    assert {"InstanceId": "p", "ExecutionId": "pe"} == envelope["Sender"]


def test_envelope_carries_number_and_activity(
    event: Callable[..., HistoryEvent],
) -> None:
    """Who sends it counts its messages."""
    envelope = written(event("EventRaised"))

    assert ("a", 9) == (envelope["ActivityId"], envelope["SequenceNumber"])


def test_message_to_whatever_runs_has_no_execution(
    event: Callable[..., HistoryEvent],
) -> None:
    """An event of a client is for the current execution, whichever it is."""
    envelope = written(event("EventRaised"), execution_id=None)

    assert envelope["TaskMessage"]["OrchestrationInstance"]["ExecutionId"] is None


@pytest.mark.parametrize(
    ("type_", "class_"),
    [
        ("TaskScheduled", "TaskScheduledEvent"),
        ("EventRaised", "EventRaisedEvent"),
        ("GenericEvent", "GenericEvent"),
    ],
)
def test_event_names_its_class(
    event: Callable[..., HistoryEvent], type_: str, class_: str
) -> None:
    """The first member of an event is the class that .NET reads it into."""
    wire = written(event(type_))["TaskMessage"]["Event"]

    assert ("$type", f"{CORE}History.{class_}") == next(iter(wire.items()))


def test_nested_objects_name_their_classes(
    started: Callable[..., HistoryEvent],
) -> None:
    """The parent of an instance carries its class, and so does what is in it."""
    parent = written(started(parent="p"))["TaskMessage"]["Event"]["ParentInstance"]

    assert f"{CORE}ParentInstance" == parent["$type"]
    instance = parent["OrchestrationInstance"]
    assert f"{CORE}OrchestrationInstance" == instance["$type"]


@pytest.mark.parametrize("parent", [None, "p"])
def test_children_and_activities_get_tags(
    started: Callable[..., HistoryEvent], parent: str | None
) -> None:
    """A parent passes on its tags, a client has none."""
    context = written(started(parent=parent))["TaskMessage"][
        "OrchestrationExecutionContext"
    ]

    assert (parent is None) is (context is None)


def test_message_is_read_as_it_was_written(
    started: Callable[..., HistoryEvent],
) -> None:
    """Nothing of a message is lost in its JSON."""
    message = TaskMessage(
        event=started(parent="p", Input='"é東"'),
        instance_id="i/1",
        execution_id="e1",
        sender=("p", "pe1"),
        episode=2,
    )
    text = message.to_json(activity_id="a", sequence_number=1)

    read = TaskMessage.from_json(text)

    assert text == read.to_json(activity_id="a", sequence_number=1)
    assert (message.sender, message.episode) == (read.sender, read.episode)


def test_message_without_sender_is_read(event: Callable[..., HistoryEvent]) -> None:
    """A null sender counts as a client."""
    envelope = written(event("EventRaised", Name="Go")) | {"Sender": None}

    assert ("", None) == TaskMessage.from_json(json.dumps(envelope)).sender


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "7",
        '"text"',
        "{}",
        '{"TaskMessage": null}',
        '{"TaskMessage": {"OrchestrationInstance": {"InstanceId": "i"}}}',
        '{"TaskMessage": {"Event": {}, "OrchestrationInstance": {"InstanceId": "i"}}}',
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    """A text that Durable never writes is an error of one kind, whatever it is."""
    with pytest.raises(UnreadableMessageError):
        TaskMessage.from_json(text)


def test_json_is_compact_and_raw() -> None:
    """Characters stand as they are, and there are no blanks between members."""
    assert '{"a":["東京",null,1.5]}' == dumps({"a": ["東京", None, 1.5]})


@pytest.mark.parametrize("text", [None, "", "no", "[1]", "7"])
def test_what_is_no_object_is_an_empty_one(text: str | None) -> None:
    """A text that holds no object counts as an object without members."""
    assert {} == json_object(text)
