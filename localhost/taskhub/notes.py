"""What this host notes in the sentinel row beside a history ↔ its text; pure.

The text stands in a column of our own, which the real host leaves alone; in its place,
when it is too large, the name of a blob. It counts only for the very rows that were
written with it: who writes later, and does not know the column, leaves it behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from localhost.history import UnreadableMessageError
from localhost.records import TaskMessage, json_object
from localhost.taskhub.port import Notes
from localhost.text import dumps

COLUMN = "LocalhostNotes"
_NOBODY = "00000000-0000-0000-0000-000000000000"


def text_of(notes: Notes, *, execution_id: str, next_row: int) -> str:
    """Return the text of notes on a history whose next row has that place."""
    wire: dict[str, Any] = {"execution": execution_id, "rows": next_row}
    if notes.unsent:
        wire["unsent"] = list(_ranges(notes.unsent))
    if notes.is_answer_unsent:
        wire["answer"] = True
    if notes.custom_status is not None:
        wire["status"] = notes.custom_status
    if notes.outbox:
        wire["outbox"] = [
            message.to_json(activity_id=_NOBODY, sequence_number=0)
            for message in notes.outbox
        ]
    return dumps(wire)


def notes_in(text: str, *, execution_id: str | None, next_row: int) -> Notes | None:
    """Read notes; None when they are not those on these rows."""
    wire = json_object(text)
    if (wire.get("execution"), wire.get("rows")) != (execution_id, next_row):
        return None
    try:
        return Notes(
            unsent=frozenset(
                number
                for first, last in wire.get("unsent", ())
                for number in range(first, last + 1)
            ),
            is_answer_unsent=bool(wire.get("answer")),
            outbox=tuple(map(TaskMessage.from_json, wire.get("outbox", ()))),
            custom_status=wire.get("status"),
        )
    except (TypeError, ValueError, UnreadableMessageError, json.JSONDecodeError):
        return None


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of numbers."""
    first = last = None
    for number in sorted(numbers):
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last
