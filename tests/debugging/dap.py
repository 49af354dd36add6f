"""A client of the Debug Adapter Protocol, as an editor is one.

Source: the protocol's specification; ``debugpyAttach`` is debugpy's own event, upon
which an editor opens a session for a process that the debugged one has started.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

Message = dict[str, Any]
LIMIT_S = 60.0


class Session:
    """One session: requests go out, events come in; ``stops`` are where it stopped."""

    def __init__(
        self,
        reader: BinaryIO,
        writer: BinaryIO,
        *,
        on_event: Callable[[Message], None],
        connection: socket.socket | None = None,
    ) -> None:
        self._reader, self._writer, self._connection = reader, writer, connection
        self._on_event = on_event
        self._numbers = itertools.count(1)
        self._sending = threading.Lock()
        self._answers: dict[int, queue.Queue[Message]] = {}
        self.terminals: list[subprocess.Popen[bytes]] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def close(self) -> None:
        """Close what it speaks over."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self._reading.join(LIMIT_S)
        for each in (self._reader, self._writer, self._connection):
            if each is not None:
                with suppress(OSError, ValueError):
                    each.close()

    def ask(self, command: str, **arguments: Any) -> Message:
        """Send a request and wait for its answer."""
        return self.answer(self.send(command, **arguments), command)

    def send(self, command: str, **arguments: Any) -> int:
        """Send a request; return its number."""
        number = next(self._numbers)
        self._answers[number] = queue.Queue()
        self._write(
            {
                "seq": number,
                "type": "request",
                "command": command,
                "arguments": arguments,
            }
        )
        return number

    def answer(self, number: int, command: str) -> Message:
        """Wait for the answer to a request."""
        message = self._answers[number].get(timeout=LIMIT_S)
        assert message["success"], f"{command}: {message.get('message')}"
        body: Message = message.get("body") or {}
        return body

    def _write(self, message: Message) -> None:
        text = json.dumps(message).encode()
        with self._sending:
            self._writer.write(b"Content-Length: %d\r\n\r\n" % len(text) + text)
            self._writer.flush()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            while True:
                length = 0
                while (line := self._reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                if not line:
                    break
                self._take(json.loads(self._reader.read(length)))
        self._on_event({"event": "closed", "body": {}})

    def _take(self, message: Message) -> None:
        if message["type"] == "response":
            self._answers[message["request_seq"]].put(message)
        elif message["type"] == "event":
            self._on_event(message)
        else:
            self._serve(message)

    def _serve(self, asked: Message) -> None:
        """Do what the adapter asks of an editor: run a command in its terminal."""
        assert asked["command"] == "runInTerminal", asked
        arguments = asked["arguments"]
        process = subprocess.Popen(
            arguments["args"],
            cwd=arguments["cwd"],
            env={**os.environ, **arguments.get("env", {})},
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.terminals.append(process)
        self._write(
            {
                "seq": next(self._numbers),
                "type": "response",
                "request_seq": asked["seq"],
                "command": "runInTerminal",
                "success": True,
                "body": {"processId": process.pid},
            }
        )

    log: Any = subprocess.DEVNULL


class Stop:
    """Where a process stands still."""

    def __init__(self, session: Session, body: Message) -> None:
        self.session, self.thread = session, body["threadId"]
        self.reason, self.text = body["reason"], body.get("text", "")

    def frames(self) -> list[Message]:
        found: list[Message] = self.session.ask("stackTrace", threadId=self.thread)[
            "stackFrames"
        ]
        return found

    @property
    def place(self) -> tuple[str, int]:
        """Folder and file, and line, of the innermost frame."""
        frame = self.frames()[0]
        path = Path(frame["source"]["path"])
        return f"{path.parent.name}/{path.name}", frame["line"]

    def evaluate(self, text: str, context: str = "repl") -> str:
        frame = self.frames()[0]["id"]
        answer = self.session.ask(
            "evaluate", expression=text, frameId=frame, context=context
        )
        return str(answer["result"])

    def go_on(self, how: str = "continue") -> None:
        """``continue``, ``next`` (over), ``stepIn`` or ``stepOut``."""
        self.session.ask(how, threadId=self.thread)


class Editor:
    """Starts what a launch configuration says, and debugs all that it starts."""

    def __init__(
        self,
        configuration: Mapping[str, Any],
        *,
        breakpoints: Mapping[Path, list[Message]],
        exceptions: list[str] | None = None,
        log: Path,
    ) -> None:
        self._breakpoints = breakpoints
        self._exceptions = exceptions or []
        self._log = log.open("wb")
        self._stops: queue.Queue[Stop] = queue.Queue()
        self.output: list[str] = []
        self.children = 0
        self._configuration = dict(configuration)
        self._begun: dict[int, threading.Event] = {}
        self._sessions: list[Session] = []
        self.adapter: subprocess.Popen[bytes] | None = None
        self.main = self._first()
        self._begin(self.main, self._configuration)

    def _first(self) -> Session:
        """Speak to an adapter of our own, or to that of a process that listens."""
        where = self._configuration.get("connect")
        if where is not None:
            return self._connected(where)
        self.adapter = subprocess.Popen(
            [sys.executable, "-m", "debugpy.adapter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        return self._session(self.adapter.stdout, self.adapter.stdin)

    def _connected(self, where: Message) -> Session:
        connection = socket.create_connection((where["host"], where["port"]))
        reader, writer = connection.makefile("rb"), connection.makefile("wb")
        return self._session(reader, writer, connection)

    def _session(
        self, reader: Any, writer: Any, connection: socket.socket | None = None
    ) -> Session:
        ready = threading.Event()
        made: list[Session] = []

        def on_event(message: Message) -> None:
            self._take(made, ready, message)

        session = Session(reader, writer, on_event=on_event, connection=connection)
        self._sessions.append(session)
        session.log = self._log
        made.append(session)
        self._begun[id(session)] = ready
        return session

    def _begin(self, session: Session, configuration: Message) -> None:
        session.ask(
            "initialize",
            adapterID="debugpy",
            pathFormat="path",
            linesStartAt1=True,
            columnsStartAt1=True,
            supportsRunInTerminalRequest=True,
            supportsStartDebuggingRequest=False,
        )
        request = configuration["request"]
        number = session.send(request, **configuration)
        assert self._begun[id(session)].wait(LIMIT_S), "the adapter is not ready"
        for path, lines in self._breakpoints.items():
            session.ask("setBreakpoints", source={"path": str(path)}, breakpoints=lines)
        session.ask("setExceptionBreakpoints", filters=self._exceptions)
        session.ask("configurationDone")
        session.answer(number, request)

    def _take(
        self, made: list[Session], ready: threading.Event, message: Message
    ) -> None:
        event, body = message["event"], message.get("body") or {}
        if event == "initialized":
            ready.set()
        elif event == "stopped":
            self._stops.put(Stop(made[0], body))
        elif event == "output":
            self.output.append(body.get("output", ""))
        elif event == "debugpyAttach":
            threading.Thread(target=self._attach, args=(body,), daemon=True).start()

    def _attach(self, configuration: Message) -> None:
        """Open a session for a process that the debugged one has started."""
        self.children += 1
        self._begin(self._connected(configuration["connect"]), configuration)

    def stop(self, *, limit_s: float = LIMIT_S) -> Stop:
        """Wait until a process stands still."""
        return self._stops.get(timeout=limit_s)

    @property
    def has_stopped(self) -> bool:
        return not self._stops.empty()

    def end(self) -> None:
        """End the session, as Shift+F5 does."""
        with suppress(Exception):
            self.main.ask("disconnect", terminateDebuggee=self.adapter is not None)
        if self.adapter is not None and self.adapter.stdin is not None:
            self.adapter.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self.adapter.wait(10)
        for process in self.main.terminals:
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        self._log.close()

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        for process in (self.adapter, *self.main.terminals):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        for session in self._sessions:
            session.close()


def until(is_true: Callable[[], Any], what: str, *, limit_s: float = LIMIT_S) -> Any:
    """Wait for a condition and return what it gave."""
    ends_s = time.monotonic() + limit_s
    while not (found := is_true()):
        assert time.monotonic() < ends_s, f"no {what} after {limit_s:.0f} s"
        time.sleep(0.05)
    return found
