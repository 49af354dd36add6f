"""What the host's own code raises: what may pass by itself, and what never will.

A storage that does not answer is waited for where it is asked, and a history that
another host wrote is read again; neither comes here. What the storage refuses for good
is not tried again. What nobody foresaw is tried some times, with growing pauses, and
then ends what it belongs to: nothing is tried for ever.
"""

from __future__ import annotations

from collections import Counter

from localhost.errors import HostError, StorageError, UnavailableError
from localhost.taskhub.port import UnreadableHistoryError

MOST_TRIES = 5
# The same request would be refused again.
_REFUSED = frozenset({400, 411, 413, 414, 431, 501})
_PASSING = frozenset({401, 403})  # of the account, not of the request


class Faults:
    """How often in a row the work on each instance has failed."""

    def __init__(self) -> None:
        self._tries: Counter[str] = Counter()

    def is_final(self, instance_id: str, exc: Exception) -> bool:
        """Count a fault; say whether the work is not to be tried again."""
        if isinstance(exc, UnavailableError):
            return False
        if isinstance(exc, StorageError) and exc.status in _PASSING:
            return False
        self._tries[instance_id] += 1
        if isinstance(exc, UnreadableHistoryError):
            return True
        if isinstance(exc, StorageError) and exc.status in _REFUSED:
            return True
        return self._tries[instance_id] >= MOST_TRIES

    def forget(self, instance_id: str) -> None:
        """Take note that the work has succeeded, or was given up."""
        self._tries.pop(instance_id, None)


def sentence_of(what: str, exc: Exception) -> str:
    """Return the sentence with which something ends that cannot be gone on with."""
    name = "" if isinstance(exc, HostError) else f"{type(exc).__name__}: "
    return f"The local host cannot go on with {what}: {name}{exc}"
