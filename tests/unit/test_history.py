"""History events and their JSON: which fields, in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from localhost.history import (
    ANSWERS,
    FIELDS,
    SCHEDULES,
    STATUS_NUMBERS,
    EventType,
    HistoryEvent,
    Status,
    UnreadableMessageError,
)

TIME = "2026-11-22T04:00:00.5Z"
# Events that end an execution hold a status; they never travel in messages.
MESSAGE_TYPES = [t for t in FIELDS if "OrchestrationStatus" not in FIELDS[t]]


def test_fields_stand_between_type_and_number(
    event: Callable[..., HistoryEvent],
) -> None:
    """An event's own fields follow its type; number, flag and time come last."""
    completed = event("TaskCompleted", TaskScheduledId=3, Result='"x"', at=TIME)

    assert [
        ("EventType", 5),
        ("TaskScheduledId", 3),
        ("Result", '"x"'),
        ("EventId", -1),
        ("IsPlayed", False),
        ("Timestamp", TIME),
    ] == list(completed.to_wire().items())


@pytest.mark.parametrize(
    ("type_", "first"),
    [("ExecutionStarted", "OrchestrationInstance"), ("GenericEvent", "Data")],
)
def test_some_fields_stand_before_the_type(
    event: Callable[..., HistoryEvent], type_: str, first: str
) -> None:
    """Two events begin with a field of their own, as .NET writes them."""
    assert [first, "EventType"] == list(event(type_).to_wire())[:2]


def test_field_that_is_not_there_is_null(event: Callable[..., HistoryEvent]) -> None:
    """A function sees every field of an event, missing ones as null."""
    raised = event("EventRaised", Name="Go", Input="1").to_wire()

    assert raised["ParentTraceContext"] is None


def test_status_is_a_number_on_the_wire(event: Callable[..., HistoryEvent]) -> None:
    """Functions and messages have the status as its number."""
    completed = event("ExecutionCompleted", OrchestrationStatus=Status.TERMINATED)

    assert 5 == completed.to_wire()["OrchestrationStatus"]


@pytest.mark.parametrize("type_", MESSAGE_TYPES)
def test_event_is_read_as_it_was_written(
    event: Callable[..., HistoryEvent], type_: EventType
) -> None:
    """Reading what was written gives an equal event, whatever its kind."""
    names = [name for name in FIELDS[type_] if name != "|"]
    written = event(type_.name, id_=7, **{name: f"some {name}" for name in names})

    assert written == HistoryEvent.from_wire(written.to_wire())


def test_type_names_of_nested_objects_are_dropped() -> None:
    """What .NET adds to find its classes again is not part of a record."""
    parent = {"$type": "P", "Name": "A", "OrchestrationInstance": {"$type": "I"}}
    wire = {"EventType": 0, "Timestamp": TIME, "ParentInstance": parent}

    assert {"Name": "A", "OrchestrationInstance": {}} == HistoryEvent.from_wire(wire)[
        "ParentInstance"
    ]


def test_unknown_property_is_ignored() -> None:
    """Newer hosts write properties that nobody needs here."""
    wire = {"EventType": 4, "Timestamp": TIME, "Name": "Hello", "Tags": {"a": "b"}}

    assert {"Name": "Hello"} == HistoryEvent.from_wire(wire).fields


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"EventType": 21, "Timestamp": TIME},
        {"EventType": "TaskCompleted", "Timestamp": TIME},
        {"EventType": 4},
        {"EventType": 18, "Timestamp": TIME},
        {"EventType": 4, "Timestamp": TIME, "EventId": "one"},
    ],
)
def test_what_is_no_event_is_refused(wire: dict[str, Any]) -> None:
    """An event that Durable does not send is an error of its own kind."""
    with pytest.raises(UnreadableMessageError, match="no event that Durable sends"):
        HistoryEvent.from_wire(wire)


@pytest.mark.parametrize(
    ("type_", "field", "answers"),
    [
        ("TaskCompleted", "TaskScheduledId", 3),
        ("SubOrchestrationInstanceFailed", "TaskScheduledId", 3),
        ("TimerFired", "TimerId", 3),
        ("EventRaised", "TimerId", None),
    ],
)
def test_answer_names_what_it_answers(
    event: Callable[..., HistoryEvent], type_: str, field: str, answers: int | None
) -> None:
    """Answers carry the number of what was scheduled, other events none."""
    assert answers == event(type_, **{field: 3}).answers


def test_every_task_has_answers_or_none() -> None:
    """What is scheduled and what answers it are different events."""
    assert set() == SCHEDULES & set(ANSWERS)


@pytest.mark.parametrize("status", list(Status))
def test_ended_statuses(status: Status) -> None:
    """Four statuses are final; an instance in one of them never runs by itself."""
    ended = {"Completed", "Failed", "Canceled", "Terminated"}

    assert (status.value in ended) is status.is_terminal


def test_statuses_have_the_numbers_of_the_wire() -> None:
    """The numbers are those that clients filter by."""
    names = "Running Completed ContinuedAsNew Failed Canceled Terminated Pending"

    assert [*names.split(), "Suspended"] == [status.value for status in STATUS_NUMBERS]
    assert list(range(8)) == list(STATUS_NUMBERS.values())
