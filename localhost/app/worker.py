"""Loads the app's functions and calls them; the one door to the user's code.

Synchronous functions run in threads of ours, asynchronous ones on the loop. A user's
fault is a result (``Raised``); each call writes one line to the log.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any, Generic, Literal, TypeVar

import azure.functions as func

from localhost.app.invocation import Invocation, OutValue, current_invocation
from localhost.app.loader import (
    LoadedFunction,
    import_durable_sdk,
    load_function,
    settle_codec_notice,
)
from localhost.app.manifest import Function, FunctionApp, FunctionFault
from localhost.app.modules import AppModules
from localhost.app.shortcuts import take_shortcuts
from localhost.app.signature import FunctionLoadError
from localhost.app.threads import HTTP_THREADS, FunctionThreads
from localhost.app.traces import Failure, failure_of
from localhost.errors import HostError
from localhost.outcome import Outcome, Raised, Returned

__all__ = [
    "Invocation",
    "Outcome",
    "Raised",
    "Returned",
    "Worker",
    "current_invocation",
]

T = TypeVar("T")
Kind = Literal["orchestration", "activity", "entity"]

DRAIN_LIMIT_S = 30.0
_FAULTS_OF_MODULES = (*(Exception, SystemExit, GeneratorExit, asyncio.CancelledError),)
_NOTHING: Mapping[str, str] = MappingProxyType({})
_EXECUTED = "%s: Executed 'Functions.%s' (%s, Id=%s, Duration=%dms)"
_FAILED = _EXECUTED + "\n%s"
_invocations = logging.getLogger("localhost.invocations")


@dataclass(frozen=True, kw_only=True)
class _Call(Generic[T]):
    """One call: what goes in, and how what comes out is made a result."""

    invocation: Invocation
    threads: FunctionThreads
    trigger: Any
    bindings: Mapping[str, str]
    finish: Callable[[LoadedFunction, Any, Mapping[str, OutValue]], T]

    def arguments(
        self, loaded: LoadedFunction
    ) -> tuple[dict[str, Any], dict[str, OutValue]]:
        return loaded.arguments(self.trigger, self.bindings, self.invocation)


class Worker:
    """The functions of one app while it is open.

    The worker loaded last owns the name ``__app__`` in this process. Leaving the
    context waits for what runs, see ``close``. ``threads`` is how many the functions of
    instances may need at once; what is asked for from outside has others.
    """

    def __init__(self, app: FunctionApp, *, threads: int) -> None:
        self._app = app
        self._threads = FunctionThreads(threads)
        self._http_threads = FunctionThreads(HTTP_THREADS, name="http-function")
        self._modules = AppModules(app.root)
        self._loaded: dict[str, LoadedFunction] = {}
        self._broken: dict[str, Failure] = {}
        self._by_durable_name: dict[tuple[str, str], Function] = {}
        self._running: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> Worker:
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
        await _close_session_of_sdk()
        self._modules.uninstall()
        self._loaded.clear()
        self._by_durable_name.clear()

    def load(self) -> tuple[FunctionFault, ...]:
        """Import every function that is run here and not disabled.

        Returns those that cannot be loaded, with the user's traceback; when one of
        them is called, it fails with the same fault.
        """
        self._modules.install()
        import_durable_sdk()
        take_shortcuts()
        settle_codec_notice()
        faults = []
        for function in self._app.functions:
            if function.disabled or not function.is_run_here:
                continue
            try:
                self._loaded[function.name] = load_function(function, self._modules)
            except _FAULTS_OF_MODULES as exc:
                failure = failure_of(exc, self._app.root)
                self._broken[function.name] = failure
                message = _load_message(function, exc, failure)
                faults.append(FunctionFault(name=function.name, message=message))
            kind = function.trigger.type.removesuffix("Trigger")
            key = (kind, function.durable_name.lower())
            self._by_durable_name.setdefault(key, function)
        return tuple(faults)

    def find(self, kind: Kind, durable_name: str) -> Function | None:
        """The enabled function of that name, ignoring case, even if it is broken."""
        return self._by_durable_name.get((kind, durable_name.lower()))

    def names(self, kind: Kind) -> tuple[str, ...]:
        """The Durable names of the enabled functions of a kind, in order of name."""
        return tuple(
            function.durable_name
            for (its_kind, _), function in self._by_durable_name.items()
            if its_kind == kind
        )

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
        return await self._call(
            _Call(
                invocation=_invocation(function, instance_id),
                threads=self._http_threads if is_from_outside else self._threads,
                trigger=trigger,
                bindings=bindings,
                finish=LoadedFunction.result,
            )
        )

    async def respond(
        self,
        function: Function,
        request: func.HttpRequest,
        *,
        bindings: Mapping[str, str],
    ) -> func.HttpResponse | Raised:
        """Call an HTTP function; Raised also when what it returned is no response."""
        return await self._call(
            _Call(
                invocation=_invocation(function, "-"),
                threads=self._http_threads,
                trigger=request,
                bindings=bindings,
                finish=LoadedFunction.response,
            )
        )

    async def _call(self, call: _Call[T]) -> T | Raised:
        started_at = time.perf_counter()
        invocation = call.invocation
        loaded = self._loaded.get(invocation.function_name)
        result: T | Failure
        if loaded is None:
            result = self._broken_function(invocation.function_name)
        else:
            _check_bindings(loaded, call.bindings)
            result = await self._run(loaded, call)
        _log(invocation, result, time.perf_counter() - started_at)
        return result.raised if isinstance(result, Failure) else result

    async def _run(self, loaded: LoadedFunction, call: _Call[T]) -> T | Failure:
        done = asyncio.get_running_loop().create_future()
        self._running.add(done)
        token = current_invocation.set(call.invocation)
        try:
            if loaded.is_async:
                return await self._run_on_loop(loaded, call)
            return await call.threads.run(partial(self._run_in_thread, loaded, call))
        finally:
            current_invocation.reset(token)
            self._running.discard(done)
            done.set_result(None)

    def _run_in_thread(self, loaded: LoadedFunction, call: _Call[T]) -> T | Failure:
        try:
            arguments, outputs = call.arguments(loaded)
            return call.finish(loaded, loaded.code(**arguments), outputs)
        except BaseException as exc:  # sys.exit() in a function ends the function only
            return failure_of(exc, self._app.root)

    async def _run_on_loop(self, loaded: LoadedFunction, call: _Call[T]) -> T | Failure:
        """Run the code in a task of its own, so that each knows who was cancelled.

        A cancel in that task is the code's own doing. A cancel of ours is passed on; it
        ends when the code has cleaned up.
        """
        ended = self._ended(loaded, call)
        task = asyncio.create_task(ended, name=call.invocation.function_name)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if task.cancelled():  # before it began
            return failure_of(asyncio.CancelledError(), self._app.root)
        return task.result()

    async def _ended(self, loaded: LoadedFunction, call: _Call[T]) -> T | Failure:
        try:
            arguments, outputs = call.arguments(loaded)
            return call.finish(loaded, await loaded.code(**arguments), outputs)
        except BaseException as exc:  # SystemExit would end the loop
            return failure_of(exc, self._app.root)

    def _broken_function(self, name: str) -> Failure:
        failure = self._broken.get(name)
        if failure is None:
            raise HostError(
                f"The function {name} was called but is not loaded; loaded are"
                f" {', '.join(self._loaded) or 'none'}. It is disabled, has a trigger"
                " that is not run here, or the worker is closed."
            )
        return failure


async def _close_session_of_sdk() -> None:
    """Close the HTTP session that azure-functions-durable keeps for its client.

    It never closes it itself, and aiohttp would complain of that at the end.
    """
    module = sys.modules.get("azure.durable_functions.models.utils.http_utils")
    session = getattr(module, "_client_session", None)
    if session is not None:
        with suppress(RuntimeError):  # the loop of a user's own asyncio.run() is gone
            await session.close()


def _invocation(function: Function, instance_id: str) -> Invocation:
    return Invocation(
        function_name=function.name,
        instance_id=instance_id,
        invocation_id=str(uuid.uuid4()),
    )


def _check_bindings(loaded: LoadedFunction, bindings: Mapping[str, str]) -> None:
    missing = [name for name, _ in loaded.inputs if name not in bindings]
    if missing:
        raise HostError(
            f"The function {loaded.function.name} was called without a value for its"
            f" binding {missing[0]}; given are {', '.join(bindings) or 'none'}."
        )


def _load_message(function: Function, exc: BaseException, failure: Failure) -> str:
    if isinstance(exc, FunctionLoadError):
        return str(exc)
    script = f"{function.folder.name}/{function.script.name}"
    advice = ""
    if isinstance(exc, ModuleNotFoundError):
        advice = (
            f"\nIf {exc.name} is a package, add it to requirements.txt and install it."
        )
    return f"{script} cannot be imported: {failure.report}{advice}"


def _log(invocation: Invocation, result: object, duration_s: float) -> None:
    known = (invocation.instance_id, invocation.function_name)
    measured = (invocation.invocation_id, round(duration_s * 1000))
    if isinstance(result, Failure):
        _invocations.error(_FAILED, *known, "Failed", *measured, result.report)
    else:
        _invocations.info(_EXECUTED, *known, "Succeeded", *measured)
