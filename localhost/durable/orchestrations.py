"""One batch of one orchestration instance: load → call → decide → write → send."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from localhost.delivery.messages import Answer, Control
from localhost.delivery.poison import put_off, refuse
from localhost.delivery.sender import Sender
from localhost.durable.commit import Commits
from localhost.durable.execution import Rules
from localhost.durable.faults import Faults, sentence_of
from localhost.durable.history_cache import (
    HistoryCache,
    InstanceHistory,
    change_of,
    start_of,
    status_of,
    was_suspended,
    without_large_input,
)
from localhost.durable.inbox import Inbox, sort_messages, verdict_on_start
from localhost.durable.orchestrator_calls import Invoke, OrchestratorCalls
from localhost.durable.outbox import Sender as As
from localhost.durable.outbox import answer_to_parent
from localhost.durable.pending import ANSWER, Pending, PendingMessage, notes_of
from localhost.durable.seen import marks_of
from localhost.durable.starts import Starts
from localhost.durable.turn import Turn, failed_turn
from localhost.errors import HostError
from localhost.history import EventType, HistoryEvent, Status
from localhost.records import Instance, TaskMessage
from localhost.taskhub.port import (
    Checkpoint,
    Hub,
    InstanceChange,
    LostHistoryError,
    Received,
)

log = logging.getLogger(__name__)

MOST_NEW = 10_000
LONGEST_ANSWER_PAUSE_S = 5  # the start that an answer waits for may come any time


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
        self._starts = starts
        self._now = now
        self._calls = OrchestratorCalls(
            invoke=invoke, rules=rules, now=now, http_sleep_ms=http_sleep_ms
        )
        self._cache: HistoryCache[InstanceHistory] = HistoryCache(
            most_bytes=history_bytes
        )
        self._new: OrderedDict[str, str | None] = OrderedDict()
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
        items = await self._readable(items)
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
        ids = (i.message.execution_id for i in items if _is_start(i) and i.message)
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
        items = await self._admitted(history, items, expected)
        inbox = await self._sorted(history, items)
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

    # Before the turn

    async def _readable(self, items: Sequence[Control]) -> list[Control]:
        """Leave out what nobody can work on."""
        readable: list[Control] = []
        for item in items:
            message = item.message
            is_readable = (
                message is not None
                and message.event.type is not EventType.TaskScheduled
            )
            if is_readable or isinstance(item, Answer):
                readable.append(item)
            else:
                await refuse(self._sender, item, item.fault or "it is a work item")
        return readable

    async def _admitted(
        self, history: InstanceHistory, items: Sequence[Control], expected: str | None
    ) -> list[Control]:
        """Leave out starts that must not run (now).

        One that the history has taken is none of them: it has come again because there
        is something to recover.
        """
        admitted: list[Control] = []
        for item in items:
            message = item.message
            if (
                message is None
                or isinstance(item, Answer)
                or not _is_start(item)
                or message.event["ParentInstance"] is not None
                or message.execution_id == expected
                or history.seen.is_same_start(message)
                or history.seen.has_seen(message.event)
                or await self._may_start(item, message)
            ):
                admitted.append(item)
        return admitted

    async def _may_start(self, item: Received, message: TaskMessage) -> bool:
        """Whether the start of a client may run, by the row of its instance."""
        await self._starts.until_written(message.instance_id)
        row = await self._hub.instances.peek(message.instance_id)
        verdict = verdict_on_start(message, row, item.dequeue_count)
        if verdict == "later":
            await put_off(self._sender, item, "a start without its row")
        elif verdict == "drop":
            log.info("%s: dropped a start that nobody waits for", message.instance_id)
            self._sender.complete([item])
        return verdict == "run"

    async def _sorted(
        self, history: InstanceHistory, items: Sequence[Control]
    ) -> Inbox:
        """Tell the messages apart; ask for the row only when it decides.

        Answers to an instance that is not about to start come again later: it may
        never start, and what waits in memory takes the place of others.
        """
        now = self._now()
        inbox = sort_messages(history.seen, items, now=now)
        if history.events or inbox.taken or not items:
            return inbox
        row = await self._hub.instances.peek(history.instance_id)
        if row is not None and not row.status.is_terminal:
            return sort_messages(history.seen, items, now=now, is_pending=True)
        reason = "an answer to an instance that has not started"
        for item in inbox.waiting:
            if not isinstance(item, Answer):
                await put_off(
                    self._sender,
                    item,
                    reason,
                    longest_s=LONGEST_ANSWER_PAUSE_S,
                    level=logging.DEBUG,
                )
        inbox.waiting.clear()
        return inbox

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
        turn = await self._calls.decide(history, new, sender, _unmade(history.pending))
        messages = _pending_of(turn)
        while turn.continued:
            history.remember(marks_of([*history.events, *events]))
            history.restart(turn.again)
            events = turn.continued
            turn = await self._calls.decide(history, events, sender)
            messages = [*_without_numbers(messages), *_pending_of(turn)]
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
        _make(history.pending, turn.again)
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
        unmade = _unmade(pending)
        is_over = history.seen.is_finished
        if unmade or not (is_over or (history.is_whole and history.has_notes)):
            new, sender = self._calls.begin(history, ())
            turn = await self._calls.decide(history, new, sender, unmade)
            if not history.has_notes:
                custom_status = turn.custom_status
            _make(pending, turn.again)
            if turn.is_news and not history.is_whole and not is_over:
                await self._commit(history, turn, _pending_of(turn), ())
                _tell(history, turn)
        _make(pending, self._made_answer(history))
        pending.drop_unmade()
        pending.make_sure()
        await self._commits.send(history.instance_id, pending, pending.left(), received)
        await self._repair_row(history, custom_status)

    async def _repair_row(
        self, history: InstanceHistory, custom_status: str | None
    ) -> None:
        """Let a row follow a history that was written just before a crash.

        The row of an instance that was started again meanwhile is left alone.
        """
        await self._commits.until_written(history.instance_id)
        row = await self._hub.instances.peek(history.instance_id)
        if row is not None and not _is_behind(row, history, custom_status):
            return
        started = start_of((), history)
        if row is not None:
            started = without_large_input(started)
        change = change_of(
            history.events,
            started=started,
            execution_id=started["OrchestrationInstance"]["ExecutionId"],
            custom_status=custom_status,
            was_suspended=was_suspended(history.events),
            now=self._now(),
        )
        await self._hub.instances.change(history.instance_id, change, over=row)

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
            await self._commit(history, turn, _pending_of(turn), inbox.taken)
            self._sender.complete(inbox.dropped)
            _tell(history, turn)
            return inbox.waiting
        except HostError as again:
            log.error("%s: its history cannot be ended: %s", instance_id, again)
        await self._end_row(instance_id, items, error)
        self._sender.complete(items)
        return ()

    async def _end_row(
        self, instance_id: str, items: Sequence[Control], error: str
    ) -> None:
        """Let the row of an instance say that it has ended, whatever its history is."""
        row = await self._hub.instances.peek(instance_id)
        if row is None or row.status.is_terminal:
            return
        now = self._now()
        change = InstanceChange(
            execution_id=row.execution_id or "",
            updated_at=now,
            custom_status=row.custom_status,
            status=Status.FAILED,
            output=error,
            completed_at=now,
        )
        for item in items:
            event = item.message.event if item.message else None
            if event is not None and event.type is EventType.ExecutionTerminated:
                reason = event["Input"]
                change = replace(change, status=Status.TERMINATED, output=reason)
        await self._hub.instances.change(instance_id, change, over=row)


def _is_start(item: Control) -> bool:
    message = item.message
    return message is not None and message.event.type is EventType.ExecutionStarted


def _as_of(history: InstanceHistory) -> As:
    return As(
        instance_id=history.instance_id,
        execution_id=history.execution_id or "",
        episode=history.turns,
    )


def _unmade(pending: Pending) -> list[int]:
    """Return the numbers whose messages must be made from a replay."""
    return [
        each.number
        for each in pending.left()
        if each.message is None and each.number is not None and each.number >= 0
    ]


def _make(pending: Pending, made: Mapping[int, TaskMessage]) -> None:
    """Give pending messages their texts."""
    for each in pending.left():
        if each.message is None and each.number is not None:
            each.message = made.get(each.number)


def _pending_of(turn: Turn) -> list[PendingMessage]:
    """Return what a turn sends, in order."""
    messages = [
        PendingMessage(number=number, message=message)
        for number, message in turn.outbox.items()
    ]
    if turn.answer is not None:
        messages.append(PendingMessage(number=ANSWER, message=turn.answer))
    return messages


def _without_numbers(messages: Sequence[PendingMessage]) -> list[PendingMessage]:
    """Return messages of an execution whose events are about to be forgotten."""
    return [PendingMessage(number=None, message=each.message) for each in messages]


def _is_behind(
    row: Instance, history: InstanceHistory, custom_status: str | None
) -> bool:
    """Whether a row does not say what the history says.

    A row that is Pending under another execution is that of a start which is still to
    come; one of an instance that was rewound waits for the turn which does it.
    """
    if row.status is Status.PENDING:
        if row.execution_id != history.execution_id:
            return False
        if any(e.type is EventType.GenericEvent for e in history.events):
            return False
    if not row.name:
        return True
    return (row.execution_id, row.status, row.custom_status) != (
        history.execution_id,
        status_of(history.events),
        custom_status,
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
