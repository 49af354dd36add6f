"""The one rule for text, and the one writer and reader of JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localhost.text import (
    TooDeepError,
    ascii_dumps,
    dumps,
    first_of,
    loads,
    well_formed,
)

characters = st.characters()  # no category is left out: surrogates are in
texts = st.text(characters)
values = st.recursive(
    st.one_of(texts, st.floats(), st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner)),
    max_leaves=8,
)


def strict(text: str) -> Any:
    """Read JSON; what other readers than Python's refuse is refused."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON: {text}")

    return json.loads(text, parse_constant=refuse)


def told(value: Any) -> Any:
    """A value as the rule has it."""
    match value:
        case str():
            return well_formed(value)
        case float() if not math.isfinite(value):
            return json.dumps(value)
        case list():
            return [told(item) for item in value]
        case dict():
            return {told(key): told(item) for key, item in value.items()}
    return value


# Text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("a\udc00b", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude42", "\U0001f642"),
        ("\U0001f642 é \x00", "\U0001f642 é \x00"),
    ],
)
def test_half_of_a_pair_is_replaced(text: str, expected: str) -> None:
    """Two halves that belong together are their character."""
    assert expected == well_formed(text)


@given(texts)
def test_every_text_can_be_written_as_utf_8(text: str) -> None:
    """And is well-formed already when the rule is applied again."""
    well = well_formed(text)

    assert well == well.encode().decode() == well_formed(well)


# Writing


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None, True]}, '{"a":[1,null,true]}'),
        ("é日\U0001f642", '"é日\U0001f642"'),
        ("\x85\u2028\u2029", '"\\u0085\\u2028\\u2029"'),
        ("a\ud800", '"a\ufffd"'),
        ([float("nan"), float("inf"), -float("inf")], '["NaN","Infinity","-Infinity"]'),
        ({"NaN": "NaN", "n": 1e300}, '{"NaN":"NaN","n":1e+300}'),
        ({float("inf"): 1}, '{"Infinity":1}'),
    ],
)
def test_json_is_what_newtonsoft_writes(value: Any, expected: str) -> None:
    """Compact, other characters than line ends raw, no number that is not one."""
    assert expected == dumps(value)


def test_json_may_be_indented() -> None:
    """An HTTP function's text is written so; the rule is the same."""
    assert '{\n  "a": "NaN"\n}' == dumps({"a": float("nan")}, indent=2)


def test_a_value_that_holds_itself_is_a_value_error() -> None:
    """It is not taken for a number that JSON does not have."""
    value: list[Any] = []
    value.append(value)

    with pytest.raises(ValueError, match="Circular"):
        dumps(value)


@given(values)
def test_what_is_written_is_strict_and_one_line(value: Any) -> None:
    """Every reader takes it, UTF-8 has it, and it says the value."""
    text = dumps(value)

    assert told(value) == strict(text.encode().decode())
    assert len(text.splitlines()) == 1


@given(values)
def test_ascii_says_the_same(value: Any) -> None:
    """As rows are sent, because Azurite ends a transaction at a line end."""
    text = ascii_dumps(value)

    assert text.isascii()
    assert strict(dumps(value)) == strict(text)


# Reading


@given(values)
def test_what_is_read_is_well_formed(value: Any) -> None:
    """Whether halves come raw, in escapes, or one so and one so."""
    numbers = told(value)
    for is_ascii in (True, False):
        text = json.dumps(value, ensure_ascii=is_ascii)
        assert numbers == told(loads(text))
        assert dumps(value) == dumps(loads(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud800x"', "\ufffdx"),
        ('"\\uD83D\\uDE42"', "\U0001f642"),
        ('{"\\udc00": 1}', {"\ufffd": 1}),
        ('"\\\\ud800"', "\\ud800"),
        (b'\xef\xbb\xbf"a\xff"', "a\ufffd"),
    ],
)
def test_texts_in_json(text: str | bytes, value: Any) -> None:
    """A half is replaced, an escaped backslash begins no escape; bytes are UTF-8."""
    assert value == loads(text)


def test_first_value_is_enough() -> None:
    """What follows is not read."""
    assert ["\ufffd"] == first_of('["\\ud800"] and more')


@pytest.mark.parametrize("read", [loads, first_of])
def test_too_deep_is_a_value_error(read: Any) -> None:
    """It has a kind of its own, for who tells it in other words."""
    with pytest.raises(TooDeepError, match="too deep"):
        read("[" * 200_000)
