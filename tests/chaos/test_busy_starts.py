"""Starts that are asked for again after a crash, many at once on a busy machine.

What was left behind comes at another moment in each of them; all moments in order are
in ``tests/integration/test_start_again.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.parts import entities
from tests.chaos.points import Outcome, Scenario, play
from tests.chaos.proxy import slow_tables
from tests.conftest import Emulator, connection_string_of

pytestmark = pytest.mark.timeout(180)

PLACES = [("start: after message", 2), ("start: after message", 3)]
# By then the second of them has its message, and perhaps no row.
PLACES += [("after history", 2)]
AT_ONCE = 12
TABLES_DELAY_S = 0.05  # a turn is in its writes for most of the time


@pytest.fixture(scope="module", name="outcomes")
def _outcomes(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Sequence[Outcome]:
    folder = tmp_path_factory.mktemp("busy")
    with slow_tables(emulator.urls, TABLES_DELAY_S) as urls:
        return _played_on(connection_string_of(urls), folder)


def _played_on(connection_string: str, folder: Path) -> Sequence[Outcome]:
    def played(number: int) -> Outcome:
        point, place = PLACES[number % len(PLACES)]
        return play(
            Scenario(point=point, number=place, parts=[entities]),
            folder=folder / str(number),
            connection_string=connection_string,
            hub=f"Busy{number:02}",
        )

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="busy") as pool:
        return list(pool.map(played, range(AT_ONCE)))


@pytest.mark.parametrize("number", range(AT_ONCE))
def test_a_start_that_is_asked_for_again_runs_once(
    outcomes: Sequence[Outcome], number: int
) -> None:
    """Each operation is applied once, and each instance ends."""
    assert outcomes[number].exit_code is not None
    assert [] == outcomes[number].faults
