"""The contract with azure-functions-durable: context body out, actions in; pure.

The SDK gets the whole history and returns every action that the orchestrator ever
asked for. Inputs are strings that hold JSON; each is decoded once, where the contract
says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localhost.history import HistoryEvent
from localhost.outcome import Outcome, Raised
from localhost.text import dumps, loads

MARKER = "\n\n$OutOfProcData$:"
LONG_TIMER_PIECE = "3.00:00:00"
LONGEST_TIMER = "6.00:00:00"  # beyond it the SDK cuts a timer into pieces


@dataclass(frozen=True, kw_only=True)
class OrchestratorState:
    """What an orchestrator function returned.

    ``actions`` are lists of actions: one list in schema versions 2 and 3, one per
    yield in version 1. ``error`` is set when the code raised, ``output`` is any JSON
    value, ``custom_status`` None when none is set.
    """

    is_done: bool
    actions: tuple[tuple[Mapping[str, Any], ...], ...]
    schema_version: int = 0
    output: object = None
    error: str | None = None
    custom_status: object = None


def context_body(
    history: Iterable[str],
    *,
    started: HistoryEvent,
    instance_id: str,
    http_sleep_ms: int,
) -> str:
    """Return what an orchestrator function receives; ``history`` is JSON texts."""
    parent = started["ParentInstance"]
    rest = {
        "input": _parsed(started["Input"]),
        "instanceId": instance_id,
        "isReplaying": started.is_played,
        "parentInstanceId": parent and parent["OrchestrationInstance"]["InstanceId"],
        "upperSchemaVersion": 1,
        "upperSchemaVersionNew": 2,
        "longRunningTimerIntervalDuration": LONG_TIMER_PIECE,
        "maximumShortTimerDuration": LONGEST_TIMER,
        "defaultHttpAsyncRequestSleepTimeMillseconds": http_sleep_ms,
    }
    return f'{{"history":[{",".join(history)}],{dumps(rest)[1:]}'


def state_of(outcome: Outcome) -> OrchestratorState:
    """Read what an orchestrator function returned or raised."""
    if isinstance(outcome, Raised):
        return _state_of_error(outcome)
    try:
        return _read(loads(outcome.value or ""))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        return failed_state(
            f"the function returned no state of an orchestrator: {exc!r}"
        )


def _state_of_error(raised: Raised) -> OrchestratorState:
    """Read the state that the SDK hides in the exception of user code."""
    _, marker, text = raised.message.partition(MARKER)
    if marker:
        try:
            return _read(loads(text))
        except (ValueError, TypeError, KeyError, AttributeError):
            pass  # user text that looks like the marker: an error like any other
    return failed_state(
        "One or more errors occurred. (Result: Failure\nException:"
        f" {raised.type_name}: {raised.message}\nStack: {raised.traceback})"
    )


def _read(wire: Mapping[str, Any]) -> OrchestratorState:
    error = wire.get("error")
    return OrchestratorState(
        is_done=bool(wire.get("isDone")),
        actions=tuple(tuple(actions) for actions in wire.get("actions") or ()),
        schema_version=int(wire.get("schemaVersion") or 0),
        output=wire.get("output"),
        error=str(error) if error else None,
        custom_status=wire.get("customStatus"),
    )


def failed_state(error: str) -> OrchestratorState:
    """Return the state of an orchestrator that asks for nothing and fails."""
    return OrchestratorState(
        is_done=False, actions=((),), schema_version=2, error=error
    )


def _parsed(text: str | None) -> Any:
    """Return the stored input as JSON; a text that is none stays a text."""
    if text is None:
        return None
    try:
        return loads(text)
    except ValueError:
        return text
