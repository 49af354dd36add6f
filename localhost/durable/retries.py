"""Trying again what failed, with pauses, as retry options say; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from localhost.durable.actions import Fields
from localhost.durable.promises import Promise
from localhost.history import EventType, HistoryEvent
from localhost.timestamps import plus_ms

LONGEST_PAUSE_MS = 6 * 86_400_000.0
_FAILURES = (EventType.TaskFailed, EventType.SubOrchestrationInstanceFailed)


@dataclass(frozen=True, kw_only=True)
class RetryOptions:
    """How often and with which pauses something is tried."""

    most_attempts: int
    first_pause_ms: float
    longest_pause_ms: float
    growth: float

    @classmethod
    def of(cls, wire: Fields) -> RetryOptions:
        """Read what an action says. Raises ``RefusedError``."""
        return cls(
            most_attempts=wire.integer("maxNumberOfAttempts", least=1),
            first_pause_ms=wire.number("firstRetryIntervalInMilliseconds"),
            longest_pause_ms=wire.number(
                "maxRetryIntervalInMilliseconds", default=LONGEST_PAUSE_MS
            ),
            growth=wire.number("backoffCoefficient", default=1),
        )


async def attempts(
    options: RetryOptions,
    *,
    call: Callable[[], Promise],
    pause: Callable[[str], Promise],
    now: Callable[[], str],
) -> HistoryEvent | None:
    """Call until it succeeds or the attempts are used up; return the last answer.

    ``pause`` makes a timer due at a timestamp. The last failure waits for a timer that
    is due at once, because the SDK waits for it too.
    """
    pause_ms, left = options.first_pause_ms, options.most_attempts
    answer: HistoryEvent | None = None
    while left > 0:
        answer = await call()
        left -= 1
        if answer is None or answer.type not in _FAILURES:
            return answer
        if left == 0:
            await pause(now())
            return answer
        if pause_ms <= 0:
            return answer
        await pause(plus_ms(now(), min(pause_ms, options.longest_pause_ms)))
        pause_ms *= options.growth
    return answer
