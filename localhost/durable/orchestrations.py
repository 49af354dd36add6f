"""One batch of one orchestration instance: load → call → decide → commit."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from localhost.durable.execution import Rules
from localhost.durable.in_hand import (
    InHand,
    change_of,
    start_of,
    turn_time,
    without_large_input,
)
from localhost.durable.inbox import (
    Inbox,
    marks_of,
    sort_messages,
    verdict_on_start,
)
from localhost.durable.outbox import Sender
from localhost.durable.refusals import put_off, refuse
from localhost.durable.sdk import (
    OrchestratorState,
    context_body,
    failed_state,
    state_of,
)
from localhost.durable.turn import Turn, custom_status_of, decide
from localhost.history import EventType, HistoryEvent
from localhost.outcome import Outcome
from localhost.records import TaskMessage, dumps
from localhost.taskhub.hub import (
    Checkpoint,
    LostHistoryError,
    Received,
    Stored,
    TaskHub,
)

log = logging.getLogger(__name__)

# Calls an orchestrator function: name, context body, instance id.
Invoke = Callable[[str, str, str], Awaitable[Outcome]]

MOST_IN_HAND = 2_000
LONGEST_ANSWER_PAUSE_S = 5  # the start that an answer waits for may come any time


class Orchestrations:
    """Works on the messages of orchestration instances.

    ``invoke`` calls the user's function, ``now`` gives timestamps. Histories of
    instances in work stay in memory, so that a turn reads nothing.
    """

    def __init__(
        self,
        hub: TaskHub,
        *,
        invoke: Invoke,
        rules: Rules,
        now: Callable[[], str],
        http_sleep_ms: int,
    ) -> None:
        self._hub = hub
        self._invoke = invoke
        self._rules = rules
        self._now = now
        self._http_sleep_ms = http_sleep_ms
        self._in_hand: OrderedDict[str, InHand] = OrderedDict()

    def forget(self, instance_id: str) -> None:
        """Drop what is in memory of an instance, because the storage changed."""
        self._in_hand.pop(instance_id, None)

    async def process(
        self, instance_id: str, items: Sequence[Received]
    ) -> Sequence[Received]:
        """Work on messages of one instance; return those that must wait."""
        items = await self._admitted(items)
        if not items:
            return ()
        try:
            return await self._process(instance_id, items)
        except LostHistoryError:
            log.info("%s: its history moved on; looking at it again", instance_id)
            if not self._hub.works_on(items[0].lane_queue):
                return items  # whoever has the queue now goes on with them
            return await self._process(instance_id, items, is_again=True)

    async def _process(
        self, instance_id: str, items: Sequence[Received], *, is_again: bool = False
    ) -> Sequence[Received]:
        is_new = any(item.is_first for item in items) and not is_again
        in_hand = InHand() if is_new else await self._load(instance_id)
        inbox = await self._sorted(instance_id, in_hand, items)
        try:
            if inbox.taken:
                await self._turn(instance_id, in_hand, inbox)
        except BaseException:
            self.forget(instance_id)
            raise
        for reason in inbox.reasons:
            log.debug("%s: dropped %s", instance_id, reason)
        if inbox.dropped and in_hand.is_row_behind:
            await self._repair_row(instance_id, in_hand)
        self._hub.complete(inbox.dropped)
        return inbox.waiting

    # Before the turn

    async def _admitted(self, items: Sequence[Received]) -> list[Received]:
        """Leave out what cannot be read, and starts that must not run (now)."""
        admitted = []
        for item in items:
            message = item.message
            if message is None or message.event.type is EventType.TaskScheduled:
                await refuse(self._hub, item, item.fault or "it is a work item")
            elif await self._may_start(item, message):
                admitted.append(item)
        return admitted

    async def _may_start(self, item: Received, message: TaskMessage) -> bool:
        event = message.event
        is_start = event.type is EventType.ExecutionStarted
        if not is_start or item.is_ours or event["ParentInstance"] is not None:
            return True
        await self._hub.until_row_is_written(message.instance_id)
        row = await self._hub.instances.peek(message.instance_id)
        verdict = verdict_on_start(message, row, item.dequeue_count)
        if verdict == "later":
            await put_off(self._hub, item, "a start without its row")
        elif verdict == "drop":
            log.info("%s: dropped a start that nobody waits for", message.instance_id)
            self._hub.complete([item])
        return verdict == "run"

    async def _load(self, instance_id: str) -> InHand:
        in_hand = self._in_hand.get(instance_id)
        if in_hand is None:
            in_hand = InHand.of(await self._hub.histories.load(instance_id))
            if in_hand.events:
                in_hand.compare(await self._hub.instances.peek(instance_id))
        return in_hand

    async def _sorted(
        self, instance_id: str, in_hand: InHand, items: Sequence[Received]
    ) -> Inbox:
        """Tell the messages apart; ask for the row only when it decides.

        Answers to an instance that is not about to start come again later: it may
        never start, and what waits in memory takes the place of others.
        """
        stored = Stored(
            execution_id=in_hand.execution_id,
            events=tuple(in_hand.events),
            etag=in_hand.etag,
            applied=in_hand.applied,
        )
        now = self._now()
        inbox = sort_messages(stored, items, now=now)
        if in_hand.events or inbox.taken:
            return inbox
        row = await self._hub.instances.peek(instance_id)
        if row is not None and not row.status.is_terminal:
            return sort_messages(stored, items, now=now, is_pending=True)
        reason = "an answer to an instance that has not started"
        for item in inbox.waiting:
            await put_off(
                self._hub,
                item,
                reason,
                longest_s=LONGEST_ANSWER_PAUSE_S,
                level=logging.DEBUG,
            )
        inbox.waiting.clear()
        return inbox

    # The turn

    async def _turn(self, instance_id: str, in_hand: InHand, inbox: Inbox) -> None:
        events = inbox.events()
        if events[0].type is EventType.ExecutionStarted:
            in_hand.restart()
        past = in_hand.events
        begun = HistoryEvent(
            type=EventType.OrchestratorStarted, timestamp=turn_time(events, self._now())
        )
        new: Sequence[HistoryEvent] = (begun, *events)
        sender = _sender(instance_id, [*past, *new])
        outbox: list[TaskMessage] = []
        while True:
            turn = await self._decide(instance_id, in_hand, new, sender)
            outbox += turn.outbox
            if not turn.continued:
                break
            in_hand.restart()
            in_hand.remember(marks_of(events))
            new = turn.continued
        await self._commit(instance_id, in_hand, turn, outbox, inbox.taken)
        if turn.fault is not None:
            log.error("%s: %s", instance_id, turn.fault)
        if turn.finished is not None:
            name = start_of([*in_hand.events, *events])["Name"]
            log.info("%s: %s %s", instance_id, name, turn.finished.status.value)

    async def _decide(
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
            state=await self._state(instance_id, in_hand, new),
            rules=self._rules,
            sender=sender,
            now=self._now(),
        )

    async def _state(
        self, instance_id: str, in_hand: InHand, new: Sequence[HistoryEvent]
    ) -> OrchestratorState:
        """Call the function with the whole history and return what it asks for."""
        started = start_of([*in_hand.events, *new])
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

    async def _commit(
        self,
        instance_id: str,
        in_hand: InHand,
        turn: Turn,
        outbox: Sequence[TaskMessage],
        received: Sequence[Received],
    ) -> None:
        started = start_of([*in_hand.events, *turn.events])
        if in_hand.events:
            started = without_large_input(started)
        execution_id = started["OrchestrationInstance"]["ExecutionId"]
        is_whole = not in_hand.is_row_sure or not in_hand.events
        change = change_of(
            [*in_hand.events, *turn.events] if is_whole else turn.events,
            started=started if is_whole else None,
            execution_id=execution_id,
            custom_status=turn.custom_status,
            now=self._now(),
        )
        is_news = is_whole or change.status or change.output is not None
        is_news = is_news or turn.custom_status != in_hand.custom_status
        checkpoint = Checkpoint(
            instance_id=instance_id,
            execution_id=execution_id,
            outbox=outbox,
            events=turn.events,
            first_row=in_hand.next_row,
            etag=in_hand.etag,
            change=change if is_news else None,
            received=received,
            applied=in_hand.applied,
        )
        in_hand.etag = await self._hub.commit(checkpoint)
        in_hand.add(turn.events)
        in_hand.execution_id = execution_id
        in_hand.is_row_sure, in_hand.is_row_behind = True, False
        in_hand.custom_status = turn.custom_status
        self._keep(instance_id, in_hand, is_over=turn.finished is not None)

    def _keep(self, instance_id: str, in_hand: InHand, *, is_over: bool) -> None:
        """Keep a history in memory while its instance runs."""
        self._in_hand.pop(instance_id, None)
        if not is_over:
            self._in_hand[instance_id] = in_hand
        while len(self._in_hand) > MOST_IN_HAND:
            self._in_hand.popitem(last=False)

    async def _repair_row(self, instance_id: str, in_hand: InHand) -> None:
        """Let a row follow a history that was written just before a crash.

        The custom status is not in the history: the function says it once more.
        """
        started = without_large_input(start_of(in_hand.events))
        state = await self._state(instance_id, in_hand, ())
        change = change_of(
            in_hand.events,
            started=started,
            execution_id=started["OrchestrationInstance"]["ExecutionId"],
            custom_status=custom_status_of(state) or in_hand.custom_status,
            now=self._now(),
        )
        await self._hub.instances.change(instance_id, change)
        in_hand.is_row_sure, in_hand.is_row_behind = True, False


def _sender(instance_id: str, events: Sequence[HistoryEvent]) -> Sender:
    turns = sum(event.type is EventType.OrchestratorStarted for event in events)
    started = start_of(events)
    return Sender(
        instance_id=instance_id,
        execution_id=started["OrchestrationInstance"]["ExecutionId"],
        episode=turns,
    )
