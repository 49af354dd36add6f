"""Processes are known by their arguments, on every system."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from localhost.processes import runs, without_quotes

LIMIT_S = 10.0
ARGUMENTS = ["-l", "a folder/with blanks", "--port", "1"]
WORDS = " -l a folder/with blanks "


@pytest.fixture(name="process")
def _process() -> Iterator[subprocess.Popen[bytes]]:
    """A process with arguments, which ends when its input does."""
    command = [sys.executable, "-c", "print(flush=True); input()", *ARGUMENTS]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_is_known_by_its_arguments(process: subprocess.Popen[bytes]) -> None:
    """Those that it was started with, in their order."""
    assert runs(process.pid, WORDS)
    assert runs(process.pid, " --port 1 ")
    assert not runs(process.pid, " -l another folder ")


def test_another_live_process_is_not_taken_for_it() -> None:
    """Pids are given again: being alive says nothing."""
    assert not runs(os.getpid(), WORDS)


def test_one_that_has_ended_runs_no_more(process: subprocess.Popen[bytes]) -> None:
    """Also while its parent has not asked for its exit code."""
    process.kill()
    until_s = time.monotonic() + LIMIT_S
    while runs(process.pid, WORDS):
        assert time.monotonic() < until_s


def test_a_command_line_of_windows_is_read_without_its_quotes() -> None:
    """The arguments that Python has quoted come out as they went in."""
    line = subprocess.list2cmdline(["C:\\Program Files\\node.exe", *ARGUMENTS])

    assert WORDS in without_quotes(line)
