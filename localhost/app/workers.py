"""Calls the app's functions in worker processes; replaces those that end."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from localhost.app.invocations import Told
from localhost.app.port import NOTHING
from localhost.app.worker_process import Command, WorkerEndedError, WorkerProcess
from localhost.declared import Function, FunctionApp, FunctionFault
from localhost.errors import CannotStartError
from localhost.outcome import (
    Failure,
    HttpAnswer,
    HttpAsked,
    Outcome,
    Raised,
    Result,
    Returned,
)
from localhost.worker.channel import encoded

DRAIN_LIMIT_S = 30.0
MOST_TRIES = 5
PING_S, MOST_PINGS = 5.0, 6  # 30 s without an answer
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
ALONE_S = 30.0
IS_SHORT_S = 1.0  # a worker that lives shorter is replaced after a growing pause
MOST_NAMED = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How many worker processes there are, and how many calls run at once in each.

    ``threads`` are for the synchronous functions of instances, ``outside_threads`` for
    those that are called from outside: they may wait for instances.
    """

    command: Command
    count: int = 1
    threads: int
    outside_threads: int


class Workers:
    """The worker processes of one app while it is open."""

    def __init__(self, app: FunctionApp, options: Options) -> None:
        self._app = app
        self._options = options
        self._environ = dict(os.environ)
        self._ready: list[WorkerProcess] = []
        self._is_ready = asyncio.Event()
        self._may_load = asyncio.Event()
        self._is_ending = False
        self._keepers: list[asyncio.Task[None]] = []
        self._loaded: asyncio.Future[tuple[FunctionFault, ...]] | None = None
        self._one_at_a_time = asyncio.Lock()  # for calls whose worker has ended

    async def __aenter__(self) -> Workers:
        self._loaded = asyncio.get_running_loop().create_future()
        for number in range(self._options.count):
            self._keepers.append(
                asyncio.create_task(self._keep(), name=f"worker {number + 1}")
            )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close(limit_s=0.0)

    async def load(self) -> tuple[FunctionFault, ...]:
        """Let the workers import the app; see ``port.Callers``.

        Raises ``CannotStartError`` when no worker can be started.
        """
        assert self._loaded is not None
        self._may_load.set()
        return await asyncio.shield(self._loaded)

    async def close(self, *, limit_s: float = DRAIN_LIMIT_S) -> None:
        """Wait at most *limit_s* for calls that run, then end the processes."""
        self._is_ending = True
        answers = [answer for each in self._ready for _, answer in each.calls.values()]
        if answers and limit_s > 0:
            await asyncio.wait(answers, timeout=limit_s)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers.clear()

    # Calls

    async def invoke(
        self,
        function: Function,
        trigger: str,
        *,
        instance_id: str,
        bindings: Mapping[str, str] = NOTHING,
        is_from_outside: bool = False,
    ) -> Outcome:
        """Call a durable function; see ``port.Callers``.

        A call whose worker ends is called again, now alone among such calls: one that
        ends five workers in a row fails.
        """
        told = Told.of(function, instance_id)
        header = {"bindings": dict(bindings), "outside": is_from_outside}
        body = encoded(trigger)
        result = await self._called(told, header, body)
        for _ in range(MOST_TRIES - 1):
            if result is None:
                result = await self._called_alone(told, header, body)
        if result is None:
            text = (
                f"Function '{function.name}' failed: its worker process ended each of"
                f" the {MOST_TRIES} times that it was called. Look for os._exit, a"
                " crash of a native library, or a lack of memory in it."
            )
            raised = Raised(type_name="", message=text, traceback="")
            result = Failure(raised=raised, report=text)
        told.end(result)
        outcome = result.raised if isinstance(result, Failure) else result
        assert isinstance(outcome, (Returned, Raised))
        return outcome

    async def respond(
        self, function: Function, asked: HttpAsked, *, bindings: Mapping[str, str]
    ) -> HttpAnswer | Raised:
        """Call an HTTP function; one whose worker ends is not called again."""
        told = Told.of(function, "-")
        http = {
            "method": asked.method,
            "url": asked.url,
            "headers": dict(asked.headers),
            "params": dict(asked.params),
            "route_params": dict(asked.route_params),
        }
        header = {"bindings": dict(bindings), "outside": True, "http": http}
        result = await self._called(told, header, asked.body)
        if result is None:
            text = "its worker process ended while it ran"
            raised = Raised(type_name="", message=text, traceback="")
            result = Failure(raised=raised, report=text)
        told.end(result)
        answer = result.raised if isinstance(result, Failure) else result
        assert isinstance(answer, (HttpAnswer, Raised))
        return answer

    async def _called(
        self, told: Told, header: Mapping[str, object], body: bytes
    ) -> Result | None:
        """Call a function in the least busy worker; None when that worker ended."""
        worker = await self._least_busy()
        try:
            return await worker.call(told.invocation, header, body)
        except WorkerEndedError:
            if self._is_ending:
                raise
            return None

    async def _called_alone(
        self, told: Told, header: Mapping[str, object], body: bytes
    ) -> Result | None:
        """Call a function beside no other one whose worker has ended.

        One that has run for a while so is let go on beside others: they must not wait
        for what takes long.
        """
        async with self._one_at_a_time:
            calling = asyncio.ensure_future(self._called(told, header, body))
            try:
                await asyncio.wait([calling], timeout=ALONE_S)
            except asyncio.CancelledError:
                calling.cancel()
                raise
        try:
            return await calling
        except asyncio.CancelledError:
            calling.cancel()
            raise

    async def _least_busy(self) -> WorkerProcess:
        while True:
            await self._is_ready.wait()
            able = [each for each in self._ready if each.is_open]
            if able:
                return min(able, key=lambda each: len(each.calls))
            await asyncio.sleep(0)  # its keeper hears of its end

    # Processes

    async def _keep(self) -> None:
        """Have one worker process running, for ever."""
        pause_s = 0.0
        while True:
            began_s = time.monotonic()
            worker = WorkerProcess()
            pinging = asyncio.create_task(self._ping(worker), name="ping")
            is_ended = False
            try:
                is_ended = await self._live(worker)
            except Exception as exc:
                if not self._was_loaded():
                    self._give_up(exc)
                    return
                log.error("No worker process can be started: %s", exc)
            finally:
                pinging.cancel()
                if not is_ended:
                    await asyncio.shield(worker.end())
            if time.monotonic() - began_s > IS_SHORT_S:
                pause_s = 0.0
            await asyncio.sleep(pause_s)
            pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)

    async def _live(self, worker: WorkerProcess) -> bool:
        """Start a process, use it as long as it lives; True when it has ended."""
        assert self._loaded is not None
        await worker.start(self._options.command)
        await self._may_load.wait()
        try:
            faults = await worker.load(self._what_to_load())
        except WorkerEndedError as exc:
            how = await worker.end()
            raise CannotStartError(self._why_not(worker, how)) from exc
        if not self._loaded.done():
            self._loaded.set_result(faults)
        self._ready.append(worker)
        self._is_ready.set()
        try:
            await worker.lost
        finally:
            self._ready.remove(worker)
            if not self._ready:
                self._is_ready.clear()
        how = await worker.end()
        names = [
            f"{each.function_name} ({each.instance_id})" for each in worker.ran_at_end
        ]
        more = len(names) - MOST_NAMED
        also = f" and {more} more" if more > 0 else ""
        log.error(
            "The worker process %d ended (%s); running: %s. Another one takes its"
            " place.",
            worker.pid,
            how,
            (", ".join(names[:MOST_NAMED]) + also) or "nothing",
        )
        return True

    def _what_to_load(self) -> dict[str, object]:
        """Return what a worker needs to know before it imports the app."""
        known = self._environ
        return {
            "root": str(self._app.root),
            "functions": [each.to_wire() for each in self._app.callable_functions],
            "threads": {
                "instances": self._options.threads,
                "outside": self._options.outside_threads,
            },
            "environ": {n: v for n, v in os.environ.items() if known.get(n) != v},
        }

    def _why_not(self, worker: WorkerProcess, how: str) -> str:
        """Say why a worker ended before the app was imported, and what to do."""
        python = self._options.command.python
        why = worker.why_not or f"it ended ({how}) while it imported the app"
        return (
            f"The app's Python {python} cannot run the app: {why}. Expected: the"
            " packages of requirements.txt are installed there, and no import ends the"
            f" process. Install them: {python} -m pip install -r requirements.txt"
        )

    def _was_loaded(self) -> bool:
        assert self._loaded is not None
        return self._loaded.done() and self._loaded.exception() is None

    def _give_up(self, error: Exception) -> None:
        assert self._loaded is not None
        if not self._loaded.done():
            self._loaded.set_exception(error)
            self._loaded.exception()  # nobody may ask for it

    async def _ping(self, worker: WorkerProcess) -> None:
        """End a worker that does not answer; one with a debugger may stand still."""
        while True:
            await asyncio.sleep(PING_S)
            if worker not in self._ready:
                continue
            if worker.unanswered_pings >= MOST_PINGS and not worker.has_debugger:
                log.error(
                    "The worker process %d has not answered for %d s: it is ended.",
                    worker.pid,
                    MOST_PINGS * PING_S,
                )
                worker.kill()
                return
            try:
                worker.ping()
            except WorkerEndedError:
                return
