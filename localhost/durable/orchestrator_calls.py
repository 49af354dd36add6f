"""Calls orchestrator functions and decides their turns; writes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from localhost.durable.execution import Rules
from localhost.durable.history_cache import InstanceHistory, start_of, turn_time
from localhost.durable.outbox import Sender
from localhost.durable.sdk import (
    OrchestratorState,
    context_body,
    failed_state,
    state_of,
)
from localhost.durable.turn import Turn, decide
from localhost.history import EventType, HistoryEvent
from localhost.outcome import Outcome
from localhost.text import dumps

# Calls an orchestrator function: name, context body, instance id.
Invoke = Callable[[str, str, str], Awaitable[Outcome]]


class OrchestratorCalls:
    """Decides the turns of orchestration instances; ``now`` gives timestamps."""

    def __init__(
        self,
        *,
        invoke: Invoke,
        rules: Rules,
        now: Callable[[], str],
        http_sleep_ms: int,
    ) -> None:
        self._invoke = invoke
        self._rules = rules
        self._now = now
        self._http_sleep_ms = http_sleep_ms

    def begin(
        self, history: InstanceHistory, events: Sequence[HistoryEvent]
    ) -> tuple[list[HistoryEvent], Sender]:
        """Return the new events of a turn that takes these, and as whom it sends."""
        begun = HistoryEvent(
            type=EventType.OrchestratorStarted, timestamp=turn_time(events, self._now())
        )
        new = [begun, *events]
        execution = start_of(new, history)["OrchestrationInstance"]
        sender = Sender(
            instance_id=history.instance_id,
            execution_id=execution["ExecutionId"],
            episode=history.turns + 1,
        )
        return new, sender

    async def decide(
        self,
        history: InstanceHistory,
        new: Sequence[HistoryEvent],
        sender: Sender,
        unsent: Collection[int] = (),
    ) -> Turn:
        """Call the function with the whole history and decide what follows."""
        return decide(
            past=history.events,
            new=new,
            state=await self._state(history, new),
            rules=self._rules,
            sender=sender,
            now=self._now(),
            unsent=unsent,
        )

    async def _state(
        self, history: InstanceHistory, new: Sequence[HistoryEvent]
    ) -> OrchestratorState:
        """Call the function with the whole history and return what it asks for."""
        started = start_of(new, history)
        name = started["Name"]
        unknown = self._rules.unknown("orchestrator", name)
        if unknown is not None:
            return failed_state(unknown)
        body = context_body(
            [*history.written(), *(dumps(event.to_wire()) for event in new)],
            started=started,
            instance_id=history.instance_id,
            http_sleep_ms=self._http_sleep_ms,
        )
        return state_of(await self._invoke(name, body, history.instance_id))
