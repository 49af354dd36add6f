"""The order of items that were sent one after the other; pure.

``sent_at`` says when an item was sent whose order counts, None for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class HeldBack(Generic[Item]):
    """Items that wait until all that was sent before them is in hand, by queue."""

    def __init__(self, sent_at: Callable[[Item], int | None]) -> None:
        self._sent_at = sent_at
        self._items: dict[str, list[Item]] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self._items.values()))

    def add(self, queue: str, item: Item) -> None:
        """Hold an item back."""
        self._items.setdefault(queue, []).append(item)

    def take(self, queue: str | None) -> list[Item]:
        """Take the items of a queue, or (None) of all, in their order."""
        queues = list(self._items) if queue is None else [queue]
        items = [item for each in queues for item in self._items.pop(each, [])]
        return in_order(items, self._sent_at)


def in_order(
    items: Sequence[Item], sent_at: Callable[[Item], int | None]
) -> list[Item]:
    """Put items whose order counts in that order; the others stay where they are.

    A queue gives what was locked, and came back, behind what was sent later.
    """
    times = [sent_at(item) for item in items]
    ordered = [(t, item) for t, item in zip(times, items, strict=True) if t]
    rest = iter(sorted(ordered, key=lambda each: each[0]))
    return [next(rest)[1] if t else item for t, item in zip(times, items, strict=True)]
