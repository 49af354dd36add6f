"""One call of user code: which function is called, for which instance."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """Which call of which function this is; ``instance_id`` is "-" for HTTP."""

    function_name: str
    instance_id: str
    invocation_id: str


# Set while user code runs, in its thread and in what it starts with a copied context,
# so that the console can tell which call a log record belongs to.
current_invocation: ContextVar[Invocation | None] = ContextVar(
    "current_invocation", default=None
)
