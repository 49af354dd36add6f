"""What the real host stored, message by message, and what functions received of it."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.conformance.differences import Difference, unused
from tests.conformance.recordings import DATA
from tests.conformance.turns_play import recorded_turns

pytestmark = pytest.mark.timeout(120)

Found = dict[str, list[Difference]]

# A list that was asked for: it writes nothing.
WRITES_NOTHING = {"27-list"}
STORED = sorted({path.stem for path in (DATA / "storage").glob("*.jsonl")})


@pytest.mark.parametrize(
    "scenario", [each for each in STORED if each not in WRITES_NOTHING]
)
def test_every_write_is_as_recorded(
    hub_found: tuple[Found, Found], scenario: str
) -> None:
    """Every message and every row is equal, column by column, or excused by name."""
    found = [str(each) for each in hub_found[0][scenario] if not each.excuse]

    assert not found, "\n".join(found)


@pytest.mark.parametrize("orchestrator", recorded_turns())
def test_every_turn_is_as_recorded(
    hub_found: tuple[Found, Found], orchestrator: str
) -> None:
    """A function receives the recorded context, field by field, or excused by name."""
    found = [str(each) for each in hub_found[1][orchestrator] if not each.excuse]

    assert not found, "\n".join(found)


def test_every_storage_excuse_is_needed(hub_found: tuple[Found, Found]) -> None:
    """An excuse of the task hub that excuses nothing any more has to go."""
    assert [] == unused("storage", chain(*hub_found[0].values()))


def test_every_excuse_of_turns_is_needed(hub_found: tuple[Found, Found]) -> None:
    """An excuse of the turns that excuses nothing any more has to go."""
    assert [] == unused("turns", chain(*hub_found[1].values()))
