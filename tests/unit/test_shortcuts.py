"""What the SDK gets is what it would have made itself."""

from __future__ import annotations

import importlib
from collections import namedtuple

import pytest
from dateutil.parser import parse

from localhost.worker.sdk_patches import (
    MOST_TIMES,
    faster,
    made_once,
    take_shortcuts,
)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T04:28:42.705591Z",
        "2026-11-22T04:28:42.7055919Z",
        "2026-11-22T04:28:42.5Z",
        "2026-11-22T04:28:42Z",
        "2026-11-22T04:28:42.5+00:00",
        "2026-11-22T06:28:42.5+02:00",
        "2026-11-22 04:28:42",
        "22 Nov 2026",
    ],
)
def test_a_time_is_what_the_sdk_would_have_parsed(text: str) -> None:
    """Moment and zone, whatever the form."""
    expected, found = parse(text), faster(parse)(text)

    assert (expected, repr(expected)) == (found, repr(found))


@pytest.mark.parametrize("text", ["2026-13-22T04:28:42Z", "soon", ""])
def test_what_is_no_time_fails_as_before(text: str) -> None:
    """With a ValueError."""
    with pytest.raises(ValueError):
        faster(parse)(text)


def test_the_sdk_parses_a_time_once() -> None:
    """A long history is parsed at every turn; what comes out is the same."""
    sdk = importlib.import_module("azure.durable_functions.models.history.HistoryEvent")
    written = "2026-11-22T04:28:42.705591Z"

    take_shortcuts()
    take_shortcuts()
    first, second = sdk.dt_parse(written), sdk.dt_parse(written)

    assert parse(written) == first
    assert first is second


def test_only_so_many_times_are_remembered() -> None:
    """The memory of a host does not grow with what it has done."""
    sdk = importlib.import_module("azure.durable_functions.models.history.HistoryEvent")

    take_shortcuts()

    assert MOST_TIMES == sdk.dt_parse.cache_info().maxsize


def test_a_class_is_made_whatever_its_fields_come_in() -> None:
    """A list cannot be remembered, and need not be."""
    made = made_once(namedtuple)

    assert ("a", "b") == made("Pair", ["a", "b"])._fields
    assert made("Pair", ("a", "b")) is made("Pair", ("a", "b"))


def test_the_sdk_makes_its_class_once() -> None:
    """Each replay begins with it."""
    sdk = importlib.import_module(
        "azure.durable_functions.models.TaskOrchestrationExecutor"
    )

    take_shortcuts()
    first, second = (
        sdk.TaskOrchestrationExecutor().event_to_SetTaskValuePayload for _ in range(2)
    )

    assert first == second
    assert {type(one) for one in first.values()} == {
        type(one) for one in second.values()
    }
