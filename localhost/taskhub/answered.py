"""Work items that live on, locked, as answers until a history holds them.

Each of them costs renewals while it waits and a delete in the end, and an emulated
queue takes the longer for both the more it holds. Who takes work items faster than
their answers can be stored keeps the storage busy with locks alone.
"""

from __future__ import annotations

import time

from localhost.taskhub.queues import Received

MOST_ANSWERS = 1_000
FEW_ANSWERS = 64  # may be late without holding up anything: their instance is slow
LATE_S = 2.0  # before half of the first lock has gone


class Answered:
    """The answers in hand, oldest first, by the id of the work item."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[Received, float]] = {}

    @property
    def are_many(self) -> bool:
        """Whether storing them lags behind, so that nothing more should be begun."""
        if len(self._items) <= FEW_ANSWERS:
            return False
        _, since_s = next(iter(self._items.values()))
        is_late = time.monotonic() - since_s >= LATE_S
        return is_late or len(self._items) >= MOST_ANSWERS

    def take(self, item: Received) -> None:
        """Keep a work item that has become an answer."""
        self._items[item.message_id] = (item, time.monotonic())

    def let_go(self, item: Received) -> bool:
        """Forget one that is stored or will be given again; True if it was one."""
        return self._items.pop(item.message_id, None) is not None

    def recognise(self, item: Received) -> bool:
        """Whether a work item that comes again is answered: it brings a new receipt."""
        known = self._items.get(item.message_id)
        if known is None:
            return False
        answer, _ = known
        answer.pop_receipt = item.pop_receipt
        answer.locked_until_s = item.locked_until_s
        return True
