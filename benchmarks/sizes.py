"""A hub of 20,000 finished instances against an empty one, and memory over time.

Whatever is compared is measured in the same run, in turns: the empty hub on an Azurite
of its own, bare reads and deletes on the full one.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp

from benchmarks import rows
from benchmarks.figures import Row
from benchmarks.ground import QUICKSTART, Ground, Host, account_at, fresh_ground
from benchmarks.processes import BenchmarkError
from benchmarks.user import PAGE, Started, User, user_of
from localhost.taskhub.storage import Storage
from localhost.taskhub.tables import Operation, Table
from localhost.taskhub.tables import Row as TableRow

CHAIN = "HelloOrchestrator"
HUB = "Full"
INSTANCES = 20_000
ROUNDS = 3
CHAINS, STATUSES, PURGED = 50, 100, 100  # in each round
WRITERS = 8
DELETERS = 16
FIRST_CREATED_AT = datetime(2020, 1, 1, tzinfo=timezone.utc)
FEW_CHAINS, MANY_CHAINS = 500, 5_000

Figures = tuple[dict[Row, float], dict[str, Any]]
_SERVICE_COLUMNS = frozenset({"PartitionKey", "RowKey", "Timestamp", "odata.etag"})


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A chain that is Completed, and how long that took."""

    started: Started
    total_ms: float


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables of the full hub, asked without a host."""

    instances: Table
    history: Table


async def measure_full_hub(ground: Ground) -> Figures:
    """Fill a hub; then start, run and ask hosts on it and on an empty one in turns."""
    empty_folder = ground.folder / "empty"
    empty_folder.mkdir()
    async with fresh_ground(empty_folder) as empty, _tables(ground) as tables:
        async with ground.host(QUICKSTART, hub=HUB) as host:
            await _chains(host, 1)
        row_keys = await fill(tables, INSTANCES)
        samples: dict[str, list[list[float]]] = {"full": [], "empty": []}
        for _ in range(ROUNDS):
            samples["empty"].append(await _use(empty))
            samples["full"].append(await _use(ground))
        async with ground.host(QUICKSTART, hub=HUB) as host, user_of(host.url) as user:
            one = (await _chains(host, 1))[-1].started
            windows = _windows(PURGED)
            lists = await _in_turns(
                lambda: _list(user, one), lambda: _bare_list(tables)
            )
            purges = await _in_turns(
                lambda: _purge(one, next(windows)),
                lambda: _bare_purge(tables, next(windows), row_keys),
            )
    full, empty_ = (list(zip(*samples[name], strict=True)) for name in samples)
    start, chain, status = (
        statistics.median(ours) / statistics.median(theirs)
        for ours, theirs in zip(full, empty_, strict=True)
    )
    return {
        rows.FULL_START: start,
        rows.FULL_CHAIN: chain,
        rows.FULL_STATUS: status,
        rows.FULL_LIST: _ratio(lists),
        rows.FULL_PURGE: _ratio(purges),
    }, {"start_chain_status_ms": samples, "list_ms": lists, "purge_ms": purges}


async def measure_growth(ground: Ground) -> Figures:
    """Weigh one host after some chains and after ten times as many.

    The Azurite keeps all on disk: one in memory stands still for a minute or more when
    it cleans up after thousands of messages.
    """
    folder = ground.folder / "disk"
    folder.mkdir()
    memory_mb = []
    async with fresh_ground(folder, in_memory=False) as disk:
        async with disk.host(QUICKSTART) as host:
            for _ in range(MANY_CHAINS // FEW_CHAINS):
                await _chains(host, FEW_CHAINS)
                memory_mb.append(host.process.memory_mb)
    return {
        rows.FEW_MEMORY: memory_mb[0],
        rows.MANY_MEMORY: memory_mb[-1],
        rows.GROWTH: memory_mb[-1] / memory_mb[0],
    }, {"memory_mb": memory_mb}


# The full hub


@asynccontextmanager
async def _tables(ground: Ground) -> AsyncIterator[Tables]:
    async with Storage(account_at(ground.ports)) as storage:
        yield Tables(
            instances=Table(storage, f"{HUB}Instances"),
            history=Table(storage, f"{HUB}History"),
        )


async def fill(tables: Tables, count: int) -> Sequence[str]:
    """Write copies of the one chain that is there; return the keys of its history."""
    history = await tables.history.query_all()
    (instance,) = await tables.instances.query_all()
    numbers = iter(range(count))

    async def write() -> None:
        for number in numbers:
            copy = uuid.uuid4().hex
            operations = [
                Operation(
                    method="POST",
                    partition_key=copy,
                    row_key=row["RowKey"],
                    columns=_columns(row),
                )
                for row in history
            ]
            await tables.history.transaction(operations)
            created = {"CreatedTime": _created_at(number)}
            await tables.instances.insert(copy, "", {**_columns(instance), **created})

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    return [row["RowKey"] for row in history]


def _columns(row: TableRow) -> TableRow:
    return {name: row[name] for name in row if name not in _SERVICE_COLUMNS}


def _created_at(number: int) -> str:
    created_at = FIRST_CREATED_AT + timedelta(minutes=number)
    return created_at.strftime("%Y-%m-%dT%H:%M:%S.0000000Z")


def _windows(count: int) -> Iterator[tuple[str, str]]:
    """Times from and to which so many instances were created, one after the other."""
    for first in itertools.count(0, count):
        yield _created_at(first), _created_at(first + count - 1)


# What is timed; all times in ms


async def _use(ground: Ground) -> list[float]:
    """Start a host, run chains and ask for a status; median times of the three."""
    async with ground.host(QUICKSTART, hub=HUB) as host, aiohttp.ClientSession() as web:
        chains = await _chains(host, CHAINS, at_once=1)
        url = chains[-1].started.links["statusQueryGetUri"]
        statuses_ms = [await _timed_ms(lambda: _get(web, url)) for _ in range(STATUSES)]
    return [
        host.ready_s * 1000,
        statistics.median(chain.total_ms for chain in chains),
        statistics.median(statuses_ms),
    ]


async def _chains(host: Host, count: int, *, at_once: int = WRITERS) -> list[Chain]:
    """Run chains, so many at once."""
    numbers = iter(range(count))
    async with user_of(host.url) as user:

        async def run() -> list[Chain]:
            return [await _chain(user) for _ in numbers]

        done = await asyncio.gather(*(run() for _ in range(at_once)))
    return [chain for chains in done for chain in chains]


async def _chain(user: User) -> Chain:
    started = await user.start(CHAIN)
    await user.until(started, "Completed")
    total_ms = (time.perf_counter() - started.began_s) * 1000
    return Chain(started=started, total_ms=total_ms)


async def _get(web: aiohttp.ClientSession, url: str) -> None:
    async with web.get(url) as answer:
        if answer.status != 200:
            raise BenchmarkError(f"a status was answered {answer.status}, not 200")
        await answer.read()


async def _list(user: User, one: Started) -> None:
    """List all instances, page by page."""
    count = len([instance async for instance in user.completed(one)])
    if count < INSTANCES:
        raise BenchmarkError(f"a list of {INSTANCES} instances shows {count}")


async def _bare_list(tables: Tables) -> None:
    after = None
    while True:
        page = await tables.instances.query(
            "RuntimeStatus eq 'Completed'", top=PAGE, after=after
        )
        if page.next is None:
            return
        after = page.next


async def _purge(one: Started, window: tuple[str, str]) -> None:
    """Purge the instances that were created in a time."""
    path, _, query = one.links["statusQueryGetUri"].partition("?")
    wanted = f"createdTimeFrom={window[0]}&createdTimeTo={window[1]}"
    url = f"{path.rpartition('/')[0]}?{query}&{wanted}&runtimeStatus=Completed"
    async with aiohttp.ClientSession() as web, web.delete(url) as answer:
        found = await answer.text()
    if found != f'{{"instancesDeleted":{PURGED}}}':
        raise BenchmarkError(f"a purge of {PURGED} instances was answered {found}")


async def _bare_purge(
    tables: Tables, window: tuple[str, str], row_keys: Sequence[str]
) -> None:
    """Delete as many instances whose rows are known, as many at once as a host does."""
    page = await tables.instances.query(
        f"(CreatedTime ge datetime'{window[0]}') and"
        f" (CreatedTime le datetime'{window[1]}') and (RuntimeStatus eq 'Completed')",
        top=PAGE,
    )
    keys = iter([row["PartitionKey"] for row in page.rows])

    async def delete() -> None:
        for key in keys:
            operations = [
                Operation(
                    method="DELETE",
                    partition_key=key,
                    row_key=row_key,
                    columns={},
                    if_match="*",
                )
                for row_key in row_keys
            ]
            await tables.history.transaction(operations)
            await tables.instances.delete(key, "")

    await asyncio.gather(*(delete() for _ in range(DELETERS)))


async def _in_turns(
    ours: Callable[[], Awaitable[None]],
    bare: Callable[[], Awaitable[None]],
) -> dict[str, list[float]]:
    """Time both, one after the other, some times."""
    times_ms: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(ROUNDS):
        times_ms["bare"].append(await _timed_ms(bare))
        times_ms["ours"].append(await _timed_ms(ours))
    return times_ms


async def _timed_ms(work: Callable[[], Awaitable[None]]) -> float:
    began_s = time.perf_counter()
    await work()
    return (time.perf_counter() - began_s) * 1000


def _ratio(times_ms: dict[str, list[float]]) -> float:
    return statistics.median(times_ms["ours"]) / statistics.median(times_ms["bare"])
