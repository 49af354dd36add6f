"""Purges by filter: page by page, several instances at once, each in its safe order."""

from __future__ import annotations

from asyncio import gather
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from localhost.taskhub.port import Filter, Hub

T = TypeVar("T")

AT_ONCE = 16
PAGE_SIZE = 1_000


async def purge_all(
    hub: Hub, wanted: Filter, *, purge: Callable[[str], Awaitable[int]]
) -> int:
    """Purge the finished instances that a filter finds; return how many were.

    ``purge`` deletes one of them and says whether it was there (1 or 0).
    """
    terminal = frozenset(s for s in wanted.statuses if s.is_terminal)
    wanted = replace(wanted, statuses=terminal, page_size=PAGE_SIZE)
    count = 0
    while True:
        page = await hub.instances.list(wanted, with_input=False, with_output=False)
        count += sum(await each((i.instance_id for i in page.instances), purge))
        if page.next is None:
            return count
        wanted = replace(wanted, after=page.next)


async def each(items: Iterable[T], work: Callable[[T], Awaitable[int]]) -> list[int]:
    """Do a piece of work for each item, ``AT_ONCE`` at a time; return what each gave.

    Nothing more is begun after one has failed.
    """
    left, done = deque(items), list[int]()

    async def work_off() -> None:
        try:
            while left:
                done.append(await work(left.popleft()))
        except BaseException:
            left.clear()
            raise

    await gather(*(work_off() for _ in range(AT_ONCE)))
    return done
