"""One work item: call the activity → TaskCompleted or TaskFailed; then delete it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from localhost.crashpoints import crash_point
from localhost.delivery.messages import WorkItem
from localhost.delivery.poison import refuse
from localhost.delivery.sender import Sender
from localhost.errors import UnavailableError
from localhost.history import EventType, HistoryEvent
from localhost.outcome import Outcome, Raised, Returned
from localhost.records import TaskMessage
from localhost.text import dumps, loads
from localhost.timestamps import to_ticks

log = logging.getLogger(__name__)

MOST_TRIES = 5  # of what fails in this host and not in the activity
MOST_KNOWN = 10_000

# Calls an activity function: name, input as JSON text, instance id.
Invoke = Callable[[str, str, str], Awaitable[Outcome]]

# What tells an activity from all others: instance, execution, number, ticks of the
# moment at which it was scheduled.
Identity: TypeAlias = tuple[str, str | None, int, int]


class Activities:
    """Works on work items, each once per delivery: at least once in all.

    One that comes again while it is in work here, or was answered here, is dropped:
    its first message, or what it was begun for, is still there.
    """

    def __init__(
        self, sender: Sender, *, invoke: Invoke, now: Callable[[], str]
    ) -> None:
        self._sender = sender
        self._invoke = invoke
        self._now = now
        self._known: OrderedDict[Identity, WorkItem] = OrderedDict()
        self._tries: dict[WorkItem, int] = {}

    def begin(self, message: TaskMessage, *, may_begin: bool) -> WorkItem | None:
        """Begin an activity at once, without a message in the queue.

        Returns the one that is in work here already, if so; None when it must be put:
        there is no slot, or (not ``may_begin``) nothing brings it back after a crash.
        """
        known = self._known.get(identity_of(message))
        if known is not None:
            return known
        work_item = self._sender.begin(message) if may_begin else None
        if work_item is not None:
            self._note(work_item)
        return work_item

    def forget(self) -> None:
        """Know no activity any more, because the storage may be older than it was."""
        self._known.clear()

    async def process(self, key: str, items: Sequence[WorkItem]) -> Sequence[WorkItem]:
        """Work on one work item; nothing ever waits for another."""
        for item in items:
            message, received = item.message, item.received
            if message is None or message.event.type is not EventType.TaskScheduled:
                if received is not None:
                    fault = received.fault or "it is not a work item"
                    await refuse(self._sender, received, fault)
                continue
            known = self._known.get(identity_of(message))
            if known is not None and known is not item:
                log.debug("%s: an activity came again: dropped", message.instance_id)
                self._sender.complete([item])
                continue
            self._note(item)
            answer = await self._answer(item, message)
            crash_point("after an activity")
            await self._sender.answer(item, answer)
            self._tries.pop(item, None)
        return ()

    def _note(self, item: WorkItem) -> None:
        """Know an activity for as long as its message may come again."""
        if item.message is None:
            return
        self._known[identity_of(item.message)] = item
        while len(self._known) > MOST_KNOWN:
            oldest = next(iter(self._known))
            if not self._known[oldest].is_over:
                self._known.move_to_end(oldest)
                break
            del self._known[oldest]

    async def _answer(self, item: WorkItem, message: TaskMessage) -> TaskMessage:
        """Call the activity and return the message that tells how it went.

        What fails here and not in the activity is tried again some times.
        """
        name = message.event["Name"]
        try:
            outcome = await self._invoke(
                name, argument_of(message.event["Input"]), message.instance_id
            )
            return answer_of(outcome, message, now=self._now())
        except UnavailableError:
            raise
        except Exception as exc:
            tries = self._tries[item] = self._tries.get(item, 0) + 1
            if tries < MOST_TRIES:
                raise
            del self._tries[item]
            log.exception("%s: activity '%s' failed", message.instance_id, name)
            text = (
                f"Activity function '{name}' failed: the local host could not call it"
                f" in {tries} tries: {type(exc).__name__}: {exc}"
            )
            failed = Raised(type_name="", message=text, traceback="")
            return answer_of(failed, message, now=self._now())


def identity_of(message: TaskMessage) -> Identity:
    """Return what tells an activity from all others."""
    event = message.event
    return (
        message.instance_id,
        message.execution_id,
        event.event_id,
        to_ticks(event.timestamp),
    )


def answer_of(outcome: Outcome, asked: TaskMessage, *, now: str) -> TaskMessage:
    """Return the message that answers a work item."""
    return TaskMessage(
        event=event_of(outcome, asked.event, now=now),
        instance_id=asked.instance_id,
        execution_id=asked.execution_id,
        sender=(asked.instance_id, asked.execution_id),
        episode=-1 if asked.episode is None else asked.episode,
        asked_at=asked.event.timestamp,
    )


def argument_of(input_: str | None) -> str:
    """Return the first argument of a work item's input, as the function gets it.

    The input is a JSON array of one element; an element that is a text (JSON, as the
    SDK sends it) is passed on bare, anything else as JSON.
    """
    try:
        arguments = loads(input_ or "[]")
    except ValueError:
        return input_ or ""
    first = arguments[0] if isinstance(arguments, list) and arguments else None
    return first if isinstance(first, str) else dumps(first)


def event_of(outcome: Outcome, scheduled: HistoryEvent, *, now: str) -> HistoryEvent:
    """Return the event that answers a TaskScheduled."""
    fields: dict[str, Any] = {"TaskScheduledId": scheduled.event_id}
    if isinstance(outcome, Returned):
        fields["Result"] = outcome.value
        return HistoryEvent(type=EventType.TaskCompleted, timestamp=now, fields=fields)
    if outcome.type_name:
        name, what = scheduled["Name"], f" {outcome.type_name}: {outcome.message}"
        fields["Reason"] = f"Activity function '{name}' failed: {what}"
        fields["Details"] = details_of(outcome)
    else:  # the host itself could not do it, and says so
        fields["Reason"] = outcome.message
        fields["Details"] = (
            f"Unhandled exception while executing task: {outcome.message}"
        )
    return HistoryEvent(type=EventType.TaskFailed, timestamp=now, fields=fields)


def details_of(raised: Raised) -> str:
    """Return a failure as .NET serialises it, which is what an orchestrator sees."""
    what = f"{raised.type_name}: {raised.message}"
    exception = {
        "$type": "System.Exception, System.Private.CoreLib",
        "ClassName": "System.Exception",
        "Message": f" {what}",
        "Data": None,
        "InnerException": {
            "$type": "Microsoft.Azure.WebJobs.Script.Workers.Rpc.RpcException,"
            " Microsoft.Azure.WebJobs.Script",
            "IsUserException": False,
            "RemoteStackTrace": raised.traceback,
            "RemoteMessage": what,
            "RemoteTypeName": None,
            "Message": f"Result: Failure\nException: {what}\nStack: {raised.traceback}",
            "Data": {
                "$type": "System.Collections.ListDictionaryInternal,"
                " System.Private.CoreLib"
            },
            "InnerException": None,
            "HelpLink": None,
            "Source": "System.Private.CoreLib",
            "HResult": -2146233088,
            "StackTrace": None,
        },
        "HelpURL": None,
        "StackTraceString": None,
        "RemoteStackTraceString": None,
        "RemoteStackIndex": 0,
        "ExceptionMethod": None,
        "HResult": -2146233088,
        "Source": None,
        "WatsonBuckets": None,
    }
    return dumps(exception)
