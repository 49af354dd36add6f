"""What the host says when its work ends with a fault, and how many threads it has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from localhost.compat import TaskGroup
from localhost.errors import CannotGoOnError, StorageError
from localhost.host import _refusal_told
from localhost.taskhub.hub import Account, TaskHub, open_task_hub
from localhost.timestamps import Clock


@pytest.fixture(name="hub")
async def _hub() -> AsyncIterator[TaskHub]:
    """A hub that is asked nothing."""
    url = "http://127.0.0.1:9/mine"
    account = Account(
        name="mine", key="a2V5", urls={"blob": url, "queue": url, "table": url}
    )
    async with open_task_hub(
        account, name="Hub", partition_count=1, now=Clock().now
    ) as hub:
        yield hub


async def fail(depth: int, status: int) -> None:
    """Raise what a storage that refuses makes of it, in so many groups of tasks."""
    if not depth:
        raise StorageError("refused", status=status, code="AuthenticationFailed")
    async with TaskGroup() as group:
        group.create_task(fail(depth - 1, status))


@pytest.mark.parametrize("depth", [0, 1, 2, 4])
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_is_told_however_deep_it_was_met(
    hub: TaskHub, depth: int, status: int
) -> None:
    """A pump has a group of tasks within that of the host."""
    with pytest.raises(CannotGoOnError, match="does not let account 'mine' in any"):
        with _refusal_told(hub):
            await fail(depth, status)


@pytest.mark.parametrize("depth", [0, 2])
async def test_another_fault_stays_what_it_is(hub: TaskHub, depth: int) -> None:
    """Its traceback is what helps then."""
    with pytest.raises(Exception) as caught:
        with _refusal_told(hub):
            await fail(depth, 500)

    assert not isinstance(caught.value, CannotGoOnError)
