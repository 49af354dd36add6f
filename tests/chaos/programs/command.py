"""``dev.py chaos --programs``: random programs against their oracle."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, redirect_stdout
from pathlib import Path

from tests.acceptance.hosts import running_azurite
from tests.acceptance.running_host import Storage, copy_app
from tests.chaos.programs.fleet import FAULTS_OF, busy
from tests.chaos.programs.generate import generate
from tests.chaos.programs.report import lines, traits_told, write_bad
from tests.chaos.programs.run import Plan, Report, run
from tests.chaos.programs.tree import Program
from tests.simulation.command import play_all
from tests.simulation.fleet import FAULTS_OF as SIMULATED_FAULTS

_SPINNING = 2
_ON_ONE_AZURITE = 250  # programs


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("random programs")
    group.add_argument("--programs", type=int, help="how many random programs to play")
    group.add_argument(
        "--faults",
        choices=[*SIMULATED_FAULTS],
        default="none",
        help="what happens to the hosts meanwhile [none]",
    )
    group.add_argument(
        "--busy", action="store_true", help="keep two processors busy meanwhile"
    )
    group.add_argument(
        "--only", type=int, action="append", help="only the program of this number"
    )
    group.add_argument("--program", type=Path, help="a file with one program, as JSON")
    group.add_argument(
        "--without",
        action="append",
        default=[],
        help="a kind of step, or a trait, to leave out",
    )
    group.add_argument(
        "--at-once", type=int, default=30, help="programs under way at once [30]"
    )
    group.add_argument(
        "--limit", type=float, default=60.0, help="seconds without a fault [60]"
    )
    group.add_argument(
        "--simulated",
        action="store_true",
        help="on hosts in this process, with a hub in memory and time that jumps",
    )


def is_meant(options: argparse.Namespace) -> bool:
    """Whether the options ask for programs."""
    return any(
        value is not None for value in (options.programs, options.only, options.program)
    )


def play(folder: Path, options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Play programs and print what was found; how many went wrong."""
    programs = chosen(options)
    if options.simulated:
        say(f"seed {options.seed}, {len(programs)} programs, faults: {options.faults}")
        return play_all(programs, faults=options.faults, seed=options.seed, say=say)
    if options.faults not in FAULTS_OF:
        raise SystemExit(f"--faults {options.faults}: expected --simulated beside it")
    plan = Plan(
        seed=options.seed,
        faults=options.faults,
        at_once=options.at_once,
        limit_s=options.limit,
    )
    say(f"seed {plan.seed}, {len(programs)} programs, faults: {plan.faults}")
    say(traits_told(programs))
    report = Report(plan=plan)
    with ExitStack() as stack:
        ended = stack.enter_context((folder / "ended.txt").open("w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(ended))
        stack.enter_context(busy(_SPINNING) if options.busy else nullcontext())
        for first in range(0, len(programs), _ON_ONE_AZURITE):
            some = programs[first : first + _ON_ONE_AZURITE]
            report.add(_played(folder / f"from-{first}", plan, some, say))
            say(f"{report.count}/{len(programs)} programs")
    write_bad(report, folder)
    say("\n".join(["", *lines(report)]))
    return len(report.bad) + len(report.oddities)


def _played(
    folder: Path, plan: Plan, programs: Sequence[Program], say: Callable[[str], None]
) -> Report:
    """Play programs on an Azurite of their own: it slows down as its folder fills."""
    folder.mkdir()
    storage = Storage.on_free_ports()
    app = copy_app(folder / "azurite")
    with running_azurite(storage, app, folder):
        return run(folder, storage.connection_string, plan, programs, say)


def chosen(options: argparse.Namespace) -> Sequence[Program]:
    """The programs of a file, of single numbers, or of all numbers up to N."""
    if options.program is not None:
        text = options.program.read_text(encoding="utf-8")
        return [Program.from_json(json.loads(text))]
    numbers = options.only or range(options.programs)
    return [
        generate(options.seed, number, without=options.without) for number in numbers
    ]
