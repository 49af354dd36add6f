"""Calls the app's functions in this very process; see ``workers`` for the usual way.

Synchronous functions run in threads of ours, asynchronous ones on the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType, TracebackType

from localhost.app.invocations import Told
from localhost.app.threads import HTTP_THREADS, FunctionThreads
from localhost.declared import Function, FunctionApp, FunctionFault
from localhost.outcome import (
    Failure,
    HttpAnswer,
    HttpAsked,
    Outcome,
    Raised,
    Result,
    Returned,
)
from localhost.worker.functions import AppFunctions, Call, check_bindings
from localhost.worker.invocation import current_invocation

DRAIN_LIMIT_S = 30.0
_NOTHING: Mapping[str, str] = MappingProxyType({})


class InProcess:
    """The functions of one app while it is open.

    The one loaded last owns the name ``__app__`` in this process. Leaving the context
    waits for what runs, see ``close``. ``threads`` is how many the functions of
    instances may need at once; what is asked for from outside has others.
    """

    def __init__(self, app: FunctionApp, *, threads: int) -> None:
        self._functions = AppFunctions(app.root, app.callable_functions)
        self._threads = FunctionThreads(threads)
        self._http_threads = FunctionThreads(HTTP_THREADS, name="http-function")
        self._running: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> InProcess:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, *, limit_s: float = DRAIN_LIMIT_S) -> None:
        """Wait at most *limit_s* for calls that run, then forget the app's modules.

        What runs on after that is let go: it does not hold the process.
        """
        ends_at = time.monotonic() + limit_s
        if self._running:
            await asyncio.wait(self._running, timeout=limit_s)
        for threads in (self._threads, self._http_threads):
            await threads.close(limit_s=max(0.0, ends_at - time.monotonic()))
        await self._functions.close()

    async def load(self) -> tuple[FunctionFault, ...]:
        """Import every function; see ``port.Callers``."""
        return await asyncio.to_thread(self.load_now)

    def load_now(self) -> tuple[FunctionFault, ...]:
        """Import every function in this thread."""
        return self._functions.load()

    async def invoke(
        self,
        function: Function,
        trigger: str,
        *,
        instance_id: str,
        bindings: Mapping[str, str] = _NOTHING,
        is_from_outside: bool = False,
    ) -> Outcome:
        """Call an orchestrator, activity or entity with its trigger's text.

        ``bindings`` are the texts of its durableClient bindings by name. What comes
        from outside takes no thread of the instances.
        """
        threads = self._http_threads if is_from_outside else self._threads
        result = await self._call(function, instance_id, trigger, bindings, threads)
        assert isinstance(result, (Returned, Raised))
        return result

    async def respond(
        self, function: Function, asked: HttpAsked, *, bindings: Mapping[str, str]
    ) -> HttpAnswer | Raised:
        """Call an HTTP function; Raised also when what it returned is no response."""
        result = await self._call(function, "-", asked, bindings, self._http_threads)
        assert isinstance(result, (HttpAnswer, Raised))
        return result

    async def _call(
        self,
        function: Function,
        instance_id: str,
        trigger: str | HttpAsked,
        bindings: Mapping[str, str],
        threads: FunctionThreads,
    ) -> Returned | HttpAnswer | Raised:
        told = Told.of(function, instance_id)
        call = Call(invocation=told.invocation, trigger=trigger, bindings=bindings)
        result = await self._run(call, threads)
        told.end(result)
        return result.raised if isinstance(result, Failure) else result

    async def _run(self, call: Call, threads: FunctionThreads) -> Result:
        loaded = self._functions.find(call.invocation.function_name)
        if isinstance(loaded, Failure):
            return loaded
        check_bindings(loaded, call.bindings)
        done = asyncio.get_running_loop().create_future()
        self._running.add(done)
        token = current_invocation.set(call.invocation)
        try:
            if loaded.is_async:
                return await self._functions.run_on_loop(loaded, call)
            return await threads.run(partial(self._functions.run, loaded, call))
        finally:
            current_invocation.reset(token)
            self._running.discard(done)
            done.set_result(None)
