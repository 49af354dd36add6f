"""One turn of one instance, decided: history + new events + actions → what happens.

Pure: everything a turn makes happen is in the ``Turn`` that ``decide`` returns, and
only the task hub's commit makes it happen. The same history and actions always give the
same ids, so that a turn that runs twice sends nothing that its receiver does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from localhost.durable.execution import Execution, RefusedError, Rules
from localhost.durable.outbox import (
    Sender,
    answer_to_parent,
    messages,
    messages_again,
)
from localhost.durable.program import Program
from localhost.durable.replay import (
    Finished,
    NonDeterministicError,
    Replay,
)
from localhost.durable.sdk import OrchestratorState
from localhost.history import ANSWERS, EventType, HistoryEvent, Status
from localhost.records import TaskMessage, dumps
from localhost.timestamps import from_ticks, to_ticks

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

    ``events`` are the new rows of the history. ``outbox`` holds the messages for what
    they schedule, by number, ``answer`` that to the parent; ``again`` those that were
    asked for again. ``custom_status`` is JSON text or None. ``finished`` tells how the
    execution ended; ``continued`` holds the first events of the execution that follows
    it at once. ``fault`` is why it failed when the code itself raised nothing that
    could have been logged.
    """

    events: tuple[HistoryEvent, ...]
    outbox: Mapping[int, TaskMessage] = field(default_factory=dict)
    answer: TaskMessage | None = None
    again: Mapping[int, TaskMessage] = field(default_factory=dict)
    custom_status: str | None
    finished: Finished | None = None
    continued: tuple[HistoryEvent, ...] = ()
    fault: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether it schedules or ends anything."""
        return bool(self.outbox or self.finished or self.continued)


def decide(
    *,
    past: Sequence[HistoryEvent],
    new: Sequence[HistoryEvent],
    state: OrchestratorState,
    rules: Rules,
    sender: Sender,
    now: str,
    unsent: Collection[int] = (),
) -> Turn:
    """Decide a turn; ``new`` begins with its OrchestratorStarted.

    From ``now`` (a timestamp) on, everything that the turn schedules has a tick of its
    own. The messages for ``unsent``, numbers of what is in the history, come again.
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
    times = _times(replay, now)
    rows = _rows(new, replay, times, now)
    outbox = messages(replay, execution, sender, times)
    return Turn(
        events=rows,
        outbox=dict(zip(times, outbox, strict=True)),
        answer=_answer(started, rows, sender),
        again=messages_again(replay, execution, sender, unsent),
        custom_status=custom_status,
        finished=replay.finished,
        continued=continued,
        fault=_fault(replay, program, state),
    )


def _answer(
    started: HistoryEvent, rows: Sequence[HistoryEvent], sender: Sender
) -> TaskMessage | None:
    """Return the answer to the parent of an execution that ends with these rows."""
    for event in rows:
        if event.type is EventType.ExecutionCompleted:
            return answer_to_parent(started, event, sender)
    return None


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
        replay.finish(Status.FAILED, str(exc))
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


def failed_turn(
    *,
    past: Sequence[HistoryEvent],
    new: Sequence[HistoryEvent],
    error: str,
    sender: Sender,
    now: str,
    custom_status: str | None,
) -> Turn:
    """Return the turn that ends an execution which nobody can go on with.

    A wish to terminate it that is among the new events is granted as such.
    """
    history = [*past, *new]
    started = next(e for e in history if e.type is EventType.ExecutionStarted)
    number = max((event.event_id for event in history), default=-1) + 1
    finished = Finished(id=number, status=Status.FAILED, result=error)
    for event in new:
        if event.type is EventType.ExecutionTerminated:
            finished = Finished(
                id=number, status=Status.TERMINATED, result=event["Input"]
            )
    completed = _completion(finished, now)
    ended = HistoryEvent(type=EventType.OrchestratorCompleted, timestamp=now)
    return Turn(
        events=(*(as_stored(event) for event in new), completed, ended),
        answer=answer_to_parent(started, completed, sender),
        custom_status=custom_status,
        finished=finished,
        fault=error,
    )


def _times(replay: Replay, now: str) -> dict[int, str]:
    """Return when each number is scheduled: no two at the same tick."""
    first_tick = to_ticks(now)
    return {
        planned.id: from_ticks(first_tick + place)
        for place, planned in enumerate(replay.in_order())
    }


def _rows(
    new: Sequence[HistoryEvent], replay: Replay, times: Mapping[int, str], now: str
) -> tuple[HistoryEvent, ...]:
    rows = [as_stored(event) for event in new]
    rows += [
        HistoryEvent(
            type=planned.type,
            timestamp=times[planned.id],
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
