"""What a replay of the SDK takes by itself, without a host and without a storage."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import azure.durable_functions as df

from benchmarks.app.Sequence import orchestrator_function
from benchmarks.processes import BenchmarkError
from localhost.worker.sdk_patches import take_shortcuts

REPLAYS = 20
_AT = "2026-11-22T04:00:00.000001Z"
_KINDS = {"started": 0, "scheduled": 4, "completed": 5, "begun": 12, "ended": 13}


def replay_ms(step: int, *, steps: int) -> float:
    """Return how long the SDK replays a sequence that has come to a step."""
    take_shortcuts()  # as the host lets it
    history = list(_history(step, steps))
    body = json.dumps(
        {
            "history": history,
            "input": str(steps),
            "instanceId": "a" * 32,
            "isReplaying": True,
            "parentInstanceId": None,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
            "maximumShortTimerDuration": "6.00:00:00",
            "longRunningTimerIntervalDuration": "3.00:00:00",
        }
    )
    handle: Callable[[str], str] = df.Orchestrator.create(orchestrator_function)
    times_ms = []
    for _ in range(REPLAYS):
        began_s = time.perf_counter()
        state = json.loads(handle(body))
        times_ms.append((time.perf_counter() - began_s) * 1000)
        asked = len(state["actions"][0])
        if asked != min(step + 1, steps):
            raise BenchmarkError(f"at step {step} the sequence asked for {asked} tasks")
    return statistics.median(times_ms)


def _history(step: int, steps: int) -> Iterator[dict[str, Any]]:
    yield _event("begun")
    yield _event("started", Name="Sequence", Version="", Input=str(steps))
    for number in range(step):
        yield _event("scheduled", number, Name="Clock")
        yield _event("ended")
        yield _event("begun")
        yield _event("completed", TaskScheduledId=number, Result="1.0")


def _event(kind: str, event_id: int = -1, **fields: Any) -> dict[str, Any]:
    common = {"EventId": event_id, "IsPlayed": True, "Timestamp": _AT}
    return {"EventType": _KINDS[kind], **fields, **common}
