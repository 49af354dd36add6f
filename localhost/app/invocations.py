"""A call of a function as the console tells it: one line, and the user's traceback."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field

from localhost.declared import Function
from localhost.outcome import Failure
from localhost.worker.invocation import Invocation

_EXECUTED = "%s: Executed 'Functions.%s' (%s, Id=%s, Duration=%dms)"
_FAILED = _EXECUTED + "\n%s"
_log = logging.getLogger("localhost.invocations")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A call that has begun, and when."""

    invocation: Invocation
    began_s: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, function: Function, instance_id: str) -> Told:
        """Begin a call of a function; ``instance_id`` is "-" for HTTP."""
        return cls(
            invocation=Invocation(
                function_name=function.name,
                instance_id=instance_id,
                invocation_id=str(uuid.uuid4()),
            )
        )

    def end(self, result: object) -> None:
        """Write the line; a ``Failure`` brings its report."""
        asked = self.invocation
        known = {"function_name": asked.function_name}
        duration_ms = round((time.perf_counter() - self.began_s) * 1000)
        words = (asked.instance_id, asked.function_name)
        measured = (asked.invocation_id, duration_ms)
        if isinstance(result, Failure):
            report = result.report
            _log.error(_FAILED, *words, "Failed", *measured, report, extra=known)
        else:
            _log.info(_EXECUTED, *words, "Succeeded", *measured, extra=known)
