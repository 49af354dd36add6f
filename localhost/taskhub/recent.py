"""Rows of instances as this process has just written or read them.

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
_OF_ITS_VERSION = frozenset({"odata.etag", "Timestamp"})


@dataclass(frozen=True, slots=True)
class _Seen:
    row: Row
    at_s: float


class RecentRows:
    """Rows by their PartitionKey, each for ``RECENT_S`` after it was written or read.

    ``writes`` counts what was written: a row that was read is as of some moment since
    the reading began, and does not count if there was a write meanwhile.
    """

    def __init__(self) -> None:
        self._rows: OrderedDict[str, _Seen] = OrderedDict()
        self.writes = 0

    def note(self, key: str, row: Row) -> None:
        """Remember a whole row that was written now."""
        self.writes += 1
        self._keep(key, row)

    def note_read(self, key: str, row: Row, *, since: int) -> None:
        """Remember a row that was read, if ``writes`` is still ``since``."""
        if self.writes == since:
            self._keep(key, {k: row[k] for k in row if k not in _OF_ITS_VERSION})

    def merge(self, key: str, columns: Row) -> None:
        """Take note of columns that were merged into a row."""
        self.writes += 1
        known = self.get(key)
        if known is not None:
            self._keep(key, {**known, **columns})

    def forget(self, key: str) -> None:
        """Forget a row that has changed, or of which nobody knows what it is now."""
        self.writes += 1
        self._rows.pop(key, None)

    def forget_all(self) -> None:
        """Forget every row, because the storage may be older than it was."""
        self.writes += 1
        self._rows.clear()

    def get(self, key: str) -> Row | None:
        """Return a row as it was a moment ago."""
        seen = self._rows.get(key)
        is_old = seen is None or time.monotonic() - seen.at_s >= RECENT_S
        return None if seen is None or is_old else seen.row

    def _keep(self, key: str, row: Row) -> None:
        self._rows.pop(key, None)
        self._rows[key] = _Seen(row, time.monotonic())
        if len(self._rows) > MOST_ROWS:
            self._rows.popitem(last=False)
