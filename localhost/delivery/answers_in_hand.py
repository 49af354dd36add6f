"""Answers of activities until a history holds them.

The work items of those that came from a queue live on, locked. Each of them costs
renewals while it waits and a delete in the end, and an emulated queue takes the longer
for both the more it holds. Who takes work items faster than their answers can be stored
keeps the storage busy with locks alone.
"""

from __future__ import annotations

import time

from localhost.delivery.messages import WorkItem

MOST_ANSWERS = 1_000
FEW_ANSWERS = 64  # may be late without holding up anything: their instance is slow
LATE_S = 2.0  # before half of the first lock has gone


class AnswersInHand:
    """The work items whose answers wait, oldest first."""

    def __init__(self) -> None:
        self._since_s: dict[WorkItem, float] = {}

    @property
    def are_many(self) -> bool:
        """Whether storing them lags behind, so that nothing more should be begun."""
        if len(self._since_s) <= FEW_ANSWERS:
            return False
        since_s = next(iter(self._since_s.values()))
        is_late = time.monotonic() - since_s >= LATE_S
        return is_late or len(self._since_s) >= MOST_ANSWERS

    def take(self, work_item: WorkItem) -> None:
        """Count a work item that has been answered."""
        self._since_s[work_item] = time.monotonic()

    def release(self, work_item: WorkItem) -> None:
        """Forget one whose answer is stored or given back."""
        self._since_s.pop(work_item, None)
