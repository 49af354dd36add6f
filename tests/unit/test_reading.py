"""Whatever lies in a queue is either a message to work on or says why it is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localhost.history import UnreadableMessageError
from localhost.records import TaskMessage
from localhost.taskhub.reading import task_message_of, unpacked

NUMBERS = st.integers() | st.floats()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
TARGET = {"InstanceId": "abc", "ExecutionId": "0123456789abcdef"}
EVENTS: list[dict[str, Any]] = [
    {
        "EventType": 0,
        "Name": "Chain",
        "Input": "1",
        "OrchestrationInstance": TARGET,
        "ParentInstance": {"OrchestrationInstance": TARGET, "TaskScheduleId": 0},
        "ScheduledStartTime": "2026-11-22T04:28:42.5Z",
    },
    {"EventType": 4, "Name": "Hello", "Input": "[]"},
    {"EventType": 5, "TaskScheduledId": 0, "Result": "1"},
    {"EventType": 11, "TimerId": 0, "FireAt": "2026-11-22T04:28:42.5Z"},
    {"EventType": 15, "Name": "op@2026-11-22T04:28:42.5Z", "Input": "1"},
]


def envelope(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a message to an entity with what is needed only."""
    common = {"EventId": -1, "Timestamp": "2026-11-22T04:28:42.5Z"}
    task = {"Event": {**common, **event}, "OrchestrationInstance": TARGET, **changes}
    return {"TaskMessage": task, "Sender": {"InstanceId": "", "ExecutionId": ""}}


def read(text: str) -> TaskMessage | None:
    try:
        return task_message_of(text)
    except UnreadableMessageError:
        return None


@pytest.mark.parametrize("event", EVENTS)
def test_a_message_with_what_its_kind_needs_is_read(event: dict[str, Any]) -> None:
    """Nothing else is asked of it."""
    assert read(json.dumps(envelope(event))) is not None


@given(event=st.sampled_from(EVENTS), data=st.data(), value=VALUES)
def test_a_message_with_any_one_value_changed_is_read_or_says_why(
    event: dict[str, Any], data: st.DataObject, value: object
) -> None:
    """No other exception, which would keep the rest of its queue from being read."""
    name = data.draw(st.sampled_from([*event, "EventId", "IsPlayed", "Timestamp"]))

    found = read(json.dumps(envelope({**event, name: value})))

    assert found is None or found.instance_id == "abc"


@given(target=VALUES)
def test_a_message_to_anything_is_read_or_says_why(target: object) -> None:
    """Only one that names an instance is read."""
    text = json.dumps(envelope(EVENTS[2], OrchestrationInstance=target))

    found = read(text)

    assert found is None or found.instance_id


@given(text=st.text())
def test_any_text_is_unpacked_or_says_why(text: str) -> None:
    """JSON is left as it is."""
    try:
        found = unpacked(text)
    except UnreadableMessageError:
        return

    assert found == text or not text.startswith("{")
