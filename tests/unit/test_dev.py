"""``dev.py``: what it finds wrong, and what it passes on."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dev

ROOT = Path(__file__).parents[2]
# A dev.py that waits for a command, which ends with the code 7 on Ctrl-C.
INTERRUPTIBLE = """
import sys, threading
try:
    print("begun", flush=True)
    threading.Event().wait(20)
except KeyboardInterrupt:
    sys.exit(7)
"""
WAITING = f"""
import sys, dev
sys.exit(dev.wait_for([sys.executable, "-c", {INTERRUPTIBLE!r}]))
"""


class TestPython:
    def test_the_text_parses_on_python_3_7(self) -> None:
        """An old Python can read dev.py and so can say that it is too old."""
        text = (ROOT / "dev.py").read_text(encoding="utf-8")

        assert ast.parse(text, feature_version=(3, 7))

    @pytest.mark.parametrize("version", [(3, 10), (3, 14), (3, 15), (4, 0)])
    def test_a_supported_python_is_no_fault(self, version: tuple[int, int]) -> None:
        """Python 3.10 and whatever is newer may serve."""
        assert dev.python_fault(version) is None

    @pytest.mark.parametrize("version", [(2, 7), (3, 7), (3, 9)])
    def test_an_old_python_is_told_what_it_is(self, version: tuple[int, int]) -> None:
        """The text names the version found and the version needed."""
        fault = dev.python_fault(version)

        assert fault is not None
        assert f"is Python {version[0]}.{version[1]}, which is too old" in fault
        assert "Python 3.10 or newer" in fault

    def test_an_old_python_ends_with_3(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The old Python's message comes before anything else is looked at."""
        monkeypatch.setattr(sys, "version_info", (3, 9, 18))

        assert dev.main(["no such command"]) == 3
        assert "Python 3.9" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "config", ["version = 3.10.13", "version_info = 3.13.0.final.0", "home = /usr"]
    )
    def test_a_supported_venv_is_no_fault(self, config: str) -> None:
        """The config files of venv, virtualenv and uv are understood."""
        assert dev.venv_fault(f"home = /usr/bin\n{config}\n", True) is None

    @pytest.mark.parametrize(
        ("config", "has_python", "found"),
        [
            ("version = 3.9.18", True, "Python 3.9"),
            ("version_info = 3.8.1.final.0", True, "Python 3.8"),
            ("version = 3.12.1", False, "no working Python"),
        ],
    )
    def test_an_unusable_venv_is_to_be_deleted(
        self, config: str, has_python: bool, found: str
    ) -> None:
        """The text says what .venv holds and that it must go."""
        fault = dev.venv_fault(config, has_python)

        assert fault is not None
        assert f".venv holds {found};" in fault
        assert "Delete the folder .venv" in fault


class TestCommandLine:
    @pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["--port"]])
    def test_wrong_usage_ends_with_2(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The usage goes to standard error."""
        assert dev.main(arguments) == 2
        assert capsys.readouterr().err == dev.usage() + "\n"

    def test_help_ends_with_0(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Who asks for help gets it on standard output."""
        assert dev.main(["--help"]) == 0
        assert capsys.readouterr().out == dev.usage() + "\n"

    def test_usage_has_a_line_for_each_command(self) -> None:
        """Below the head there is one line for each command."""
        words = [line.split()[0] for line in dev.usage().splitlines()[1:]]

        assert words == list(dev.COMMANDS)

    def test_two_processes_share_the_tests(self) -> None:
        """Without a word about it pytest runs twice, a file in one of them."""
        assert dev.pytest_arguments(["-k", "node"]) == [
            *("-n", "2", "--dist", "loadfile"),
            *("-k", "node"),
        ]

    @pytest.mark.parametrize(
        "arguments",
        [["-n", "0"], ["-n4"], ["--numprocesses=1"], ["--pdb"], ["-p", "no:xdist"]],
    )
    def test_the_user_may_say_how_many(self, arguments: list[str]) -> None:
        """Arguments that settle it are left as they are."""
        assert dev.pytest_arguments(arguments) == arguments


class TestWaitFor:
    """What stands for exec on Windows; it runs everywhere."""

    @pytest.mark.skipif(os.name == "nt", reason="a test cannot press Ctrl-C there")
    def test_ctrl_c_is_left_to_the_command(self) -> None:
        """Ctrl-C goes to both; the command decides, and its code is passed on."""
        with subprocess.Popen(
            [sys.executable, "-c", WAITING],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            os.killpg(process.pid, signal.SIGINT)

            assert process.wait(20) == 7


class TestAccountKey:
    @pytest.mark.parametrize(
        "settings",
        ["", '{"Values": {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}}'],
    )
    def test_development_storage_is_no_fault(self, settings: str) -> None:
        """The file as it is committed holds no key."""
        assert dev.account_key_fault(settings) is None

    @pytest.mark.parametrize("word", ["AccountKey=", "accountkey =", "ACCOUNTKEY="])
    def test_a_key_is_a_fault_that_names_the_line(self, word: str) -> None:
        """The text names the file, the line and the place for a real account."""
        fault = dev.account_key_fault(f'{{\n"Values": {{\n"X": "a;{word}c2VjcmV0"')

        assert fault is not None
        assert fault.startswith("local.settings.json, line 3: ")
        assert "environment variable AzureWebJobsStorage" in fault
        assert "c2VjcmV0" not in fault

    def test_the_file_of_this_project_holds_none(self) -> None:
        """What is committed here passes."""
        text = (ROOT / "local.settings.json").read_text(encoding="utf-8")

        assert dev.account_key_fault(text) is None
