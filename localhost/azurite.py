"""Azurite for this host: the one that listens already, or one of our own.

Our own runs in a session of its own, so that Ctrl-C and the death of the host do not
reach it: Azurite saves only now and then, and a killed one forgets what it answered.
It ends by SIGTERM when the host is done; after a SIGKILL of the host it lives on, and
the next host adopts it. A lock on the folder, which the system takes from a dead host,
says whether somebody looks after it. One that ends while the host runs is started
again. Imports ``errors``, ``node``, ``processes`` and ``azurite_process``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from localhost.azurite_process import (
    POLL_S,
    START_LIMIT_S,
    Endpoints,
    Own,
    Site,
    ask_to_end,
    damage,
    end,
    has_come,
    is_of_folder,
    is_serving,
    listening,
    log_text,
    node_for,
    recorded_pid,
    spawn,
    was_cut_off,
)
from localhost.errors import CannotStartError
from localhost.node import require_supported
from localhost.processes import try_lock

__all__ = ["Endpoints", "Keeper", "azurite"]

log = logging.getLogger(__name__)

AZURITE_SCRIPT = Path(__file__).parent / "node_modules/azurite/dist/src/azurite.js"
_HALF_LIMIT_S = 1.5  # for the ports of an Azurite that just starts or ends
_TAIL_LINES = 8
WATCH_S, ADOPTED_WATCH_S = 0.1, 1.0  # an adopted one is no child: to look costs more
LONG_LIFE_S = 60.0
LONGEST_PAUSE_S = 60.0  # between starts of an Azurite that ends again and again


@asynccontextmanager
async def azurite(
    endpoints: Endpoints,
    *,
    folder: Path,
    account: str,
    key: str,
    say: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
    script: Path = AZURITE_SCRIPT,
) -> AsyncIterator[Keeper]:
    """Have Azurite listen on all three ports; end it afterwards if it is ours.

    One of ours that ends meanwhile is started again. *folder* holds its data, log and
    pid. ``CannotStartError`` when only some of the ports listen, or when Node or
    Azurite is missing or does not start.
    """
    site = Site(
        endpoints=endpoints,
        folder=folder,
        account=account,
        key=key,
        say=say,
        environ=environ,
        script=script,
    )
    keeper = Keeper(await _use_or_start(site), site)
    watch = asyncio.create_task(keeper.watch(), name="azurite")
    try:
        yield keeper
    finally:
        watch.cancel()
        await asyncio.wait([watch])
        if keeper.own:
            await end(keeper.own, site)


class Keeper:
    """Looks after our own Azurite: one that ends while it is needed is replaced.

    ``on_end`` is called then, before the next one is started: that one may know less.
    """

    def __init__(self, own: Own | None, site: Site) -> None:
        self.own = own
        self.on_end: Callable[[], None] | None = None
        self._site = site
        self._since_s = time.monotonic()
        self._pause_s = 0.0

    async def watch(self) -> None:
        """Watch until somebody else's Azurite listens in the place of ours."""
        while own := self.own:
            await asyncio.sleep(WATCH_S if own.process else ADOPTED_WATCH_S)
            if not own.is_alive(self._site):
                await self._replace(own)

    async def _replace(self, own: Own) -> None:
        log.warning(
            "Azurite (pid %d) has ended (%s); it is started again.",
            own.pid,
            own.end_in_words(self._site),
        )
        if time.monotonic() - self._since_s > LONG_LIFE_S:
            self._pause_s = 0.0
        if self.on_end:
            self.on_end()
        own.lock.close()
        self.own = None
        self.own = await self._another()
        self._since_s = time.monotonic()

    async def _another(self) -> Own | None:
        """Start until one listens, with a pause before each start but the first."""
        told = ""
        while True:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2 or 1.0, LONGEST_PAUSE_S)
            try:
                return await _use_or_start(self._site)
            except CannotStartError as exc:
                if str(exc) != told:
                    told = str(exc)
                    log.error("%s\nIt is tried again; Ctrl-C ends the host.", exc)


async def _use_or_start(site: Site) -> Own | None:
    """Our own Azurite, or ``None`` when somebody else's listens."""
    ports, since = listening(site.endpoints), time.monotonic()
    while len(ports) < 3:
        if not ports and (lock := try_lock(site.lock_file)):
            if own := await _start(site, lock):
                return own
        waited_s = time.monotonic() - since
        if waited_s > (_HALF_LIMIT_S if ports else START_LIMIT_S):
            raise _half_listening(site, ports) if ports else _locked(site)
        await asyncio.sleep(POLL_S)
        before, ports = ports, listening(site.endpoints)
        since = since if ports == before else time.monotonic()
    return _adopt(site)


def _adopt(site: Site) -> Own | None:
    """The Azurite that listens, if it is ours and the host that had it is gone."""
    if not site.pid_file.exists():
        return None
    lock = try_lock(site.lock_file)
    if lock is None:
        return None
    pid = recorded_pid(site)
    if is_serving(pid, site):
        site.say(f"Azurite (pid {pid}) of an earlier host goes on.")
        return Own(pid=pid, lock=lock)
    lock.close()
    return None


async def _start(site: Site, lock: BinaryIO) -> Own | None:
    """Start Azurite; ``None`` when another came first, or the old one just ends."""
    own = None
    try:
        pid = recorded_pid(site)
        if is_of_folder(pid, site):
            own = await _wait_for_recorded(Own(pid=pid, lock=lock), site)
        else:
            if was_cut_off(site):
                site.say(
                    "Azurite did not end by itself the last time (it was killed): what"
                    f" it had not saved to {site.folder} is gone."
                )
            own = await _started(spawn(site, lock), site)
    finally:
        if own is None:
            lock.close()
    return own


async def _wait_for_recorded(own: Own, site: Site) -> Own | None:
    """An Azurite of ours lives but does not listen: it starts, ends, or is elsewhere.

    One on other ports is ended first: two on one folder would spoil the data.
    """
    if not is_serving(own.pid, site):
        ask_to_end(own.pid, site)
    if await has_come(own, site):
        return own
    if own.is_alive(site):
        raise CannotStartError(
            f"Azurite (pid {own.pid}) holds {site.folder}, but does not listen on"
            f" {site.endpoints}. End that process and start again."
        )
    return None


async def _started(own: Own, site: Site) -> Own | None:
    try:
        is_up = await has_come(own, site)
    except BaseException:
        await end(own, site)
        raise
    if is_up:
        site.say(f"Azurite started (pid {own.pid}), its data is in {site.folder}.")
        return own
    if own.is_alive(site):
        await end(own, site)
        raise _failed(site, f"did not listen within {START_LIMIT_S:.0f} s")
    site.pid_file.unlink(missing_ok=True)
    if listening(site.endpoints):
        return None
    require_supported(node_for(site))
    raise _failed(site, "ended at once")


def _failed(site: Site, what: str) -> CannotStartError:
    if found := damage(site):
        return CannotStartError(
            f"{found}, so that Azurite {what}; expected is what an Azurite saved. Move"
            f" {site.folder} away, or delete it, and start again: the instances in it"
            " are lost."
        )
    tail = "\n".join(log_text(site).splitlines()[-_TAIL_LINES:]) or "(nothing)"
    return CannotStartError(
        f"Azurite {what}; expected is that it listens on {site.endpoints}."
        f" {site.log} says:\n{tail}"
    )


def _half_listening(site: Site, ports: set[int]) -> CannotStartError:
    by_service = site.endpoints.by_service().items()
    yes = ", ".join(f"{port} ({name})" for name, port in by_service if port in ports)
    no = ", ".join(f"{port} ({name})" for name, port in by_service if port not in ports)
    return CannotStartError(
        f"Only some of Azurite's ports on {site.endpoints.host} listen: {yes} does,"
        f" {no} does not; expected is all three or none. End what listens there, start"
        " a whole Azurite, or name other ports in AzureWebJobsStorage."
    )


def _locked(site: Site) -> CannotStartError:
    return CannotStartError(
        f"Another host holds {site.folder}, but no Azurite listens on {site.endpoints};"
        " expected is one host for each folder and its ports. End the other host, or"
        " give both the same AzureWebJobsStorage."
    )
