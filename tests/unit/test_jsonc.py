"""JSON with comments and trailing commas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localhost.errors import CannotStartError
from localhost.jsonc import parse_json, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def fault(text: str) -> str:
    with pytest.raises(CannotStartError) as caught:
        parse_json(text, place="host.json")
    return str(caught.value)


@given(VALUES)
def test_plain_json_is_read_as_it_is(value: object) -> None:
    """Whatever stands in strings, even // and /*, is left alone."""
    assert value == parse_json(json.dumps(value, indent=1), place="host.json")


@given(st.text())
def test_any_text_is_a_value_or_a_told_fault(text: str) -> None:
    """No text makes the reader fail in another way."""
    try:
        parse_json(text, place="host.json")
    except CannotStartError as exc:
        assert str(exc).startswith("host.json")


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "http://x"} // end',
        '// start\n{"a": "http://x"}',
        '{/* one, two */ "a": /* "b": 1 */ "http://x"}',
        '{"a": "http://x" /* over\nlines */ }',
    ],
)
def test_comments_are_skipped(text: str) -> None:
    """Both kinds of comments may stand wherever a blank may."""
    assert {"a": "http://x"} == parse_json(text, place="host.json")


def test_a_quote_in_a_comment_starts_no_string() -> None:
    """What follows a comment with a single quote mark is still read."""
    assert [1, 2] == parse_json('[1, // the "first\n 2]', place="host.json")


def test_an_escaped_quote_does_not_end_a_string() -> None:
    """A comment mark behind an escaped quote belongs to the string."""
    assert ['"//'] == parse_json(r'["\"//"]', place="host.json")


@pytest.mark.parametrize("text", ["[1, 2,]", "[1, 2, // last\n]", "[1, 2 , /* x */ ]"])
def test_a_comma_after_the_last_entry_is_allowed(text: str) -> None:
    """One comma, with or without a comment behind it."""
    assert [1, 2] == parse_json(text, place="host.json")


@pytest.mark.parametrize("text", ["[,]", "{,}", "[1,,]", '{"a":,}'])
def test_a_comma_without_an_entry_is_a_fault(text: str) -> None:
    """Only the comma after an entry is forgiven."""
    assert "not JSON" in fault(text)


def test_a_fault_names_line_and_column_of_the_original() -> None:
    """Comments before the fault do not shift it."""
    text = '{ /* one */ "a": 1, // two\n  /* three */ "b" 2\n}'

    assert fault(text) == (
        "host.json, line 2, column 19: not JSON: expecting ':' delimiter, found '2'."
        " Correct the file at that place."
    )


def test_a_file_that_ends_too_early_is_told_so() -> None:
    """There is nothing to quote at the end of the file."""
    assert "line 1, column 7: not JSON: expecting value, found the end" in fault(
        '{"a": '
    )


def test_a_long_rest_of_line_is_cut() -> None:
    """The message stays short whatever the line holds."""
    assert len(fault("x" * 500)) < 150


def test_a_comment_that_does_not_end_is_a_fault() -> None:
    """It is told where it starts."""
    assert "line 1, column 4" in fault("[1 /* x ]")


def test_deep_nesting_is_a_fault() -> None:
    """A file that no parser can hold ends the start, not the process."""
    assert fault("[" * 100_000).startswith("host.json")


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """Windows editors write one."""
    path = tmp_path / "host.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa9"}')

    assert {"a": "é"} == read_json(path)


def test_a_file_that_is_not_utf8_is_told_so(tmp_path: Path) -> None:
    """The byte is named."""
    path = tmp_path / "host.json"
    path.write_bytes(b'{"a": "\xe9"}')

    with pytest.raises(CannotStartError, match=r"is not UTF-8 \(byte 7"):
        read_json(path)


def test_a_missing_file_is_told_so(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(CannotStartError, match=r"function\.json does not exist"):
        read_json(tmp_path / "function.json")


def test_a_folder_in_place_of_a_file_is_told_so(tmp_path: Path) -> None:
    """What the system says is passed on."""
    with pytest.raises(CannotStartError, match="cannot be read"):
        read_json(tmp_path)
