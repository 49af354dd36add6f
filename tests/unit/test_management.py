"""The management API: who may ask it, and how often it looks for who waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from localhost.durable.client import Client
from localhost.history import Status
from localhost.records import Instance
from localhost.web.admission import Admission
from localhost.web.management import Management
from localhost.web.server import Server

LIMIT_S = 10.0
NOW = "2026-11-22T04:00:00Z"


class Endless:
    """Starts instances that run for ever, and counts who looks at them."""

    hub_name = "Hub"

    def __init__(self) -> None:
        self.looks = 0
        self.is_looked_at = asyncio.Event()

    async def start(self, name: str, instance_id: str | None, _: str | None) -> str:
        return instance_id or name

    async def status(self, instance_id: str) -> Instance:
        self.looks += 1
        self.is_looked_at.set()
        return Instance(
            instance_id=instance_id,
            execution_id="e",
            name="Endless",
            status=Status.RUNNING,
            created_at=NOW,
            updated_at=NOW,
        )


@pytest.fixture(name="client")
def _client() -> Endless:
    return Endless()


@pytest.fixture(name="ask")
async def _ask(client: Endless) -> AsyncIterator[Callable[[str], asyncio.Task[int]]]:
    """Begins to start an instance with a query; gives the status of the answer."""
    management = Management(
        cast(Client, client),
        admission=Admission(code="key", hub_name="Hub", leads_here=lambda _: True),
        links_query="",
    )

    async def nobody(_: web.Request) -> None:
        return None

    async with (
        Server(
            address="127.0.0.1",
            port=0,
            built_in=[],
            management=management.handle,
            functions=[nobody],
        ) as server,
        ClientSession() as session,
    ):

        async def started(query: str) -> int:
            url = URL(f"{server.rpc_base_url}orchestrators/Endless?{query}")
            async with session.post(url) as response:
                return response.status

        yield lambda query: asyncio.create_task(started(query))


@pytest.mark.parametrize("interval", ["0", "0.0000001", "1e-300"])
async def test_looks_have_a_pause(
    client: Endless, ask: Callable[[str], asyncio.Task[int]], interval: str
) -> None:
    """However small the interval is that a caller wants."""
    assert 202 == await ask(f"timeout=0.5&pollingInterval={interval}")
    assert 1 < client.looks < 10


async def test_nobody_waits_for_a_client_that_has_gone(
    client: Endless, ask: Callable[[str], asyncio.Task[int]]
) -> None:
    """However long it was ready to wait."""
    asked = ask("timeout=100000000&pollingInterval=0")
    await client.is_looked_at.wait()
    asked.cancel()
    await asyncio.wait([asked])

    for _ in range(20):
        before = client.looks
        await asyncio.sleep(0.25)
        if client.looks == before:
            return
    pytest.fail("it is looked at for ever")


@pytest.mark.parametrize("query", [{}, {"code": ""}, {"code": "x"}])
def test_an_empty_key_opens_nothing(query: dict[str, str]) -> None:
    """Whoever shows none, or an empty one, would show the right one."""
    admission = Admission(code="", hub_name="Hub", leads_here=lambda _: True)

    assert not admission.is_allowed(make_mocked_request("GET", "/"), query)
