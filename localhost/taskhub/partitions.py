"""The Partitions table: which host works on which control queue.

``decide`` is the protocol, pure: it reads the rows and says what to write.
``Partitions`` carries it out, pass after pass, and tells the host which queues it owns.
A write needs the ETag that was read; who comes second does nothing and looks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from localhost.compat import timeout
from localhost.crashpoints import crash_point
from localhost.errors import (
    ConflictError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from localhost.taskhub.tables import Table
from localhost.timestamps import padded, plus_ms, to_ticks, trimmed

log = logging.getLogger(__name__)

LEASE_MS = 30_000
RENEW_AFTER_MS = 8_000
PASS_S = 4.0
BUSY_PASS_S = 1.0  # while draining, or waiting for a partition that another gives up


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One row: the control queue, its owner and who is to own it next.

    Times are timestamp texts. ``etag`` is that of the row as it was read.
    """

    queue: str
    etag: str
    owner: str | None = None
    next_owner: str | None = None
    owned_since: str | None = None
    renewed_at: str | None = None
    expires_at: str | None = None
    is_draining: bool = False

    def is_expired(self, now: str) -> bool:
        """Whether the owner has not renewed in time."""
        return self.expires_at is not None and to_ticks(now) >= to_ticks(
            self.expires_at
        )

    def renewed(self, now: str) -> Lease:
        """Return the row with the owner's lease made new."""
        return replace(self, renewed_at=now, expires_at=plus_ms(now, LEASE_MS))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Lease:
        """Read a row of the Partitions table."""

        def time(name: str) -> str | None:
            return trimmed(row[name]) if row.get(name) else None

        return cls(
            queue=row["RowKey"],
            etag=row["odata.etag"],
            owner=row.get("CurrentOwner") or None,
            next_owner=row.get("NextOwner") or None,
            owned_since=time("OwnedSince"),
            renewed_at=time("LastRenewal"),
            expires_at=time("ExpiresAt"),
            is_draining=bool(row.get("IsDraining")),
        )

    def to_row(self) -> dict[str, Any]:
        """Return the columns; what is None is not there."""
        row: dict[str, Any] = {}
        if self.owner is not None:
            row["CurrentOwner"] = self.owner
        if self.next_owner is not None:
            row["NextOwner"] = self.next_owner
        times = {
            "OwnedSince": self.owned_since,
            "LastRenewal": self.renewed_at,
            "ExpiresAt": self.expires_at,
        }
        for name, value in times.items():
            if value is not None:
                row[name] = padded(value)
                row[name + "@odata.type"] = "Edm.DateTime"
        row["IsDraining"] = self.is_draining
        return row


def decide(
    leases: Sequence[Lease],
    *,
    me: str,
    now: str,
    drained: Collection[str] = (),
    is_stopping: bool = False,
) -> list[Lease]:
    """Return the rows to write, as they are to be (their ``etag`` still the old one).

    ``drained`` are the queues of mine of which nothing is in work any more.
    """
    wishes = [
        _wish(lease, me=me, now=now, drained=drained, is_stopping=is_stopping)
        for lease in leases
    ]
    if not is_stopping:
        wishes = _balanced(wishes, me=me, now=now)
    return [wish for wish, lease in zip(wishes, leases, strict=True) if wish != lease]


def _wish(
    lease: Lease,
    *,
    me: str,
    now: str,
    drained: Collection[str],
    is_stopping: bool,
) -> Lease:
    """Return what one row should become, by the row alone."""
    if lease.owner == me and (lease.next_owner is not None or is_stopping):
        return _given_up(lease, now, is_drained=lease.queue in drained)
    if lease.owner == me:
        is_old = lease.renewed_at is None or (
            to_ticks(now) >= to_ticks(plus_ms(lease.renewed_at, RENEW_AFTER_MS))
        )
        if not is_old and not lease.is_draining:
            return lease
        return replace(lease.renewed(now), is_draining=False)
    if is_stopping:
        return lease
    if _is_free(lease, me, now):
        mine = replace(
            lease, owner=me, next_owner=None, owned_since=now, is_draining=False
        )
        return mine.renewed(now)
    if lease.next_owner is None and lease.is_draining:
        return replace(lease, next_owner=me)
    return lease


def _is_free(lease: Lease, me: str, now: str) -> bool:
    if lease.owner is None:
        return lease.next_owner in (None, me) or lease.is_expired(now)
    return lease.is_expired(now)


def _given_up(lease: Lease, now: str, *, is_drained: bool) -> Lease:
    """Return a row of mine on its way to another: drain, then let go."""
    if not lease.is_draining and not is_drained:
        return replace(lease.renewed(now), is_draining=True)
    if is_drained:
        return replace(lease, owner=None, is_draining=False)
    return lease.renewed(now)


def _balanced(leases: list[Lease], *, me: str, now: str) -> list[Lease]:
    """Ask for partitions of hosts that own more than their share."""
    owned = Counter(
        owner for lease in leases if (owner := lease.next_owner or lease.owner)
    )
    mine, others = owned.pop(me, 0), owned
    share = len(leases) // (len(others) + 1)
    if mine > share or not others:
        return leases
    wanted: dict[str, int] = {}
    missing = share - mine
    for owner, count in sorted(others.items()):
        take = min(missing, count - share) if mine < share else int(count >= share + 2)
        if take > 0:
            wanted[owner] = take
            missing -= take
            if mine == share:
                break
    out = []
    for lease in leases:
        owner = lease.owner
        if owner is not None and lease.next_owner is None and wanted.get(owner, 0) > 0:
            wanted[owner] -= 1
            lease = replace(lease, next_owner=me)
        out.append(lease)
    return out


class Partitions:
    """Owns control queues for this host and says which ones.

    ``listen`` and ``unlisten`` are told of each queue that comes and goes; ``drained``
    is asked whether a queue that is to go has nothing in work. ``worker_id`` must be
    the host's own: two with the same id both believe they own the same queues.
    """

    def __init__(
        self,
        table: Table,
        *,
        worker_id: str,
        now: Callable[[], str],
        listen: Callable[[str], None],
        unlisten: Callable[[str], None],
        drained: Callable[[str], bool],
    ) -> None:
        self._table = table
        self._me = worker_id
        self._now = now
        self._listen, self._unlisten, self._drained = listen, unlisten, drained
        self.owned: frozenset[str] = frozenset()
        self.foreign_owners: frozenset[str] = frozenset()

    async def create(self, queues: Sequence[str]) -> None:
        """Make the table and a row for each control queue where there is none."""
        await self._table.create()
        await asyncio.gather(*(self._create_row(queue) for queue in queues))

    async def run(self, stop: asyncio.Event) -> None:
        """Claim, renew and share until ``stop`` is set or the storage given up."""
        while not stop.is_set():
            try:
                is_waiting = await self.step()
            except UnavailableError:
                return
            with contextlib.suppress(asyncio.TimeoutError):
                async with timeout(BUSY_PASS_S if is_waiting else PASS_S):
                    await stop.wait()

    async def step(self, *, is_stopping: bool = False) -> bool:
        """Make one pass; True when the next one should follow soon."""
        leases = [Lease.from_row(row) for row in await self._table.query_all()]
        leaving = {
            lease.queue
            for lease in leases
            if lease.owner == self._me and (is_stopping or lease.next_owner is not None)
        }
        for queue in sorted(self.owned & leaving):
            self._unlisten(queue)
        self.owned -= leaving
        writes = decide(
            leases,
            me=self._me,
            now=self._now(),
            drained={queue for queue in leaving if self._drained(queue)},
            is_stopping=is_stopping,
        )
        now_are = {lease.queue: lease for lease in leases}
        results = await asyncio.gather(*(self._write(wish) for wish in writes))
        for wish, was_written in zip(writes, results, strict=True):
            if was_written:
                now_are[wish.queue] = wish
        crash_point("after a claim of partitions")
        self._take_over(now_are.values())
        self.foreign_owners = frozenset(
            lease.owner
            for lease in now_are.values()
            if lease.owner is not None and lease.owner != self._me
        )
        return not all(results) or any(
            lease.next_owner == self._me
            or (lease.owner == self._me and lease.is_draining)
            for lease in now_are.values()
        )

    async def release(self) -> None:
        """Give up every queue; the pumps must have let go of them before."""
        await self.step(is_stopping=True)

    def _take_over(self, leases: Iterable[Lease]) -> None:
        mine = {
            lease.queue
            for lease in leases
            if lease.owner == self._me
            and lease.next_owner is None
            and not lease.is_draining
        }
        for queue in sorted(self.owned - mine):
            log.info("partition %s is no longer ours", queue)
            self._unlisten(queue)
        for queue in sorted(mine - self.owned):
            self._listen(queue)
        self.owned = frozenset(mine)

    async def _create_row(self, queue: str) -> None:
        try:
            await self._table.insert("", queue, {"IsDraining": False})
        except ConflictError:
            pass

    async def _write(self, lease: Lease) -> bool:
        try:
            await self._table.put("", lease.queue, lease.to_row(), if_match=lease.etag)
        except (PreconditionError, NotFoundError):
            return False
        return True
