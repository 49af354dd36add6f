"""The command as a process: started on a copy of the app, ended by its pid."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from localhost.account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from localhost.processes import apart, kill, runs, terminate
from tests.acceptance.asking import ask, wait_for

ROOT = Path(__file__).resolve().parents[2]
APP_PARTS = (
    "host.json",
    "local.settings.json",
    "HelloOrchestrator",
    "Hello",
    "DurableFunctionsHttpStart",
)
HUB_VARIABLE = "AzureFunctionsJobHost__extensions__durableTask__hubName"
READY_LIMIT_S = 60.0  # many start at once in some tests
STOP_LIMIT_S = 15.0
EXIT_LIMIT_S = 20.0
# Below what systems give to outgoing connections, which come and go meanwhile.
_PORTS = range(20_000, 32_000)
_OURS = re.compile(
    r"(LOCALHOST_|AzureWebJobs|AzureFunctionsJobHost|FUNCTIONS_|BASE_URL)", re.I
)


def copy_app(folder: Path) -> Path:
    """Copy what the app is made of; the rest of the repository stays behind."""
    app = folder / "app"
    app.mkdir(parents=True)
    for part in APP_PARTS:
        source, target = ROOT / part, app / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy(source, target)
    return app


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens, neither on 127.0.0.1 nor on ::1."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(_PORTS)
        if port not in ports and _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with suppress(OSError), socket.create_connection((host, port), timeout=1):
            return False
        if family == socket.AF_INET:
            with socket.socket(family) as probe:
                try:
                    probe.bind((host, port))
                except OSError:
                    return False
    return True


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The three ports of an Azurite; whether one listens there is another matter."""

    ports: tuple[int, int, int]

    @classmethod
    def on_free_ports(cls) -> Storage:
        blob, queue, table = free_ports(3)
        return cls(ports=(blob, queue, table))

    @property
    def connection_string(self) -> str:
        endpoints = "".join(
            f"{service}Endpoint=http://127.0.0.1:{port}/{DEVELOPMENT_ACCOUNT};"
            for service, port in zip(
                ("Blob", "Queue", "Table"), self.ports, strict=True
            )
        )
        account = f"AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};"
        return account + endpoints


def environment(**variables: str) -> dict[str, str]:
    """This process' environment without what would steer the host, and *variables*."""
    inherited = {name: v for name, v in os.environ.items() if not _OURS.match(name)}
    return {**inherited, **variables}


class Process:
    """One run of the command; all that it prints goes to ``log``."""

    def __init__(
        self, arguments: Sequence[str], *, log: Path, environ: Mapping[str, str]
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "localhost", *arguments],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **apart(),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for_text(self, words: str, *, limit_s: float = READY_LIMIT_S) -> None:
        """Wait until it has printed *words*; fail when it ends without."""

        def has_come() -> bool:
            was_alive = self.is_alive
            if words in self.text():
                return True
            assert was_alive, f"ended without {words!r}:\n{self.text()}"
            return False

        wait_for(has_come, f"the text {words!r}", limit_s=limit_s)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def exit_code(self, *, limit_s: float = STOP_LIMIT_S) -> int:
        """Wait for its end."""
        return self._process.wait(timeout=limit_s)

    def kill(self) -> None:
        """End it as SIGKILL does: nothing is drained, nothing released."""
        kill(self.pid)
        self.exit_code()

    def stop(self) -> int:
        """Ask it to end, as Ctrl-C does, and return its exit code."""
        terminate(self.pid)
        return self.exit_code()

    def end(self) -> None:
        """Whatever became of it, let it be gone; show what it printed."""
        if self.is_alive:
            terminate(self.pid)
            with suppress(subprocess.TimeoutExpired):
                self.exit_code()
        if self.is_alive:
            self.kill()
        print(f"--- {self.log}:\n{self.text()}")  # noqa: T201 - shown on failure


class Host(Process):
    """``start`` on an app; ``url`` is where it listens."""

    def __init__(
        self, app: Path, *, port: int, log: Path, environ: dict[str, str]
    ) -> None:
        arguments = ["start", "--app", str(app), "--port", str(port)]
        super().__init__(arguments, log=log, environ=environ)
        self.app = app
        self.port = port
        self.environ = environ

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def hub(self) -> str:
        return self.environ[HUB_VARIABLE]

    @cached_property
    def code(self) -> str:
        """The key of the management API, as the starter's answer shows it."""
        return (self.app / ".localhost" / "webhook-key").read_text()

    def wait_until_ready(self) -> float:
        """Wait until it says that it runs, and return the time (``monotonic``)."""

        def is_running() -> bool:
            assert self.is_alive, f"the host ended:\n{self.text()}"
            with suppress(OSError):
                answer = ask(f"{self.url}/admin/host/status")
                return answer.status == 200 and answer.json()["state"] == "Running"
            return False

        wait_for(is_running, "a host that runs", limit_s=READY_LIMIT_S)
        return time.monotonic()

    def end(self) -> None:
        super().end()
        end_azurite(self.app)


def azurite_pid(app: Path) -> int:
    """The pid of the Azurite that a host of this app started; 0 when there is none."""
    with suppress(FileNotFoundError, ValueError):
        return int((app / ".azurite" / "azurite.pid").read_text())
    return 0


def is_azurite_alive(app: Path, pid: int) -> bool:
    return pid > 0 and runs(pid, str(app / ".azurite"))


def end_azurite(app: Path) -> None:
    """End the Azurite that a killed host left behind."""
    pid = azurite_pid(app)
    if not is_azurite_alive(app, pid):
        return
    terminate(pid)
    with suppress(AssertionError):
        wait_for(lambda: not is_azurite_alive(app, pid), "its end", limit_s=10)
    if is_azurite_alive(app, pid):
        kill(pid)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run of the command that ended by itself."""

    code: int
    text: str
    error: str


def run_command(
    *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Ended:
    """Run the command to its end: for calls that cannot start or only print."""
    done = subprocess.run(
        [sys.executable, "-m", "localhost", *arguments],
        cwd=cwd,
        env=environment() if environ is None else environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=EXIT_LIMIT_S,
        check=False,
    )
    return Ended(code=done.returncode, text=done.stdout, error=done.stderr)
