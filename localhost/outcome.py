"""What a call of user code got and gave: a user's fault is a result, no exception.

A leaf: imports only the standard library, so that every room may read it.
"""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpAsked:
    """A request for an HTTP function; ``url`` is whole, ``params`` are of its query."""

    method: str
    url: str
    headers: Mapping[str, str]
    params: Mapping[str, str]
    route_params: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpAnswer:
    """What an HTTP function answers; a name may stand more than once in ``headers``."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    mimetype: str
    charset: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """``raised`` goes to whoever called; ``report`` to the console.

    The report's first line says what was raised; the user's own frames follow.
    """

    raised: Raised
    report: str


Outcome: TypeAlias = Returned | Raised
Result: TypeAlias = Returned | HttpAnswer | Failure
