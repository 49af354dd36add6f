"""A storage that has lost a part of the task hub: it is made again, by whoever asks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from localhost.errors import NotFoundError
from localhost.taskhub.blobs import Blobs
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.storage import Storage
from tests.conftest import Emulator
from tests.integration.conftest import Judge, add, message, open_hub, receive, started


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("part", ["queue", "table"])
async def test_a_lost_part_is_made_again_and_the_request_sent_again(
    hub: TaskHub, judge: Judge, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However many requests meet the gap at once, it is said once."""
    queue = hub.queues.control[0]
    if part == "queue":
        judge.queues.delete_queue(queue)
        asked: Any = [receive(hub, queue, 1) for _ in range(5)]
    else:
        judge.tables.delete_table(f"{hub.name}History")
        asked = [hub.histories.load(f"instance{n}") for n in range(5)]

    answers = await asyncio.gather(*asked)

    assert 5 == len(answers)
    assert [f"The storage has lost the task hub {hub.name}; it is made again."] == (
        lines_of(caplog)
    )


async def test_a_start_on_a_hub_that_was_lost_as_a_whole_is_done(
    hub: TaskHub, judge: Judge
) -> None:
    """Every queue and table is there again."""
    for queue in (hub.queues.work_items, *hub.queues.control):
        judge.queues.delete_queue(queue)
    for table in ("History", "Instances", "Partitions"):
        judge.tables.delete_table(f"{hub.name}{table}")

    await add(hub, message(started("abc"), "abc"))

    assert await hub.instances.read("abc")
    assert len(hub.queues.control) == len(judge.rows("Partitions"))
    for queue in (hub.queues.work_items, *hub.queues.control):
        judge.count(queue)


async def test_a_hub_that_was_never_made_is_not_made_by_a_request(
    emulator: Emulator,
    hub_name: str,
    judge: Judge,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only the start of a host makes one."""
    async with open_hub(emulator.account, hub_name) as hub:
        with pytest.raises(NotFoundError):
            await receive(hub, hub.queues.work_items, 1)

    with pytest.raises(ResourceNotFoundError):
        judge.count(hub.queues.work_items)
    assert [] == lines_of(caplog)


async def test_what_is_missing_in_a_hub_that_is_there_is_no_loss(
    hub: TaskHub, caplog: pytest.LogCaptureFixture
) -> None:
    """A row or blob that is not there is an answer."""
    assert await hub.instances.read("unknown") is None
    assert () == (await hub.histories.load("unknown")).events
    assert not await hub.purge("unknown")

    assert [] == lines_of(caplog)


async def test_rows_of_partitions_that_were_lost_are_made_again(
    hub: TaskHub, judge: Judge
) -> None:
    """The table alone would belong to nobody for ever."""
    partitions = hub.partitions(
        worker_id="me",
        listen=lambda queue, was_killed: None,
        unlisten=lambda queue, is_lost: None,
        drained=lambda queue: True,
        others=lambda are_there: None,
    )
    await partitions.create(hub.queues.control)
    await partitions.step()
    table = judge.tables.get_table_client(f"{hub.name}Partitions")
    for row in judge.rows("Partitions")[1:]:
        table.delete_entity(row)

    await partitions.step()

    rows = judge.rows("Partitions")
    assert list(hub.queues.control) == [row["RowKey"] for row in rows]
    assert {"me"} == {row["CurrentOwner"] for row in rows}


async def test_a_container_that_was_lost_is_made_again_by_the_next_write(
    storage: Storage, judge: Judge
) -> None:
    """It is made when it is first needed, and this process knows that it was."""
    blobs = Blobs(storage, judge.hub)
    await blobs.write("abc/first.json.gz", "first")
    judge.blobs.delete_container(f"{judge.hub.lower()}-largemessages")

    await blobs.write("abc/second.json.gz", "second")

    assert "second" == await blobs.read("abc/second.json.gz")
