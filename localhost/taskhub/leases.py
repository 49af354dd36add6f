"""Rows of the Partitions table, and the protocol by which hosts share them; pure.

``decide`` reads the rows and says what to write. A write needs the ETag that was read;
who comes second does nothing and looks again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from localhost.timestamps import padded, plus_ms, to_ticks, trimmed

LEASE_MS = 30_000
RENEW_AFTER_MS = 8_000


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

    def is_from(self, old: str) -> bool:
        """Whether the owner renewed it at a time or before, or never."""
        return self.renewed_at is None or to_ticks(self.renewed_at) <= to_ticks(old)

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
    renew_after_ms: int = RENEW_AFTER_MS,
) -> list[Lease]:
    """Return the rows to write, as they are to be (their ``etag`` still the old one).

    ``drained`` are the queues of mine of which nothing is in work any more, and
    ``renew_after_ms`` says how old a lease of mine may become.
    """
    old = plus_ms(now, -renew_after_ms)
    wishes = []
    for lease in leases:
        if lease.owner != me:
            wish = _withdrawn(lease, me) if is_stopping else _taken(lease, me, now)
        elif is_stopping or lease.next_owner is not None:
            wish = _given_up(lease, now, old, is_drained=lease.queue in drained)
        else:
            wish = _kept(lease, now, old)
        wishes.append(wish)
    if not is_stopping:
        wishes = _balanced(wishes, me=me, now=now)
    return [wish for wish, lease in zip(wishes, leases, strict=True) if wish != lease]


def _kept(lease: Lease, now: str, old: str) -> Lease:
    """Return a row of mine that nobody asks for."""
    if lease.is_draining or lease.is_from(old):
        return replace(lease.renewed(now), is_draining=False)
    return lease


def _given_up(lease: Lease, now: str, old: str, *, is_drained: bool) -> Lease:
    """Return a row of mine on its way to another: drain, then let go."""
    if is_drained:
        return replace(lease, owner=None, is_draining=False)
    if not lease.is_draining or lease.is_from(old):
        return replace(lease.renewed(now), is_draining=True)
    return lease


def _taken(lease: Lease, me: str, now: str) -> Lease:
    """Return a row that is not mine: claimed when it is free, or asked for."""
    if _is_free(lease, me, now):
        mine = replace(
            lease, owner=me, next_owner=None, owned_since=now, is_draining=False
        )
        return mine.renewed(now)
    if lease.next_owner is None and lease.is_draining:
        return replace(lease, next_owner=me)
    return lease


def _withdrawn(lease: Lease, me: str) -> Lease:
    """Return a row that is not mine without my wish for it: I shall not be there."""
    return replace(lease, next_owner=None) if lease.next_owner == me else lease


def _is_free(lease: Lease, me: str, now: str) -> bool:
    if lease.owner is None:
        return lease.next_owner in (None, me) or lease.is_expired(now)
    return lease.is_expired(now)


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
