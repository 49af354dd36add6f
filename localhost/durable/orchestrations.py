"""One batch of one orchestration instance: load → call → decide → commit."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from localhost.durable.execution import Rules
from localhost.durable.in_hand import (
    InHand,
    change_of,
    start_of,
    without_large_input,
)
from localhost.durable.inbox import Inbox, sort_messages, verdict_on_start
from localhost.durable.known import marks_of
from localhost.durable.refusals import put_off, refuse
from localhost.durable.turn import Turn, custom_status_of
from localhost.durable.turns import Ahead, Invoke, Turns
from localhost.history import EventType
from localhost.records import TaskMessage
from localhost.taskhub.hub import Checkpoint, LostHistoryError, Received, TaskHub

log = logging.getLogger(__name__)

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
        self._now = now
        self._turns = Turns(
            invoke=invoke, rules=rules, now=now, http_sleep_ms=http_sleep_ms
        )
        self._committing: dict[str, InHand] = {}
        self._in_history: dict[
            str, InHand
        ] = {}  # those of them whose history is written
        self._ahead: dict[str, Ahead] = {}
        self._in_hand: OrderedDict[str, InHand] = OrderedDict()

    def forget(self, instance_id: str) -> None:
        """Drop what is in memory of an instance, because the storage changed."""
        self._in_hand.pop(instance_id, None)
        self._ahead.pop(instance_id, None)

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
        ahead = self._ahead.pop(instance_id, None)
        if ahead is not None and not ahead.is_for(items):
            ahead = None
        if not is_new:
            in_hand = await self._load(instance_id)
        else:
            in_hand = InHand() if ahead is None else ahead.in_hand
        later: Sequence[Received] = ()
        if ahead is not None and ahead.in_hand is in_hand:
            inbox, later = ahead.inbox, ahead.later(items)
        else:
            ahead, inbox = None, await self._sorted(instance_id, in_hand, items)
        try:
            if inbox.taken:
                await self._turn(instance_id, in_hand, inbox, ahead)
        except BaseException:
            self.forget(instance_id)
            raise
        for reason in inbox.reasons:
            log.debug("%s: dropped %s", instance_id, reason)
        if inbox.dropped and in_hand.is_row_behind:
            await self._repair_row(instance_id, in_hand)
        self._hub.complete(inbox.dropped)
        return [*inbox.waiting, *later]

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
        now = self._now()
        inbox = sort_messages(in_hand.known, items, now=now)
        if in_hand.events or inbox.taken:
            return inbox
        row = await self._hub.instances.peek(instance_id)
        if row is not None and not row.status.is_terminal:
            return sort_messages(in_hand.known, items, now=now, is_pending=True)
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

    def foresee(
        self, instance_id: str, items: Sequence[Received]
    ) -> Coroutine[Any, Any, None] | None:
        """Return the work on the next turn while the last one is being written.

        ``items`` have come meanwhile, or are the start of an instance whose row is
        being written. None when there is nothing to be done yet.
        """
        in_hand = self._committing.get(instance_id)
        if in_hand is None and all(item.is_first for item in items):
            in_hand = InHand()
        if in_hand is None or instance_id in self._ahead:
            return None
        ahead = self._turns.foresee(in_hand, items)
        if ahead is None:
            return None
        self._ahead[instance_id] = ahead
        ahead.decided.add_done_callback(lambda _: self._send_ahead(instance_id))
        return self._turns.decide_ahead(instance_id, ahead)

    def _send_ahead(self, instance_id: str) -> None:
        """Begin to send the messages of the next turn before its turn comes.

        Once the history of the last turn is written and the next one decided,
        whichever is later; the row of the last turn may still be on its way.
        """
        ahead = self._ahead.get(instance_id)
        if ahead is None or ahead.in_hand is not self._in_history.get(instance_id):
            return
        if ahead.sending is not None:
            return
        decided = ahead.result()
        if decided is not None and decided.turn.outbox:
            ahead.sending = self._hub.send_ahead(decided.turn.outbox)

    async def _turn(
        self, instance_id: str, in_hand: InHand, inbox: Inbox, ahead: Ahead | None
    ) -> None:
        events = inbox.events()
        if events[0].type is EventType.ExecutionStarted:
            in_hand.restart()
        decided = None if ahead is None else await ahead.decided
        if decided is None:
            decided = await self._turns.begin(instance_id, in_hand, events)
        turn = decided.turn
        outbox = list(turn.outbox)
        if ahead is not None and ahead.sending is not None:
            await ahead.sending
            outbox = []
        while turn.continued:
            in_hand.restart()
            in_hand.remember(marks_of(events))
            turn = await self._turns.decide(
                instance_id, in_hand, turn.continued, decided.sender
            )
            outbox += turn.outbox
        await self._commit(instance_id, in_hand, turn, outbox, inbox.taken)
        if turn.fault is not None:
            log.error("%s: %s", instance_id, turn.fault)
        if turn.finished is not None:
            name = start_of((), in_hand)["Name"]
            log.info("%s: %s %s", instance_id, name, turn.finished.status.value)

    async def _commit(
        self,
        instance_id: str,
        in_hand: InHand,
        turn: Turn,
        outbox: Sequence[TaskMessage],
        received: Sequence[Received],
    ) -> None:
        """Write a turn; what is in memory is ahead of the storage until it is written.

        Who fails to write it must forget what is in memory.
        """
        is_whole = not in_hand.is_row_sure or not in_hand.events
        has_row = bool(in_hand.events)
        is_new_status = turn.custom_status != in_hand.custom_status
        first_row, etag = in_hand.next_row, in_hand.etag
        in_hand.add(turn.events)
        started = start_of((), in_hand)
        execution_id = started["OrchestrationInstance"]["ExecutionId"]
        in_hand.execution_id = execution_id
        in_hand.is_row_sure, in_hand.is_row_behind = True, False
        in_hand.custom_status = turn.custom_status
        if has_row:
            started = without_large_input(started)
        change = change_of(
            in_hand.events if is_whole else turn.events,
            started=started if is_whole else None,
            execution_id=execution_id,
            custom_status=turn.custom_status,
            now=self._now(),
        )
        is_news = is_whole or change.status or change.output is not None
        checkpoint = Checkpoint(
            instance_id=instance_id,
            execution_id=execution_id,
            outbox=outbox,
            events=turn.events,
            first_row=first_row,
            etag=etag,
            change=change if is_news or is_new_status else None,
            received=received,
            applied=in_hand.applied,
        )

        def follow() -> None:
            self._in_history[instance_id] = in_hand
            self._send_ahead(instance_id)

        self._committing[instance_id] = in_hand
        try:
            in_hand.etag = await self._hub.commit(checkpoint, follow=follow)
        finally:
            del self._committing[instance_id]
            self._in_history.pop(instance_id, None)
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
        started = without_large_input(start_of((), in_hand))
        state = await self._turns.state(instance_id, in_hand, ())
        change = change_of(
            in_hand.events,
            started=started,
            execution_id=started["OrchestrationInstance"]["ExecutionId"],
            custom_status=custom_status_of(state) or in_hand.custom_status,
            now=self._now(),
        )
        await self._hub.instances.change(instance_id, change)
        in_hand.is_row_sure, in_hand.is_row_behind = True, False
