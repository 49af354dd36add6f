"""Hosts share the control queues of one hub through its Partitions table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from localhost.taskhub.leases import LEASE_MS
from localhost.taskhub.partitions import Partitions
from localhost.taskhub.storage import Storage
from localhost.taskhub.tables import Table
from localhost.timestamps import padded, plus_ms
from tests.integration.conftest import eventually

QUEUES = [f"hub-control-{number:02}" for number in range(4)]
MOST_PASSES = 10


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self._now = "2026-11-22T04:00:00Z"

    def now(self) -> str:
        return self._now

    def move(self, ms: int) -> None:
        self._now = plus_ms(self._now, ms)


class Host:
    """One host's ownership, and the queues it was told to listen to."""

    def __init__(self, table: Table, name: str, time: Time) -> None:
        self.queues: set[str] = set()
        self.listened: list[str] = []
        self.busy: set[str] = set()
        self.partitions = Partitions(
            table,
            hub="Hub",
            worker_id=name,
            now=time.now,
            listen=self._listen,
            unlisten=self._unlisten,
            drained=lambda queue: queue not in self.busy,
            others=lambda are_there: None,
        )

    def _listen(self, queue: str, was_killed: bool) -> None:
        assert queue not in self.queues
        self.queues.add(queue)
        self.listened.append(queue)

    def _unlisten(self, queue: str, is_lost: bool) -> None:
        self.queues.remove(queue)


@pytest.fixture
async def table(storage: Storage, hub_name: str) -> AsyncIterator[Table]:
    """The Partitions table of a hub that nobody works on yet."""
    made = Table(storage, f"{hub_name}Partitions")
    await made.create()
    yield made


@pytest.fixture
def time() -> Time:
    """The time of all hosts."""
    return Time()


async def host(table: Table, name: str, time: Time) -> Host:
    """Let a host take part."""
    made = Host(table, name, time)
    await made.partitions.create(QUEUES)
    await made.partitions.step()
    return made


async def settle(*hosts: Host) -> None:
    """Let each host make passes until they stay as they are."""
    before: list[set[str]] = []
    for _ in range(MOST_PASSES):
        for each in hosts:
            await each.partitions.step()
        now = [set(each.queues) for each in hosts]
        if now == before:
            return
        before = now
    raise AssertionError(f"not settled after {MOST_PASSES} passes: {before}")


async def test_a_host_alone_owns_every_queue_at_once(table: Table, time: Time) -> None:
    """The first instance of a fresh hub need not wait."""
    only = await host(table, "one", time)

    assert set(QUEUES) == only.queues


async def test_two_hosts_share_the_queues(table: Table, time: Time) -> None:
    """Half of them each, and none has two owners."""
    one = await host(table, "one", time)
    two = await host(table, "two", time)

    await settle(one, two)

    assert (2, 2) == (len(one.queues), len(two.queues))
    assert set(QUEUES) == one.queues | two.queues


async def test_hosts_that_begin_together_share_without_a_second_owner(
    table: Table, time: Time
) -> None:
    """Who writes a row second has read an old ETag."""
    one, two = Host(table, "one", time), Host(table, "two", time)
    await asyncio.gather(*(each.partitions.create(QUEUES) for each in (one, two)))

    await asyncio.gather(*(each.partitions.step() for each in (one, two)))

    assert set() == one.queues & two.queues
    await settle(one, two)
    assert (2, 2) == (len(one.queues), len(two.queues))


async def test_a_queue_stays_with_its_owner_until_it_is_drained(
    table: Table, time: Time
) -> None:
    """What is in work there must come to its end first."""
    one = await host(table, "one", time)
    one.busy = set(QUEUES)
    two = await host(table, "two", time)

    await settle(one, two)
    assert set() == two.queues
    assert 2 == len(one.queues)

    one.busy = set()
    await settle(one, two)
    assert 2 == len(two.queues)


async def test_a_host_that_stops_leaves_its_queues_at_once(
    table: Table, time: Time
) -> None:
    """The next one takes them in its next pass, without waiting for an end."""
    one = await host(table, "one", time)

    await one.partitions.release()
    two = await host(table, "two", time)

    assert set() == one.queues
    assert set(QUEUES) == two.queues


async def test_queues_of_a_killed_host_are_taken_when_their_time_is_over(
    table: Table, time: Time
) -> None:
    """Not before."""
    await host(table, "killed", time)
    next_ = await host(table, "next", time)
    assert set() == next_.queues

    time.move(LEASE_MS)
    await next_.partitions.step()

    assert set(QUEUES) == next_.queues


async def test_a_restart_of_the_same_host_owns_its_queues_at_once(
    table: Table, time: Time
) -> None:
    """After a SIGKILL too: it comes back under the same id."""
    await host(table, "one", time)
    again = await host(table, "one", time)

    assert set(QUEUES) == again.queues


async def test_a_host_that_slept_too_long_loses_only_what_was_taken(
    table: Table, time: Time
) -> None:
    """A lease that ran out and that nobody took is simply renewed."""
    one = await host(table, "one", time)

    time.move(10 * LEASE_MS)
    await one.partitions.step()
    assert set(QUEUES) == one.queues

    time.move(10 * LEASE_MS)
    two = await host(table, "two", time)
    await one.partitions.step()
    assert (set(), set(QUEUES)) == (one.queues, two.queues)


async def test_three_hosts_share_four_queues(table: Table, time: Time) -> None:
    """Nobody is left without."""
    hosts = [await host(table, name, time) for name in ("one", "two", "three")]

    await settle(*hosts)

    assert [1, 1, 2] == sorted(len(each.queues) for each in hosts)


async def test_rows_that_are_there_stay_as_they_are(table: Table, time: Time) -> None:
    """A second host makes only what is missing."""
    one = await host(table, "one", time)
    await one.partitions.create([*QUEUES, "hub-control-04"])

    rows = {row["RowKey"]: row for row in await table.query_all()}

    assert {*QUEUES, "hub-control-04"} == set(rows)
    assert "one" == rows[QUEUES[0]]["CurrentOwner"]
    assert "CurrentOwner" not in rows["hub-control-04"]


async def owners(table: Table) -> list[str | None]:
    """The owners of the queues, in their order."""
    return [row.get("CurrentOwner") for row in await table.query_all()]


async def test_what_was_lost_and_came_back_between_two_passes_is_begun_anew(
    table: Table, time: Time
) -> None:
    """Another host may have worked on it, so nothing that is known of it holds."""
    one = await host(table, "one", time)
    time.move(LEASE_MS)
    two = await host(table, "two", time)
    await two.partitions.release()

    await one.partitions.step()

    assert set(QUEUES) == one.queues
    assert sorted(2 * QUEUES) == sorted(one.listened)


async def test_what_is_renewed_is_not_begun_anew(table: Table, time: Time) -> None:
    """Nobody else had it."""
    one = await host(table, "one", time)

    for _ in range(3):
        time.move(LEASE_MS // 3)
        await one.partitions.step()

    assert QUEUES == one.listened


async def test_a_restart_renews_its_leases_at_once(table: Table, time: Time) -> None:
    """However young they are."""
    await host(table, "one", time)
    time.move(1)

    await host(table, "one", time)

    ends = [row["ExpiresAt"] for row in await table.query_all()]
    assert [padded(plus_ms(time.now(), LEASE_MS))] * 4 == ends


@asynccontextmanager
async def running(of: Host) -> AsyncIterator[asyncio.Event]:
    """Let a host make its passes until the end of the block, or the event is set."""
    stop = asyncio.Event()
    task = asyncio.create_task(of.partitions.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await task


async def test_a_host_that_cannot_renew_stops_before_its_leases_end(
    table: Table, time: Time
) -> None:
    """It stood still, or its storage was away; with its next pass it goes on."""
    one = await host(table, "one", time)

    async with running(one):
        time.move(LEASE_MS - 1_000)
        await eventually(lambda: sorted(2 * QUEUES) == sorted(one.listened))


async def test_a_stopping_host_keeps_what_is_in_work_until_it_is_done(
    table: Table, time: Time
) -> None:
    """The rest is free at once."""
    one = await host(table, "one", time)
    one.busy = {QUEUES[0]}

    async with running(one) as stop:
        stop.set()
        await eventually(lambda: not one.queues)
        two = await host(table, "two", time)
        assert set(QUEUES[1:]) == two.queues
        assert "one" == (await owners(table))[0]
        one.busy = set()

    await two.partitions.step()
    assert set(QUEUES) == two.queues


async def test_a_host_that_stops_asks_for_nothing_any_more(
    table: Table, time: Time
) -> None:
    """Who gives a queue up for it would leave it to nobody."""
    one = await host(table, "one", time)
    one.busy = set(QUEUES)
    two = await host(table, "two", time)

    await two.partitions.release()
    one.busy = set()
    await settle(one)

    assert set(QUEUES) == one.queues
