"""What a turn sends, in which order, and what is left of it when it is cut short."""

from __future__ import annotations

import json

from localhost.durable.pending import Pending, PendingMessage
from localhost.history import EventType
from localhost.records import TaskMessage
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.port import Received
from tests.integration.conftest import (
    EXECUTION,
    Judge,
    event,
    message,
    put,
    raised,
    receive,
    works_on,
)


def activity(number: int = 0) -> TaskMessage:
    """The message of an activity of instance ``abc``."""
    asked = event(
        EventType.TaskScheduled, event_id=number, Name="Hello", Version="", Input="[]"
    )
    return message(asked, "abc", execution_id=EXECUTION)


async def received(hub: TaskHub, instance_id: str = "abc") -> Received:
    """A message that an instance has taken."""
    await put(hub, raised(instance_id))
    [item] = await receive(hub, hub.queues.control_queue_of(instance_id))
    return item


async def sent(hub: TaskHub, queue: str) -> list[str]:
    """The inputs of what lies in a queue, in its order."""
    found = await receive(hub, queue)
    return [str(item.message.event["Input"]) for item in found if item.message]


async def test_messages_to_one_instance_are_sent_in_order(hub: TaskHub) -> None:
    """However many are sent at once."""
    works = works_on(hub)
    messages = [
        PendingMessage(number=number, message=raised("@counter@k", number))
        for number in range(30)
    ]

    await works.commits.send("abc", Pending(messages), messages, [])

    queue = hub.queues.control_queue_of("@counter@k")
    assert [json.dumps(n) for n in range(30)] == await sent(hub, queue)


async def test_an_activity_of_an_instance_without_an_anchor_is_put(
    hub: TaskHub, judge: Judge
) -> None:
    """Nothing would bring it back after a crash."""
    works = works_on(hub)
    asked = PendingMessage(number=0, message=activity())

    await works.commits.send("abc", Pending([asked]), [asked], [])

    assert asked.is_sent
    assert 1 == judge.count(hub.queues.work_items)
