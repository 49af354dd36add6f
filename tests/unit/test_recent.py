"""Rows that this process has just written or read."""

from __future__ import annotations

from localhost.taskhub.recent import RecentRows


def test_nothing_is_known_of_a_storage_that_may_be_older() -> None:
    """Not what was written, and not what is being read."""
    recent = RecentRows()
    recent.note("one", {"RuntimeStatus": "Completed"})
    since = recent.writes

    recent.forget_all()
    recent.note_read("two", {"RuntimeStatus": "Running"}, since=since)

    assert [None, None] == [recent.get("one"), recent.get("two")]
