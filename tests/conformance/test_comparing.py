"""That the suite can fail: what counts as the same, and what does not."""

from __future__ import annotations

import pytest

from tests.conformance.comparing import ABSENT, Words, unlike
from tests.conformance.differences import Difference, differences
from tests.conformance.wire import Write
from tests.conformance.writes import Plain, compare, plain


def message(text: str, *, query: str = "messagettl=-1") -> Plain:
    """A message about a task in a control queue."""
    event = {"$type": "DurableTask.TaskCompletedEvent", "EventId": -1, "Result": text}
    content = {"TaskMessage": {"Event": event}, "SequenceNumber": 4}
    path = "patternshub-control-01"
    write = Write(kind="message", path=path, content=content, query=query)
    return plain(write, Words())


def row(number: str, **columns: object) -> Plain:
    """A row of a history."""
    path = f"PatternsHubHistory(PartitionKey='i1',RowKey='{number}')"
    return plain(Write(kind="PUT", path=path, content=columns), Words())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2026-11-22T04:01:05Z", "2027-01-02T14:11:59Z"),
        ("2026-11-22T04:01:05.1234567Z", "2027-01-02T14:11:59.1Z"),
        ("5e351b67a27542d2879c62a09925d758", "0" * 31 + "a"),
        ("http://127.0.0.1:7071/api/x", "http://localhost:20123/api/x"),
    ],
)
def test_what_differs_from_run_to_run_is_the_same(one: str, other: str) -> None:
    """Ids, times and ports become words for their kind."""
    assert Words().plain(one) == Words().plain(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2026-11-22T04:01:05Z", "2026-11-22T04:01:05.5Z"),
        ("2026-11-22T04:01:05Z", "2026-11-22T04:01:05"),
        ("2026-11-22T04:01:05Z", "2026-11-22T04:01:05+00:00"),
        ("   at Some.Method(String id) in <path>:line 5", ""),
        ("5e351b67a27542d2879c62a09925d758", "5e351b67-a275-42d2-879c-62a09925d758"),
        ("http://127.0.0.1:7071/api/x", "https://127.0.0.1:7071/api/x"),
    ],
)
def test_another_form_is_no_longer_the_same(one: str, other: str) -> None:
    """A time of another precision or zone, an id of another form, a lost frame."""
    assert Words().plain(one) != Words().plain(other)


def test_the_order_of_keys_counts() -> None:
    """The same keys in another order are a difference."""
    found = list(unlike({"a": 1, "b": 2}, {"b": 2, "a": 1}, "body"))

    assert [("body (order of keys)", ["a", "b"], ["b", "a"])] == found


def test_null_is_not_absent() -> None:
    """A key that is missing is not the same as one that is null."""
    assert [("a", None, ABSENT)] == list(unlike({"a": None}, {}))


def test_a_number_is_not_a_truth() -> None:
    """Types count: 1 is neither true nor 1.0."""
    assert 2 == len(list(unlike([1, 1], [True, 1.0])))


def test_a_text_that_was_cut_is_compared_as_far_as_it_goes() -> None:
    """What is left of a long text must be how ours begins."""
    cut = Words().value("x" * 200 + "… (149794 characters)")

    assert [] == list(unlike(cut, "x" * 5_000))
    assert [("", cut, "y" * 5_000)] == list(unlike(cut, "y" * 5_000))


def test_a_message_that_was_sent_twice_is_too_much() -> None:
    """Messages are counted."""
    found = list(compare([message("1")], [message("1"), message("1")]))

    assert [ABSENT] == [expected for _, expected, _ in found]


def test_a_message_that_was_not_sent_is_missing() -> None:
    """A recorded message must be there."""
    found = list(compare([message("1"), message("1")], [message("1")]))

    assert [ABSENT] == [other for _, _, other in found]


def test_a_column_of_another_type_is_a_difference() -> None:
    """Rows are held together by their keys, column by column."""
    found = list(compare([row("01", EventId=1)], [row("01", EventId="1")]))

    assert ["content.EventId"] == [place.rpartition(" ")[2] for place, _, _ in found]


def test_a_row_under_another_number_is_a_difference() -> None:
    """The numbers of rows count where the order of events is given."""
    assert 2 == len(list(compare([row("01", A=1)], [row("02", A=1)])))


def test_what_no_entry_explains_is_not_excused() -> None:
    """A difference without an excuse stays one."""
    found: list[Difference] = differences(
        [("body.output", 5, 6)], area="http", scenario="basics", step="2 status"
    )

    assert [""] == [each.excuse for each in found]
