"""Starts whose message is put and whose row is being written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Starts:
    """The instances whose row this process is about to write."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._events: dict[str, asyncio.Event] = {}

    @contextmanager
    def writing(self, instance_id: str) -> Iterator[None]:
        """Say that the row of an instance is being written while the block runs."""
        self._count[instance_id] += 1
        self._events.setdefault(instance_id, asyncio.Event())
        try:
            yield
        finally:
            self._count[instance_id] -= 1
            if not self._count[instance_id]:
                del self._count[instance_id]
                self._events.pop(instance_id).set()

    async def until_written(self, instance_id: str) -> None:
        """Wait while the row of an instance is being written here."""
        event = self._events.get(instance_id)
        if event is not None:
            await event.wait()
