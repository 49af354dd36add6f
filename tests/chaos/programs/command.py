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
from tests.chaos.programs.run import Plan, run
from tests.chaos.programs.tree import Program

_SPINNING = 2


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("random programs")
    group.add_argument("--programs", type=int, help="how many random programs to play")
    group.add_argument(
        "--faults",
        choices=[*FAULTS_OF],
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


def is_meant(options: argparse.Namespace) -> bool:
    """Whether the options ask for programs."""
    return any(
        value is not None for value in (options.programs, options.only, options.program)
    )


def play(folder: Path, options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Play programs and print what was found; how many went wrong."""
    programs = chosen(options)
    plan = Plan(
        seed=options.seed,
        faults=options.faults,
        at_once=options.at_once,
        limit_s=options.limit,
    )
    say(f"seed {plan.seed}, {len(programs)} programs, faults: {plan.faults}")
    say(traits_told(programs))
    storage = Storage.on_free_ports()
    with ExitStack() as stack:
        ended = stack.enter_context((folder / "ended.txt").open("w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(ended))
        app = copy_app(folder / "azurite")
        stack.enter_context(running_azurite(storage, app, folder))
        stack.enter_context(busy(_SPINNING) if options.busy else nullcontext())
        report = run(folder, storage.connection_string, plan, programs, say)
    write_bad(report, folder)
    say("\n".join(["", *lines(report)]))
    return len(report.bad) + len(report.oddities)


def chosen(options: argparse.Namespace) -> Sequence[Program]:
    """The programs of a file, of single numbers, or of all numbers up to N."""
    if options.program is not None:
        text = options.program.read_text(encoding="utf-8")
        return [Program.from_json(json.loads(text))]
    numbers = options.only or range(options.programs)
    return [
        generate(options.seed, number, without=options.without) for number in numbers
    ]
