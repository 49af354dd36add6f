"""Counts the storage requests of chains, by a proxy between host and Azurite.

The chain's end is seen in the table itself, past the proxy, so that no status request
is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableClient

from benchmarks.ground import QUICKSTART, Ground, connection
from benchmarks.processes import BenchmarkError
from benchmarks.proxy import CountingProxy, Exchange
from benchmarks.user import user_of
from localhost.compat import timeout

CHAINS = 20
HUB = "Counted"
SEEN_EVERY_S = 0.01
QUIET_S = 0.5
LIMIT_S = 30.0
# Those of the client: the start's message and row, and a look at the row before.
CLIENT_KINDS = {
    "queue POST control messages": 1,
    "table POST Instances": 1,
    "table GET Instances": 1,
}
# Not caused by a chain: they happen while nothing is to do as well.
UPKEEP = ("empty poll", "Partitions", "applease")


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Requests per chain by kind, and one chain's in order: (at ms, took ms, kind)."""

    of_worker: float
    per_chain: dict[str, float]
    one_chain: list[tuple[float, float, str]]


async def count_chain_requests(ground: Ground, name: str) -> Counted:
    """Run chains one at a time behind the proxy."""
    exchanges: list[Exchange] = []
    async with AsyncExitStack() as stack:
        proxies = {
            service: await stack.enter_async_context(
                CountingProxy(service, port, exchanges)
            )
            for service, port in ground.ports.items()
        }
        ports = {service: proxy.port for service, proxy in proxies.items()}
        host = await stack.enter_async_context(
            ground.host(QUICKSTART, hub=HUB, ports=ports)
        )
        user = await stack.enter_async_context(user_of(host.url))
        table = await stack.enter_async_context(
            TableClient.from_connection_string(
                connection(ground.ports), f"{HUB}Instances"
            )
        )
        began_s = time.perf_counter()
        for number in range(CHAINS + 1):
            if number <= 1 or number == CHAINS:
                await _until_quiet(exchanges)
                began_s = time.perf_counter()
            if number == 1:
                exchanges.clear()  # the first chain opened connections
            started = await user.start(name)
            await _until_completed(table, started.links["id"])
        await _until_quiet(exchanges)
    return summary(exchanges, chains=CHAINS, last_began_s=began_s)


def summary(
    exchanges: Sequence[Exchange], *, chains: int, last_began_s: float
) -> Counted:
    """Sort requests by kind; those of the client and upkeep are not the worker's."""
    caused = [one for one in exchanges if not is_upkeep(one.kind)]
    counts = Counter(one.kind for one in caused)
    of_client = sum(
        min(counts[kind], most * chains) for kind, most in CLIENT_KINDS.items()
    )
    return Counted(
        of_worker=(sum(counts.values()) - of_client) / chains,
        per_chain={kind: count / chains for kind, count in counts.most_common()},
        one_chain=[
            (
                round((one.began_s - last_began_s) * 1000, 2),
                round((one.answered_s - one.began_s) * 1000, 2),
                one.kind,
            )
            for one in caused
            if one.began_s >= last_began_s
        ],
    )


def is_upkeep(kind: str) -> bool:
    """Whether requests of a kind happen without any instance."""
    return any(word in kind for word in UPKEEP)


async def _until_completed(table: TableClient, instance_id: str) -> None:
    try:
        async with timeout(LIMIT_S):
            while True:
                if await _status(table, instance_id) == "Completed":
                    return
                await asyncio.sleep(SEEN_EVERY_S)
    except asyncio.TimeoutError:
        raise BenchmarkError(
            f"instance {instance_id} is not Completed after {LIMIT_S:.0f} s"
        ) from None


async def _status(table: TableClient, instance_id: str) -> str:
    try:
        row = await table.get_entity(partition_key=instance_id, row_key="")
    except ResourceNotFoundError:
        return ""
    return str(row["RuntimeStatus"])


async def _until_quiet(exchanges: Sequence[Exchange]) -> None:
    """Wait until nothing but upkeep has gone by for a while."""
    last_s = time.perf_counter()
    while time.perf_counter() - last_s < QUIET_S:
        await asyncio.sleep(SEEN_EVERY_S)
        caused = (one.began_s for one in exchanges if not is_upkeep(one.kind))
        last_s = max([last_s, *caused])
