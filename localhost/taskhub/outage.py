"""Says on the console that the storage does not answer, and when it does again.

Imports nothing of ours and knows no request: it is told of tries and answers.
"""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)


class Outage:
    """Says that the storage does not answer, at most once a second, and when it does.

    A single try that failed is not worth a line: Node may close a connection at the
    moment we use it.
    """

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._said_s: float | None = None

    def note(self, url: str, reason: str) -> None:
        """Take notice of a try at an endpoint that failed."""
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        elif now_s - (self._said_s or self._began_s) >= (1.0 if self._said_s else 0.2):
            self._said_s = now_s
            log.warning(
                "The storage at %s does not answer (%s); trying again.",
                url,
                reason,
            )

    def end(self) -> None:
        """Take notice of an answer."""
        if self._began_s is None:
            return
        if self._said_s is not None:
            log.warning(
                "The storage answers again after %.1f s.",
                time.monotonic() - self._began_s,
            )
        self._began_s = self._said_s = None
