"""A status is answered from what this process has just written, for a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localhost.history import Status
from localhost.records import Instance
from localhost.taskhub.hub import TaskHub
from tests.integration.conftest import (
    Judge,
    add,
    checkpoint,
    completed,
    message,
    started,
    write,
)


async def begin(hub: TaskHub) -> None:
    start = started("abc", Input='{"a":"東京"}')
    await add(hub, message(start, "abc"))


async def finish(hub: TaskHub) -> None:
    start = started("abc", Input='{"a":"東京"}')
    await write(
        hub,
        checkpoint(
            "abc",
            start,
            completed("[1]"),
            started=start,
            status=Status.COMPLETED,
            output="[1]",
        ),
    )


def without_etag(row: Instance | None) -> Instance:
    assert row is not None
    return replace(row, etag=None)


@pytest.mark.parametrize("is_finished", [False, True])
async def test_it_is_what_the_storage_would_say(
    hub: TaskHub, is_finished: bool
) -> None:
    """After the row of a start, and after a checkpoint was merged into it."""
    await begin(hub)
    if is_finished:
        await finish(hub)
    sent = hub.storage.requests_sent
    recalled = await hub.status("abc", is_own=True)

    assert sent == hub.storage.requests_sent
    assert without_etag(await hub.instances.read("abc")) == recalled


async def test_a_row_that_is_changed_without_being_known_is_read(
    hub: TaskHub,
) -> None:
    """What a checkpoint merges is not the whole row."""
    await finish(hub)
    sent = hub.storage.requests_sent
    row = await hub.status("abc", is_own=True)

    assert row and Status.COMPLETED is row.status
    assert sent + 1 == hub.storage.requests_sent


async def test_what_others_wrote_shows_later(
    hub: TaskHub, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the second is over."""
    await begin(hub)
    table = judge.tables.get_table_client(f"{judge.hub}Instances")
    row = {"PartitionKey": "abc", "RowKey": "", "RuntimeStatus": "Terminated"}
    table.update_entity(row)
    monkeypatch.setattr("localhost.taskhub.recent.RECENT_S", 0.0)
    found = await hub.status("abc", is_own=True)

    assert found and Status.TERMINATED is found.status


async def test_an_instance_of_another_host_is_read(hub: TaskHub, judge: Judge) -> None:
    """That host writes its row."""
    await begin(hub)
    table = judge.tables.get_table_client(f"{judge.hub}Instances")
    table.update_entity(
        {"PartitionKey": "abc", "RowKey": "", "RuntimeStatus": "Running"}
    )
    found = await hub.status("abc", is_own=False)

    assert found and Status.RUNNING is found.status


async def test_a_purged_instance_is_gone_at_once(hub: TaskHub) -> None:
    """Nothing is recalled of it."""
    await begin(hub)
    await hub.purge("abc")

    assert await hub.status("abc", is_own=True) is None
