"""What a call of user code gave: a user's fault is a result, not an exception.

A leaf: imports only the standard library, so that every room may read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True, slots=True)
class Returned:
    """The function returned; ``value`` is JSON text, or None for None."""

    value: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """The function raised.

    ``message`` is the whole text of the exception, the orchestrator's
    ``$OutOfProcData$`` part included. ``traceback`` holds frames only, from the
    first frame of the user's app on, none of this host.
    """

    type_name: str
    message: str
    traceback: str


Outcome: TypeAlias = Returned | Raised
