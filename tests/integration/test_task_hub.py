"""The task hub keeps what a turn makes happen, in its order, whole or not at all."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from localhost.durable.pending import Pending, PendingMessage
from localhost.errors import InstanceExistsError, PreconditionError
from localhost.history import EventType, HistoryEvent, Status
from localhost.records import Instance, TaskMessage
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.port import LOCK_S, Filter, LostHistoryError, Received
from localhost.taskhub.rows import LARGEST_VALUE_CHARS
from tests.integration.conftest import (
    EXECUTION,
    Judge,
    Proxy,
    add,
    checkpoint,
    clock,
    completed,
    create,
    event,
    eventually,
    message,
    open_hub,
    put,
    raised,
    receive,
    started,
    works_on,
    write,
)

LARGE = "ö" * (LARGEST_VALUE_CHARS + 1)
SECOND = "f" * 32


def scheduled(number: int, name: str = "Hello") -> HistoryEvent:
    return event(EventType.TaskScheduled, event_id=number, Name=name, Version="")


async def taken(hub: TaskHub, instance_id: str = "abc") -> Received:
    """Send an event to an instance and take it from the queue."""
    await put(hub, raised(instance_id))
    for queue in hub.queues.control:
        for item in await receive(hub, queue):
            return item
    raise AssertionError("the message did not come")


async def begin(hub: TaskHub, instance_id: str, **fields: str) -> HistoryEvent:
    """Start an instance as a client does, by an execution of its own."""
    execution_id = uuid.uuid4().hex
    event_ = started(instance_id, execution_id=execution_id, **fields)
    await add(hub, message(event_, instance_id, execution_id=execution_id))
    return event_


async def finish(hub: TaskHub, instance_id: str, result: str | None = None) -> str:
    """Write a whole execution; return the sentinel's ETag."""
    start = started(instance_id, Input="1")
    return await write(
        hub,
        checkpoint(
            instance_id,
            start,
            completed(result),
            started=start,
            status=Status.COMPLETED,
            output=result,
        ),
    )


def wire(events: Sequence[HistoryEvent]) -> list[dict[str, object]]:
    return [each.to_wire() for each in events]


# The one safe order


async def test_a_turn_is_written_in_the_order_that_survives_a_crash(
    proxy: Proxy, hub_name: str, judge: Judge
) -> None:
    """History, messages out, instance row, and last the delete of what came in."""
    async with open_hub(proxy.account, hub_name) as hub:
        await create(hub)
        item = await taken(hub)
        proxy.seen.clear()
        task = message(scheduled(0), "abc", execution_id=EXECUTION)
        works, sent = works_on(hub), PendingMessage(number=0, message=task)
        pending = Pending([sent])
        _, change = await works.commits.write(checkpoint("abc", started("abc")))
        await works.commits.send("abc", pending, [sent], [item])
        works.commits.follow("abc", pending, None, change, [item])
        await works.done()

    assert [
        "POST $batch",
        "POST workitems/messages",
        "MERGE Instances",
        "DELETE control/messages",
    ] == [_kind(line, hub_name) for line in proxy.seen]
    assert [0] == [judge.count(item.queue)]


def _kind(line: str, hub_name: str) -> str:
    """Cut a request down to what it does to what."""
    method, _, path = line.partition(" ")
    path = re.sub(rf"(?i)/?{hub_name}-?", "", path.partition("?")[0]).strip("/")
    path = re.sub(r"control-\d\d", "control", path)
    return f"{method} " + re.sub(r"\(.*|(?<=messages)/.*", "", path)


async def test_what_an_older_turn_wrote_is_not_overwritten(
    hub: TaskHub, judge: Judge
) -> None:
    """Another host was first: nothing of this turn's history and row is there."""
    first = await write(hub, checkpoint("abc", started("abc")))
    await write(hub, checkpoint("abc", scheduled(0), first_row=1, etag=first))
    item = await taken(hub)
    before = judge.rows("History"), judge.rows("Instances")

    with pytest.raises(LostHistoryError, match="abc"):
        await write(
            hub,
            checkpoint(
                "abc",
                completed("1"),
                first_row=1,
                etag=first,
                status=Status.COMPLETED,
            ),
        )

    assert before == (judge.rows("History"), judge.rows("Instances"))
    assert await hub.queues.update(item, LOCK_S)


async def test_a_first_turn_is_not_written_twice(hub: TaskHub, judge: Judge) -> None:
    """Two hosts begin on the same start."""
    await write(hub, checkpoint("abc", started("abc")))
    before = judge.rows("History")

    with pytest.raises(LostHistoryError):
        await write(hub, checkpoint("abc", started("abc"), scheduled(0)))

    assert before == judge.rows("History")


async def test_a_purged_history_is_not_written_on(hub: TaskHub, judge: Judge) -> None:
    """The instance was purged while a turn of it ran."""
    etag = await write(hub, checkpoint("abc", started("abc"), started=started("abc")))
    assert await hub.purge("abc")

    with pytest.raises(LostHistoryError):
        await write(hub, checkpoint("abc", scheduled(0), first_row=1, etag=etag))

    assert [] == judge.rows("History")


async def test_the_etag_of_a_turn_serves_for_the_next(hub: TaskHub) -> None:
    """No read between two turns; a read gives the same ETag."""
    etag = None
    for number in range(3):
        etag = await write(
            hub, checkpoint("abc", started("abc"), first_row=number, etag=etag)
        )

    assert etag == (await hub.histories.load("abc")).etag


async def test_a_delete_that_meets_a_renewal_deletes(
    hub: TaskHub, judge: Judge
) -> None:
    """Else an activity that ran well would run a second time."""
    items = [await taken(hub, f"i{number}") for number in range(10)]

    renewals = [asyncio.create_task(hub.queues.update(item, LOCK_S)) for item in items]
    await asyncio.sleep(0)
    works_on(hub).sender.complete(items)
    await asyncio.gather(*renewals)
    await eventually(lambda: _count(hub, judge) == 0, limit_s=3)


def _count(hub: TaskHub, judge: Judge) -> int:
    return sum(judge.count(queue) for queue in hub.queues.control)


# What is written comes back


async def test_a_history_comes_back_as_it_was_written(hub: TaskHub) -> None:
    """Every kind of event, with texts of any language."""
    result = '"Grüße, 日本 \U0001f642"'
    failure: dict[str, Any] = {"Reason": "it's\r\nbad", "Details": "\\ at x"}
    parent = {
        "Name": "Parent",
        "OrchestrationInstance": {"InstanceId": "p", "ExecutionId": "e"},
        "TaskScheduleId": 3,
        "Version": "",
    }
    at = "2026-11-22T04:28:42.705591Z"
    events = (
        event(EventType.OrchestratorStarted),
        started("abc", Input='"日本"', ParentInstance=parent),
        scheduled(0),
        event(EventType.TimerCreated, event_id=2, FireAt=at),
        event(EventType.TaskCompleted, TaskScheduledId=0, Result=result),
        event(EventType.TaskFailed, TaskScheduledId=1, **failure),
        event(EventType.TimerFired, TimerId=2, FireAt=at),
        event(EventType.EventRaised, Name="Go", Input=""),
        event(EventType.EventSent, event_id=4, InstanceId="x", Name="n", Input="1"),
        event(EventType.ExecutionSuspended, Reason="why"),
        event(EventType.ExecutionResumed),
        completed("[1]"),
        event(EventType.OrchestratorCompleted),
    )

    await write(hub, checkpoint("abc", *events))
    stored = await hub.histories.load("abc")

    assert wire(events) == wire(stored.events)
    assert EXECUTION == stored.execution_id


async def test_more_events_than_a_transaction_holds_are_several(
    proxy: Proxy, hub_name: str
) -> None:
    """Each of at most 99 events and the sentinel."""
    events = [started("abc"), *(scheduled(number) for number in range(249))]
    async with open_hub(proxy.account, hub_name) as hub:
        await create(hub)
        etag = await write(hub, checkpoint("abc", *events))
        stored = await hub.histories.load("abc")

    assert 3 == sum("$batch" in line for line in proxy.seen)
    assert wire(events) == wire(stored.events)
    assert etag == stored.etag


async def test_more_text_than_a_transaction_holds_is_several(
    proxy: Proxy, hub_name: str
) -> None:
    """A transaction may hold 4 MiB; what is not ASCII takes six bytes there."""
    text = "é" * LARGEST_VALUE_CHARS
    events = [
        event(EventType.TaskCompleted, TaskScheduledId=number, Result=text)
        for number in range(60)
    ]
    async with open_hub(proxy.account, hub_name) as hub:
        await create(hub)
        await write(hub, checkpoint("abc", *events))
        stored = await hub.histories.load("abc")

    assert 4 == sum("$batch" in line for line in proxy.seen)
    assert wire(events) == wire(stored.events)


async def test_rows_of_an_older_longer_execution_are_not_read(hub: TaskHub) -> None:
    """An execution that follows writes over the rows from the first one on."""
    old = [started("abc"), *(scheduled(number) for number in range(5))]
    etag = await write(hub, checkpoint("abc", *old))
    new = [started("abc", execution_id=SECOND), scheduled(0)]

    await write(hub, checkpoint("abc", *new, execution_id=SECOND, etag=etag))
    stored = await hub.histories.load("abc")

    assert SECOND == stored.execution_id
    assert wire(new) == wire(stored.events)


async def test_an_unknown_history_is_empty(hub: TaskHub) -> None:
    """It has no sentinel either."""
    stored = await hub.histories.load("abc")

    assert (None, (), None) == (stored.execution_id, stored.events, stored.etag)


async def test_a_value_too_large_for_a_row_comes_back(
    hub: TaskHub, judge: Judge
) -> None:
    """In history and status; a value one character shorter stays in the row."""
    largest = LARGE[:-1]
    small = event(EventType.TaskCompleted, TaskScheduledId=0, Result=largest)
    start = started("abc", Input=LARGE)
    events = (start, small, completed(LARGE))

    await write(hub, checkpoint("abc", *events, started=start, output=LARGE))
    stored = await hub.histories.load("abc")
    row = await hub.instances.read("abc")

    assert wire(events) == wire(stored.events)
    assert row and (LARGE, LARGE) == (row.input, row.output)
    assert 2 == len(judge.blob_names())


async def test_a_large_input_is_in_the_status_before_the_first_turn(
    hub: TaskHub,
) -> None:
    """The row names the blob of the message then."""
    text = "x" * 50_000

    await begin(hub, "abc", Input=text)
    row = await hub.instances.read("abc")

    assert row and text == row.input


@pytest.mark.parametrize("instance_id", ["a b", "it's", "日本", "a^b", "a%2Fb", "@x@y"])
async def test_an_instance_of_any_id_is_kept_and_purged(
    hub: TaskHub, judge: Judge, instance_id: str
) -> None:
    """Ids stand in keys, addresses, blob names and filters."""
    await finish(hub, instance_id, LARGE)
    row = await hub.instances.read(instance_id)
    stored = await hub.histories.load(instance_id)

    assert row and (instance_id, LARGE) == (row.instance_id, row.output)
    assert 2 == len(stored.events)
    assert await hub.purge(instance_id)
    assert [] == [*judge.rows("History"), *judge.rows("Instances"), *judge.blob_names()]


# Starts


async def test_a_start_puts_its_message_before_its_row(
    proxy: Proxy, hub_name: str
) -> None:
    """A row without a message would be pending for ever."""
    async with open_hub(proxy.account, hub_name) as hub:
        await create(hub)
        proxy.seen.clear()
        await begin(hub, "abc")

    kinds = [_kind(line, hub_name) for line in proxy.seen]
    assert ["POST control/messages", "POST Instances"] == kinds


async def test_a_second_start_of_an_instance_is_taken_back(
    hub: TaskHub, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message must not run; the first one's row stays."""
    await begin(hub, "abc", Input="1")
    works = works_on(hub)

    async def is_late(instance_id: str) -> None:
        """Look before the first start has written its row."""

    monkeypatch.setattr(hub.instances, "peek", is_late)
    with pytest.raises(InstanceExistsError):
        await works.client.start("Chain", "abc", "2")

    await works.done()
    assert 1 == _count(hub, judge)
    row = await hub.instances.read("abc")
    assert row and "1" == row.input


async def test_of_starts_at_the_same_time_one_wins(hub: TaskHub, judge: Judge) -> None:
    """Two callers chose the same id."""
    works = works_on(hub)
    results = await asyncio.gather(
        *(works.client.start("Chain", "abc", str(number)) for number in range(4)),
        return_exceptions=True,
    )

    lost = [result for result in results if isinstance(result, BaseException)]
    assert [InstanceExistsError] * 3 == [type(each) for each in lost]
    await works.done()
    assert 1 == _count(hub, judge)


async def test_a_start_replaces_a_finished_instance(hub: TaskHub) -> None:
    """Output and end of the old one are gone; its ETag guards the replacement."""
    await finish(hub, "abc", "1")
    old = await hub.instances.read("abc")

    await add(hub, start_of_abc(), over=old)
    row = await hub.instances.read("abc")

    assert row and (Status.PENDING, None) == (row.status, row.output)
    with pytest.raises(PreconditionError):
        await add(hub, start_of_abc(), over=old)


def start_of_abc() -> TaskMessage:
    execution_id = uuid.uuid4().hex
    event_ = started("abc", execution_id=execution_id)
    return message(event_, "abc", execution_id=execution_id)


@pytest.mark.parametrize("is_finished", [True, False])
async def test_a_start_counts_though_an_answer_is_lost(
    proxy: Proxy, hub_name: str, judge: Judge, is_finished: bool
) -> None:
    """The row that is there already is its own: its message must not go."""
    async with open_hub(proxy.account, hub_name) as hub:
        await create(hub)
        if is_finished:
            await finish(hub, "abc", "1")
        old = await hub.instances.read("abc")
        proxy.lost = [f"{'PUT' if old else 'POST'} /{hub_name}Instances"]
        await add(hub, start_of_abc(), over=old)
        row = await hub.instances.read("abc")
        assert 1 == _count(hub, judge)

    assert 1 == proxy.answers_lost
    assert row and Status.PENDING is row.status


# Purge


async def test_a_purge_leaves_nothing(hub: TaskHub, judge: Judge) -> None:
    """No row, no sentinel, no blob; other instances stay."""
    events = [started("abc"), *(scheduled(number) for number in range(150))]
    await begin(hub, "abc", Input="x" * 50_000)
    await write(hub, checkpoint("abc", *events, completed(LARGE)))
    await finish(hub, "abcd", LARGE)

    assert await hub.purge("abc")

    assert [] == judge.rows("History", "abc")
    assert ["abcd"] == [row["PartitionKey"] for row in judge.rows("Instances")]
    assert ["abcd"] == [name.partition("/")[0] for name in judge.blob_names()]


async def test_an_unknown_instance_is_not_purged(hub: TaskHub) -> None:
    """The answer says that there was none."""
    assert not await hub.purge("abc")


async def test_a_purge_leaves_nothing_though_an_answer_is_lost(
    proxy: Proxy, hub_name: str, judge: Judge
) -> None:
    """The row is gone already when its delete is tried again."""
    async with open_hub(proxy.account, hub_name) as hub:
        await create(hub)
        await finish(hub, "abc", LARGE)
        proxy.lost = [f"DELETE /{hub_name}Instances("]
        await hub.purge("abc")

    assert 1 == proxy.answers_lost
    assert [] == [*judge.rows("History"), *judge.rows("Instances"), *judge.blob_names()]


# Lists


async def listed(hub: TaskHub, wanted: Filter) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    while True:
        page = await hub.instances.list(wanted)
        ids += [instance.instance_id for instance in page.instances]
        if page.next is None:
            return ids
        wanted = replace(wanted, after=page.next)


async def test_a_list_goes_on_where_a_page_ended(hub: TaskHub) -> None:
    """Every instance is there once, by id."""
    await asyncio.gather(*(begin(hub, f"i{number}") for number in range(5)))

    page = await hub.instances.list(Filter(page_size=2))

    assert ["i0", "i1"] == [each.instance_id for each in page.instances]
    assert ["i0", "i1", "i2", "i3", "i4"] == await listed(hub, Filter(page_size=2))


async def test_a_list_of_nothing_is_empty(hub: TaskHub) -> None:
    """It has no second page."""
    assert [] == await listed(hub, Filter())


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({Status.PENDING}, ["waits"]),
        ({Status.COMPLETED}, ["done"]),
        ({Status.PENDING, Status.COMPLETED, Status.FAILED}, ["done", "waits"]),
        ({Status.FAILED}, []),
    ],
)
async def test_a_list_of_some_statuses_shows_only_these(
    hub: TaskHub, statuses: set[Status], expected: list[str]
) -> None:
    """Any of the statuses will do."""
    await begin(hub, "waits")
    await finish(hub, "done")

    assert expected == await listed(hub, Filter(statuses=frozenset(statuses)))


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("a", ["a'1", "a'2", "ab"]), ("a'", ["a'1", "a'2"]), ("ab", ["ab"]), ("c", [])],
)
async def test_a_list_of_a_prefix_shows_only_ids_that_begin_so(
    hub: TaskHub, prefix: str, expected: list[str]
) -> None:
    """With quotes too."""
    for instance_id in ("a'1", "a'2", "ab", "b"):
        await begin(hub, instance_id)

    assert expected == await listed(hub, Filter(prefix=prefix))


@pytest.mark.parametrize(
    "last", ["\ud7ff", "\U0010ffff", "\ufffd", "\U000103ff", "\x1f", "\x9f", "^", "/"]
)
async def test_a_prefix_may_end_in_any_character(hub: TaskHub, last: str) -> None:
    """Also in the last one of a range, and in one that a key has escaped."""
    for instance_id in ("a", f"a{last}", f"a{last}\U00010000", f"a{last}\ufffd", "b"):
        await begin(hub, instance_id)

    found = await listed(hub, Filter(prefix=f"a{last}"))

    assert {f"a{last}", f"a{last}\U00010000", f"a{last}\ufffd"} == set(found)


async def test_a_list_of_a_time_shows_what_was_created_then(hub: TaskHub) -> None:
    """Both ends belong to it."""
    await begin(hub, "before")
    start = await begin(hub, "in1")
    end = await begin(hub, "in2")
    await begin(hub, "after")

    wanted = Filter(created_from=start.timestamp, created_to=end.timestamp)

    assert ["in1", "in2"] == await listed(hub, wanted)


async def test_a_row_shows_every_column(hub: TaskHub) -> None:
    """As a status tells it; times are those of the events."""
    start = started("abc", Input="1")
    change = checkpoint(
        "abc", start, completed("2"), started=start, status=Status.COMPLETED, output="2"
    )
    assert change.change
    end_at = clock.now()
    change = replace(
        change,
        change=replace(change.change, custom_status='{"a":1}', completed_at=end_at),
    )

    await write(hub, change)
    row = await hub.instances.read("abc")

    assert row and change.change
    assert row == Instance(
        instance_id="abc",
        name="Chain",
        execution_id=EXECUTION,
        status=Status.COMPLETED,
        created_at=start.timestamp,
        updated_at=change.change.updated_at,
        input="1",
        output="2",
        custom_status='{"a":1}',
        completed_at=row.completed_at,
        etag=row.etag,
    )
