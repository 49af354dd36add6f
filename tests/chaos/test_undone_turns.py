"""Nothing that a crash undid shows in what happens after it.

All programs run at once on one hub, whose host ends at some pass through a crash point;
each play takes another pass, in steps through all of them. ``dev.py chaos --undone``
plays each program alone at every pass, with one host and with two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from localhost.crashpoints import EXIT_CODE
from tests.chaos.undone import Outcome, Play, Stage
from tests.chaos.undone_verdict import PROGRAMS
from tests.conftest import Emulator

pytestmark = pytest.mark.timeout(300)

AT_ONCE = 8
STEP = 10  # the programs write in turns: each of them is met at other places
PASSES = range(4, 4 + 18 * STEP, STEP)

Outcomes = Mapping[int, Future[Outcome]]


@pytest.fixture(scope="module", name="outcomes")
def _outcomes(
    emulator: Emulator,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Outcomes]:
    """Play the passes of those tests that were selected."""
    tests = [getattr(item, "callspec", None) for item in request.session.items]
    numbers = {test.params.get("number") for test in tests if test is not None}
    stage = Stage(
        folder=tmp_path_factory.mktemp("undone"),
        connection_string=emulator.connection_string,
    )
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="undone") as pool:
        yield {
            number: pool.submit(stage.play, play_at(number))
            for number in PASSES
            if number in numbers
        }


def play_at(number: int) -> Play:
    """Every second play delivers what was sent to the programs late."""
    is_late = bool(PASSES.index(number) % 2)
    return Play(programs=PROGRAMS, number=number, is_late=is_late)


@pytest.mark.parametrize("number", PASSES)
def test_only_the_stored_turns_have_happened(outcomes: Outcomes, number: int) -> None:
    """Outputs, histories, entities and children agree; no message is left."""
    outcome = outcomes[number].result()

    assert outcome.exit_code in (None, EXIT_CODE)
    assert [] == outcome.faults


def test_at_least_half_of_the_hosts_have_ended(outcomes: Outcomes) -> None:
    """The last passes may lie behind the end of all programs."""
    codes = [outcome.result().exit_code for outcome in outcomes.values()]

    assert codes.count(EXIT_CODE) >= len(codes) // 2
