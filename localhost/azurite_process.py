"""One Azurite process on a folder: its command, its signs of life, its end.

Imports ``compat``, ``errors``, ``node``, ``processes`` and ``azurite_users``.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localhost.azurite_users import POLL_S, Users
from localhost.compat import timeout
from localhost.errors import CannotStartError
from localhost.node import INSTALL_COMMAND, find_node, node_of_wheel
from localhost.processes import apart, kill, runs, terminate

START_LIMIT_S = 15.0
_CONNECT_LIMIT_S = 0.3
_ANSWER_LIMIT_S = 5.0
_END_NOTICE_S = 10.0
_END_LIMIT_S = 30.0
_SERVICES = 3
_LISTENS, _ENDS = "is successfully listening", "service is closing"
_HAS_ENDED = "service successfully closed"


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where Azurite listens."""

    host: str
    blob_port: int
    queue_port: int
    table_port: int

    def __str__(self) -> str:
        """As a message names it."""
        ports = ", ".join(str(port) for port in self.by_service().values())
        return f"{self.host}, ports {ports}"

    def by_service(self) -> dict[str, int]:
        """The three ports by the name that Azurite has for the service."""
        return {
            "blob": self.blob_port,
            "queue": self.queue_port,
            "table": self.table_port,
        }


@dataclass(frozen=True, kw_only=True)
class Site:
    """All that is needed to look for Azurite, and to start it."""

    endpoints: Endpoints
    folder: Path
    users: Users
    account: str
    key: str
    say: Callable[[str], None]
    environ: Mapping[str, str]
    script: Path

    @property
    def location(self) -> str:
        """The folder as Azurite gets it; absolute, so that the next host knows it."""
        return str(self.folder.absolute())

    @property
    def log(self) -> Path:
        return self.folder / "azurite.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / "azurite.pid"


@dataclass(frozen=True, kw_only=True)
class Own:
    """An Azurite of this folder; ``process`` is None when another host started it."""

    pid: int
    process: subprocess.Popen[bytes] | None = None

    async def is_alive(self, site: Site) -> bool:
        if self.process:
            return self.process.poll() is None
        return await is_of_folder(self.pid, site)

    def end_in_words(self, site: Site) -> str:
        """How it ended, once it has."""
        code = self.process.returncode if self.process else None
        if code is None:
            return "nobody knows why"
        if code < 0:
            return signal_name(-code)
        last = (log_text(site).splitlines() or ["(nothing)"])[-1]
        return f"exit code {code}, its last words: {last}"


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; real-time signals have a number only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def listening(endpoints: Endpoints) -> set[int]:
    """The ports of *endpoints* on which somebody listens."""
    return {
        port
        for port in endpoints.by_service().values()
        if _is_listening(endpoints.host, port)
    }


def _is_listening(host: str, port: int) -> bool:
    # Blocking on purpose: on loopback this takes microseconds.
    try:
        socket.create_connection((host, port), timeout=_CONNECT_LIMIT_S).close()
    except OSError:
        return False
    return True


def spawn(site: Site) -> Own:
    """Start a process of our own and write down its pid; it does not listen yet.

    Raises ``CannotStartError``, and ``OSError`` for a folder that cannot be written.
    """
    if not site.script.is_file():
        raise CannotStartError(
            f"Azurite is not installed: {site.script} does not exist. Install it with:"
            f" {INSTALL_COMMAND}"
        )
    node = node_for(site)
    with site.log.open("wb") as log:
        try:
            process = subprocess.Popen(
                [str(node), *_ends_by_break(), str(site.script), *_arguments(site)],
                env={**site.environ, "AZURITE_ACCOUNTS": f"{site.account}:{site.key}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **apart(),
            )
        except OSError as exc:
            raise CannotStartError(
                f"{node} cannot be run: {exc.strerror}. Expected is Node; get it with:"
                f" {INSTALL_COMMAND}"
            ) from exc
    try:
        site.pid_file.write_text(f"{process.pid}\n", encoding="utf-8")
    except OSError:
        process.kill()  # nobody would know of it, and it has done nothing yet
        process.wait()
        raise
    return Own(pid=process.pid, process=process)


def node_for(site: Site) -> Path:
    """The Node that Azurite runs on."""
    return find_node(site.environ, wheel=node_of_wheel())


def _arguments(site: Site) -> list[str]:
    arguments = ["-l", site.location]
    for service, port in site.endpoints.by_service().items():
        arguments += [f"--{service}Host", site.endpoints.host]
        arguments += [f"--{service}Port", str(port)]
    return [*arguments, "--skipApiVersionCheck", "--disableTelemetry", "--silent"]


def _ends_by_break() -> list[str]:
    """Windows has no SIGTERM to send: CTRL_BREAK must do what SIGTERM does."""
    if sys.platform != "win32":
        return []
    handler = "process.on('SIGBREAK',()=>process.emit('SIGTERM'))"
    return ["--import", f"data:text/javascript,{handler}"]


async def has_come(own: Own, site: Site) -> bool:
    """Wait until it listens; false when the process ended or the time is up."""
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until and await own.is_alive(site):
        if _says_it_listens(site) and await _answers(site.endpoints):
            return True
        await asyncio.sleep(POLL_S)
    return False


def _says_it_listens(site: Site) -> bool:
    """The log tells our Azurite from one that took the ports a moment before ours."""
    return log_text(site).count(_LISTENS) == _SERVICES


async def _answers(endpoints: Endpoints) -> bool:
    """Whether an answer comes, whatever it is.

    Azurite heeds SIGTERM only after it has said that it listens, but before that.
    """
    with suppress(OSError, asyncio.TimeoutError):
        async with timeout(_ANSWER_LIMIT_S):
            reader, writer = await asyncio.open_connection(
                endpoints.host, endpoints.table_port
            )
            try:
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                return bool(await reader.read(1))
            finally:
                writer.close()
    return False


def was_cut_off(site: Site) -> bool:
    """The Azurite before listened and did not come to save: it was killed.

    One that a host has seen to its end leaves no pid; one that was asked to end by
    somebody else says in its log that it did.
    """
    was_up = site.pid_file.exists() and _says_it_listens(site)
    return was_up and log_text(site).count(_HAS_ENDED) < _SERVICES


def damage(site: Site) -> str:
    """Which file of the data cannot be read and why; empty when all can."""
    for path in sorted(site.folder.glob("__azurite_db_*.json")):
        if fault := _fault_in(path):
            return f"{path} is damaged ({fault})"
    return ""


def _fault_in(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text or "{}")  # Azurite takes an empty file for a new one
    except (OSError, ValueError) as exc:
        return str(exc)
    return ""


def log_text(site: Site) -> str:
    """What Azurite wrote since its start; empty without a log."""
    try:
        return site.log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def recorded_pid(site: Site) -> int:
    """The pid in the file; 0, which is nobody's, when there is none."""
    try:
        return int(site.pid_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


async def is_of_folder(pid: int, site: Site) -> bool:
    """The process is an Azurite with our data, on whatever ports."""
    return await _runs(pid, f" -l {site.location} ")


async def is_serving(pid: int, site: Site) -> bool:
    """The process is an Azurite with our data on our ports."""
    return await _runs(pid, " ".join(["", *_arguments(site), ""]))


async def _runs(pid: int, words: str) -> bool:
    # In a thread: where there is no /proc, another process is run to look.
    return pid > 0 and await asyncio.to_thread(runs, pid, words)


async def end(own: Own, site: Site) -> None:
    """Ask it to end and wait until it has saved; killed only after a long time."""
    if await own.is_alive(site) and not ask_to_end(own.pid, site):
        site.say(f"Azurite (pid {own.pid}) cannot be asked to end; it goes on.")
        return
    if not await _has_ended(own, site, _END_NOTICE_S):
        site.say(f"Azurite (pid {own.pid}) is still saving; waiting for it.")
        await _wait_then_kill(own, site)
    elif was_cut_off(site):
        return  # its pid stays: the next host is to say it
    site.pid_file.unlink(missing_ok=True)


def ask_to_end(pid: int, site: Site) -> bool:
    """Send SIGTERM, but only once: a second one ends Node before it has saved."""
    return _ENDS in log_text(site) or terminate(pid)


async def _wait_then_kill(own: Own, site: Site) -> None:
    if await _has_ended(own, site, _END_LIMIT_S - _END_NOTICE_S):
        return
    site.say(
        f"Azurite (pid {own.pid}) did not end within {_END_LIMIT_S:.0f} s and is"
        f" killed; what it did not save to {site.folder} is lost."
    )
    kill(own.pid)
    await _has_ended(own, site, _END_NOTICE_S)


async def _has_ended(own: Own, site: Site, limit_s: float) -> bool:
    until = time.monotonic() + limit_s
    while await own.is_alive(site):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(POLL_S)
    return True
