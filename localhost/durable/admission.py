"""Which of the messages of an instance are worked on now, and which must wait."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from localhost.delivery.messages import Answer, Control
from localhost.delivery.poison import put_off, refuse
from localhost.delivery.sender import Sender
from localhost.durable.history_cache import InstanceHistory
from localhost.durable.inbox import Inbox, sort_messages, verdict_on_start
from localhost.durable.starts import Starts
from localhost.history import EventType
from localhost.records import TaskMessage
from localhost.taskhub.port import Hub, Received

log = logging.getLogger(__name__)

LONGEST_ANSWER_PAUSE_S = 5  # the start that an answer waits for may come any time


class Admission:
    """Tells messages of orchestration instances apart; ``now`` gives timestamps."""

    def __init__(
        self, hub: Hub, sender: Sender, starts: Starts, *, now: Callable[[], str]
    ) -> None:
        self._hub = hub
        self._sender = sender
        self._starts = starts
        self._now = now

    async def readable(self, items: Sequence[Control]) -> list[Control]:
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

    async def admitted(
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
                or not is_start(item)
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

    async def sorted(self, history: InstanceHistory, items: Sequence[Control]) -> Inbox:
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


def is_start(item: Control) -> bool:
    """Whether a message starts an execution."""
    message = item.message
    return message is not None and message.event.type is EventType.ExecutionStarted
