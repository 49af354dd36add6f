"""One work item: call the activity → TaskCompleted or TaskFailed; then delete it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from localhost.crashpoints import crash_point
from localhost.durable.refusals import refuse
from localhost.history import EventType, HistoryEvent
from localhost.outcome import Outcome, Raised, Returned
from localhost.records import TaskMessage, dumps
from localhost.taskhub.hub import Received, TaskHub

# Calls an activity function: name, input as JSON text, instance id.
Invoke = Callable[[str, str, str], Awaitable[Outcome]]


class Activities:
    """Works on work items, each once per delivery: at least once in all."""

    def __init__(self, hub: TaskHub, *, invoke: Invoke, now: Callable[[], str]) -> None:
        self._hub = hub
        self._invoke = invoke
        self._now = now

    async def process(self, key: str, items: Sequence[Received]) -> Sequence[Received]:
        """Work on one work item; nothing ever waits for another."""
        for item in items:
            message = item.message
            if message is None or message.event.type is not EventType.TaskScheduled:
                await refuse(self._hub, item, item.fault or "it is no work item")
                continue
            answer = await self._answer(message)
            crash_point("after an activity")
            await self._hub.answer(item, answer)
        return ()

    async def _answer(self, message: TaskMessage) -> TaskMessage:
        """Call the activity and return the message that tells how it went."""
        name = message.event["Name"]
        outcome = await self._invoke(
            name, argument_of(message.event["Input"]), message.instance_id
        )
        return answer_of(outcome, message, now=self._now())


def answer_of(outcome: Outcome, asked: TaskMessage, *, now: str) -> TaskMessage:
    """Return the message that answers a work item."""
    return TaskMessage(
        event=event_of(outcome, asked.event, now=now),
        instance_id=asked.instance_id,
        execution_id=asked.execution_id,
        sender=(asked.instance_id, asked.execution_id),
        episode=-1 if asked.episode is None else asked.episode,
    )


def argument_of(input_: str | None) -> str:
    """Return the first argument of a work item's input, as the function gets it.

    The input is a JSON array of one element; an element that is a text (JSON, as the
    SDK sends it) is passed on bare, anything else as JSON.
    """
    try:
        arguments = json.loads(input_ or "[]")
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
