"""Figures, the units they are told in and the limits they are held to; pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What is counted, by the sign that stands behind it."""

    TIME = "ms"
    RATE = "/s"
    COUNT = ""
    MEMORY = "MB"
    RATIO = "×"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bound, in units of one ``send_message`` or in the figure's own kind."""

    bound: float
    is_in_units: bool = True
    is_floor: bool = False

    def holds(self, figure: Figure) -> bool:
        """Whether the figure keeps to the bound."""
        found = figure.in_units if self.is_in_units else figure.value
        return found >= self.bound if self.is_floor else found <= self.bound


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that is measured.

    ``real_host`` is what the recorded real host needs: times in units, rates in
    instances per 1,000 units, everything else in its own kind. ``target`` is what the
    host promises, ``aim`` what it strives for.
    """

    name: str
    kind: Kind = Kind.TIME
    real_host: float | None = None
    target: Limit | None = None
    aim: Limit | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value of a row, and what one unit took beside it."""

    row: Row
    value: float
    unit_ms: float

    @property
    def in_units(self) -> float:
        """A time in units, a rate per 1,000 units; anything else as it is."""
        if self.row.kind is Kind.TIME:
            return self.value / self.unit_ms
        if self.row.kind is Kind.RATE:
            return self.value * self.unit_ms
        return self.value

    @property
    def gain(self) -> float | None:
        """How many times better than the recorded real host; None if not recorded."""
        if self.row.real_host is None or not self.in_units:
            return None
        if self.row.kind is Kind.RATE:
            return self.in_units / self.row.real_host
        return self.row.real_host / self.in_units


def units(bound: float) -> Limit:
    """At most so many units."""
    return Limit(bound=bound)


def at_most(bound: float) -> Limit:
    """At most so much in the figure's own kind."""
    return Limit(bound=bound, is_in_units=False)


def at_least_per_1000_units(bound: float) -> Limit:
    """At least so many instances in the time of 1,000 units."""
    return Limit(bound=bound, is_floor=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    rank = max(1, math.ceil(len(ordered) * percent / 100))
    return ordered[rank - 1]


def step_ms(times_s: Sequence[float], first: int, last: int) -> float:
    """The median time from one step to the next between two steps, in ms.

    ``times_s[0]`` is when step 1 was done.
    """
    done_s = times_s[first - 1 : last]
    pairs = itertools.pairwise(done_s)
    return statistics.median((later - sooner) * 1000 for sooner, later in pairs)
