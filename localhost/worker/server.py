"""The worker process: reads calls from its channel, runs them, sends what they gave.

Asynchronous functions run on the loop of the main thread, where the app is imported
too. Synchronous ones run in the thread that has read the call: another thread reads on.
So a call needs two changes of threads, not four.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localhost.declared import Function
from localhost.outcome import Failure, HttpAnswer, HttpAsked, Result
from localhost.worker.channel import Channel, Header, decoded, encoded
from localhost.worker.functions import AppFunctions, Call, check_bindings
from localhost.worker.invocation import Invocation, current_invocation
from localhost.worker.loading import LoadedFunction
from localhost.worker.logs import finish_lines, set_up_logs
from localhost.worker.tracebacks import text_of

END_LIMIT_S = 2.0  # for the user's threads and exit handlers when the host is gone


@dataclass(kw_only=True, eq=False)
class Pool:
    """Calls of one kind that run in threads, at most ``limit`` of them at once."""

    limit: int
    running: int = 0
    waiting: deque[Asked] = field(default_factory=deque)


@dataclass(kw_only=True, eq=False)
class Asked:
    """A call of a synchronous function, by its number."""

    number: int
    function: LoadedFunction
    call: Call
    pool: Pool


class Server:
    """Serves one channel until the host closes it."""

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop
        self._functions: AppFunctions | None = None
        self._pools: Mapping[str, Pool] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._reading = threading.Lock()
        self._changing = threading.Lock()  # guards what follows, and the pools
        self._idle = 0  # threads that wait to read
        self._started = 0
        self.ended = asyncio.Event()

    def start(self) -> None:
        """Begin to read."""
        with self._changing:
            self._start_thread()

    # Threads

    def _start_thread(self) -> None:
        self._idle += 1
        self._started += 1
        name = f"function-{self._started}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        asked = self._next()
        while asked is not None:
            self._run(asked)
            with self._changing:
                pool = asked.pool
                if pool.waiting:
                    asked = pool.waiting.popleft()
                    continue
                pool.running -= 1
                self._idle += 1
            asked = self._next()

    def _next(self) -> Asked | None:
        """Read until there is a call for this thread; None at the end."""
        with self._reading:
            while True:
                frame = self._channel.read()
                if frame is None:
                    self._loop.call_soon_threadsafe(self.ended.set)
                    return None
                asked = self._handle(*frame)
                if asked is not None and self._admit(asked):
                    return asked

    def _admit(self, asked: Asked) -> bool:
        """Whether a call may run in this thread now; else it waits for a place."""
        with self._changing:
            pool = asked.pool
            if pool.running >= pool.limit:
                pool.waiting.append(asked)
                return False
            pool.running += 1
            self._idle -= 1
            if self._idle == 0:
                self._start_thread()
            return True

    def _run(self, asked: Asked) -> None:
        assert self._functions is not None
        context = copy_context()
        context.run(current_invocation.set, asked.call.invocation)
        result = context.run(self._functions.run, asked.function, asked.call)
        context.run(finish_lines)
        self._answer(asked.number, result)

    # Frames

    def _handle(self, header: Header, body: bytes) -> Asked | None:
        """Do what a frame says; return the call of a synchronous function."""
        kind = header["k"]
        if kind == "call":
            try:
                return self._called(header, body)
            except Exception as exc:
                self._refuse(header["id"], exc)
        elif kind == "ping":
            self._channel.send({"k": "pong", **_debugger()})
        elif kind == "cancel":
            self._cancel(header["id"])
        elif kind == "end":
            self._loop.call_soon_threadsafe(self.ended.set)
        elif kind == "load":
            self._loop.call_soon_threadsafe(self._load, json.loads(body))
        return None

    def _called(self, header: Header, body: bytes) -> Asked | None:
        assert self._functions is not None
        function_name, instance_id, invocation_id = header["of"]
        invocation = Invocation(
            function_name=function_name,
            instance_id=instance_id,
            invocation_id=invocation_id,
        )
        call = Call(
            invocation=invocation,
            trigger=_trigger_of(header, body),
            bindings=header["bindings"],
        )
        function = self._functions.find(function_name)
        if isinstance(function, Failure):
            self._answer(header["id"], function)
            return None
        check_bindings(function, call.bindings)
        if function.is_async:
            self._loop.call_soon_threadsafe(
                self._begin, header["id"], function, call, context=copy_context()
            )
            return None
        pool = self._pools["outside" if header["outside"] else "instances"]
        return Asked(number=header["id"], function=function, call=call, pool=pool)

    def _begin(self, number: int, function: LoadedFunction, call: Call) -> None:
        current_invocation.set(call.invocation)
        running = self._run_on_loop(number, function, call)
        self._tasks[number] = self._loop.create_task(running)

    async def _run_on_loop(
        self, number: int, function: LoadedFunction, call: Call
    ) -> None:
        assert self._functions is not None
        try:
            result = await self._functions.run_on_loop(function, call)
        finally:
            del self._tasks[number]
        finish_lines()
        self._answer(number, result)

    def _cancel(self, number: int) -> None:
        """Let go of a call: one that has not begun never begins."""
        with self._changing:
            for pool in self._pools.values():
                for asked in [each for each in pool.waiting if each.number == number]:
                    pool.waiting.remove(asked)

        def cancel() -> None:
            if number in self._tasks:
                self._tasks[number].cancel()

        self._loop.call_soon_threadsafe(cancel)

    def _answer(self, number: int, result: Result) -> None:
        header: Header = {"k": "answer", "id": number, **_debugger()}
        if isinstance(result, Failure):
            raised = result.raised
            texts = [raised.type_name, raised.message, raised.traceback, result.report]
            self._channel.send({**header, "is": "failed"}, json.dumps(texts).encode())
        elif isinstance(result, HttpAnswer):
            header |= {
                "is": "http",
                "status": result.status,
                "headers": result.headers,
                "mimetype": result.mimetype,
                "charset": result.charset,
            }
            self._channel.send(header, result.body)
        elif result.value is None:
            self._channel.send({**header, "is": "nothing"})
        else:
            self._channel.send({**header, "is": "value"}, encoded(result.value))

    def _refuse(self, number: int, exc: Exception) -> None:
        text = text_of(exc)
        self._channel.send({"k": "answer", "id": number, "is": "error"}, encoded(text))

    # The app

    def _load(self, asked: Mapping[str, Any]) -> None:
        """Import the app: here, on the main thread, where a loop runs."""
        os.environ.update(asked["environ"])
        self._pools = {
            name: Pool(limit=limit) for name, limit in asked["threads"].items()
        }
        functions = AppFunctions(
            Path(asked["root"]), [Function.of_wire(each) for each in asked["functions"]]
        )
        try:
            faults = functions.load()
        except Exception:  # not the app's: those are faults
            self._channel.send({"k": "cannot"}, encoded(traceback.format_exc()))
            os._exit(1)
        self._functions = functions
        finish_lines()
        told = json.dumps([[fault.name, fault.message] for fault in faults])
        self._channel.send({"k": "loaded", **_debugger()}, told.encode())

    async def close(self) -> None:
        """Let the app end what it left open."""
        if self._functions is not None:
            await self._functions.close()


def _trigger_of(header: Header, body: bytes) -> str | HttpAsked:
    if "http" not in header:
        return decoded(body)
    return HttpAsked(body=body, **header["http"])


def _debugger() -> Header:
    """Say whether a debugger may stop this process: it does not answer then."""
    return {"debugger": True} if "pydevd" in sys.modules else {}


async def serve(channel: Channel) -> None:
    """Serve until the host closes the channel."""
    server = Server(channel, asyncio.get_running_loop())
    server.start()
    await server.ended.wait()
    threading.Thread(target=_end_at_last, name="end", daemon=True).start()
    await server.close()


def _end_at_last() -> None:
    """End the process, whatever of the user's code still runs."""
    time.sleep(END_LIMIT_S)
    os._exit(0)


def main(connection: socket.socket, *, level: int) -> None:
    """Serve a connection to the host."""
    # Ctrl-C goes to all processes of a terminal; the host decides what it means.
    signal.signal(signal.SIGINT, lambda *_: None)
    channel = Channel(connection)
    set_up_logs(channel, level=level)
    channel.send({"k": "hello", "pid": os.getpid(), **_debugger()})
    try:
        asyncio.run(serve(channel))
    finally:
        threading.Thread(target=_end_at_last, name="end", daemon=True).start()
