"""The groups of figures: each measures some rows on a ground of its own."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks import rows, sizes
from benchmarks.counting import count_chain_requests
from benchmarks.figures import Row, percentile, step_ms
from benchmarks.ground import PATTERNS, QUICKSTART, Ground, Host, fresh_ground
from benchmarks.processes import BenchmarkError
from benchmarks.replays import replay_ms
from benchmarks.user import CONNECTIONS, Finished, User, user_of

CHAIN = "HelloOrchestrator"
CHAIN_OUTPUT = ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]
CHAINS, BLOCKS, SENDS_BETWEEN = 200, 10, 20
STARTS = 3
STEPS = 500
EVENTS = 50
ENTITY, SIGNALS = "Counter/all", 500
IDLE_S, RESTING = 60.0, 3


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The values of a group's rows; ``details`` go to the JSON file only."""

    values: dict[Row, float]
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that are measured together; ``is_long`` ones only by ``--full``.

    One that ``rests`` lets others measure meanwhile, see ``Ground.rest``.
    """

    name: str
    measure: Callable[[Ground], Awaitable[Measured]]
    is_long: bool = False
    rests: bool = False


async def measure_start(ground: Ground) -> Measured:
    """Start a host on a fresh hub a few times, and its first instance at once."""
    ready_ms, first_ms = [], []
    for number in range(STARTS):
        async with ground.host(QUICKSTART, hub=f"Fresh{number}") as host:
            async with user_of(host.url) as user:
                first = await _chain(user)
            ready_ms.append(host.ready_s * 1000)
            first_ms.append(first.total_ms)
        await ground.measure_unit()
    return Measured(
        values={
            rows.START: statistics.median(ready_ms),
            rows.FIRST: statistics.median(first_ms),
        },
        details={"ready_ms": ready_ms, "first_ms": first_ms},
    )


async def measure_chain(ground: Ground) -> Measured:
    """Run chains one at a time, polled every 5 ms, and weigh the host afterwards.

    The unit is measured between them, some sends at a time: machines that are shared
    change their speed from second to second.
    """
    done: list[Finished] = []
    async with ground.host(QUICKSTART) as host, user_of(host.url) as user:
        for _ in range(BLOCKS):
            done += [await _chain(user) for _ in range(CHAINS // BLOCKS)]
            await ground.measure_unit(SENDS_BETWEEN)
        memory_mb = host.process.memory_mb
        cpu_ms = host.process.cpu_s * 1000
    total_ms = [finished.total_ms for finished in done]
    return Measured(
        values={
            rows.CHAIN_P50: percentile(total_ms, 50),
            rows.CHAIN_P95: percentile(total_ms, 95),
            rows.ACCEPT: percentile([finished.accept_ms for finished in done], 50),
            rows.CHAIN_MEMORY: memory_mb,
            rows.AZURITE_MEMORY: ground.azurite.memory_mb,
        },
        details={"total_ms": total_ms, "host_cpu_ms": cpu_ms},
    )


async def measure_requests(ground: Ground) -> Measured:
    """Count the storage requests of some chains through a proxy."""
    counted = await count_chain_requests(ground, CHAIN)
    return Measured(
        values={rows.REQUESTS: counted.of_worker},
        details={"per_chain": counted.per_chain, "one_chain": counted.one_chain},
    )


async def measure_burst(ground: Ground, *, count: int, row: Row) -> Measured:
    """Start instances over 8 connections; rate until the last is Completed."""
    async with ground.host(QUICKSTART) as host:
        rate_per_s, cpu_ms = await _burst(host, count)
        memory_mb = host.process.memory_mb
    values = {row: rate_per_s}
    if count == max(rows.BURSTS):
        values[rows.BURST_MEMORY] = memory_mb
    return Measured(
        values=values,
        details={"cpu_ms_per_instance": cpu_ms / count, "memory_mb": memory_mb},
    )


async def measure_fan_out(ground: Ground, *, count: int, row: Row) -> Measured:
    """Run one instance that waits for many activities at once.

    What it leaves behind is deleted after it is Completed; that is measured as well.
    """
    async with ground.host(PATTERNS) as host, user_of(host.url) as user:
        finished = await user.run("FanOut", count)
        began_s = time.perf_counter()
        await ground.until_no_work_item_is_left()
        rest_ms = (time.perf_counter() - began_s) * 1000
    _must_equal(sum(range(count)), finished.output)
    values = {row: finished.total_ms}
    if row in rows.UNTIL_DELETED:
        values[rows.UNTIL_DELETED[row]] = finished.total_ms + rest_ms
    return Measured(values=values, details={"until_deleted_ms": rest_ms})


async def measure_sequence(ground: Ground) -> Measured:
    """Run one instance of many steps, each of which tells when it ran."""
    async with ground.host(PATTERNS) as host, user_of(host.url) as user:
        finished = await user.run("Sequence", STEPS)
    _must_equal(STEPS, len(finished.output))
    early_ms = step_ms(finished.output, 2, 20)
    late_ms = step_ms(finished.output, STEPS - 20, STEPS)
    replays_ms = {step: replay_ms(step, steps=STEPS) for step in (10, STEPS)}
    return Measured(
        values={
            rows.EARLY_STEP: early_ms,
            rows.LATE_STEP: late_ms,
            rows.STEP_GROWTH: late_ms / early_ms,
            rows.REPLAY_GROWTH: replays_ms[STEPS] / early_ms,
        },
        details={"total_ms": finished.total_ms, "replays_ms": replays_ms},
    )


async def measure_event(ground: Ground) -> Measured:
    """Raise events for instances that wait for them, one at a time."""
    times_ms = []
    async with ground.host(PATTERNS) as host, user_of(host.url) as user:
        for number in range(EVENTS):
            started = await user.start("WaitForEvent")
            await user.until(started, "Running")
            began_s = time.perf_counter()
            await user.raise_event(started, "Go", number)
            status = await user.until(started, "Completed")
            times_ms.append((time.perf_counter() - began_s) * 1000)
            _must_equal(number, status["output"])
    return Measured(
        values={rows.EVENT: percentile(times_ms, 50)}, details={"times_ms": times_ms}
    )


async def measure_entity(ground: Ground) -> Measured:
    """Signal one entity over 8 connections, then read it until it has taken all."""
    async with ground.host(PATTERNS) as host, user_of(host.url) as user:
        one = await user.start("FanOut", 1)  # its links lead to the hub
        await user.until(one, "Completed")
        numbers = iter(range(SIGNALS))

        async def work() -> None:
            for _ in numbers:
                await user.signal(one, ENTITY, 1)

        began_s = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        signaled_s = time.perf_counter()
        await user.until_state(one, ENTITY, SIGNALS)
        ended_s = time.perf_counter()
    return Measured(
        values={rows.ENTITY: (ended_s - began_s) * 1000},
        details={"signals_ms": (signaled_s - began_s) * 1000},
    )


async def measure_idle(ground: Ground) -> Measured:
    """Run a chain after hosts, and their Azurites, had nothing to do for a minute."""
    async with AsyncExitStack() as stack:
        pairs = [await _ready_pair(stack, ground)]
        for number in range(1, RESTING):
            folder = ground.folder / f"idle-{number}"
            folder.mkdir()
            another = fresh_ground(folder, turn=ground.turn)
            pairs.append(
                await _ready_pair(stack, await stack.enter_async_context(another))
            )
        before_s, began_s = pairs[0][0].process.cpu_s, time.monotonic()
        await ground.rest(IDLE_S)
        idle_s = time.monotonic() - began_s
        idle_cpu_s = pairs[0][0].process.cpu_s - before_s
        total_ms = [(await _chain(user)).total_ms for _, user in pairs]
    return Measured(
        values={rows.IDLE: statistics.median(total_ms)},
        details={
            "total_ms": total_ms,
            "idle_s": idle_s,
            "host_cpu_percent_while_idle": idle_cpu_s / idle_s * 100,
        },
    )


async def _ready_pair(stack: AsyncExitStack, ground: Ground) -> tuple[Host, User]:
    """Start a host that has run some chains, and its user."""
    host = await stack.enter_async_context(ground.host(QUICKSTART))
    user = await stack.enter_async_context(user_of(host.url))
    for _ in range(10):
        await _chain(user)
    return host, user


async def measure_sizes(
    ground: Ground, *, measure: Callable[[Ground], Awaitable[sizes.Figures]]
) -> Measured:
    """Measure what is compared within one run."""
    values, details = await measure(ground)
    return Measured(values=values, details=details)


async def _chain(user: User) -> Finished:
    finished = await user.run(CHAIN)
    _must_equal(CHAIN_OUTPUT, finished.output)
    return finished


async def _burst(host: Host, count: int) -> tuple[float, float]:
    """Return instances per second and the host's processor time in ms."""
    async with user_of(host.url) as user:
        before_s, began_s = host.process.cpu_s, time.perf_counter()
        started = await user.start_many(CHAIN, count)
        await user.until_none_is_left(started[0])
        rate_per_s = count / (time.perf_counter() - began_s)
        cpu_ms = (host.process.cpu_s - before_s) * 1000
        outputs = [one["output"] async for one in user.completed(started[0])]
    _must_equal([CHAIN_OUTPUT] * count, outputs)
    return rate_per_s, cpu_ms


def _must_equal(expected: object, found: object) -> None:
    """What is fast and wrong counts for nothing."""
    if expected != found:
        raise BenchmarkError(
            f"expected is the output {str(expected)[:200]}, found {str(found)[:200]}"
        )


def _bursts(counts: Iterable[int]) -> list[Group]:
    return [
        Group(
            name=f"burst-{count}",
            measure=partial(measure_burst, count=count, row=rows.BURSTS[count]),
        )
        for count in counts
    ]


def _fan_outs(counts: Iterable[int]) -> list[Group]:
    return [
        Group(
            name=f"fan-out-{count}",
            measure=partial(measure_fan_out, count=count, row=rows.FAN_OUTS[count]),
            is_long=count > 1_000,
        )
        for count in counts
    ]


GROUPS = (
    Group(name="start", measure=measure_start),
    Group(name="chain", measure=measure_chain),
    Group(name="requests", measure=measure_requests),
    *_bursts(rows.BURSTS),
    *_fan_outs(rows.FAN_OUTS),
    Group(name="sequence", measure=measure_sequence),
    Group(name="event", measure=measure_event),
    Group(name="entity", measure=measure_entity),
    Group(name="idle", measure=measure_idle, rests=True),
    Group(
        name="full-hub",
        measure=partial(measure_sizes, measure=sizes.measure_full_hub),
        is_long=True,
    ),
    Group(
        name="growth",
        measure=partial(measure_sizes, measure=sizes.measure_growth),
        is_long=True,
    ),
)
