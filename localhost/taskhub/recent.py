"""Rows of instances as this process has just written them.

Who waits for an instance asks for its status again and again. The process that works on
the instance knows what it has written, and says so for a second; whatever others wrote
meanwhile shows a second later.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from localhost.taskhub.tables import Row

RECENT_S = 1.0
MOST_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class _Written:
    row: Row
    at_s: float


class RecentRows:
    """Rows by their PartitionKey, each for ``RECENT_S`` after it was written."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, _Written] = OrderedDict()

    def note(self, key: str, row: Row) -> None:
        """Remember a whole row that was written now."""
        self._rows.pop(key, None)
        self._rows[key] = _Written(row, time.monotonic())
        if len(self._rows) > MOST_ROWS:
            self._rows.popitem(last=False)

    def take(self, key: str) -> Row | None:
        """Forget a row, and return it if it was known: it is about to change."""
        written = self._rows.pop(key, None)
        return None if written is None or _is_old(written) else written.row

    def get(self, key: str) -> Row | None:
        """Return a row that was written a moment ago."""
        written = self._rows.get(key)
        return None if written is None or _is_old(written) else written.row


def _is_old(written: _Written) -> bool:
    return time.monotonic() - written.at_s >= RECENT_S
