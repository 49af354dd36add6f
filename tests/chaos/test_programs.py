"""Random programs: what makes them, what judges them, and a short run of both."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from localhost.azurite import AZURITE_SCRIPT
from tests.chaos.programs.generate import KINDS, generate
from tests.chaos.programs.oracle import Found, Outcome, Played, fault_of, outcomes
from tests.chaos.programs.report import lines
from tests.chaos.programs.run import Plan, run
from tests.chaos.programs.tree import Node, Program, placed_nodes
from tests.conftest import Emulator

SEED = 3
SCOPE = "p"


def program(*parts: Node, **fields: int) -> Program:
    return Program(number=0, body=Node(do="seq", parts=parts), **fields)  # type: ignore[arg-type]


def ways(program: Program, *, is_quiet: bool = False) -> list[Outcome]:
    return list(outcomes(program, SCOPE, is_quiet=is_quiet))


def found_of(outcome: Outcome) -> Found:
    """What would be found if a program had gone this way."""
    entities = {
        key: list(itertools.chain(*of_senders.values()))
        for key, of_senders in outcome.entities.items()
    }
    return Found(
        status=outcome.status,
        output=outcome.output,
        custom_status=outcome.custom_status,
        entities=entities,
    )


def test_every_kind_of_step_occurs() -> None:
    """Within three hundred programs."""
    programs = [generate(SEED, number) for number in range(300)]
    kinds = {at.node.do for each in programs for at in placed_nodes(each, SCOPE)}

    assert set(KINDS) <= kinds
    assert {"", "start", "restart"} == {each.again for each in programs}


def test_a_seed_gives_the_same_programs() -> None:
    """So that one which went wrong can be played again."""
    first, again = ([generate(SEED, n) for n in range(50)] for _ in range(2))

    assert first == again
    assert first != [generate(SEED + 1, n) for n in range(50)]


def test_a_program_comes_back_from_its_text() -> None:
    """As ``--program FILE`` reads it."""
    for number in range(100):
        made = generate(SEED, number)

        assert made == Program.from_json(made.to_json())


def test_what_may_come_of_a_program_is_right() -> None:
    """Every way of every program."""
    for number in range(100):
        made = generate(SEED, number)
        if made.again:
            continue
        for outcome in ways(made):
            if outcome.status == "Completed":
                fault = fault_of(
                    made, SCOPE, found_of(outcome), Played(), is_quiet=False
                )
                assert "" == fault


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"status": "Failed"}, "status"),
        ({"output": ["p_r0.1"]}, "output"),
        ({"custom_status": "another"}, "custom status"),
        ({"entities": {"p": ["p_r0.1", "p_r0.1"]}}, "entity"),
        ({"entities": {"p": []}}, "entity"),
    ],
)
def test_what_may_not_come_of_it_is_a_fault(
    change: dict[str, object], fault: str
) -> None:
    """Said by what differs first."""
    made = program(Node(do="echo"), Node(do="signal"), Node(do="status"))
    [outcome] = ways(made, is_quiet=True)
    wrong = replace(found_of(outcome), **change)  # type: ignore[arg-type]

    found = fault_of(made, SCOPE, wrong, Played(), is_quiet=True)

    assert found.startswith(fault)


def test_entity_and_output_must_agree() -> None:
    """A crash may choose a way; what is left must be all of that way."""
    flaky = Node(do="flaky")
    body = Node(do="seq", parts=(flaky, Node(do="signal")))
    handler = Node(do="seq", parts=(Node(do="signal"),))
    made = program(Node(do="try", parts=(body, handler)))
    failed, passed = (found_of(each) for each in ways(made))

    assert "" == fault_of(made, SCOPE, failed, Played(), is_quiet=False)
    assert "" == fault_of(made, SCOPE, passed, Played(), is_quiet=False)
    mixed = replace(failed, entities=passed.entities)
    assert fault_of(made, SCOPE, mixed, Played(), is_quiet=False).startswith("entity")


@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot freeze a process")
@pytest.mark.skipif(
    not AZURITE_SCRIPT.exists(),
    reason="Azurite is not installed: python3 dev.py install",
)
@pytest.mark.parametrize(("seed", "faults"), [(3, "none"), (4, "kill")])
def test_random_programs_do_what_they_say(
    emulator: Emulator, tmp_path: Path, seed: int, faults: str
) -> None:
    """A few of them, with hosts that are killed meanwhile too."""
    plan = Plan(seed=seed, faults=faults, at_once=12, storm_s=3.0)
    programs = [generate(seed, number) for number in range(12)]

    report = run(
        tmp_path, emulator.connection_string, plan, programs, say=lambda text: None
    )

    assert report.is_good, "\n".join(lines(report))
