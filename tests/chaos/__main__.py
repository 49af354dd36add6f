"""``python -m tests.chaos``: a random campaign, walks through every crash point, or
random programs.

The exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.chaos import every_point, undone
from tests.chaos.campaign import run
from tests.chaos.programs import command
from tests.chaos.report import lines

_KILLS, _SEED = 200, 1


def main() -> int:
    """Do what is asked for, print its table, and keep the logs if there was a fault."""
    options = _parser().parse_args()
    # Whoever ends us ends what we have started: SIGTERM goes the way of Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    fault_count = _play_of(options)(folder, options)
    if fault_count:
        _say(f"The hosts' logs are in {folder}.")
        return 1
    shutil.rmtree(folder)
    return 0


def _play_of(
    options: argparse.Namespace,
) -> Callable[[Path, argparse.Namespace], int]:
    if command.is_meant(options):
        return _programs
    if options.undone:
        return _walk_undone
    return _walk if options.every_point else _campaign


def _programs(folder: Path, options: argparse.Namespace) -> int:
    return command.play(folder, options, _say)


def _walk_undone(folder: Path, options: argparse.Namespace) -> int:
    _say(f"each small program at every pass; logs in {folder}")
    return undone.walk(folder, step=options.step, say=_say)


def _campaign(folder: Path, options: argparse.Namespace) -> int:
    _say(f"seed {options.seed}, {options.kills} kills; logs in {folder}")
    report = run(folder, seed=options.seed, kills=options.kills, say=_say)
    _say("\n".join(["", *lines(report)]))
    return report.fault_count


def _walk(folder: Path, options: argparse.Namespace) -> int:
    _say(f"every pass through every crash point; logs in {folder}")
    walked = every_point.walk(folder, step=options.step, say=_say)
    _say("\n".join(["", *every_point.lines(walked)]))
    return walked.fault_count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=_KILLS, help=f"how many rounds [{_KILLS}]"
    )
    parser.add_argument(
        "--seed", type=int, default=_SEED, help=f"what the plan comes from [{_SEED}]"
    )
    parser.add_argument(
        "--every-point",
        action="store_true",
        help="end a host at each pass through each crash point instead",
    )
    parser.add_argument(
        "--undone",
        action="store_true",
        help="play small programs, each alone, at each pass instead",
    )
    parser.add_argument(
        "--step", type=int, default=1, help="leave out passes between these [1]"
    )
    command.add_options(parser)
    return parser


def _say(text: str) -> None:
    # Standard output itself: what processes print at their end is redirected.
    print(text, file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    sys.exit(main())
