"""Rows of the Instances and History tables: columns, types and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localhost.history import HistoryEvent, Status
from localhost.taskhub import rows
from localhost.taskhub.port import InstanceChange, UnreadableHistoryError

TIME = "2026-11-22T04:00:00.5Z"


@pytest.mark.parametrize(
    ("instance_id", "key"),
    [
        ("abc", "abc"),
        ("a/b#c", "a^0b^2c"),
        ("^\\?", "^^^1^3"),
        ("line\nend", "line^\u00caend"),
        ("\x7f\x9f", "^\u013f^\u015f"),
        ("@counter@Key", "@counter@Key"),
        ("ünï:1", "ünï:1"),
        ("it's", "it's"),
        # The next three are ours alone: Azurite would refuse or mistake them.
        ("a\u2028b", "a^\u20e8b"),
        ("a\u2029b", "a^\u20e9b"),
        ("it's',RowKey='", "it^çs^ç,RowKey=^ç"),
    ],
)
def test_key_escapes_what_a_key_may_not_have(instance_id: str, key: str) -> None:
    """Characters that a key may not have are escaped as the real host does."""
    assert key == rows.key_of(instance_id)


@given(st.text())
def test_id_is_read_back_from_its_key(instance_id: str) -> None:
    """Every id comes back from its key, escapes in it included."""
    assert instance_id == rows.id_of(rows.key_of(instance_id))


@given(st.text(), st.text())
def test_different_ids_have_different_keys(one: str, other: str) -> None:
    """No two instances share their rows."""
    assert (one == other) is (rows.key_of(one) == rows.key_of(other))


@pytest.mark.parametrize("key", ["^", "a^", "^x"])
def test_key_of_nobody_is_read_somehow(key: str) -> None:
    """A key that no id has does not break a list of instances."""
    assert isinstance(rows.id_of(key), str)


@pytest.mark.parametrize(
    ("place", "key"), [(0, "0" * 16), (10, "0" * 15 + "A"), (255, "0" * 14 + "FF")]
)
def test_row_key_is_the_place_in_upper_case(place: int, key: str) -> None:
    """Sixteen hexadecimal digits sort as the events came."""
    assert key == rows.row_key(place)


def test_sentinel_sorts_after_every_event() -> None:
    """The row that guards a history is the last of its partition."""
    assert rows.row_key(2**63) < rows.SENTINEL


def test_null_is_a_column_that_is_not_there(
    event: Callable[..., HistoryEvent],
) -> None:
    """The table service knows no null."""
    row = rows.row_of_event(event("TaskCompleted", TaskScheduledId=0, Result=None), "e")

    assert "Result" not in row
    assert 0 == row["TaskScheduledId"]


def test_times_are_typed(event: Callable[..., HistoryEvent]) -> None:
    """Times have seven digits and say that they are times."""
    row = rows.row_of_event(event("TimerCreated", FireAt=TIME, id_=2), "e")

    assert "2026-11-22T04:00:00.5000000Z" == row["FireAt"]
    assert "Edm.DateTime" == row["FireAt@odata.type"] == row["_Timestamp@odata.type"]


def test_integers_are_integers(event: Callable[..., HistoryEvent]) -> None:
    """Numbers are Int32 on the wire, which is a bare JSON number."""
    row = rows.row_of_event(event("TimerFired", TimerId=7, FireAt=TIME), "e")

    assert (7, -1) == (row["TimerId"], row["EventId"])
    assert "TimerId@odata.type" not in row


def test_nested_objects_are_json(started: Callable[..., HistoryEvent]) -> None:
    """Columns hold no objects: the parent is a compact JSON text."""
    row = rows.row_of_event(started(parent="p"), "e1")

    assert '{"InstanceId":"i1","ExecutionId":"e1"}' == row["OrchestrationInstance"]
    assert row["ParentInstance"].startswith('{"Name":"Parent","OrchestrationInstance":')


def test_status_is_a_name(event: Callable[..., HistoryEvent]) -> None:
    """A row has the name where the wire has a number."""
    failed = event("ExecutionCompleted", OrchestrationStatus=Status.FAILED)

    assert "Failed" == rows.row_of_event(failed, "e")["OrchestrationStatus"]


def test_json_null_in_a_column_is_none(started: Callable[..., HistoryEvent]) -> None:
    """Newer hosts write the text null where older ones write no column."""
    row = rows.row_of_event(started(), "e1") | {"ParentInstance": "null"}

    assert rows.event_of_row(row)["ParentInstance"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"EventType": "Novelty"},
        {"EventType": None},
        {"_Timestamp": None},
        {"OrchestrationStatus": "Odd"},
        {"EventId": "x"},
    ],
)
def test_unreadable_row_is_named(
    event: Callable[..., HistoryEvent], change: dict[str, Any]
) -> None:
    """The error says which row of which instance it is."""
    completed = event("ExecutionCompleted", OrchestrationStatus=Status.COMPLETED)
    row = rows.row_of_event(completed, "e") | {"PartitionKey": "p", "RowKey": "k"}

    with pytest.raises(UnreadableHistoryError, match=r"^row p/k of the history"):
        rows.event_of_row(row | change)


def test_unfinished_checkpoint_has_no_time() -> None:
    """Only the last transaction of a checkpoint says when it was complete."""
    row = rows.sentinel_row("e", TIME, is_complete=False)

    assert {"ExecutionId": "e", "IsCheckpointComplete": False} == row


def test_start_without_input_has_no_column(
    started: Callable[..., HistoryEvent],
) -> None:
    """No input is no column, which is another thing than JSON's null."""
    with_null = rows.row_of_start(started(), TIME, hub="Hub", input_="null")

    assert "Input" not in rows.row_of_start(started(), TIME, hub="Hub", input_=None)
    assert "null" == with_null["Input"]


def test_start_is_pending(started: Callable[..., HistoryEvent]) -> None:
    """A client's row says Pending, and no tags in the text that stands for null."""
    row = rows.row_of_start(started(Generation=2), TIME, hub="Hub", input_=None)

    assert ("Pending", "null", 2) == (
        row["RuntimeStatus"],
        row["Tags"],
        row["Generation"],
    )


def test_scheduled_start_has_its_time(started: Callable[..., HistoryEvent]) -> None:
    """A start for later says when."""
    event = started(ScheduledStartTime=TIME)

    row = rows.row_of_start(event, TIME, hub="Hub", input_=None)

    assert "2026-11-22T04:00:00.5000000Z" == row["ScheduledStartTime"]


def test_change_leaves_other_columns_alone() -> None:
    """A checkpoint that says nothing new merges three columns."""
    change = InstanceChange(execution_id="e", updated_at=TIME, custom_status=None)

    assert {
        "CustomStatus": "null",
        "ExecutionId": "e",
        "LastUpdatedTime": "2026-11-22T04:00:00.5000000Z",
        "LastUpdatedTime@odata.type": "Edm.DateTime",
    } == rows.row_of_change(change)


def test_instance_of_the_barest_row() -> None:
    """A row that another tool wrote may have next to nothing in it."""
    instance = rows.instance_of_row({"PartitionKey": "a^0b", "Timestamp": TIME})

    assert ("a/b", Status.PENDING, TIME) == (
        instance.instance_id,
        instance.status,
        instance.created_at,
    )
    assert (None, None, None) == (instance.input, instance.output, instance.etag)


def test_custom_status_null_is_none() -> None:
    """The text null in CustomStatus stands for none."""
    row = {"PartitionKey": "a", "CreatedTime": TIME, "CustomStatus": "null"}

    assert rows.instance_of_row(row).custom_status is None
