"""Promises: how a program of coroutines waits for answers; pure, no event loop.

A coroutine runs until it awaits a promise that is open, and goes on at the moment when
the promise is resolved. Nothing else ever makes it run.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Promise:
    """An answer that is still to come; awaiting it suspends the program."""

    __slots__ = ("_then", "is_done", "value")

    def __init__(self) -> None:
        self.is_done = False
        self.value: Any = None
        self._then: list[Callable[[], None]] = []

    def resolve(self, value: Any = None) -> None:
        """Give the answer and let everything go on that waited for it."""
        if self.is_done:
            return
        self.is_done, self.value = True, value
        waiting, self._then = self._then, []
        for go_on in waiting:
            go_on()

    def then(self, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` once the answer is there."""
        if self.is_done:
            go_on()
        else:
            self._then.append(go_on)

    def __await__(self) -> Generator[Promise, None, Any]:
        if not self.is_done:
            yield self
        return self.value


def begin(work: Coroutine[Promise, None, Any]) -> Promise:
    """Run a coroutine to its first open promise; the result resolves to its value."""
    result = Promise()

    def step() -> None:
        try:
            awaited = work.send(None)
        except StopIteration as stop:
            result.resolve(stop.value)
        else:
            awaited.then(step)

    step()
    return result


async def first_of(promises: list[Promise]) -> None:
    """Wait for the first of some promises."""
    first = Promise()
    for promise in promises:
        promise.then(first.resolve)
    await first


def resolved() -> Promise:
    """Return a promise whose answer is there: None."""
    promise = Promise()
    promise.resolve()
    return promise
