"""Calls orchestrator functions and decides their turns; writes nothing.

A turn may be decided while the one before it is still being written: the function sees
the same history either way, and nothing of the turn leaves the process before that
history is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from localhost.durable.execution import Rules
from localhost.durable.in_hand import InHand, start_of, turn_time
from localhost.durable.inbox import Inbox, sort_messages
from localhost.durable.outbox import Sender
from localhost.durable.sdk import (
    OrchestratorState,
    context_body,
    failed_state,
    state_of,
)
from localhost.durable.turn import Turn, decide
from localhost.history import ANSWERS, EventType, HistoryEvent
from localhost.outcome import Outcome
from localhost.records import dumps
from localhost.taskhub.hub import Received

log = logging.getLogger(__name__)

# Calls an orchestrator function: name, context body, instance id.
Invoke = Callable[[str, str, str], Awaitable[Outcome]]

_FORESEEN = frozenset({*ANSWERS, EventType.EventRaised, EventType.ExecutionStarted})


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A turn, and as whom its instance sends messages in it."""

    turn: Turn
    sender: Sender


@dataclass(kw_only=True)
class Ahead:
    """A turn that is being decided while the one before it is written.

    It follows what is ``in_hand``; ``inbox`` holds the messages that it takes.
    ``decided`` is None in the end if that failed: the turn is decided once more then,
    and whatever is wrong shows. ``sending`` is set once its messages are on their way.
    """

    in_hand: InHand
    inbox: Inbox
    decided: asyncio.Future[Decided | None]
    sending: asyncio.Task[None] | None = None

    def result(self) -> Decided | None:
        """What is decided so far."""
        return self.decided.result() if self.decided.done() else None

    def is_for(self, items: Sequence[Received]) -> bool:
        """Whether all messages that it takes are among these."""
        return len(items) - len(self.later(items)) == len(self.inbox.taken)

    def later(self, items: Sequence[Received]) -> list[Received]:
        """Return those messages that came when it was being decided."""
        taken = {id(item) for item in self.inbox.taken}
        return [item for item in items if id(item) not in taken]


class Turns:
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

    async def begin(
        self, instance_id: str, in_hand: InHand, events: Sequence[HistoryEvent]
    ) -> Decided:
        """Decide the turn in which an instance takes these events."""
        begun = HistoryEvent(
            type=EventType.OrchestratorStarted, timestamp=turn_time(events, self._now())
        )
        new = (begun, *events)
        execution = start_of(new, in_hand)["OrchestrationInstance"]
        sender = Sender(
            instance_id=instance_id,
            execution_id=execution["ExecutionId"],
            episode=in_hand.turns + 1,
        )
        turn = await self.decide(instance_id, in_hand, new, sender)
        return Decided(turn=turn, sender=sender)

    async def decide(
        self,
        instance_id: str,
        in_hand: InHand,
        new: Sequence[HistoryEvent],
        sender: Sender,
    ) -> Turn:
        """Call the function with the whole history and decide what follows."""
        return decide(
            past=in_hand.events,
            new=new,
            state=await self.state(instance_id, in_hand, new),
            rules=self._rules,
            sender=sender,
            now=self._now(),
        )

    async def state(
        self, instance_id: str, in_hand: InHand, new: Sequence[HistoryEvent]
    ) -> OrchestratorState:
        """Call the function with the whole history and return what it asks for."""
        started = start_of(new, in_hand)
        name = started["Name"]
        unknown = self._rules.unknown("orchestrator", name)
        if unknown is not None:
            return failed_state(unknown)
        body = context_body(
            [*in_hand.written(), *(dumps(event.to_wire()) for event in new)],
            started=started,
            instance_id=instance_id,
            http_sleep_ms=self._http_sleep_ms,
        )
        return state_of(await self._invoke(name, body, instance_id))

    def foresee(self, in_hand: InHand, items: Sequence[Received]) -> Ahead | None:
        """Return the turn that takes these messages, if nothing speaks against it.

        That is if no other answer may come meanwhile, which would better be taken in
        the same turn, and if every message is to be taken as it is.
        """
        events = [item.message.event for item in items if item.message is not None]
        if len(events) < len(items) or any(e.type not in _FORESEEN for e in events):
            return None
        if not in_hand.known.open <= {event.answers for event in events}:
            return None
        inbox = sort_messages(in_hand.known, items, now=self._now())
        if len(inbox.taken) < len(items):
            return None
        decided = asyncio.get_running_loop().create_future()
        return Ahead(in_hand=in_hand, inbox=inbox, decided=decided)

    async def decide_ahead(self, instance_id: str, ahead: Ahead) -> None:
        """Decide a turn that was foreseen."""
        decided, events = None, ahead.inbox.events()
        try:
            decided = await self.begin(instance_id, ahead.in_hand, events)
        except Exception as exc:
            log.debug("%s: not decided ahead: %r", instance_id, exc)
        finally:
            if not ahead.decided.done():
                ahead.decided.set_result(decided)
