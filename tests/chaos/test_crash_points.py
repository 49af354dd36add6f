"""A host ends at each named place, another finishes its work, and nothing shows it.

All scenarios are played at once, each on a task hub of its own; the tests look at what
the Azure SDKs found in the end.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.acceptance.running_host import ROOT
from tests.chaos.points import IN_AN_ACTIVITY, SCENARIOS, Outcome, Scenario, play
from tests.conftest import Emulator

pytestmark = pytest.mark.timeout(300)

AT_ONCE = 10
NAMES = [scenario.name for scenario in SCENARIOS]
BY_NAME = dict(zip(NAMES, SCENARIOS, strict=True))

Outcomes = Mapping[str, Future[Outcome]]


@pytest.fixture(scope="module", name="outcomes")
def _outcomes(
    emulator: Emulator,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Outcomes]:
    """Play the scenarios of those tests that were selected."""
    tests = [getattr(item, "callspec", None) for item in request.session.items]
    names = {test.params.get("name") for test in tests if test is not None}
    folder = tmp_path_factory.mktemp("points")

    def played(number: int, scenario: Scenario) -> Outcome:
        return play(
            scenario,
            folder=folder / str(number),
            connection_string=emulator.connection_string,
            hub=f"Point{number:02}",
        )

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="point") as pool:
        yield {
            scenario.name: pool.submit(played, number, scenario)
            for number, scenario in enumerate(SCENARIOS)
            if scenario.name in names
        }


def crash_points() -> Iterator[object]:
    """The argument of each call of ``crash_point`` in the host; None: no literal."""
    for path in (ROOT / "localhost").glob("**/*.py"):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and "crash_point" in ast.unparse(node.func):
                [argument] = node.args
                yield getattr(argument, "value", None)


def test_every_crash_point_has_a_scenario() -> None:
    """And every scenario has a crash point."""
    points = {scenario.point for scenario in SCENARIOS} - {IN_AN_ACTIVITY}

    assert points == set(crash_points())


@pytest.mark.parametrize("name", NAMES)
def test_the_process_ended_there(outcomes: Outcomes, name: str) -> None:
    """By its own hand, at that very place."""
    code, line = BY_NAME[name].end
    outcome = outcomes[name].result()

    assert code == outcome.exit_code
    assert line in outcome.told


@pytest.mark.parametrize("name", NAMES)
def test_nothing_was_lost_and_nothing_done_twice(outcomes: Outcomes, name: str) -> None:
    """Rows, histories, queues and blobs are as if nothing had happened."""
    assert [] == outcomes[name].result().faults
