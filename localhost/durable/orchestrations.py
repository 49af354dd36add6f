"""One batch of one orchestration instance: load → call → decide → write → send."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

from localhost.delivery.messages import Control
from localhost.delivery.sender import Sender
from localhost.durable.admission import Admission, is_start
from localhost.durable.commit import Commits
from localhost.durable.execution import Rules
from localhost.durable.faults import Faults, sentence_of
from localhost.durable.history_cache import (
    HistoryCache,
    InstanceHistory,
    change_of,
    start_of,
    was_suspended,
    without_large_input,
)
from localhost.durable.inbox import sort_messages
from localhost.durable.orchestrator_calls import Invoke, OrchestratorCalls
from localhost.durable.outbox import Sender as As
from localhost.durable.outbox import answer_to_parent
from localhost.durable.pending import (
    ANSWER,
    PendingMessage,
    notes_of,
    pending_of,
    without_numbers,
)
from localhost.durable.row_repairs import RowRepairs
from localhost.durable.seen import marks_of
from localhost.durable.starts import Starts
from localhost.durable.turn import Turn, failed_turn
from localhost.errors import HostError
from localhost.history import EventType, HistoryEvent
from localhost.records import TaskMessage
from localhost.taskhub.port import (
    Checkpoint,
    Hub,
    InstanceChange,
    LostHistoryError,
)

log = logging.getLogger(__name__)

MOST_NEW = 10_000


class Orchestrations:
    """Works on the messages of orchestration instances.

    ``invoke`` calls the user's function, ``now`` gives timestamps. Histories of
    instances in work stay in memory, so that a turn reads nothing.
    """

    def __init__(
        self,
        hub: Hub,
        sender: Sender,
        commits: Commits,
        starts: Starts,
        *,
        invoke: Invoke,
        rules: Rules,
        now: Callable[[], str],
        http_sleep_ms: int,
        history_bytes: int,
    ) -> None:
        self._hub = hub
        self._sender = sender
        self._commits = commits
        self._admission = Admission(hub, sender, starts, now=now)
        self._now = now
        self._calls = OrchestratorCalls(
            invoke=invoke, rules=rules, now=now, http_sleep_ms=http_sleep_ms
        )
        self._cache: HistoryCache[InstanceHistory] = HistoryCache(
            most_bytes=history_bytes
        )
        self._new: OrderedDict[str, str | None] = OrderedDict()
        self._rows = RowRepairs(hub, commits, now=now)
        self._faults = Faults()

    # What is in memory

    def expect(self, message: TaskMessage) -> None:
        """Hear of the start of an instance that is new: it has a row and no history."""
        self._new[message.instance_id] = message.execution_id
        if len(self._new) > MOST_NEW:
            self._new.popitem(last=False)

    def forget(self, is_meant: Callable[[str], bool]) -> None:
        """Drop what is in memory of instances, because the storage changed."""
        self._cache.drop(is_meant)
        for instance_id in [each for each in self._new if is_meant(each)]:
            del self._new[instance_id]

    async def process(
        self, instance_id: str, items: Sequence[Control]
    ) -> Sequence[Control]:
        """Work on messages of one instance; return those that must wait."""
        items = await self._admission.readable(items)
        if not items:
            return ()
        try:
            expected = self._expected(instance_id, items)
            waiting = await self._process(instance_id, items, expected)
        except LostHistoryError:
            log.info("%s: its history moved on; looking at it again", instance_id)
            if not self._sender.works_on(instance_id):
                return items  # whoever has the queue now goes on with them
            waiting = await self._process(instance_id, items, None)
        except Exception as exc:
            if not self._faults.is_final(instance_id, exc):
                raise
            waiting = await self._fail(instance_id, items, exc)
        self._faults.forget(instance_id)
        return waiting

    def _expected(self, instance_id: str, items: Sequence[Control]) -> str | None:
        """Return the execution of a new instance whose start is among these."""
        execution_id = self._new.get(instance_id)
        if execution_id is None:
            return None
        ids = (i.message.execution_id for i in items if is_start(i) and i.message)
        if execution_id not in ids:
            return None
        del self._new[instance_id]
        return execution_id

    async def _process(
        self, instance_id: str, items: Sequence[Control], expected: str | None
    ) -> Sequence[Control]:
        """Work on messages; ``expected`` is the execution of a new instance."""
        age = self._cache.age
        history = await self._load(instance_id, is_new=expected is not None)
        items = await self._admission.admitted(history, items, expected)
        inbox = await self._admission.sorted(history, items)
        for reason in inbox.reasons:
            log.debug("%s: dropped %s", instance_id, reason)
        if inbox.taken:
            await self._turn(history, inbox.events(), inbox.taken)
        if inbox.dropped:
            await self._drop(history, inbox.dropped)
        if history.seen.is_finished:
            self._cache.let_go(history, age=age)
        elif history.events:
            self._cache.keep(history, age=age)
        return inbox.waiting

    async def _load(self, instance_id: str, *, is_new: bool) -> InstanceHistory:
        """Take a history out of memory, or read it.

        Who fails to write it does not put it back.
        """
        if is_new:
            return InstanceHistory(instance_id=instance_id)
        history = self._cache.take(instance_id)
        if history is None:
            stored = await self._hub.histories.load(instance_id)
            history = InstanceHistory.of(instance_id, stored)
            known = self._cache.pending_of(instance_id, history.etag)
            history.pending = known or history.pending
        return history

    # The turn

    async def _turn(
        self,
        history: InstanceHistory,
        events: Sequence[HistoryEvent],
        received: Sequence[Control],
    ) -> None:
        """Decide what these events lead to, and make it happen."""
        if events and events[0].type is EventType.ExecutionStarted:
            history.restart(self._made_answer(history))
        new, sender = self._calls.begin(history, events)
        turn = await self._calls.decide(history, new, sender, history.pending.unmade())
        messages = pending_of(turn.outbox, turn.answer)
        while turn.continued:
            history.remember(marks_of([*history.events, *events]))
            history.restart(turn.again)
            events = turn.continued
            turn = await self._calls.decide(history, events, sender)
            messages = [
                *without_numbers(messages),
                *pending_of(turn.outbox, turn.answer),
            ]
        await self._commit(history, turn, messages, received)
        _tell(history, turn)

    def _made_answer(self, history: InstanceHistory) -> dict[int, TaskMessage]:
        """Return the answer to the parent of an execution that has ended."""
        completed = [
            event
            for event in history.events
            if event.type is EventType.ExecutionCompleted
        ]
        if not completed or history.started is None:
            return {}
        answer = answer_to_parent(history.started, completed[-1], _as_of(history))
        return {} if answer is None else {ANSWER: answer}

    async def _commit(
        self,
        history: InstanceHistory,
        turn: Turn,
        messages: Sequence[PendingMessage],
        received: Sequence[Control],
    ) -> None:
        """Write a turn, then send what it asks for; the row and deletes follow."""
        started = start_of(turn.events, history)
        execution_id = started["OrchestrationInstance"]["ExecutionId"]
        before = history.pending.left()
        answered = {event.answers for event in turn.events}
        left = [each for each in before if each.number not in answered]
        checkpoint = Checkpoint(
            instance_id=history.instance_id,
            execution_id=execution_id,
            events=turn.events,
            first_row=history.next_row,
            etag=history.etag,
            change=self._change(history, turn, started, execution_id),
            notes=notes_of([*left, *messages], custom_status=turn.custom_status),
            applied=history.applied,
        )
        history.etag, change = await self._commits.write(checkpoint)
        history.add(turn.events)
        history.execution_id = execution_id
        history.is_row_sure, history.is_whole = True, True
        history.custom_status = turn.custom_status
        history.pending.make(turn.again)
        earlier = history.pending.to_be_sent_before(messages)
        history.pending.add(messages)
        await self._commits.send(
            history.instance_id, history.pending, [*earlier, *messages], received
        )
        self._commits.follow(
            history.instance_id, history.pending, history.etag, change, received
        )

    def _change(
        self,
        history: InstanceHistory,
        turn: Turn,
        started: HistoryEvent,
        execution_id: str,
    ) -> InstanceChange | None:
        """Return what a turn changes in the row; None when that is nothing new."""
        is_whole = not history.is_row_sure or not history.events
        events = [*history.events, *turn.events]
        if history.events:
            started = without_large_input(started)
        change = change_of(
            events if is_whole else turn.events,
            started=started if is_whole else None,
            execution_id=execution_id,
            custom_status=turn.custom_status,
            was_suspended=was_suspended(events),
            now=self._now(),
        )
        is_news = is_whole or change.status or change.output is not None
        is_new_status = turn.custom_status != history.custom_status
        return change if is_news or is_new_status else None

    # After a crash

    async def _drop(self, history: InstanceHistory, dropped: Sequence[Control]) -> None:
        """Delete messages that lead to nothing, once all that they led to is safe.

        A message that the history knows has come again because a crash left the turn
        that took it without its messages, its row, or its deletes.
        """
        if history.started is not None and history.pending.is_unsure:
            await self._recover(history, dropped)
        self._commits.follow(
            history.instance_id, history.pending, history.etag, None, dropped
        )

    async def _recover(
        self, history: InstanceHistory, received: Sequence[Control]
    ) -> None:
        """Send again what is pending, and let the row follow the history.

        Inputs are not in the history: the function says them once more. A turn that is
        half written goes on.
        """
        pending = history.pending
        custom_status = history.custom_status
        unmade = pending.unmade()
        is_over = history.seen.is_finished
        if unmade or not (is_over or (history.is_whole and history.has_notes)):
            new, sender = self._calls.begin(history, ())
            turn = await self._calls.decide(history, new, sender, unmade)
            if not history.has_notes:
                custom_status = turn.custom_status
            pending.make(turn.again)
            if turn.is_news and not history.is_whole and not is_over:
                await self._commit(
                    history, turn, pending_of(turn.outbox, turn.answer), ()
                )
                _tell(history, turn)
        pending.make(self._made_answer(history))
        pending.drop_unmade()
        pending.make_sure()
        await self._commits.send(history.instance_id, pending, pending.left(), received)
        await self._rows.repair(history, custom_status)

    # What cannot be gone on with

    async def _fail(
        self, instance_id: str, items: Sequence[Control], exc: Exception
    ) -> Sequence[Control]:
        """End an instance with which this host cannot go on, with a sentence.

        When not even its history can be read or written, its row says so.
        """
        error = sentence_of("the orchestration", exc)
        log.error("%s: %s", instance_id, error, exc_info=exc)
        try:
            history = await self._load(instance_id, is_new=False)
            inbox = sort_messages(history.seen, items, now=self._now())
            if not history.events and not inbox.taken:
                self._sender.complete(items)
                return ()
            events = inbox.events()
            if events and events[0].type is EventType.ExecutionStarted:
                history.restart({})
            new, sender = self._calls.begin(history, events)
            turn = failed_turn(
                past=history.events,
                new=new,
                error=error,
                sender=sender,
                now=self._now(),
                custom_status=history.custom_status,
            )
            await self._commit(
                history, turn, pending_of(turn.outbox, turn.answer), inbox.taken
            )
            self._sender.complete(inbox.dropped)
            _tell(history, turn)
            return inbox.waiting
        except HostError as again:
            log.error("%s: its history cannot be ended: %s", instance_id, again)
        await self._rows.end(instance_id, items, error)
        self._sender.complete(items)
        return ()


def _as_of(history: InstanceHistory) -> As:
    return As(
        instance_id=history.instance_id,
        execution_id=history.execution_id or "",
        episode=history.turns,
    )


def _tell(history: InstanceHistory, turn: Turn) -> None:
    """Say on the console that an instance has ended, and why."""
    if turn.fault is not None:
        log.error("%s: %s", history.instance_id, turn.fault)
    if turn.notice is not None:
        log.warning("%s: %s", history.instance_id, turn.notice)
    if turn.finished is not None:
        name = start_of((), history)["Name"]
        log.info("%s: %s %s", history.instance_id, name, turn.finished.status.value)
