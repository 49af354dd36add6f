"""Lanes: what has the same key is worked on in order, one batch at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class Lane(Generic[Item]):
    """Items of one key: new ones, and those that wait for another one of the key.

    ``tries`` is how often in a row the work on it has failed; ``is_paused`` says that
    it waits before it is tried again.
    """

    key: str
    fresh: list[Item] = field(default_factory=list)
    waiting: list[Item] = field(default_factory=list)
    is_running: bool = False
    is_queued: bool = False
    is_paused: bool = False
    tries: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of it."""
        return not (self.fresh or self.waiting or self.is_running)


class Lanes(Generic[Item]):
    """The lanes of one pump, of which at most ``at_once`` run.

    ``run`` begins the work on a lane; ``done`` must be called when it has ended.
    """

    def __init__(self, *, at_once: int, run: Callable[[Lane[Item]], None]) -> None:
        self._at_once = at_once
        self._run = run
        self._by_key: dict[str, Lane[Item]] = {}
        self._ready: deque[Lane[Item]] = deque()
        self._running = 0
        self.is_closed = False

    @property
    def all(self) -> list[Lane[Item]]:
        """Every lane that holds something."""
        return list(self._by_key.values())

    @property
    def has_slot(self) -> bool:
        """Whether a new lane could run now."""
        return self._running < self._at_once and not self._ready and not self.is_closed

    @property
    def others_wait(self) -> bool:
        """Whether a lane waits for a slot."""
        return bool(self._ready)

    def add(self, key: str, item: Item) -> None:
        """Put an item into its lane, and run the lane now or when a slot is free."""
        lane = self._by_key.get(key)
        if lane is None:
            lane = self._by_key[key] = Lane(key)
        lane.fresh.append(item)
        self.wake(lane)

    def wake(self, lane: Lane[Item]) -> None:
        """Run a lane that has something new, now or when a slot is free."""
        if lane.is_running or lane.is_queued or lane.is_paused or not lane.fresh:
            return
        if self._running < self._at_once and not self.is_closed:
            self._begin(lane)
        else:
            lane.is_queued = True
            self._ready.append(lane)

    def done(self, lane: Lane[Item]) -> None:
        """Give a lane's slot to the next one."""
        lane.is_running = False
        self._running -= 1
        self.tidy(lane)
        self.wake(lane)
        while self._ready and self._running < self._at_once and not self.is_closed:
            following = self._ready.popleft()
            following.is_queued = False
            if following.fresh and not following.is_paused:
                self._begin(following)
            else:
                self.tidy(following)

    def tidy(self, lane: Lane[Item]) -> None:
        """Forget a lane that holds nothing."""
        if lane.is_empty and not lane.is_paused:
            self._by_key.pop(lane.key, None)

    def _begin(self, lane: Lane[Item]) -> None:
        lane.is_running = True
        self._running += 1
        self._run(lane)
