"""What the console says of other hosts that work on the same hub; pure."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from localhost.taskhub.leases import Lease
from localhost.timestamps import to_ticks

OWN_HUB_ADVICE = (
    "For a hub of its own, name another one in host.json"
    " (extensions.durableTask.hubName) or in the environment variable"
    " AzureFunctionsJobHost__extensions__durableTask__hubName."
)
SEEMS_GONE_S = 15.0  # every host renews more often than that


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line for the console; ``level`` is that of ``logging``."""

    level: int
    text: str


class Neighbours:
    """Other hosts on a hub, as one host sees them pass after pass."""

    def __init__(self, *, hub: str, me: str) -> None:
        self._hub = hub
        self._me = me
        self._known: frozenset[str] | None = None  # None before the first pass
        self._mine: frozenset[str] = frozenset()
        self._is_advised = False

    @property
    def are_there(self) -> bool:
        """Whether the last pass saw another host."""
        return bool(self._known)

    def look(self, leases: Sequence[Lease], now: str) -> list[Note]:
        """Return what there is to say after a pass, given the rows as they are."""
        others = _others(leases, self._me, now)
        mine = frozenset(x.queue for x in leases if x.owner == self._me)
        texts = [
            self._newcomer(name, leases, now)
            for name in sorted(others - (self._known or frozenset()))
        ]
        if texts and not self._is_advised:
            texts[-1] += f" {OWN_HUB_ADVICE}"
            self._is_advised = True
        notes = [Note(level=logging.WARNING, text=text) for text in texts]
        if self._known is not None and mine != self._mine and (others or self._known):
            notes.append(Note(level=logging.INFO, text=self._shares(leases)))
        self._known, self._mine = others, mine
        return notes

    def _newcomer(self, name: str, leases: Sequence[Lease], now: str) -> str:
        """Say who else is there, and what that means for the instances."""
        if self._known is not None:
            return (
                f"Another host, {name}, has come to task hub {self._hub}. They share"
                " its partitions: an instance is worked on by this host or by that"
                " one."
            )
        held = [lease for lease in leases if name in (lease.owner, lease.next_owner)]
        has = f"{len(held)} of the {len(leases)} partitions of task hub {self._hub}"
        quiet_s = min(_age_s(lease, now) for lease in held)
        free_in_s = max(_left_s(lease, now) for lease in held)
        if quiet_s > SEEMS_GONE_S:
            return (
                f"A host that seems to be gone, {name}, still has {has}: it renewed"
                f" them last {quiet_s:.0f} s ago. Instances of these partitions wait"
                f" until they pass to this host, in {free_in_s:.0f} s."
            )
        return (
            f"Another host, {name}, works on {has}. They share them from now on: an"
            " instance is worked on by this host or by that one. (If that one was"
            f" killed, they pass to this host in {free_in_s:.0f} s.)"
        )

    def _shares(self, leases: Sequence[Lease]) -> str:
        """Say which partition is whose."""
        queues: dict[str, list[str]] = {}
        for lease in sorted(leases, key=lambda lease: lease.queue):
            owner = lease.owner or lease.next_owner or "nobody"
            queues.setdefault(owner, []).append(lease.queue)
        here = _numbers(queues.pop(self._me, ()))
        there = "".join(f"; {_numbers(queues[name])}: {name}" for name in queues)
        return f"Partitions of task hub {self._hub}: {here}: this host{there}."


def _others(leases: Sequence[Lease], me: str, now: str) -> frozenset[str]:
    """Return who owns a row or is to own it, unless its time is over."""
    live = [lease for lease in leases if not lease.is_expired(now)]
    names = {name for lease in live for name in (lease.owner, lease.next_owner)}
    return frozenset(name for name in names if name not in (None, me))


def _age_s(lease: Lease, now: str) -> float:
    return _between_s(lease.renewed_at or now, now)


def _left_s(lease: Lease, now: str) -> float:
    return _between_s(now, lease.expires_at or now)


def _between_s(start: str, end: str) -> float:
    return (to_ticks(end) - to_ticks(start)) / 10_000_000


def _numbers(queues: Collection[str]) -> str:
    """Return control queues by their numbers alone."""
    return ", ".join(re.sub(r".*-control-", "", queue) for queue in queues) or "none"
