"""Says on the console that the storage does not answer, and when it does again.

One line for the beginning and one for the end, however many requests and services of
the account fail meanwhile. Imports nothing of ours and sends nothing: it is told of
requests.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

WORTH_A_LINE_S = 0.2
LONG_TRY_S = 5.0  # one try that took so long is worth a line by itself
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"  # when asyncio puts several errors together


@dataclass(slots=True, eq=False)
class Pending:
    """A request to the service at ``url`` that has not been answered yet."""

    url: str
    began_s: float = field(default_factory=time.monotonic)
    failures: int = 0
    is_left: bool = False


class Outage:
    """The requests of one account that were tried in vain and wait to be answered.

    A single try that failed is not worth a line: Node may close a connection at the
    moment we use it. The outage is over when every request that waits was answered:
    the queues may answer while the tables do not.
    """

    def __init__(self) -> None:
        self._waiting: set[Pending] = set()
        self._began_s: float | None = None

    def failed(self, request: Pending, reason: str) -> None:
        """Take notice of a try that failed; the request is going to be tried again."""
        request.failures += 1
        self._waiting.add(request)
        waited_s = time.monotonic() - request.began_s
        least_s = WORTH_A_LINE_S if request.failures > 1 else LONG_TRY_S
        if self._began_s is None and waited_s >= least_s:
            self._began_s = min(each.began_s for each in self._waiting)
            log.warning(
                "The storage at %s does not answer (%s). What needs it is tried again"
                " until it does.",
                request.url,
                reason,
            )

    def answered(self, request: Pending) -> None:
        """Take notice of an answer, which may end the outage."""
        if not self._waiting:
            return
        self._waiting -= {
            each
            for each in self._waiting
            if each is request or (each.is_left and each.url == request.url)
        }
        if not self._waiting and self._began_s is not None:
            log.warning(
                "The storage answers again after %.1f s.",
                time.monotonic() - self._began_s,
            )
            self._began_s = None

    def left(self, request: Pending) -> None:
        """Take notice that nobody waits any longer for the answer to a request.

        Once the outage was said, only another answer of that service may end it.
        """
        request.is_left = True
        if self._began_s is None:
            self._waiting.discard(request)


def reason_of(error: Exception) -> str:
    """Return in plain words why a service could not be asked, and what to do."""
    cause = getattr(error, "os_error", error)  # where aiohttp keeps it
    if isinstance(cause, socket.gaierror):
        return "its name is not known; check the network and the connection string"
    if isinstance(cause, ConnectionRefusedError) or _REFUSED in str(cause):
        return "nothing listens there; start it, unless that is under way"
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return "no answer came in time"
    if isinstance(cause, ssl.SSLError):
        return f"no secure connection: {cause}"
    what = str(error) or type(error).__name__
    if cause is not error:
        return f"it cannot be reached: {what}"
    return f"the connection broke off: {what}"
