"""The threads in which synchronous user code runs; imports nothing of ours.

Not ``concurrent.futures``: its threads hold the process until they end, and user code
that never returns must not do that. These are daemons, named ``function-N``, or
``http-function-N``.

Instances have threads of their own, of which a request takes none: a request may wait
for an instance, and would wait for ever if it held the thread that the instance needs.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

# Twice what a pool of Python's own has at most: they wait most of the time, and none
# is started before it is needed. More requests than that wait for their turn.
HTTP_THREADS = 64


class FunctionThreads:
    """At most ``limit`` threads, each started when all others are busy."""

    def __init__(self, limit: int, *, name: str = "function") -> None:
        self._limit = limit
        self._name = name
        self._calls: SimpleQueue[Callable[[], bool]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0  # calls given to the threads; changed on the loop only

    async def run(self, call: Callable[[], T]) -> T:
        """Run *call* in a thread, in a copy of the current context.

        When the caller is cancelled, a call not yet begun never begins; one that has
        begun runs to its end and its result is dropped.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._unfinished += 1
        if len(self._threads) < min(self._unfinished, self._limit):
            self._start_thread()
        context = contextvars.copy_context()
        self._calls.put(partial(self._serve, loop, answer, partial(context.run, call)))
        return await answer

    async def close(self, *, limit_s: float) -> bool:
        """Let what runs end, for at most *limit_s*; False if something still runs."""
        loop = asyncio.get_running_loop()
        ended = [loop.create_future() for _ in self._threads]
        for future in ended:
            self._calls.put(partial(_end, loop, future))
        self._threads.clear()
        if not ended:
            return True
        _, running = await asyncio.wait(ended, timeout=limit_s)
        return not running

    def _start_thread(self) -> None:
        thread = threading.Thread(
            target=_work,
            args=(self._calls,),
            name=f"{self._name}-{len(self._threads) + 1}",
            daemon=True,
        )
        self._threads.append(thread)
        thread.start()

    def _serve(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: asyncio.Future[T],
        call: Callable[[], T],
    ) -> bool:
        if answer.cancelled():
            report = self._finish
        else:
            try:
                report = partial(self._finish, partial(_set_result, answer, call()))
            except BaseException as exc:
                report = partial(self._finish, partial(_set_exception, answer, exc))
        _report(loop, report)
        return True

    def _finish(self, settle: Callable[[], None] = lambda: None) -> None:
        self._unfinished -= 1
        settle()


def _work(calls: SimpleQueue[Callable[[], bool]]) -> None:
    while calls.get()():
        pass


def _end(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> bool:
    _report(loop, partial(_set_result, ended, None))
    return False


def _set_result(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _set_exception(future: asyncio.Future[T], exc: BaseException) -> None:
    if not future.done():
        future.set_exception(exc)


def _report(loop: asyncio.AbstractEventLoop, report: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(report)
    except RuntimeError:
        if not loop.is_closed():  # a closed loop has nobody left who waits
            raise
