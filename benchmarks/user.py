"""What a user does over HTTP: start, poll every 5 ms, raise an event, list."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from benchmarks.processes import POLL_S, BenchmarkError
from localhost.compat import timeout

CONNECTIONS = 8
INSTANCE_LIMIT_S = 300.0
PAGE = 1_000


@dataclass(frozen=True, kw_only=True)
class Started:
    """An instance that was answered with 202; ``began_s`` is ``perf_counter``."""

    began_s: float
    accepted_s: float
    links: dict[str, str]

    @property
    def accept_ms(self) -> float:
        """POST to 202."""
        return (self.accepted_s - self.began_s) * 1000


@dataclass(frozen=True, kw_only=True)
class Finished:
    """An instance that is Completed; times in ms from the POST."""

    accept_ms: float
    total_ms: float
    output: Any


class User:
    """A client of one host, over at most ``CONNECTIONS`` connections."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def start(self, name: str, input_: object = None) -> Started:
        """Start an instance by the app's HTTP function."""
        began_s = time.perf_counter()
        path = f"/api/orchestrators/{name}"
        async with self._session.post(path, json=input_) as answer:
            if answer.status != 202:
                raise BenchmarkError(
                    f"POST {path} was answered {answer.status}:"
                    f" {await answer.text()!r}; expected is 202"
                )
            links = await answer.json()
        return Started(began_s=began_s, accepted_s=time.perf_counter(), links=links)

    async def run(self, name: str, input_: object = None) -> Finished:
        """Start an instance and poll it until it is Completed."""
        started = await self.start(name, input_)
        status = await self.until(started, "Completed")
        return Finished(
            accept_ms=started.accept_ms,
            total_ms=(time.perf_counter() - started.began_s) * 1000,
            output=status["output"],
        )

    async def until(self, started: Started, wanted: str) -> dict[str, Any]:
        """Poll an instance every 5 ms until it has a status; return the answer."""
        status: dict[str, Any] = {}
        try:
            async with timeout(INSTANCE_LIMIT_S):
                while status.get("runtimeStatus") != wanted:
                    if status.get("runtimeStatus") in ("Failed", "Terminated"):
                        break
                    await asyncio.sleep(POLL_S)
                    status = await self._json(started.links["statusQueryGetUri"])
                else:
                    return status
        except asyncio.TimeoutError:
            pass
        raise BenchmarkError(f"an instance is not {wanted}, but {status}")

    async def raise_event(self, started: Started, name: str, content: object) -> None:
        """Raise an event for an instance."""
        url = started.links["sendEventPostUri"].replace("{eventName}", name)
        async with self._session.post(url, json=content) as answer:
            if answer.status != 202:
                raise BenchmarkError(f"an event was answered {answer.status}, not 202")

    async def signal(self, one: Started, entity: str, input_: object) -> None:
        """Add to an entity (``name/key``) of the hub that ``one`` is of.

        The input is JSON in a JSON text, as the SDK's client sends it.
        """
        url = _entity_url(one, entity, "add")
        async with self._session.post(url, json=json.dumps(input_)) as answer:
            if answer.status != 202:
                raise BenchmarkError(f"a signal was answered {answer.status}, not 202")

    async def until_state(self, one: Started, entity: str, wanted: object) -> None:
        """Read an entity every 5 ms until it has a state."""
        url, state = _entity_url(one, entity), None
        until_s = time.monotonic() + INSTANCE_LIMIT_S
        while state != wanted:
            if time.monotonic() > until_s:
                raise BenchmarkError(f"{entity} is {state}, not {wanted}")
            await asyncio.sleep(POLL_S)
            async with self._session.get(url) as answer:
                state = await answer.json() if answer.status == 200 else None

    async def start_many(self, name: str, count: int) -> list[Started]:
        """Start instances over all connections, each as fast as it is answered."""
        numbers = iter(range(count))
        started: list[Started] = []

        async def work() -> None:
            started.extend([await self.start(name) for _ in numbers])

        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        return started

    async def until_none_is_left(self, one: Started) -> None:
        """Ask for one instance that is not finished, until there is none.

        A status request for each would take longer than the instances themselves. The
        pause is some times longer than the answer took, so that asking costs little.
        """
        url = f"{_list_url(one)}&runtimeStatus=Pending,Running&top=1"
        until_s = time.monotonic() + INSTANCE_LIMIT_S
        while True:
            began_s = time.perf_counter()
            if not await self._json(url):
                return
            if time.monotonic() > until_s:
                raise BenchmarkError(
                    f"after {INSTANCE_LIMIT_S:.0f} s some instances are not Completed"
                )
            await asyncio.sleep(max(POLL_S, 8 * (time.perf_counter() - began_s)))

    async def completed(self, one: Started) -> AsyncIterator[dict[str, Any]]:
        """List all instances that are Completed."""
        url = f"{_list_url(one)}&runtimeStatus=Completed&top={PAGE}"
        token: str | None = ""
        while token is not None:
            headers = {"x-ms-continuation-token": token} if token else {}
            async with self._session.get(url, headers=headers) as answer:
                for instance in await answer.json():
                    yield instance
                token = answer.headers.get("x-ms-continuation-token")

    async def _json(self, url: str) -> Any:
        async with self._session.get(url) as answer:
            return await answer.json()


@asynccontextmanager
async def user_of(url: str) -> AsyncIterator[User]:
    """Connect to a host."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        yield User(session)


def _list_url(one: Started) -> str:
    """The URL of the list, from the URL of one of its instances."""
    path, _, query = one.links["statusQueryGetUri"].partition("?")
    return f"{path.rpartition('/')[0]}?{query}"


def _entity_url(one: Started, entity: str, operation: str = "") -> str:
    path, _, query = one.links["statusQueryGetUri"].partition("?")
    base = path.partition("/instances/")[0]
    return f"{base}/entities/{entity}?{query}{operation and f'&op={operation}'}"
