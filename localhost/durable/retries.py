"""Trying again what failed, with pauses, as retry options say; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localhost.durable.promises import Promise
from localhost.history import EventType, HistoryEvent
from localhost.timestamps import plus_ms

LONGEST_PAUSE_MS = 6 * 86_400_000.0
_FAILURES = (EventType.TaskFailed, EventType.SubOrchestrationInstanceFailed)


async def attempts(
    options: Mapping[str, Any],
    *,
    call: Callable[[], Promise],
    pause: Callable[[str], Promise],
    now: Callable[[], str],
) -> HistoryEvent | None:
    """Call until it succeeds or the attempts are used up; return the last answer.

    ``pause`` makes a timer due at a timestamp. The last failure waits for a timer that
    is due at once, because the SDK waits for it too.
    """
    pause_ms = float(options["firstRetryIntervalInMilliseconds"])
    longest_ms = float(
        options.get("maxRetryIntervalInMilliseconds") or LONGEST_PAUSE_MS
    )
    answer: HistoryEvent | None = None
    left = int(options["maxNumberOfAttempts"])
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
        await pause(plus_ms(now(), min(pause_ms, longest_ms)))
        pause_ms *= float(options.get("backoffCoefficient") or 1)
    return answer
