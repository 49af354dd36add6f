"""What a turn sends, in which order, and what is left of it when it is cut short."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from localhost.durable.pending import Pending, PendingMessage
from localhost.history import EventType, Status
from localhost.records import TaskMessage
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.port import InstanceChange, Received
from tests.integration.conftest import (
    EXECUTION,
    Judge,
    add,
    checkpoint,
    clock,
    event,
    message,
    put,
    raised,
    receive,
    started,
    works_on,
    write,
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


def says(custom_status: str) -> InstanceChange:
    """A row of instance ``abc`` with a custom status."""
    return InstanceChange(
        execution_id=EXECUTION, updated_at=clock.now(), custom_status=custom_status
    )


async def custom_status_of(hub: TaskHub) -> str | None:
    row = await hub.instances.peek("abc")
    return row.custom_status if row else None


async def test_a_late_row_does_not_follow_a_history_that_moved_on(hub: TaskHub) -> None:
    """This process stood still; another one has written history and row since."""
    works, other = works_on(hub), TaskHub(hub.storage, **names_of(hub))
    first = checkpoint("abc", started("abc"))
    etag, _ = await works.commits.write(first)
    works.commits.follow("abc", Pending(), etag, says('"first"'))
    await works.done()
    await write(other, replace(first, etag=etag, change=says('"other"')))

    works.commits.follow("abc", Pending(), etag, says('"late"'))
    await works.done()

    assert '"other"' == await custom_status_of(hub)


async def test_a_row_that_somebody_has_touched_follows_its_history(
    hub: TaskHub,
) -> None:
    """As a rewind does: the history is this process's own."""
    works, other = works_on(hub), TaskHub(hub.storage, **names_of(hub))
    etag, _ = await works.commits.write(checkpoint("abc", started("abc")))
    works.commits.follow("abc", Pending(), etag, says('"first"'))
    await works.done()
    await other.instances.change("abc", says('"touched"'))

    works.commits.follow("abc", Pending(), etag, says('"last"'))
    await works.done()

    assert '"last"' == await custom_status_of(hub)


async def test_a_row_that_is_gone_is_made_again_with_its_history(hub: TaskHub) -> None:
    """As after a purge elsewhere, when the instance has begun anew since."""
    works, other = works_on(hub), TaskHub(hub.storage, **names_of(hub))
    etag, _ = await works.commits.write(checkpoint("abc", started("abc")))
    works.commits.follow("abc", Pending(), etag, says('"first"'))
    await works.done()
    await other.instances.delete("abc")

    works.commits.follow("abc", Pending(), etag, says('"last"'))
    await works.done()

    assert '"last"' == await custom_status_of(hub)


async def test_a_row_that_was_purged_with_its_history_stays_away(hub: TaskHub) -> None:
    """Nobody wants to see it again."""
    works, other = works_on(hub), TaskHub(hub.storage, **names_of(hub))
    etag, _ = await works.commits.write(checkpoint("abc", started("abc")))
    works.commits.follow("abc", Pending(), etag, says('"first"'))
    await works.done()
    await other.purge("abc")

    works.commits.follow("abc", Pending(), etag, says('"last"'))
    await works.done()

    assert await hub.instances.peek("abc") is None


async def test_a_row_of_a_later_start_is_left_alone(hub: TaskHub) -> None:
    """The row had said that the instance was over; a client has started it again."""
    works, other = works_on(hub), TaskHub(hub.storage, **names_of(hub))
    etag, _ = await works.commits.write(checkpoint("abc", started("abc")))
    change = replace(says('"over"'), status=Status.COMPLETED)
    works.commits.follow("abc", Pending(), etag, change)
    await works.done()
    again = started("abc", execution_id="f" * 32)
    over = await other.instances.peek("abc")
    await add(other, message(again, "abc", execution_id="f" * 32), over=over)

    works.commits.follow("abc", Pending(), etag, change)
    await works.done()

    row = await hub.instances.peek("abc")
    assert row is not None
    assert (Status.PENDING, "f" * 32) == (row.status, row.execution_id)


def names_of(hub: TaskHub) -> dict[str, Any]:
    return {
        "name": hub.name,
        "partition_count": len(hub.queues.control),
        "now": clock.now,
    }
