"""What a client saw of the real host, request by request."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.conformance.differences import EXCUSES, Difference, entries, unused
from tests.conformance.recordings import DATA, HTTP_SCENARIOS

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("scenario", HTTP_SCENARIOS)
def test_every_answer_is_as_recorded(
    http_found: dict[str, list[Difference]], scenario: str
) -> None:
    """Status, headers and body of every step are equal, or excused by name."""
    found = [str(each) for each in http_found[scenario] if not each.excuse]

    assert not found, "\n".join(found)


def test_every_http_excuse_is_needed(http_found: dict[str, list[Difference]]) -> None:
    """An excuse that excuses nothing any more has to go."""
    assert [] == unused("http", chain(*http_found.values()))


def test_every_excuse_is_explained() -> None:
    """Each name of an excuse has its entry in docs/differences.md."""
    assert set() == {each.name for each in EXCUSES} - entries()


def test_every_recording_is_played() -> None:
    """No recorded scenario is left out."""
    assert {path.stem for path in (DATA / "http").glob("*.json")} == set(HTTP_SCENARIOS)
