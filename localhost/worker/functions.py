"""The app's functions, imported and called; whoever calls decides where they run.

A user's fault is a result (``Failure``), not an exception.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localhost.declared import Function, FunctionFault
from localhost.errors import HostError
from localhost.outcome import Failure, HttpAsked, Result
from localhost.worker.invocation import Invocation
from localhost.worker.loading import (
    LoadedFunction,
    import_durable_sdk,
    load_function,
    settle_codec_notice,
)
from localhost.worker.modules import AppModules
from localhost.worker.sdk_patches import take_shortcuts
from localhost.worker.signature import FunctionLoadError
from localhost.worker.tracebacks import failure_of

_FAULTS_OF_MODULES = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call: ``trigger`` is a request, or the text of a durable trigger.

    ``bindings`` are the texts of its durableClient bindings by name.
    """

    invocation: Invocation
    trigger: str | HttpAsked
    bindings: Mapping[str, str]


class AppFunctions:
    """The functions of the app at ``root``, between ``load`` and ``close``."""

    def __init__(self, root: Path, functions: Sequence[Function]) -> None:
        self._root = root
        self._functions = functions
        self._modules = AppModules(root)
        self._loaded: dict[str, LoadedFunction] = {}
        self._broken: dict[str, Failure] = {}

    def load(self) -> tuple[FunctionFault, ...]:
        """Import every function.

        Returns those that cannot be loaded, with the user's traceback; when one of
        them is called, it fails with the same fault.
        """
        self._modules.install()
        import_durable_sdk()
        take_shortcuts()
        settle_codec_notice()
        faults = []
        for function in self._functions:
            try:
                self._loaded[function.name] = load_function(function, self._modules)
            except _FAULTS_OF_MODULES as exc:  # noqa: PERF203 - the others are loaded
                failure = failure_of(exc, self._root)
                self._broken[function.name] = failure
                message = _load_message(function, exc, failure)
                faults.append(FunctionFault(name=function.name, message=message))
        return tuple(faults)

    async def close(self) -> None:
        """Forget the app's modules."""
        await _close_session_of_sdk()
        self._modules.uninstall()
        self._loaded.clear()

    def find(self, name: str) -> LoadedFunction | Failure:
        """Return a function, or why it could not be loaded."""
        found = self._loaded.get(name) or self._broken.get(name)
        if found is None:
            raise HostError(
                f"The function {name} was called but is not loaded; loaded are"
                f" {', '.join(self._loaded) or 'none'}. It is disabled, has a trigger"
                " that is not run here, or the worker is closed."
            )
        return found

    def run(self, function: LoadedFunction, call: Call) -> Result:
        """Call a synchronous function."""
        try:
            arguments, outputs = function.arguments(
                call.trigger, call.bindings, call.invocation
            )
            return function.finish(function.code(**arguments), outputs)
        except BaseException as exc:  # sys.exit() in a function ends the function only
            return failure_of(exc, self._root)

    async def run_on_loop(self, function: LoadedFunction, call: Call) -> Result:
        """Call an asynchronous function in a task of its own.

        So each knows who was cancelled: a cancel in that task is the code's own doing.
        A cancel of ours is passed on; it ends when the code has cleaned up.
        """
        task = asyncio.create_task(
            self._ended(function, call), name=call.invocation.function_name
        )
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if task.cancelled():  # before it began
            return failure_of(asyncio.CancelledError(), self._root)
        return task.result()

    async def _ended(self, function: LoadedFunction, call: Call) -> Result:
        try:
            arguments, outputs = function.arguments(
                call.trigger, call.bindings, call.invocation
            )
            return function.finish(await function.code(**arguments), outputs)
        except BaseException as exc:  # SystemExit would end the loop
            return failure_of(exc, self._root)


def check_bindings(function: LoadedFunction, bindings: Mapping[str, str]) -> None:
    """Raise ``HostError`` when a call lacks the value of a durableClient binding."""
    missing = [name for name, _ in function.inputs if name not in bindings]
    if missing:
        raise HostError(
            f"The function {function.function.name} was called without a value for its"
            f" binding {missing[0]}; given are {', '.join(bindings) or 'none'}."
        )


async def _close_session_of_sdk() -> None:
    """Close the HTTP session that azure-functions-durable keeps for its client.

    It never closes it itself, and aiohttp would complain of that at the end.
    """
    module = sys.modules.get("azure.durable_functions.models.utils.http_utils")
    session = getattr(module, "_client_session", None)
    if session is not None:
        with suppress(RuntimeError):  # the loop of a user's own asyncio.run() is gone
            await session.close()


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
