"""Timestamps: seven digits, trailing zeros cut off, and never the same one twice."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localhost.timestamps import (
    Clock,
    from_datetime,
    from_ticks,
    padded,
    plus_ms,
    to_datetime,
    to_ticks,
    trimmed,
    whole_seconds,
)

LAST_TICKS = 253_402_300_799 * 10_000_000  # the end of the year 9999


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.0000001Z"),
        (5_000_000, "1970-01-01T00:00:00.5Z"),
        (17_954_000_010_000_000, "2026-11-23T02:13:21Z"),
    ],
)
def test_ticks_become_text(ticks: int, expected: str) -> None:
    """A tick is 100 ns; a fraction of zero is not written."""
    assert expected == from_ticks(ticks)


@given(st.integers(0, LAST_TICKS))
def test_text_of_ticks_is_read_as_the_same_ticks(ticks: int) -> None:
    """No tick is lost on the way to text and back."""
    assert ticks == to_ticks(from_ticks(ticks))


@given(st.integers(0, LAST_TICKS))
def test_padding_is_undone_by_trimming(ticks: int) -> None:
    """The table service's form of a time holds the same time."""
    text = from_ticks(ticks)

    assert text == trimmed(padded(text))
    assert 28 == len(padded(text))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-22T04:00:00", "2026-11-22T04:00:00Z"),
        ("2026-11-22T04:00:00z", "2026-11-22T04:00:00Z"),
        ("2026-11-22T05:30:00.5+01:30", "2026-11-22T04:00:00.5Z"),
        ("2026-11-21T23:00:00-05:00", "2026-11-22T04:00:00Z"),
        ("2026-11-22T04:00:00.12345678Z", "2026-11-22T04:00:00.1234567Z"),
    ],
)
def test_other_forms_of_iso_times_are_read(text: str, same: str) -> None:
    """Offsets count, no offset is UTC, and an eighth digit is cut off."""
    assert to_ticks(same) == to_ticks(text)


@pytest.mark.parametrize("text", ["", "soon", "2026-11-22", "2026-11-22T04:00:00!"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A text that is no ISO time is a ValueError, not a wrong time."""
    with pytest.raises(ValueError, match=r"time|not match"):
        to_ticks(text)


def test_datetime_keeps_microseconds() -> None:
    """A datetime holds no more than microseconds: the seventh digit is cut off."""
    expected = datetime(2026, 11, 22, 4, 0, 0, 123_456, tzinfo=timezone.utc)

    assert expected == to_datetime("2026-11-22T04:00:00.1234567Z")


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 22, 4, 0, 0, 500_000, tzinfo=timezone.utc),
        datetime(1, 1, 1, tzinfo=timezone.utc),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
    ],
)
def test_datetime_becomes_text_and_back(moment: datetime) -> None:
    """Every datetime has its text, those of the first years too."""
    assert moment == to_datetime(from_datetime(moment))


def test_milliseconds_are_added_to_the_tick() -> None:
    """A pause is added without loss, fractions of a millisecond included."""
    assert "2026-11-22T04:00:01.0000006Z" == plus_ms(
        "2026-11-22T03:59:59.9999999Z", 1_000.0007
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T04:00:00.5000000Z", "2026-11-22T04:00:00.5Z"),
        ("2026-11-22T04:00:00.0000000Z", "2026-11-22T04:00:00Z"),
        ("2026-11-22T04:00:00Z", "2026-11-22T04:00:00Z"),
    ],
)
def test_trailing_zeros_are_cut(text: str, expected: str) -> None:
    """Functions see no trailing zeros, nor a dot without digits."""
    assert expected == trimmed(text)


def test_status_shows_whole_seconds() -> None:
    """A status cuts the fraction off; it does not round."""
    assert "2026-11-22T04:00:59Z" == whole_seconds("2026-11-22T04:00:59.9999999Z")


def test_clock_never_gives_a_time_twice() -> None:
    """Times asked for one after the other differ and grow."""
    clock = Clock()

    times = [to_ticks(clock.now()) for _ in range(1_000)]

    assert sorted(set(times)) == times
