"""What the host asks of whoever calls the app's functions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from localhost.declared import Function, FunctionFault
from localhost.outcome import HttpAnswer, HttpAsked, Outcome, Raised

NOTHING: Mapping[str, str] = MappingProxyType({})


class Callers(Protocol):
    """Calls functions: in worker processes, or in this one."""

    async def load(self) -> tuple[FunctionFault, ...]:
        """Import every function; return those that cannot be loaded, and why.

        When one of them is called, it fails with the same fault.
        """

    async def invoke(
        self,
        function: Function,
        trigger: str,
        *,
        instance_id: str,
        bindings: Mapping[str, str] = NOTHING,
        is_from_outside: bool = False,
    ) -> Outcome:
        """Call an orchestrator, activity or entity with its trigger's text.

        ``bindings`` are the texts of its durableClient bindings by name. What comes
        from outside takes no thread of the instances: it may wait for one of them.
        """

    async def respond(
        self, function: Function, asked: HttpAsked, *, bindings: Mapping[str, str]
    ) -> HttpAnswer | Raised:
        """Call an HTTP function; Raised also when what it returned is no response."""

    async def close(self, *, limit_s: float) -> None:
        """Wait at most *limit_s* for calls that run; what runs on is let go."""
