"""Who uses the Azurite of a folder: the hosts agree here, so that the last one ends it.

Two kinds of locks on files, which the system takes from a process that dies: one that
a host has only while it joins or leaves, starts or ends Azurite, and one for each host
as long as it uses it. Imports ``errors`` and ``processes``.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from localhost.errors import CannotStartError
from localhost.processes import try_lock, unlock

POLL_S = 0.015
_NOTICE_S = 5.0
ALONE_LIMIT_S = 60.0  # longer than a start or an end may take


class Users:
    """The hosts, and ``azurite`` commands, that use the Azurite of a folder.

    ``join``, ``leave`` and ``has_others`` are for the host that is ``alone``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        say: Callable[[str], None],
        limit_s: float = ALONE_LIMIT_S,
    ) -> None:
        self._folder = folder
        self._say = say
        self._limit_s = limit_s
        self._mine: tuple[Path, BinaryIO] | None = None

    @property
    def has_me(self) -> bool:
        """Whether this host has joined."""
        return self._mine is not None

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep the other hosts from joining and leaving, starting and ending Azurite.

        Waits for one that is about it; ``CannotStartError`` when that takes too long.
        """
        lock = await self._wait_for_lock()
        try:
            yield
        finally:
            unlock(lock)

    async def _wait_for_lock(self) -> BinaryIO:
        began_s, is_told = time.monotonic(), False
        while not (lock := try_lock(self._folder / "azurite.lock")):
            waited_s = time.monotonic() - began_s
            if not is_told and waited_s > min(_NOTICE_S, self._limit_s):
                is_told = True
                self._say(
                    "Another host starts or ends the Azurite of"
                    f" {self._folder}; waiting for it."
                )
            elif waited_s > self._limit_s:
                raise CannotStartError(
                    "Another host has been starting or ending the Azurite of"
                    f" {self._folder} for {self._limit_s:.0f} s; expected are a few"
                    " seconds. End that host and start again."
                )
            await asyncio.sleep(POLL_S)
        return lock

    def join(self) -> None:
        """Be one of those that use it."""
        if self._mine:
            return
        for number in itertools.count():
            path = self._folder / f"azurite.user.{number}"
            if lock := try_lock(path):
                self._mine = path, lock
                _close_in_forks(lock)
                return

    def leave(self) -> None:
        """Be none of those that use it."""
        if self._mine:
            unlock(self._mine[1])
            self._mine = None

    def has_others(self) -> bool:
        """Whether another host uses it."""
        mine = self._mine[0] if self._mine else None
        paths = self._folder.glob("azurite.user.*")
        return any(_is_locked(path) for path in paths if path != mine)


def _is_locked(path: Path) -> bool:
    lock = try_lock(path)
    if lock:
        unlock(lock)
    return lock is None


def _close_in_forks(lock: BinaryIO) -> None:
    """A process that user code forked must not keep the lock of a killed host."""
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=lock.close)
