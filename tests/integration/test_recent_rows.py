"""A status is answered from what this process has just written, for a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localhost.history import Status
from localhost.records import Instance
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.port import Received
from tests.conftest import Emulator
from tests.integration.conftest import (
    Judge,
    checkpoint,
    completed,
    create,
    message,
    open_hub,
    started,
)


class Nobody:
    """Works on a queue in name only."""

    def reserve(self, queue: str) -> bool:
        return False

    def release(self, queue: str) -> None: ...

    def announce(self, item: object) -> None: ...

    def offer(self, item: object) -> None: ...

    def hand_over(self, item: object) -> None: ...

    def look(self, queue: str) -> None: ...

    def expect(self, queue: str, in_s: float) -> None: ...


@pytest.fixture(name="ours")
def _ours(hub: TaskHub) -> TaskHub:
    """A hub of which this process works on every control queue."""
    for queue in hub.control_queues:
        hub.attach(queue, Nobody())
    return hub


async def begin(hub: TaskHub) -> None:
    start = started("abc", Input='{"a":"東京"}')
    await hub.add(message(start, "abc"), over=None)


async def finish(hub: TaskHub) -> None:
    start = started("abc", Input='{"a":"東京"}')
    await hub.commit(
        checkpoint(
            "abc",
            start,
            completed("[1]"),
            started=start,
            status=Status.COMPLETED,
            output="[1]",
        )
    )


def without_etag(row: Instance | None) -> Instance:
    assert row is not None
    return replace(row, etag=None)


@pytest.mark.parametrize("is_finished", [False, True])
async def test_it_is_what_the_storage_would_say(
    ours: TaskHub, is_finished: bool
) -> None:
    """After the row of a start, and after a checkpoint was merged into it."""
    await begin(ours)
    if is_finished:
        await finish(ours)
    sent = ours.storage.requests_sent
    recalled = await ours.status("abc")

    assert sent == ours.storage.requests_sent
    assert without_etag(await ours.instances.read("abc")) == recalled


async def test_a_row_that_is_changed_without_being_known_is_read(
    ours: TaskHub,
) -> None:
    """What a checkpoint merges is not the whole row."""
    await finish(ours)
    sent = ours.storage.requests_sent
    row = await ours.status("abc")

    assert row and Status.COMPLETED is row.status
    assert sent + 1 == ours.storage.requests_sent


async def test_what_others_wrote_shows_later(
    ours: TaskHub, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the second is over."""
    await begin(ours)
    table = judge.tables.get_table_client(f"{judge.hub}Instances")
    row = {"PartitionKey": "abc", "RowKey": "", "RuntimeStatus": "Terminated"}
    table.update_entity(row)
    monkeypatch.setattr("localhost.taskhub.recent.RECENT_S", 0.0)
    found = await ours.status("abc")

    assert found and Status.TERMINATED is found.status


async def test_an_instance_of_another_host_is_read(hub: TaskHub, judge: Judge) -> None:
    """That host writes its row."""
    await begin(hub)
    table = judge.tables.get_table_client(f"{judge.hub}Instances")
    table.update_entity(
        {"PartitionKey": "abc", "RowKey": "", "RuntimeStatus": "Running"}
    )
    found = await hub.status("abc")

    assert found and Status.RUNNING is found.status


async def test_a_purged_instance_is_gone_at_once(ours: TaskHub) -> None:
    """Nothing is recalled of it."""
    await begin(ours)
    await ours.purge("abc")

    assert await ours.status("abc") is None


# Starts that wait in a queue


async def test_a_start_of_our_own_is_known_when_it_comes_from_its_queue(
    ours: TaskHub,
) -> None:
    """Its row is there and its history is not: nobody has to look."""
    await begin(ours)
    (item,) = await receive_all(ours)

    assert (True, True) == (item.is_ours, item.is_first)


async def test_a_start_that_somebody_had_before_is_not_known(
    ours: TaskHub, emulator: Emulator
) -> None:
    """Another host may have begun on it."""
    await begin(ours)
    async with open_hub(emulator.account, ours.name) as other:
        await create(other)
        (taken,) = await receive_all(other)
        await other.abandon(taken)
    (item,) = await receive_all(ours)

    assert (False, False) == (item.is_ours, item.is_first)


async def receive_all(hub: TaskHub) -> list[Received]:
    found = [await hub.receive(queue, 32) for queue in hub.control_queues]
    return [item for items in found for item in items]
