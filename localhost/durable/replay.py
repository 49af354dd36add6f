"""Plays a history against what the orchestrator's program asks for; pure.

The program (see ``program``) is a coroutine that schedules tasks and awaits their
answers. ``Replay`` feeds it the history's events one by one: a TaskScheduled must meet
what the program scheduled under that number, a TaskCompleted resolves its promise.
What the program scheduled and the history does not know yet is new.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from localhost.durable.promises import Promise, begin
from localhost.history import EventType, HistoryEvent, Status
from localhost.records import json_object

CHANGED = (
    " Was a change made to the orchestrator code after this instance had already"
    " started running?"
)
_WHAT = {
    EventType.TaskScheduled: "an activity task",
    EventType.SubOrchestrationInstanceCreated: "a sub-orchestration task",
    EventType.TimerCreated: "a timer task",
    EventType.EventSent: "a send event task",
}
_ACTION = {
    EventType.TaskScheduled: "ScheduleTaskOrchestratorAction",
    EventType.SubOrchestrationInstanceCreated: "CreateSubOrchestrationAction",
    EventType.TimerCreated: "CreateTimerOrchestratorAction",
    EventType.EventSent: "SendEventOrchestratorAction",
}


class NonDeterministicError(Exception):
    """The code no longer schedules what the history says it scheduled."""


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """Something the program scheduled under a number of its execution.

    ``fields`` are those of the history event; ``input`` travels only in the message.
    """

    type: EventType
    id: int
    fields: Mapping[str, Any]
    input: str | None = None

    @property
    def name(self) -> str | None:
        """What the replay compares: function or event name; timers have none."""
        return self.fields.get("Name")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How an execution ended, under the number of its last action."""

    id: int
    status: Status
    result: str | None


@dataclass
class Replay:
    """State of one execution while its history is played.

    ``planned`` is what the program has scheduled and the history does not know yet;
    ``met`` what both know.
    """

    program: Callable[[Replay], Coroutine[Promise, None, None]]
    now: str = ""
    planned: dict[int, Scheduled] = field(default_factory=dict)
    met: dict[int, tuple[Scheduled, HistoryEvent]] = field(default_factory=dict)
    open: dict[int, Promise] = field(default_factory=dict)
    finished: Finished | None = None
    carried: list[HistoryEvent] = field(default_factory=list)
    continues: bool = False
    is_suspended: bool = False
    _next_id: int = 0
    _parked: dict[int, Scheduled] = field(default_factory=dict)
    _held_back: list[HistoryEvent] = field(default_factory=list)
    _waiters: dict[str, list[Promise]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _buffered: dict[str, deque[str | None]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    _replies: dict[str, Promise] = field(default_factory=dict)
    _asked: dict[int, Promise] = field(default_factory=dict)

    # What the program may ask for

    def number(self) -> int:
        """Return the next number of this execution."""
        self._next_id += 1
        return self._next_id - 1

    def schedule(self, planned: Scheduled) -> Promise:
        """Schedule a task; the promise resolves to the event that answers it."""
        promise = self.open[planned.id] = Promise()
        self._plan(planned)
        return promise

    def send(self, planned: Scheduled) -> None:
        """Send an event to another instance; nobody answers the number."""
        self._plan(planned)

    def ask(self, planned: Scheduled, request_id: str) -> Promise:
        """Send an event whose answer is an event named as the request."""
        promise = self._replies[request_id] = self._asked[planned.id] = Promise()
        self._plan(planned)
        return promise

    def forget(self, id_: int) -> None:
        """Let a timer that was cancelled no longer keep the execution open."""
        promise = self.open.pop(id_, None)
        if promise is not None:
            promise.resolve()

    def event_named(self, name: str) -> Promise:
        """Wait for an external event; the latest waiter of a name is served first."""
        promise = Promise()
        buffered = self._buffered[name.casefold()]
        if buffered:
            promise.resolve(buffered.popleft())
        else:
            self._waiters[name.casefold()].append(promise)
        return promise

    def finish(self, status: Status, result: str | None) -> None:
        """End the execution; the first end counts."""
        if self.finished is None:
            self.finished = Finished(id=self.number(), status=status, result=result)

    def _plan(self, planned: Scheduled) -> None:
        target = self._parked if self.is_suspended else self.planned
        target[planned.id] = planned

    def in_order(self) -> list[Scheduled]:
        """Return what is new: scheduled, and not in the history yet."""
        return [self.planned[number] for number in sorted(self.planned)]

    # What the history tells

    def take(self, event: HistoryEvent) -> None:
        """Play one event. Raises ``NonDeterministicError``."""
        handler = _HANDLERS.get(event.type)
        if handler is None:
            return
        if self.is_suspended and event.type in _HELD_BACK:
            self._held_back.append(event)
        else:
            handler(self, event)

    def _on_turn(self, event: HistoryEvent) -> None:
        self.now = event.timestamp

    def _on_start(self, event: HistoryEvent) -> None:
        begin(self.program(self))

    def _on_scheduled(self, event: HistoryEvent) -> None:
        """Strike out what the program scheduled and the history knows already."""
        planned = self.planned.get(event.event_id)
        if planned is None:
            raise NonDeterministicError(_never_scheduled(event))
        if planned.type is not event.type:
            raise NonDeterministicError(_other_kind(event, planned))
        name, expected = planned.name or "", event["Name"] or ""
        if event.type is not EventType.TimerCreated and (
            name.casefold() != expected.casefold()
        ):
            raise NonDeterministicError(_other_name(event, planned))
        del self.planned[event.event_id]
        self.met[event.event_id] = (planned, event)
        asked = self._asked.get(event.event_id)
        if asked is not None:
            self._replies[request_id_of(event["Input"])] = asked

    def _on_answer(self, event: HistoryEvent) -> None:
        id_ = event.answers
        promise = self.open.pop(id_, None) if id_ is not None else None
        if promise is not None:
            promise.resolve(event)

    def _on_event(self, event: HistoryEvent) -> None:
        name = str(event["Name"] or "")
        reply = self._replies.pop(name, None)
        if reply is not None:
            reply.resolve(event["Input"])
        elif self.continues:
            self.carried.append(event)
        elif waiters := self._waiters[name.casefold()]:
            waiters.pop().resolve(event["Input"])
        else:
            self._buffered[name.casefold()].append(event["Input"])

    def _on_suspended(self, event: HistoryEvent) -> None:
        if not self.is_suspended:
            self.is_suspended = True
            self._parked, self.planned = self.planned, {}

    def _on_resumed(self, event: HistoryEvent) -> None:
        self.is_suspended = False
        self.planned.update(self._parked)
        self._parked = {}
        held_back, self._held_back = self._held_back, []
        for earlier in held_back:
            self.take(earlier)

    def _on_terminated(self, event: HistoryEvent) -> None:
        self.finish(Status.TERMINATED, event["Input"])


_HANDLERS: Mapping[EventType, Callable[[Replay, HistoryEvent], None]] = {
    EventType.OrchestratorStarted: Replay._on_turn,
    EventType.ExecutionStarted: Replay._on_start,
    EventType.TaskScheduled: Replay._on_scheduled,
    EventType.SubOrchestrationInstanceCreated: Replay._on_scheduled,
    EventType.TimerCreated: Replay._on_scheduled,
    EventType.EventSent: Replay._on_scheduled,
    EventType.TaskCompleted: Replay._on_answer,
    EventType.TaskFailed: Replay._on_answer,
    EventType.SubOrchestrationInstanceCompleted: Replay._on_answer,
    EventType.SubOrchestrationInstanceFailed: Replay._on_answer,
    EventType.TimerFired: Replay._on_answer,
    EventType.EventRaised: Replay._on_event,
    EventType.ExecutionSuspended: Replay._on_suspended,
    EventType.ExecutionResumed: Replay._on_resumed,
    EventType.ExecutionTerminated: Replay._on_terminated,
}
_HELD_BACK = frozenset(
    {
        EventType.TaskCompleted,
        EventType.TaskFailed,
        EventType.SubOrchestrationInstanceCompleted,
        EventType.SubOrchestrationInstanceFailed,
        EventType.TimerFired,
        EventType.EventRaised,
    }
)


def request_id_of(text: str | None) -> str:
    """Return the id of an entity request, the name of the event that answers it."""
    return str(json_object(text).get("id") or "")


def _previously(event: HistoryEvent) -> str:
    return (
        "Non-Deterministic workflow detected: A previous execution of this"
        f" orchestration scheduled {_WHAT[event.type]} with sequence "
    )


def _never_scheduled(event: HistoryEvent) -> str:
    name = f" and name '{event['Name']}' (version '')" if event["Name"] else ""
    return (
        f"{_previously(event)}ID {event.event_id}{name}, but the current replay"
        f" execution hasn't (yet?) scheduled this task.{CHANGED}"
    )


def _other_kind(event: HistoryEvent, planned: Scheduled) -> str:
    name = f" named '{event['Name']}'" if event["Name"] else ""
    return (
        f"{_previously(event)}number {event.event_id}{name}, but the current"
        f" orchestration replay instead produced a {_ACTION[planned.type]} action with"
        f" this sequence number.{CHANGED}"
    )


def _other_name(event: HistoryEvent, planned: Scheduled) -> str:
    return (
        f"{_previously(event)}number {event.event_id} named '{event['Name']}', but the"
        f" current orchestration replay instead scheduled {_WHAT[planned.type]} named"
        f" '{planned.name}' with this sequence number. {CHANGED}"
    )
