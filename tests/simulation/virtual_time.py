"""An event loop whose time jumps to what is due next, and clocks that follow it.

Everything in it happens in one order that the seed decides: hours take no time, and a
run that went wrong goes wrong again.
"""

from __future__ import annotations

import asyncio
import selectors
import time
import uuid
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from random import Random
from typing import Any, TypeVar

import pytest

from localhost import timestamps

T = TypeVar("T")
BEGIN_S = 1_000_000.0
BEGIN_NS = 1_795_000_000 * 10**9  # some day in 2026
tasks_of: ContextVar[weakref.WeakSet[asyncio.Task[Any]] | None] = ContextVar(
    "tasks_of", default=None
)


class NothingIsDueError(Exception):
    """Every task waits for another one: nothing will ever happen again."""


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: time passes instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = BEGIN_S

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise NothingIsDueError
            self.now_s += max(0.0, timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time; tasks know who began them, see ``tasks_of``."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self.set_task_factory(_noted_task)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._jumping.now_s


def _noted_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    task = asyncio.Task(coro, loop=loop, **options)
    tasks = tasks_of.get()
    if tasks is not None:
        tasks.add(task)
    return task


@contextmanager
def _clocks_of(loop: VirtualLoop, chance: Random) -> Iterator[None]:
    """Let clocks and ids of the code under test be those of the loop."""

    def passed_ns() -> int:
        return round((loop.time() - BEGIN_S) * 10**9)

    steady = timestamps.SteadyTime(
        wall_ns=lambda: BEGIN_NS + passed_ns(), monotonic_ns=passed_ns
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", loop.time)
        patch.setattr(timestamps, "_steady", steady)
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=chance.getrandbits(128)))
        yield


def run_in_virtual_time(main: Callable[[], Awaitable[T]], *, seed: str) -> T:
    """Run to the end of *main*; what it leaves running is cancelled."""
    loop = VirtualLoop()
    try:
        with _clocks_of(loop, Random(f"ids {seed}")):
            try:
                return loop.run_until_complete(main())
            finally:
                _cancel_all(loop)
    finally:
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    loop.set_exception_handler(lambda loop, context: None)
    while left := asyncio.all_tasks(loop):
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left))
