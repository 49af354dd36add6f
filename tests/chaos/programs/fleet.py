"""One or two hosts on one hub, and what happens to them; never to their storage."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from localhost.crashpoints import VARIABLE
from localhost.processes import terminate
from tests.acceptance.asking import wait_for
from tests.acceptance.running_host import (
    HUB_VARIABLE,
    ROOT,
    Host,
    environment,
    free_ports,
)

HUB = "ProgramsHub"
_APP = ROOT / "tests" / "data" / "programs_app"
_API = "/runtime/webhooks/durabletask"
_START_LIMIT_S = 90.0  # on a machine that is busy on purpose
_STOP_LIMIT_S = 40.0
_ANSWER_LIMIT_S = 6.0
_LAST_CRASH_POINT = 400
_WATCH_S = 0.3
_LONGEST_FAULT_S = 600.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Fault(Enum):
    """What happens to a host."""

    KILL = "host killed (SIGKILL) and started again"
    CRASH = "host ended at a crash point and started again"
    FREEZE = "host frozen (SIGSTOP), then continued"
    STOP = "host stopped (SIGTERM) and started again"
    TWO_KILL = "one of two hosts killed"
    TWO_FREEZE = "one of two hosts frozen"


FAULTS_OF = {
    "none": (),
    "kill": (Fault.KILL, Fault.CRASH),
    "freeze": (Fault.FREEZE,),
    "stop": (Fault.STOP,),
    "two": (Fault.TWO_KILL, Fault.TWO_FREEZE),
    "all": tuple(Fault),
}


def ask(url: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    """Status and JSON of an answer; status 0 when no whole answer came."""
    data = None if method == "GET" else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, method=method, headers=headers)
    try:
        with _direct.open(request, timeout=_ANSWER_LIMIT_S) as answer:
            return answer.status, _parsed(answer.read())
    except urllib.error.HTTPError as error:
        with error, suppress(OSError, HTTPException):
            return error.code, _parsed(error.read())
    except (OSError, HTTPException):
        return 0, None
    return 0, None


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")


class Seat:
    """A host's port and its copy of the app, whichever process runs there."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.host: Host | None = None
        self.is_wanted = False
        self._folder = folder
        self._app = folder / "app"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_APP, self._app, ignore=ignored)
        [self._port] = free_ports(1)
        self._environ = environment(**variables)
        self._count = 0
        self._lock = threading.Lock()

    def address(self, path: str) -> str:
        """Where to ask; nobody may listen there."""
        with suppress(OSError):
            code = (self._app / ".localhost" / "webhook-key").read_text()
            return f"http://127.0.0.1:{self._port}{_API}{path}?code={code}"
        return f"http://127.0.0.1:{self._port}{_API}{path}"

    def start(self, *, crash_at: int = 0) -> None:
        with self._lock:
            self._start(crash_at)

    def _start(self, crash_at: int = 0) -> None:
        self._count += 1
        self.is_wanted = True
        self.host = Host(
            self._app,
            port=self._port,
            log=self._folder / f"host-{self._count:03}.log",
            environ={**self._environ, **_crash_variable(crash_at)},
        )

    def restart_if_ended(self) -> bool:
        """Start another host if one should run; whether it was so."""
        with self._lock:
            if not self.is_wanted or self.host is None or self.host.is_alive:
                return False
            self._start()
            return True

    def kill(self, *, crash_at: int = 0) -> None:
        """SIGKILL the host, only it, and start the next one in its place."""
        with self._lock:
            if self.host is not None and self.host.is_alive:
                self.host.kill()
            self._start(crash_at)

    def freeze(self, pause_s: float) -> None:
        """Let the host stand still."""
        if self.host is None or sys.platform == "win32":
            return
        with suppress(ProcessLookupError):
            os.kill(self.host.pid, signal.SIGSTOP)
            time.sleep(pause_s)
            os.kill(self.host.pid, signal.SIGCONT)

    def stop(self) -> int:
        """Ask the host to end; its exit code, -9 when it did not and was killed."""
        with self._lock:
            self.is_wanted = False
            if self.host is None:
                return 0
            host, self.host = self.host, None
            if not host.is_alive:
                return 0
            terminate(host.pid)
            with suppress(subprocess.TimeoutExpired):
                return host.exit_code(limit_s=_STOP_LIMIT_S)
            host.kill()
            return -9

    def wait_until_up(self) -> None:
        def is_up() -> bool:
            self.restart_if_ended()
            status, _ = ask(self.address("/instances/nobody"))
            return status == 404

        wait_for(is_up, "a host that answers", limit_s=_START_LIMIT_S, poll_s=0.1)


def _crash_variable(crash_at: int) -> dict[str, str]:
    return {VARIABLE: f"any#{crash_at}"} if crash_at else {}


class Fleet:
    """The hosts. ``last_fault_at`` is the end of the last fault (``monotonic``)."""

    def __init__(self, folder: Path, connection: str, hub: str = HUB) -> None:
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.faults: Counter[Fault] = Counter()
        self.oddities: list[str] = []
        self.last_fault_at = time.monotonic()
        variables = {
            "AzureWebJobsStorage": connection,
            HUB_VARIABLE: hub,
            "PROGRAMS_NOTES": str(self.notes),
        }
        self._seats = []
        for number in range(2):
            (folder / f"seat-{number}").mkdir()
            self._seats.append(Seat(folder / f"seat-{number}", variables))
        self._asked = 0

    def open(self) -> None:
        self._seats[0].start()
        self._seats[0].wait_until_up()

    def close(self) -> None:
        """Let them be gone, whatever happened."""
        for number, seat in enumerate(self._seats):
            code = seat.stop()
            if code:
                self.oddities.append(f"host {number} ended with exit code {code}")

    async def ask(
        self, path: str, method: str = "GET", body: Any = None
    ) -> tuple[int, Any]:
        """Ask one of the hosts that should run; each driver has a thread of its own."""
        wanted = [seat for seat in self._seats if seat.is_wanted] or self._seats[:1]
        self._asked += 1
        path, _, query = path.partition("?")
        url = wanted[self._asked % len(wanted)].address(quote(path))
        return ask(f"{url}&{query}" if query else url, method, body)

    def play(self, fault: Fault, chance: random.Random) -> None:
        """Let something happen to one of the hosts, and end it."""
        self.faults[fault] += 1
        self.last_fault_at = time.monotonic() + _LONGEST_FAULT_S  # nothing is late now
        if fault in (Fault.TWO_KILL, Fault.TWO_FREEZE):
            self._play_with_two(fault, chance)
        elif fault is Fault.KILL:
            self._seats[0].kill()
        elif fault is Fault.CRASH:
            self._seats[0].kill(crash_at=chance.randint(1, _LAST_CRASH_POINT))
        elif fault is Fault.FREEZE:
            self._seats[0].freeze(_freeze_s(chance))
        else:
            self._note_exit(self._seats[0].stop())
            self._seats[0].start()
        self._seats[0].wait_until_up()
        self.last_fault_at = time.monotonic()

    def _play_with_two(self, fault: Fault, chance: random.Random) -> None:
        second = self._seats[1]
        if not second.is_wanted:
            second.start()
            second.wait_until_up()
            time.sleep(chance.uniform(0.5, 3.0))  # it takes some partitions
        victim = chance.choice(self._seats)
        if fault is Fault.TWO_KILL:
            victim.kill()
        else:
            victim.freeze(_freeze_s(chance))
        victim.wait_until_up()
        if chance.random() < 0.3:
            time.sleep(chance.uniform(0.5, 2.0))
            self._note_exit(second.stop())

    def _note_exit(self, code: int) -> None:
        if code:
            self.oddities.append(f"a stopped host ended with exit code {code}")

    def watch(self) -> None:
        """Replace hosts that have ended by themselves, as at a crash point."""
        for seat in self._seats:
            if seat.restart_if_ended():
                seat.wait_until_up()
                self.last_fault_at = time.monotonic()

    def runs(self) -> Counter[str]:
        """How often each activity has run, by its tag."""
        with suppress(FileNotFoundError):
            lines = (self.notes / "runs").read_text().splitlines()
            return Counter(line.partition("!")[0] for line in lines)
        return Counter()


def _freeze_s(chance: random.Random) -> float:
    """Mostly about a lock's length, at times longer, seldom longer than a lease."""
    [(least, most)] = chance.choices(
        ((1.0, 8.0), (12.0, 16.0), (40.0, 42.0)), weights=(90, 8, 2)
    )
    return chance.uniform(least, most)


class Weather:
    """Faults of some kinds, one after the other, until it is calm.

    A host may still end at a crash point then: another takes its place.
    """

    def __init__(self, fleet: Fleet, kinds: tuple[Fault, ...], seed: str) -> None:
        self._fleet = fleet
        self._kinds = kinds
        self._chance = random.Random(seed)
        self._is_calm = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._blow, name="weather")

    def __enter__(self) -> Weather:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def calm(self) -> None:
        """No more faults from now on."""
        self._is_calm.set()

    def end(self) -> None:
        """No more faults; the hosts are up."""
        self._is_calm.set()
        self._is_over.set()
        self._thread.join()

    def _blow(self) -> None:
        while not self._is_calm.wait(self._chance.uniform(0.3, 3.0)):
            self._fleet.watch()
            if self._kinds:
                self._fleet.play(self._chance.choice(self._kinds), self._chance)
        while not self._is_over.wait(_WATCH_S):
            self._fleet.watch()
        self._fleet.watch()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Let so many processes take what they get of the machine."""
    spin = [sys.executable, "-c", "while True: pass"]
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen(spin)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


@contextmanager
def open_fleet(folder: Path, connection: str, hub: str = HUB) -> Iterator[Fleet]:
    """Have a host run on a hub; what hosts print at their end stays in their logs."""
    fleet = Fleet(folder, connection, hub)
    try:
        fleet.open()
        yield fleet
    finally:
        fleet.close()
