"""JSON of a request's body: what is read, what is refused, what is stored."""

from __future__ import annotations

import pytest

from localhost.web.answers import DEEPEST_JSON, parsed_json
from localhost.web.payloads import continuation_token, read_continuation_token


def nested(depth: int) -> str:
    return '{"a":' * (depth - 1) + "[]" + "}" * (depth - 1)


def test_the_deepest_json_is_read() -> None:
    """Azure's host reads as deep."""
    assert parsed_json(nested(DEEPEST_JSON))


@pytest.mark.parametrize("depth", [DEEPEST_JSON + 1, 100_000])
def test_deeper_json_is_refused(depth: int) -> None:
    """Whether or not Python itself could read it."""
    with pytest.raises(ValueError, match="MaxDepth of 64 has been exceeded"):
        parsed_json(nested(depth))


def test_wide_json_is_not_deep() -> None:
    """Many brackets side by side are no depth; those in a text are none at all."""
    assert [[]] * 1_000 == parsed_json("[" + ",".join(["[]"] * 1_000) + "]")
    assert "[" * 1_000 == parsed_json('"' + "[" * 1_000 + '"')


def test_only_the_first_value_is_read_where_it_is_enough() -> None:
    """As an event's data is read."""
    assert {"a": 1} == parsed_json(' {"a":1} rest', is_first_enough=True)


@pytest.mark.parametrize(
    ("sent", "value"), [('"\\ud800x"', "\ufffdx"), ('"\\ud83d\\ude00"', "😀")]
)
def test_half_a_surrogate_pair_is_replaced(sent: str, value: str) -> None:
    """What is stored can be written as UTF-8; a whole pair is its character."""
    assert value == parsed_json(sent)


def test_a_token_is_read_as_it_was_given() -> None:
    """Partition and row of the next instance."""
    assert ("é", "r") == read_continuation_token(continuation_token(("é", "r")))


@pytest.mark.parametrize(
    "token",
    [
        "!",
        "W1tb",
        "e30=",
        "W1tb" * 3_000,
    ],
)
def test_what_is_no_token_is_a_value_error(token: str) -> None:
    """Not base64, not JSON, not ours, too deep."""
    with pytest.raises(ValueError, match="Unexpected character encountered"):
        read_continuation_token(token)
