"""What is noted beside a history comes back, and only for the rows it was noted of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localhost.history import EventType, HistoryEvent
from localhost.records import TaskMessage
from localhost.taskhub.notes import notes_in, text_of
from localhost.taskhub.port import Notes

MESSAGE = TaskMessage(
    event=HistoryEvent(
        type=EventType.EventRaised,
        timestamp="2026-11-22T04:00:00Z",
        fields={"Name": "op", "Input": '{"a":"é\\u2028"}'},
    ),
    instance_id="@counter@k",
    execution_id=None,
    sender=("i1", "e1"),
    episode=3,
)


@given(
    unsent=st.frozensets(st.integers(0, 10_000), max_size=60),
    is_answer_unsent=st.booleans(),
    outbox_count=st.integers(0, 3),
    custom_status=st.none() | st.text(),
)
def test_notes_come_back(
    unsent: frozenset[int],
    is_answer_unsent: bool,
    outbox_count: int,
    custom_status: str | None,
) -> None:
    """Numbers in runs, messages as they travel."""
    notes = Notes(
        unsent=unsent,
        is_answer_unsent=is_answer_unsent,
        outbox=(MESSAGE,) * outbox_count,
        custom_status=custom_status,
    )

    text = text_of(notes, execution_id="e1", next_row=7)
    found = notes_in(text, execution_id="e1", next_row=7)

    assert found is not None
    assert (unsent, is_answer_unsent) == (found.unsent, found.is_answer_unsent)
    assert custom_status is None or found.custom_status is not None
    assert list(map(_told, notes.outbox)) == list(map(_told, found.outbox))


def _told(message: TaskMessage) -> str:
    return message.to_json(activity_id="", sequence_number=0)


def test_a_wide_turn_is_noted_in_few_characters() -> None:
    """As a run of numbers: a column holds 64 KiB."""
    notes = Notes(unsent=frozenset(range(100_000)))

    assert len(text_of(notes, execution_id="e1", next_row=100_003)) < 80


@pytest.mark.parametrize(("execution", "rows"), [("e2", 7), ("e1", 8), ("e1", 6)])
def test_notes_on_other_rows_do_not_count(execution: str, rows: int) -> None:
    """Whoever wrote those rows did not know the column."""
    text = text_of(Notes(unsent=frozenset({1})), execution_id="e1", next_row=7)

    assert notes_in(text, execution_id=execution, next_row=rows) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '{"execution":"e1"}'),
        '{"execution":"e1","rows":7,"unsent":[1]}',
        '{"execution":"e1","rows":7,"outbox":["{}"]}',
    ],
)
def test_broken_notes_do_not_count(text: str) -> None:
    """As little as none."""
    assert notes_in(text, execution_id="e1", next_row=7) is None
