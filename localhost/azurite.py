"""Azurite for this host: the one that listens already, or one of our own.

Our own runs in a session of its own, so that Ctrl-C and the death of the host do not
reach it: Azurite saves only now and then, and a killed one forgets what it answered.
All hosts on the app's folder use the same one, whichever started it: it is started
again when it ends meanwhile, and the last one ends it by SIGTERM. After a SIGKILL of
that one it lives on, and the next host uses it. Imports ``errors``, ``node``,
``azurite_users`` and ``azurite_process``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from localhost.azurite_process import (
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
from localhost.azurite_users import POLL_S, Users
from localhost.errors import CannotStartError
from localhost.node import require_supported

__all__ = ["Endpoints", "Keeper", "azurite"]

log = logging.getLogger(__name__)

AZURITE_SCRIPT = Path(__file__).parent / "node_modules/azurite/dist/src/azurite.js"
_HALF_LIMIT_S = 1.5  # for the ports of an Azurite that just starts or ends
_TAIL_LINES = 8
WATCH_S, OTHERS_WATCH_S = 0.1, 1.0  # what is no child of ours costs more to look at
FAULT_PAUSE_S = 1.0
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
    """Have Azurite listen on all three ports; the last user of ours ends it.

    One of ours that ends meanwhile is started again. *folder* holds its data, log and
    pid. ``CannotStartError`` when only some of the ports listen, or when Node or
    Azurite is missing or does not start.
    """
    site = Site(
        endpoints=endpoints,
        folder=folder,
        users=Users(folder, say=say),
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
        if site.users.has_me:
            await _leave(keeper.own, site)


class Keeper:
    """Looks after an Azurite of ours: one that ends while it is needed is replaced.

    ``on_end`` is called then, before the next one is started: that one may know less.
    """

    def __init__(self, own: Own | None, site: Site) -> None:
        self.own = own
        self.on_end: Callable[[], None] | None = None
        self._site = site
        self._since_s = time.monotonic()
        self._pause_s = 0.0

    async def watch(self) -> None:
        """Watch until somebody else's Azurite listens in the place of ours.

        A fault does not end it: who would start Azurite again?
        """
        own = self.own
        while own:
            await asyncio.sleep(WATCH_S if own.process else OTHERS_WATCH_S)
            try:
                if not await own.is_alive(self._site):
                    await self._replace(own)
            except Exception:
                log.exception("Looking after Azurite (pid %d) is tried again.", own.pid)
                await asyncio.sleep(FAULT_PAUSE_S)
            else:
                own = self.own

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
        self.own = None
        self.own = await self._another()
        if self.own is None:
            self._site.users.leave()
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
    """Join those who use our Azurite; ``None`` when somebody else's listens."""
    try:
        return await _joined(site)
    except OSError as exc:
        raise CannotStartError(
            f"Azurite cannot be started: {exc}; expected: a folder {site.folder} in"
            " which you may write, on a disk with room. Put that right and start again."
        ) from exc


async def _joined(site: Site) -> Own | None:
    while True:
        if not site.pid_file.exists() and await _is_listening(site):
            return None  # nothing is written to the folder then
        async with site.users.alone():
            is_up = await _is_listening(site)
            own = await (_running(site) if is_up else _start(site))
            if own:
                site.users.join()
        if own or is_up:
            return own
        await asyncio.sleep(POLL_S)


async def _is_listening(site: Site) -> bool:
    """Whether all ports listen, or none; waits while an Azurite just starts or ends."""
    ports, since = listening(site.endpoints), time.monotonic()
    while 0 < len(ports) < 3:
        if time.monotonic() - since > _HALF_LIMIT_S:
            raise _half_listening(site, ports)
        await asyncio.sleep(POLL_S)
        before, ports = ports, listening(site.endpoints)
        since = since if ports == before else time.monotonic()
    return bool(ports)


async def _running(site: Site) -> Own | None:
    """The Azurite that listens, if it is ours."""
    pid = recorded_pid(site)
    if not await is_serving(pid, site):
        return None
    if not site.users.has_others():
        site.say(f"Azurite (pid {pid}) of an earlier host goes on.")
    return Own(pid=pid)


async def _start(site: Site) -> Own | None:
    """Start Azurite; ``None`` when another came first, or the old one just ends."""
    pid = recorded_pid(site)
    if await is_of_folder(pid, site):
        return await _wait_for_recorded(Own(pid=pid), site)
    if was_cut_off(site):
        site.say(
            "Azurite did not end by itself the last time (it was killed): what"
            f" it had not saved to {site.folder} is gone."
        )
    return await _started(spawn(site), site)


async def _leave(own: Own | None, site: Site) -> None:
    """Use it no longer; whoever was the last one to use it ends it."""
    async with site.users.alone():
        site.users.leave()
        pid = recorded_pid(site)
        if (own is None or own.pid != pid) and await is_of_folder(pid, site):
            own = Own(pid=pid)  # another host was first to start one again
        if own is None:
            return
        if not site.users.has_others():
            await end(own, site)
        elif await own.is_alive(site):
            site.say(f"Azurite (pid {own.pid}) goes on: another host uses it.")


async def _wait_for_recorded(own: Own, site: Site) -> Own | None:
    """An Azurite of ours lives but does not listen: it starts, ends, or is elsewhere.

    One on other ports is ended first: two on one folder would spoil the data.
    """
    if not await is_serving(own.pid, site):
        if site.users.has_others():
            raise _elsewhere(own, site)
        ask_to_end(own.pid, site)
    if await has_come(own, site):
        return own
    if await own.is_alive(site):
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
    if await own.is_alive(site):
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


def _elsewhere(own: Own, site: Site) -> CannotStartError:
    return CannotStartError(
        f"Another host uses {site.folder} with an Azurite (pid {own.pid}) that is not"
        f" on {site.endpoints}; expected is one Azurite for a folder. End the other"
        " host, or give both the same AzureWebJobsStorage."
    )
