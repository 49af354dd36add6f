"""What is to be in a hub in the end, as if nothing had happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.users import Order, Tally


@dataclass(kw_only=True)
class Wanted(Order):
    """An instance that was asked for, and how it is to end.

    ``sent`` are the events of one whose output holds each of them.
    """

    body: Any = None
    output: Any = None
    status: str = "Completed"
    custom_status: Any = None
    child_count: int = 0


@dataclass(kw_only=True)
class Wishes:
    """All that was asked for.

    ``poison`` are the texts that are to be moved, by the queue that they were put
    into; ``oddities`` answers that nobody expects.
    """

    instances: dict[str, Wanted] = field(default_factory=dict)
    tally: Tally = field(default_factory=lambda: Tally(key="tally"))
    purged: set[str] = field(default_factory=set)
    poison: dict[str, str] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)
