"""One worker process: started with the app's Python, called over its channel."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localhost.app.port import NOTHING
from localhost.declared import FunctionFault
from localhost.errors import CannotStartError, HostError
from localhost.outcome import Failure, HttpAnswer, Raised, Result, Returned
from localhost.worker.channel import Frames, Header, decoded, packed
from localhost.worker.invocation import Invocation

WORKER = Path(__file__).resolve().parent.parent / "worker" / "__main__.py"
SECRET = "LOCALHOST_WORKER_SECRET"
INHERITS_SOCKETS = sys.platform != "win32"
LAST_WORDS_S = 0.2  # in which what a worker has sent before its end is read
EXIT_LIMIT_S = 3.0  # a little longer than the worker takes to end at last

# Python's own modules are frozen: a debugger would warn of breakpoints in them.
_FOR_DEBUGGERS = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}

log = logging.getLogger(__name__)


class WorkerEndedError(HostError):
    """A worker process ended while it ran a function."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """How a worker process is started; ``level`` is the least of its log records."""

    python: str
    arguments: Sequence[str]
    folder: Path
    level: int


class WorkerProcess(asyncio.Protocol):
    """A process and the calls that it runs.

    ``calls`` are what it has been asked and has not answered, ``ran_at_end`` those of
    them when it ended.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.calls: dict[int, tuple[Invocation, asyncio.Future[Result]]] = {}
        self.ran_at_end: list[Invocation] = []
        self.unanswered_pings = 0
        self.has_debugger = False
        self.why_not: str | None = None
        self.lost: asyncio.Future[None] = loop.create_future()
        self._exited: asyncio.Future[int] = loop.create_future()
        self._loaded: asyncio.Future[tuple[FunctionFault, ...]] = loop.create_future()
        self._loop = loop
        self._frames = Frames()
        self._numbers = itertools.count(1)
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._transport is not None

    async def start(self, command: Command) -> None:
        """Start the process and connect to it."""
        if INHERITS_SOCKETS:
            connection = await asyncio.to_thread(self._start_with_socket, command)
        else:
            connection = await self._start_with_port(command)
        assert self._process is not None
        threading.Thread(
            target=self._watch, args=(self._process,), name="worker's end", daemon=True
        ).start()
        connection.setblocking(False)
        await self._loop.create_connection(lambda: self, sock=connection)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end in a thread: a fork of it may hold the channel open."""
        code = process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody waits for it
            self._loop.call_soon_threadsafe(self._exit, code)

    def _exit(self, code: int) -> None:
        self._exited.set_result(code)
        self._loop.call_later(LAST_WORDS_S, self._close)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _start_with_socket(self, command: Command) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            where = theirs.fileno()
            try:
                self._popen(command, "fd", str(where), pass_fds=[where])
            except BaseException:
                ours.close()
                raise
        return ours

    async def _start_with_port(self, command: Command) -> socket.socket:
        """For systems on which no socket is inherited: who knows the secret is it."""
        secret = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            where = str(listening.getsockname()[1])
            self._popen(command, "tcp", where, environ={SECRET: secret})
            while True:
                connection, _ = await self._loop.sock_accept(listening)
                connection.setblocking(False)
                said = b""
                while len(said) < len(secret):
                    piece = await self._loop.sock_recv(
                        connection, len(secret) - len(said)
                    )
                    if not piece:
                        break
                    said += piece
                if secrets.compare_digest(said, secret.encode()):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return connection
                connection.close()

    def _popen(
        self,
        command: Command,
        how: str,
        where: str,
        environ: Mapping[str, str] = NOTHING,
        **options: Any,
    ) -> None:
        words = [command.python, *command.arguments, str(WORKER), how, where]
        try:
            self._process = subprocess.Popen(
                [*words, str(command.level)],
                cwd=command.folder,
                stdin=subprocess.PIPE,
                env={**_FOR_DEBUGGERS, **os.environ, **environ},
                **options,
            )
        except OSError as exc:
            raise CannotStartError(
                f"The app's Python {command.python} cannot be started ({exc});"
                " expected: a Python 3.10 or later with the packages of"
                " requirements.txt. Name another one with the setting"
                " languageWorkers__python__defaultExecutablePath, or make the app's"
                " .venv anew."
            ) from exc

    # Calls

    async def load(self, asked: Mapping[str, Any]) -> tuple[FunctionFault, ...]:
        """Let it import the app. Raises ``WorkerEndedError``."""
        self._send({"k": "load"}, json.dumps(asked).encode())
        return await asyncio.shield(self._loaded)

    async def call(
        self, invocation: Invocation, header: Mapping[str, Any], body: bytes
    ) -> Result:
        """Call a function. Raises ``WorkerEndedError`` and ``HostError``."""
        number = next(self._numbers)
        answer: asyncio.Future[Result] = self._loop.create_future()
        self.calls[number] = invocation, answer
        of = [
            invocation.function_name,
            invocation.instance_id,
            invocation.invocation_id,
        ]
        self._send({"k": "call", "id": number, "of": of, **header}, body)
        try:
            return await answer
        except asyncio.CancelledError:
            self._send({"k": "cancel", "id": number})
            raise
        finally:
            self.calls.pop(number, None)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.unanswered_pings += 1
        self._send({"k": "ping"})

    def _send(self, header: Header, body: bytes = b"") -> None:
        if self._transport is None:
            raise WorkerEndedError("the worker process has ended")
        self._transport.write(packed(header, body))

    # The end

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with suppress(OSError):
                self._process.kill()

    async def end(self, *, limit_s: float = EXIT_LIMIT_S) -> str:
        """Ask the process to end, wait until it has; return how it ended."""
        if self.is_open:
            self._send({"k": "end"})
        process = self._process
        if process is None:
            return "it was not started"
        await asyncio.wait([self._exited], timeout=limit_s)
        if not self._exited.done():
            self.kill()
        code = await self._exited
        self._close()
        if process.stdin is not None:
            process.stdin.close()
        return _told(code)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for header, body in self._frames.feed(data):
            self._take(header, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        error = WorkerEndedError("the worker process has ended")
        self.ran_at_end = [invocation for invocation, _ in self.calls.values()]
        for _, answer in self.calls.values():
            if not answer.done():
                answer.set_exception(error)
        if not self._loaded.done():
            self._loaded.set_exception(error)
            self._loaded.exception()  # nobody may ask for it
        if not self.lost.done():
            self.lost.set_result(None)

    def _take(self, header: Header, body: bytes) -> None:
        self.has_debugger = self.has_debugger or "debugger" in header
        kind = header["k"]
        if kind == "answer":
            self._take_answer(header, body)
        elif kind in ("log", "print"):
            _tell(header, decoded(body))
        elif kind == "pong":
            self.unanswered_pings = 0
        elif kind == "loaded" and not self._loaded.done():
            faults = [FunctionFault(name=n, message=m) for n, m in json.loads(body)]
            self._loaded.set_result(tuple(faults))
        elif kind == "cannot":
            self.why_not = decoded(body)

    def _take_answer(self, header: Header, body: bytes) -> None:
        _, answer = self.calls.get(header["id"], (None, None))
        if answer is None or answer.done():
            return
        if header["is"] == "error":
            answer.set_exception(HostError(decoded(body)))
        else:
            answer.set_result(_result_of(header, body))


def _result_of(header: Header, body: bytes) -> Result:
    kind = header["is"]
    if kind == "value":
        return Returned(value=decoded(body))
    if kind == "nothing":
        return Returned(value=None)
    if kind == "http":
        return HttpAnswer(
            status=header["status"],
            headers=tuple((name, value) for name, value in header["headers"]),
            body=body,
            mimetype=header["mimetype"],
            charset=header["charset"],
        )
    type_name, message, trace, report = json.loads(body)
    raised = Raised(type_name=type_name, message=message, traceback=trace)
    return Failure(raised=raised, report=report)


def _tell(header: Header, text: str) -> None:
    """Write to the host's console what was logged or printed in a worker."""
    level = header.get("level", logging.INFO)
    record = logging.LogRecord(
        header.get("name", "root"), level, "", 0, "%s", (text,), None
    )
    record.created = header["at"]
    record.msecs = record.created % 1 * 1000
    place = header["of"] or None
    record.__dict__["is_of_worker"] = True
    record.__dict__["invocation"] = place and Invocation(
        function_name=place[0], instance_id=place[1], invocation_id=place[2]
    )
    logging.getLogger().handle(record)


def _told(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
