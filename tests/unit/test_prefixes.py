"""The filter of a list: what a prefix finds, in the order in which tables compare."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localhost.taskhub.instances import _filter_text
from localhost.taskhub.port import Filter
from localhost.taskhub.rows import key_of

# The last of a range each, as UTF-16 or the escapes of a key order characters.
LAST_ONES = ["\ud7ff", "\U0010ffff", "\uffff", "\ufffd", "\x1f", "\x9f", "^", "/", "?"]
ODD = st.sampled_from([*LAST_ONES, "a", "~", "'", " eq ", "\ue000", "\U00010000", "😀"])
_BOUND = re.compile(r"PartitionKey (ge|lt) '((?:[^']|'')*)'")


def finds(prefix: str, instance_id: str) -> bool:
    """Whether a table service would find an id: it compares units of UTF-16."""
    text = _filter_text(Filter(prefix=prefix))
    text.encode()  # the request that carries it is UTF-8
    bounds = {sign: value.replace("''", "'") for sign, value in _BOUND.findall(text)}
    key, first = units(key_of(instance_id)), units(bounds["ge"])
    return first <= key and ("lt" not in bounds or key < units(bounds["lt"]))


def units(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")


@given(st.lists(ODD, min_size=1, max_size=4), st.lists(ODD, max_size=3))
def test_what_begins_so_is_found(prefix: list[str], rest: list[str]) -> None:
    """Whatever follows the prefix."""
    assert finds("".join(prefix), "".join([*prefix, *rest]))


@given(st.lists(ODD, min_size=1, max_size=3), st.lists(ODD, max_size=4))
def test_what_begins_otherwise_is_not_found(
    prefix: list[str], other: list[str]
) -> None:
    """The range ends where the prefix does."""
    wanted, instance_id = "".join(prefix), "".join(other)

    assert finds(wanted, instance_id) == instance_id.startswith(wanted)


@pytest.mark.parametrize("half", ["\ud800", "\udbff", "a\udfff", "\udc00b"])
def test_half_a_pair_of_surrogates_can_be_asked_for(half: str) -> None:
    """No stored id has one, so nothing is found; it is no fault either."""
    assert not finds(half, "a")
