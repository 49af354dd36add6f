"""The recorded app on the local host, as a process on a task hub of its own."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.acceptance.running_host import (
    HUB_VARIABLE,
    Host,
    environment,
    free_ports,
)
from tests.conformance.comparing import Words
from tests.conformance.recordings import APP

RECORDED_HUB = "PatternsHub"


@dataclass(frozen=True, kw_only=True)
class Played:
    """A host that runs the recorded app, and where that writes."""

    host: Host
    turns: Path  # what its orchestrator functions received, one file each
    temp: Path  # its folder for temporary files

    def words(self) -> Words:
        """The words for what is this host's own."""
        hub = self.host.hub
        return Words(
            of={
                hub: RECORDED_HUB,
                hub.lower(): RECORDED_HUB.lower(),
                self.host.code: "KEY",
            }
        )

    async def ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        content: Any = None,
    ) -> Any:
        """Ask the management API about instances; None when the answer is empty."""
        url = f"{self.host.url}/runtime/webhooks/durabletask/instances{path}"
        query = f"{'&' if '?' in url else '?'}code={self.host.code}"
        async with session.request(method, url + query, json=content) as answer:
            return await answer.json() if await answer.text() else None


@asynccontextmanager
async def playing(folder: Path, connection_string: str) -> AsyncIterator[Played]:
    """Run the recorded app until the end of the block."""
    app, turns, temp = folder / "app", folder / "turns", folder / "temp"
    shutil.copytree(APP, app, ignore=shutil.ignore_patterns("__pycache__"))
    turns.mkdir()
    temp.mkdir()
    environ = environment(
        AzureWebJobsStorage=connection_string,
        RECORD_DIR=str(turns),
        TMPDIR=str(temp),
        **{HUB_VARIABLE: f"Hub{secrets.token_hex(6)}"},
    )
    host = Host(app, port=free_ports(1)[0], log=folder / "host.log", environ=environ)
    try:
        await asyncio.to_thread(host.wait_until_ready)
        yield Played(host=host, turns=turns, temp=temp)
    finally:
        await asyncio.to_thread(host.end)


def replaced(text: str, names: Mapping[str, str]) -> str:
    """Return a text with each name replaced, the longest first."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    return text
