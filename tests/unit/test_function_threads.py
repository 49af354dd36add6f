"""Synchronous user code runs in threads that cannot hold the process."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator

import pytest

from localhost.app.threads import FunctionThreads

LIMIT_S = 10.0
value: contextvars.ContextVar[str] = contextvars.ContextVar("value", default="unset")


@pytest.fixture
async def threads() -> AsyncIterator[FunctionThreads]:
    """Two threads, closed at the end."""
    opened = FunctionThreads(2)
    yield opened
    await opened.close(limit_s=LIMIT_S)


async def test_gives_the_result(threads: FunctionThreads) -> None:
    """What the call returns comes back."""
    assert 3 == await threads.run(lambda: 3)


async def test_passes_the_exception_on(threads: FunctionThreads) -> None:
    """What the call raises is raised."""
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_names_its_threads(threads: FunctionThreads) -> None:
    """The debugger shows which threads are the functions'."""
    assert "function-1" == await threads.run(lambda: threading.current_thread().name)


async def test_starts_no_more_threads_than_needed(threads: FunctionThreads) -> None:
    """One call after the other needs one thread."""
    names = {await threads.run(lambda: threading.current_thread().name) for _ in "abc"}

    assert {"function-1"} == names


async def test_runs_calls_side_by_side_up_to_the_limit(
    threads: FunctionThreads,
) -> None:
    """Two calls that wait for each other both end."""
    both = threading.Barrier(2, timeout=LIMIT_S)

    await asyncio.gather(threads.run(both.wait), threads.run(both.wait))


async def test_more_calls_than_threads_wait_their_turn(
    threads: FunctionThreads,
) -> None:
    """Nothing is lost when all threads are busy."""
    results = await asyncio.gather(*(threads.run(lambda i=i: i) for i in range(50)))  # type: ignore[misc]

    assert list(range(50)) == results


async def test_copies_the_context(threads: FunctionThreads) -> None:
    """A call sees the caller's context variables and cannot change them."""
    value.set("callers")

    seen = await threads.run(lambda: (value.get(), value.set("its own"))[0])

    assert ("callers", "callers") == (seen, value.get())


async def test_a_cancelled_call_that_waits_never_begins() -> None:
    """Who cancels before a thread is free does not get the call made."""
    threads, gate, made = FunctionThreads(1), threading.Event(), list[int]()
    first = asyncio.create_task(threads.run(gate.wait))
    second = asyncio.create_task(threads.run(lambda: made.append(1)))
    await asyncio.sleep(0)

    second.cancel()
    gate.set()
    await first
    await threads.close(limit_s=LIMIT_S)

    assert (True, []) == (second.cancelled(), made)


async def test_close_lets_go_what_does_not_end() -> None:
    """After the limit a thread that still runs is left, and told."""
    threads, gate = FunctionThreads(1), threading.Event()
    stuck = asyncio.create_task(threads.run(gate.wait))
    await asyncio.sleep(0)

    has_ended = await threads.close(limit_s=0.01)
    gate.set()
    await stuck

    assert not has_ended


async def test_close_waits_for_what_runs() -> None:
    """Within the limit a call comes to its end."""
    threads, gate = FunctionThreads(1), threading.Event()
    running = asyncio.create_task(threads.run(gate.wait))
    await asyncio.sleep(0)

    asyncio.get_running_loop().call_soon(gate.set)
    has_ended = await threads.close(limit_s=LIMIT_S)

    assert (True, True) == (has_ended, await running)
