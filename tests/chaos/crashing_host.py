"""A host that ends itself at a named place; another takes its place and port."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from localhost.crashpoints import VARIABLE
from localhost.processes import terminate
from tests.acceptance.hosts import write_function
from tests.acceptance.running_host import (
    HUB_VARIABLE,
    ROOT,
    Host,
    environment,
    free_ports,
)
from tests.chaos.users import post

KILLED_BY_ACTIVITY = -9
_RECORDED_APP = ROOT / "tests" / "data" / "conformance_app"
_END_LIMIT_S = 10.0
_TRIGGER = {"name": "context", "type": "orchestrationTrigger", "direction": "in"}
_ORCHESTRATOR = """
import azure.durable_functions as df


def orchestrator_function(context):
    {body}


main = df.Orchestrator.create(orchestrator_function)
"""
_ORCHESTRATORS = {
    "CallsRewindMe": "child_id = context.instance_id + '-child'\n"
    "    return (yield context.call_sub_orchestrator('RewindMe', None, child_id))",
    # Its second turn takes so long that the other answers come meanwhile.
    "SlowTurn": "import pathlib, tempfile, time\n"
    "    naps = [{'s': n / 2, 'v': n} for n in range(3)]\n"
    "    naps = [context.call_activity('Sleep', nap) for nap in naps]\n"
    "    yield context.task_any(naps)\n"
    "    marker = pathlib.Path(tempfile.gettempdir()) / 'in-turn'\n"
    "    if not marker.exists():\n"
    "        marker.touch()\n"
    "        time.sleep(2)\n"
    "    return (yield context.task_all(naps))",
    "Naps": "naps = [context.call_activity('Sleep', n) for n in context.get_input()]\n"
    "    return (yield context.task_all(naps))",
    "CallsKillsOnce": "return (yield context.call_activity('KillsOnce', 'x'))",
    "PassesLarge": "large = 'z' * 60_000\n"
    "    return len((yield context.call_activity('Identity', large)))",
    # A signal and calls to one entity; each adds a digit of its own.
    "AddsDigits": "entity = df.EntityId('Counter', 'tally')\n"
    "    digits = context.get_input()\n"
    "    context.signal_entity(entity, 'add', digits[0])\n"
    "    for digit in digits[1:]:\n"
    "        yield context.call_entity(entity, 'add', digit)\n"
    "    return len(digits)",
}
_KILLS_ONCE = """
import os
import pathlib
import signal

marker = pathlib.Path(__file__).with_name("has-run")


def main(name: str) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(os.getppid(), signal.SIGKILL)
    return "ran again"
"""


def make_app(folder: Path) -> Path:
    """Copy the app that the real host was recorded with, and add to it."""
    app = folder / "app"
    shutil.copytree(_RECORDED_APP, app, ignore=shutil.ignore_patterns("__pycache__"))
    for name, body in _ORCHESTRATORS.items():
        write_function(app, name, _ORCHESTRATOR.format(body=body), _TRIGGER)
    trigger = {"name": "name", "type": "activityTrigger", "direction": "in"}
    write_function(app, "KillsOnce", _KILLS_ONCE, trigger)
    return app


class CrashingHost:
    """A host on a hub, told where to end; the next one is told nothing.

    It runs from the first call on. ``exit_code`` is None as long as it has not ended
    by itself; *folder* holds app and logs, unless *app* is shared with others;
    ``scratch`` is where the app makes temporary files. *between* is called when it has
    ended, before the next one begins.
    """

    def __init__(
        self,
        folder: Path,
        variables: Mapping[str, str],
        *,
        at: str,
        app: Path | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._between = between
        self.exit_code: int | None = None
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self._folder = folder
        self._app = app or make_app(folder)
        [self._port] = free_ports(1)
        self._environ = environment(TMPDIR=str(self.scratch), **variables)
        self._first = {**self._environ, VARIABLE: at} if at else self._environ
        self._host: Host | None = None

    @property
    def hub(self) -> str:
        return self._environ[HUB_VARIABLE]

    def post(self, path: str, body: Any = None) -> tuple[int, str] | None:
        """Send JSON and return status and text of the answer.

        None when the host ended before it answered; then another is up.
        """
        host = self.watched()
        status, text = post(f"{host.url}{path}", body)
        if status == 0:
            self._replace(host)
            return None
        return status, text

    @property
    def has_ended(self) -> bool:
        """Whether the first host has ended by itself."""
        return self.exit_code is not None

    @property
    def code(self) -> str:
        """The key of the management API."""
        return self.watched().code

    def watched(self) -> Host:
        """The host that runs now; one that has ended is replaced."""
        if self._host is None:
            self._host = self._run(self._first)
        elif not self._host.is_alive:
            self._replace(self._host)
        return self._host

    def ask_to_end(self) -> None:
        """Ask the host to end, as Ctrl-C does; another takes its place."""
        host = self.watched()
        terminate(host.pid)
        self._replace(host)

    def told(self) -> str:
        """What the first host has printed."""
        return self._log(1).read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """End it as Ctrl-C does and return its exit code."""
        return self.watched().stop()

    def end(self) -> None:
        """Whatever happened, let it be gone."""
        if self._host is not None and self._host.is_alive:
            self._host.kill()

    def _replace(self, ended: Host) -> None:
        """Let another take the place of one that has ended by itself, once."""
        with suppress(subprocess.TimeoutExpired):
            code = ended.exit_code(limit_s=_END_LIMIT_S)
            assert self.exit_code is None, f"ended again ({code}):\n{ended.text()}"
            self.exit_code = code
            self._between()
            self._host = self._run(self._environ)
            return
        raise AssertionError(f"no answer, but no end either:\n{ended.text()}")

    def _run(self, environ: dict[str, str]) -> Host:
        number = 1 if self.exit_code is None else 2
        host = Host(self._app, port=self._port, log=self._log(number), environ=environ)
        self._host = host
        try:
            host.wait_until_ready()
        except AssertionError:
            if host.is_alive:
                raise
            self._replace(host)  # it ended while it started
        return self._host

    def _log(self, number: int) -> Path:
        return self._folder / f"host-{number}.log"
