"""Many pieces of work: so many at once, none after a failure."""

from __future__ import annotations

import asyncio

import pytest

from localhost.durable.purges import AT_ONCE, each


async def test_each_item_is_worked_on_once() -> None:
    """More items than are worked on at once."""
    seen: list[int] = []

    async def work(item: int) -> int:
        await asyncio.sleep(0)
        seen.append(item)
        return item

    given = await each(range(100), work)

    assert list(range(100)) == sorted(seen) == sorted(given)


async def test_so_many_are_worked_on_at_once_and_no_more() -> None:
    """Each waits until the first ones have all begun."""
    begun: list[int] = []
    all_begun = asyncio.Event()
    most = 0

    async def work(item: int) -> int:
        nonlocal most
        begun.append(item)
        most = max(most, len(begun))
        if len(begun) == AT_ONCE:
            all_begun.set()
        await all_begun.wait()
        begun.remove(item)
        return 1

    await each(range(5 * AT_ONCE), work)

    assert AT_ONCE == most


async def test_nothing_is_begun_after_a_failure() -> None:
    """Those that have begun come to their end."""
    begun: list[int] = []

    async def work(item: int) -> int:
        begun.append(item)
        await asyncio.sleep(0)
        if item == 3:
            raise ValueError("three")
        await asyncio.sleep(0)
        return 1

    with pytest.raises(ValueError, match="three"):
        await each(range(100), work)
    await asyncio.sleep(0)

    assert len(begun) <= AT_ONCE + 3
