"""One turn of one instance, decided: history + new events + actions → what happens.

Pure: everything a turn makes happen is in the ``Turn`` that ``decide`` returns, and
only the task hub's commit makes it happen. The same history and actions always give the
same ids, so that a turn that runs twice sends nothing that its receiver does not know.
"""

from __future__ import annotations

import traceback
from collections import Counter
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
from localhost.records import TaskMessage
from localhost.text import dumps
from localhost.timestamps import from_ticks, to_ticks

LARGEST_CUSTOM_STATUS_BYTES = 16 * 1024
_OPEN: Mapping[EventType | None, str] = {
    EventType.TaskScheduled: "activities",
    EventType.SubOrchestrationInstanceCreated: "sub-orchestrations",
    EventType.TimerCreated: "timers",
}

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
    could have been logged. ``notice`` is what its user should know of an instance that
    goes on; it stands in the one turn that makes it so.
    """

    events: tuple[HistoryEvent, ...]
    outbox: Mapping[int, TaskMessage] = field(default_factory=dict)
    answer: TaskMessage | None = None
    again: Mapping[int, TaskMessage] = field(default_factory=dict)
    custom_status: str | None
    finished: Finished | None = None
    continued: tuple[HistoryEvent, ...] = ()
    fault: str | None = None
    notice: str | None = None

    @property
    def messages(self) -> list[TaskMessage]:
        """What it sends, in order."""
        answers = [] if self.answer is None else [self.answer]
        return [*self.outbox.values(), *answers]

    @property
    def is_news(self) -> bool:
        """Whether it schedules or ends anything."""
        return bool(self.outbox or self.finished or self.continued)


@dataclass(frozen=True, kw_only=True)
class _Played:
    """A history that was played to its end, and what is to be told of it."""

    replay: Replay
    custom_status: str | None = None
    continued: tuple[HistoryEvent, ...] = ()
    fault: str | None = None
    notice: str | None = None


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
    own. The messages for ``unsent``, numbers of what is in the history, come again. A
    fault of ours fails the instance, with a text that says so: it would come again with
    every try.
    """
    history = [*past, *new]
    started = next(e for e in history if e.type is EventType.ExecutionStarted)
    execution = Execution.of(started)
    program = Program(execution=execution, state=state, rules=rules)

    def turn_of(played: _Played) -> Turn:
        replay = played.replay
        times = _times(replay, now)
        rows = _rows(new, replay, times, now)
        outbox = messages(replay, execution, sender, times)
        return Turn(
            events=rows,
            outbox=dict(zip(times, outbox, strict=True)),
            answer=_answer(started, rows, sender),
            again=messages_again(replay, execution, sender, unsent),
            custom_status=played.custom_status,
            finished=replay.finished,
            continued=played.continued,
            fault=played.fault,
            notice=played.notice,
        )

    try:
        return turn_of(_played(program, started, past, new, now))
    except Exception as exc:
        return turn_of(_given_up(exc, program, history))


def _played(
    program: Program,
    started: HistoryEvent,
    past: Sequence[HistoryEvent],
    new: Sequence[HistoryEvent],
    now: str,
) -> _Played:
    custom_status, program.state = _custom_status(program.state)
    replay = Replay(program=program.run)
    goes_on = _play(replay, program, past)
    was_over = program.has_run or program.is_at_end
    if goes_on:
        _play(replay, program, new)
    continued = _continuation(started, program, replay, now)
    if not continued:
        _end(replay, program)
    is_news = not (was_over or continued)
    return _Played(
        replay=replay,
        custom_status=custom_status,
        continued=continued,
        fault=_fault(replay, program),
        notice=_notice(replay, program, past) if is_news else None,
    )


def _given_up(
    exc: Exception, program: Program, history: Sequence[HistoryEvent]
) -> _Played:
    """Return the end of an instance whose turn this host cannot decide."""
    text = (
        f"Orchestrator function '{program.execution.name}' failed: the local host"
        f" cannot carry out what it asked for ({type(exc).__name__}: {exc}). This is a"
        " fault of the local host; expected: a turn. Report it with the lines of its"
        " console."
    )
    finished = Finished(
        id=1 + max(event.event_id for event in history),
        status=Status.FAILED,
        result=text,
    )
    replay = Replay(program=program.run, finished=finished)
    return _Played(replay=replay, fault=f"{text}\n{traceback.format_exc()}")


def _answer(
    started: HistoryEvent, rows: Sequence[HistoryEvent], sender: Sender
) -> TaskMessage | None:
    """Return the answer to the parent of an execution that ends with these rows."""
    for event in rows:
        if event.type is EventType.ExecutionCompleted:
            return answer_to_parent(started, event, sender)
    return None


def _fault(replay: Replay, program: Program) -> str | None:
    has_failed = replay.finished and replay.finished.status is Status.FAILED
    if not has_failed or program.failure == program.state.error is not None:
        return None
    return replay.finished.result if replay.finished else None


def _notice(
    replay: Replay, program: Program, past: Sequence[HistoryEvent]
) -> str | None:
    """Say what an instance waits for whose code waits for nothing."""
    if replay.finished or replay.is_suspended:
        return None
    if not program.has_run and not program.is_at_end:
        return None
    if not program.has_run:
        return (
            "the orchestrator function waits for something that never ends; expected:"
            " yield for tasks only. The instance stays Running, as in Azure. Remove"
            " the yield before context.signal_entity(...) or"
            " context.set_custom_status(...)."
        )
    kinds = {event.event_id: event.type for event in past if event.type in _OPEN} | {
        planned.id: planned.type for planned in replay.in_order()
    }
    open_ = Counter(_OPEN.get(kinds.get(number), "tasks") for number in replay.open)
    waits_for = ", ".join(f"{kind}: {count}" for kind, count in open_.items())
    return (
        "the orchestrator function has ended, but the instance is Running until what"
        f" it began has ended too, as in Azure ({waits_for}). Call cancel() on a timer"
        " that is no longer needed."
    )


def as_stored(event: HistoryEvent) -> HistoryEvent:
    """Return an event as its row says it: what came in has been played."""
    return replace(event, is_played=True) if event.type in _INBOUND else event


def _play(replay: Replay, program: Program, events: Sequence[HistoryEvent]) -> bool:
    """Play events; False when the code is not that of the history."""
    return all(_take(replay, program, event) for event in events)


def _take(replay: Replay, program: Program, event: HistoryEvent) -> bool:
    try:
        replay.take(event)
    except NonDeterministicError as exc:
        replay.finish(Status.FAILED, str(exc))
        return False
    except RefusedError as exc:  # in a later try of something that is tried again
        program.failure, program.has_run = str(exc), True
    return True


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
