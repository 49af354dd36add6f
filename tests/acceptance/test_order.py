"""What one sender sent later to the same instance is never worked on earlier.

A client raises an event, waits for its 202, and raises the next one; many do so at
once, so that a host has more messages than it takes into its hands.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.data.tables import TableServiceClient

from localhost.compat import timeout
from tests.acceptance.asking import FINISHED, wait_for
from tests.acceptance.hosts import Hosts, write_function
from tests.acceptance.running_host import HUB_VARIABLE, Host, Storage

pytestmark = pytest.mark.timeout(150)

PROGRAMS = [f"program-{number:03}" for number in range(250)]
KEYS = [f"log-{number:02}" for number in range(40)]
SIGNALS = range(10)
WAIT_LIMIT_S = 40.0
POLL_S = 0.3
_WEBHOOKS = "/runtime/webhooks/durabletask"
_TWO_EVENTS = """
import azure.durable_functions as df


def orchestrator_function(context):
    waits = [context.wait_for_external_event("P") for _ in range(2)]
    context.set_custom_status("waits")
    return (yield context.task_all(waits))


main = df.Orchestrator.create(orchestrator_function)
"""
_LOG = """
import azure.durable_functions as df


def entity_function(context):
    context.set_state([*context.get_state(lambda: []), int(context.get_input())])


main = df.Entity.create(entity_function)
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the histories and the entities hold in order, and how many do so."""

    events: Counter[str]
    logs: Counter[str]


@dataclass(kw_only=True)
class Clients:
    """Clients of hosts on one hub; each request goes to the next of the hosts."""

    hosts: Sequence[Host]
    session: aiohttp.ClientSession
    _count: dict[str, int] = field(default_factory=dict)

    async def post(self, who: str, path: str, body: Any = None) -> None:
        """Send a request in the name of somebody who waits for its 202."""
        number = self._count[who] = self._count.get(who, -1) + 1
        host = self.hosts[number % len(self.hosts)]
        url = f"{host.url}{_WEBHOOKS}/{path}"
        async with self.session.post(url, params={"code": host.code}, json=body) as got:
            assert 202 == got.status, await got.text()

    async def get(self, path: str, **params: str) -> Any:
        host = self.hosts[0]
        url, params = f"{host.url}{_WEBHOOKS}/{path}", {**params, "code": host.code}
        async with self.session.get(url, params=params) as got:
            return await got.json()

    async def programs(self) -> list[Any]:
        """The status of each program that has a row."""
        wanted = {"instanceIdPrefix": "program-", "top": str(len(PROGRAMS))}
        listed: list[Any] = await self.get("instances/", **wanted)
        return listed

    async def start_programs(self) -> None:
        """Have all programs wait for their two events."""
        starts = (self.post(id_, f"orchestrators/TwoEvents/{id_}") for id_ in PROGRAMS)
        await asyncio.gather(*starts)

        async def all_wait() -> bool:
            listed = await self.programs()
            waiting = [each for each in listed if each["customStatus"] == "waits"]
            return len(waiting) == len(PROGRAMS)

        await until(all_wait)

    async def send(self, events: Sequence[int], signals: Sequence[int]) -> None:
        """Send what programs and entities are to get, to all at once."""
        await asyncio.gather(self.raise_events(events), self.signal(signals))

    async def outcome(self) -> Outcome:
        return Outcome(events=await self.events(), logs=await self.logs())

    async def raise_events(self, values: Sequence[int]) -> None:
        """Raise these events for each program, one after the other."""

        async def raise_for(id_: str) -> None:
            for value in values:
                await self.post(id_, f"instances/{id_}/raiseEvent/P", value)

        await asyncio.gather(*map(raise_for, PROGRAMS))

    async def signal(self, values: Sequence[int]) -> None:
        """Send these signals to each entity, one after the other.

        As text: the SDK reads an input as JSON once more.
        """

        async def signal_for(key: str) -> None:
            for value in values:
                await self.post(key, f"entities/Log/{key}?op=append", str(value))

        await asyncio.gather(*map(signal_for, KEYS))

    async def events(self) -> Counter[str]:
        """How often a history has which events; wait until all have ended.

        Not the outputs: of two waits for one name, the SDK answers the latest first.
        """

        async def all_have_ended() -> bool:
            listed = await self.programs()
            ended = [each for each in listed if each["runtimeStatus"] in FINISHED]
            return len(ended) == len(PROGRAMS)

        async def events_of(id_: str) -> str:
            flags = {"showHistory": "true", "showHistoryOutput": "true"}
            status = await self.get(f"instances/{id_}", **flags)
            history = status["historyEvents"]
            raised = [e for e in history if e["EventType"] == "EventRaised"]
            return str([json.loads(event["Input"]) for event in raised])

        await until(all_have_ended)
        return Counter(await asyncio.gather(*map(events_of, PROGRAMS)))

    async def logs(self) -> Counter[str]:
        """How often the entities hold what; wait until all signals are in."""

        async def read() -> list[Any]:
            paths = [f"entities/Log/{key}" for key in KEYS]
            return list(await asyncio.gather(*map(self.get, paths)))

        async def are_whole() -> bool:
            return all(len(log or ()) == len(SIGNALS) for log in await read())

        await until(are_whole)
        return Counter(map(str, await read()))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, with a limit."""
    async with timeout(WAIT_LIMIT_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def clients_of(*hosts: Host) -> AsyncIterator[Clients]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Clients(hosts=hosts, session=session)


# The ways: each with 250 programs and 40 entities at once


async def one_host(hosts: Hosts, storage: Storage) -> Outcome:
    async with clients_of(hosts.start(_app_for(hosts))) as clients:
        await clients.start_programs()
        await clients.send([1, 2], SIGNALS)
        return await clients.outcome()


async def killed_between(hosts: Hosts, storage: Storage) -> Outcome:
    """What came before the kill may lie hidden while the rest is sent."""
    host = hosts.start(_app_for(hosts))
    half = len(SIGNALS) // 2
    async with clients_of(host) as clients:
        await clients.start_programs()
        await clients.send([1], SIGNALS[:half])
    host.kill()
    async with clients_of(hosts.restart(host)) as clients:
        await clients.send([2], SIGNALS[half:])
        return await clients.outcome()


async def two_hosts(hosts: Hosts, storage: Storage) -> Outcome:
    """Who sends one thing to one of them sends the next to the other."""
    first = hosts.start(_app_for(hosts))
    second = hosts.start(first.app, **{HUB_VARIABLE: first.hub})
    wait_for(
        lambda: len(owners_of(storage, first.hub)) > 1,
        "both to own control queues",
        limit_s=WAIT_LIMIT_S,
        poll_s=POLL_S,
    )
    async with clients_of(first, second) as clients:
        await clients.start_programs()
        await clients.send([1, 2], SIGNALS)
        return await clients.outcome()


WAYS = {way.__name__: way for way in (one_host, killed_between, two_hosts)}


def _app_for(hosts: Hosts) -> Path:
    app = hosts.copy_app()
    for name, script, kind in (
        ("TwoEvents", _TWO_EVENTS, "orchestrationTrigger"),
        ("Log", _LOG, "entityTrigger"),
    ):
        trigger = {"name": "context", "type": kind, "direction": "in"}
        write_function(app, name, script, trigger)
    return app


def owners_of(storage: Storage, hub: str) -> set[Any]:
    """The hosts that own control queues of a hub."""
    text = storage.connection_string
    with TableServiceClient.from_connection_string(text) as service:
        rows = service.get_table_client(f"{hub}Partitions").list_entities()
        return {row.get("CurrentOwner") for row in rows}


@pytest.fixture(scope="module", name="outcome", params=WAYS)
def _outcome(
    request: pytest.FixtureRequest, shared_hosts: Hosts, storage: Storage
) -> Outcome:
    return asyncio.run(WAYS[request.param](shared_hosts, storage))


def test_each_program_gets_its_events_in_order(outcome: Outcome) -> None:
    """Its history has first what was raised first."""
    assert {"[1, 2]": len(PROGRAMS)} == outcome.events


def test_each_entity_gets_its_signals_in_order(outcome: Outcome) -> None:
    """Each of a client's signals comes after that which was answered before."""
    assert {str([*SIGNALS]): len(KEYS)} == outcome.logs
