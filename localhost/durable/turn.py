"""One turn of one instance, decided: history + new events + actions → what happens.

Pure: everything a turn makes happen is in the ``Turn`` that ``decide`` returns, and
only the task hub's commit makes it happen. The same history and actions always give the
same ids, so that a turn that runs twice sends nothing that its receiver does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from localhost.durable.execution import Execution, RefusedError, Rules
from localhost.durable.outbox import Sender, messages
from localhost.durable.program import Program
from localhost.durable.replay import (
    Finished,
    NonDeterministicError,
    Replay,
)
from localhost.durable.sdk import OrchestratorState
from localhost.history import ANSWERS, EventType, HistoryEvent, Status
from localhost.records import TaskMessage, dumps

LARGEST_CUSTOM_STATUS_BYTES = 16 * 1024

_INBOUND = frozenset(
    {
        EventType.ExecutionStarted,
        EventType.ExecutionTerminated,
        EventType.ExecutionSuspended,
        EventType.ExecutionResumed,
        EventType.EventRaised,
        EventType.GenericEvent,
        EventType.OrchestratorCompleted,  # stands in a continuation's first events
        *ANSWERS,
    }
)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a turn makes happen.

    ``events`` are the new rows of the history. ``custom_status`` is JSON text or None.
    ``finished`` tells how the execution ended; ``continued`` holds the first events of
    the execution that follows it at once. ``fault`` is why it failed when the code
    itself raised nothing that could have been logged.
    """

    events: tuple[HistoryEvent, ...]
    outbox: tuple[TaskMessage, ...]
    custom_status: str | None
    finished: Finished | None = None
    continued: tuple[HistoryEvent, ...] = ()
    fault: str | None = None


def decide(
    *,
    past: Sequence[HistoryEvent],
    new: Sequence[HistoryEvent],
    state: OrchestratorState,
    rules: Rules,
    sender: Sender,
    now: str,
) -> Turn:
    """Decide a turn; ``new`` begins with its OrchestratorStarted.

    ``now`` (a timestamp) is given to everything the turn schedules.
    """
    history = [*past, *new]
    started = next(e for e in history if e.type is EventType.ExecutionStarted)
    execution = Execution.of(started)
    custom_status, state = _custom_status(state)
    program = Program(execution=execution, state=state, rules=rules)
    replay = Replay(program=program.run)
    _play(replay, program, history)
    continued = _continuation(started, program, replay, now)
    if not continued:
        _end(replay, program)
    return Turn(
        events=_rows(new, replay, now),
        outbox=tuple(messages(started, execution, replay, sender, now)),
        custom_status=custom_status,
        finished=replay.finished,
        continued=continued,
        fault=_fault(replay, program, state),
    )


def _fault(replay: Replay, program: Program, state: OrchestratorState) -> str | None:
    has_failed = replay.finished and replay.finished.status is Status.FAILED
    if not has_failed or program.failure == state.error is not None:
        return None
    return replay.finished.result if replay.finished else None


def as_stored(event: HistoryEvent) -> HistoryEvent:
    """Return an event as its row says it: what came in has been played."""
    return replace(event, is_played=True) if event.type in _INBOUND else event


def _play(replay: Replay, program: Program, history: Sequence[HistoryEvent]) -> None:
    try:
        for event in history:
            replay.take(event)
    except NonDeterministicError as exc:
        replay.finish(Status.FAILED, str(exc), f"Message: {exc}, StackTrace: ")
    except RefusedError as exc:  # in a later try of something that is tried again
        program.failure, program.has_run = str(exc), True


def _end(replay: Replay, program: Program) -> None:
    """Finish an execution whose code has ended and that waits for nothing more."""
    if replay.finished or not program.has_run or replay.open or replay.is_suspended:
        return
    if program.failure is not None:
        replay.finish(
            Status.FAILED,
            f"Orchestrator function '{program.execution.name}' failed:"
            f" {program.failure}",
            f"Message: {program.failure}, StackTrace: ",
        )
        return
    output = program.state.output
    replay.finish(Status.COMPLETED, None if output is None else dumps(output))


def _continuation(
    started: HistoryEvent, program: Program, replay: Replay, now: str
) -> tuple[HistoryEvent, ...]:
    """Return the first events of the execution that follows, if one does."""
    is_over = program.has_run and program.failure is None and not replay.finished
    if not is_over or replay.open or replay.is_suspended:
        return ()
    if program.continued_input is None:
        return ()
    following = program.execution.derived_id(replay.number(), "execution")
    fields: dict[str, Any] = {
        **started.fields,
        "OrchestrationInstance": {
            "InstanceId": program.execution.instance_id,
            "ExecutionId": following,
        },
        "Input": program.continued_input,
        "Generation": None,
    }
    return (
        HistoryEvent(type=EventType.OrchestratorStarted, timestamp=now),
        HistoryEvent(type=EventType.ExecutionStarted, timestamp=now, fields=fields),
        *(replace(event, is_played=True) for event in replay.carried),
        HistoryEvent(type=EventType.OrchestratorCompleted, timestamp=now),
    )


def custom_status_of(state: OrchestratorState) -> str | None:
    """Return the custom status as JSON, None when there is none or it is too large."""
    return _custom_status(state)[0]


def _custom_status(state: OrchestratorState) -> tuple[str | None, OrchestratorState]:
    """Return the custom status as JSON; one too large fails before any action."""
    if not state.custom_status:
        return None, state
    text = dumps(state.custom_status)
    size_bytes = len(text.encode("utf-16-le"))
    if size_bytes <= LARGEST_CUSTOM_STATUS_BYTES:
        return text, state
    error = (
        "The UTF-16 size of the JSON-serialized payload must not exceed 16 KB. The"
        f" current payload is {size_bytes / 1024:.2f} KB."
    )
    return None, replace(state, actions=((),), error=error, schema_version=2)


def _rows(
    new: Sequence[HistoryEvent], replay: Replay, now: str
) -> tuple[HistoryEvent, ...]:
    rows = [as_stored(event) for event in new]
    rows += [
        HistoryEvent(
            type=planned.type,
            timestamp=now,
            event_id=planned.id,
            fields=planned.fields,
        )
        for planned in replay.in_order()
    ]
    if replay.finished is not None:
        rows.append(_completion(replay.finished, now))
    if rows[-1].type is not EventType.OrchestratorCompleted:
        rows.append(HistoryEvent(type=EventType.OrchestratorCompleted, timestamp=now))
    return tuple(rows)


def _completion(finished: Finished, now: str) -> HistoryEvent:
    return HistoryEvent(
        type=EventType.ExecutionCompleted,
        timestamp=now,
        event_id=finished.id,
        fields={"OrchestrationStatus": finished.status, "Result": finished.result},
    )
