"""Query parameters of a list: which instances are meant."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from localhost.durable.client import Filter
from localhost.history import Status
from localhost.web.queries import filter_of, is_true


def test_no_parameters_mean_all() -> None:
    """A list without parameters shows the first hundred of all instances."""
    assert Filter(page_size=100) == filter_of({})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T04:00:00Z", "2026-11-22T04:00:00.0000000Z"),
        ("2026-11-22T04:00:00.1234567Z", "2026-11-22T04:00:00.1234560Z"),
        ("2026-11-22T05:00:00+01:00", "2026-11-22T04:00:00.0000000Z"),
        ("2026-11-22 04:00", "2026-11-22T04:00:00.0000000Z"),
        ("2026-11-22", "2026-11-22T00:00:00.0000000Z"),
        ("22 Nov 2026", "2026-11-22T00:00:00.0000000Z"),
        ("0001-01-01", "0001-01-01T00:00:00.0000000Z"),
    ],
)
def test_times_are_read_in_many_forms(text: str, expected: str) -> None:
    """A time without an offset is UTC; the service gets all seven digits."""
    wanted = filter_of({"createdtimefrom": text, "createdtimeto": text})

    assert (expected, expected) == (wanted.created_from, wanted.created_to)


def test_time_of_day_is_today() -> None:
    """A time without a date is one of today, in UTC."""
    wanted = filter_of({"createdtimefrom": "04:00"})

    today = datetime.now(timezone.utc).date().isoformat()
    assert f"{today}T04:00:00.0000000Z" == wanted.created_from


@pytest.mark.parametrize("text", ["", "soon", "2026-13-45", "99999999999999999999"])
def test_what_is_no_time_counts_as_not_there(text: str) -> None:
    """The real host ignores times that it cannot read."""
    assert filter_of({"createdtimefrom": text}).created_from is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Running", {Status.RUNNING}),
        ("Running,Pending", {Status.RUNNING, Status.PENDING}),
        (" Running , Pending ", {Status.RUNNING, Status.PENDING}),
        ("1", {Status.COMPLETED}),
        ("Running,Nonsense", {Status.RUNNING}),
        ("Nonsense", set()),
        ("", set()),
        ("99", set()),
    ],
)
def test_statuses_are_read(text: str, expected: set[Status]) -> None:
    """Names and numbers count, what is neither does not."""
    assert expected == filter_of({"runtimestatus": text}).statuses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", 2),
        ("100", 100),
        ("1000", 1_000),
        ("5000", 1_000),
        ("0", 100),
        ("-1", 100),
        ("many", 100),
        ("", 100),
    ],
)
def test_page_has_a_size(text: str, expected: int) -> None:
    """A size that makes no sense is a hundred; the service gives a thousand at most."""
    assert expected == filter_of({"top": text}).page_size


@pytest.mark.parametrize(("text", "expected"), [("abc", "abc"), ("", None)])
def test_prefix_of_nothing_is_none(text: str, expected: str | None) -> None:
    """An empty prefix means all ids."""
    assert expected == filter_of({"instanceidprefix": text}).prefix


def test_list_goes_on_after_a_key() -> None:
    """The token's place is passed on."""
    assert ("k", "") == filter_of({}, after=("k", "")).after


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("TRUE", True), ("false", False), ("1", None), ("", None)],
)
@pytest.mark.parametrize("default", [True, False])
def test_flag_is_true_false_or_default(
    text: str, expected: bool | None, default: bool
) -> None:
    """Only the two words count, in any case."""
    known = default if expected is None else expected

    assert known is is_true({"showinput": text}, "showinput", default=default)
    assert default is is_true({}, "showinput", default=default)
