"""The task hub: the one door to what is kept, in records instead of rows and queues.

What is written when, and in which order, is the business of whoever writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from localhost.crashpoints import crash_point
from localhost.errors import ConflictError
from localhost.history import Status
from localhost.records import Instance, TaskMessage
from localhost.taskhub import rows
from localhost.taskhub.blobleases import refuse_leased
from localhost.taskhub.blobs import Blobs, create_container
from localhost.taskhub.histories import Histories
from localhost.taskhub.instances import Instances
from localhost.taskhub.partitions import Partitions
from localhost.taskhub.port import LOCK_S, Received
from localhost.taskhub.queues import Queues
from localhost.taskhub.remaking import RemakingStorage
from localhost.taskhub.storage import Account, Storage
from localhost.taskhub.tables import Table

__all__ = ["Account", "Partitions", "TaskHub", "open_task_hub"]

log = logging.getLogger(__name__)


class TaskHub:
    """One task hub in one storage account; opened by ``open_task_hub``."""

    def __init__(
        self,
        storage: Storage,
        *,
        name: str,
        partition_count: int,
        now: Callable[[], str],
    ) -> None:
        self._blobs = Blobs(storage, name)
        self._now = now
        self.name = name
        self.storage = storage
        self.queues = Queues(storage, name, partition_count, self._blobs)
        self.histories = Histories(Table(storage, f"{name}History"), self._blobs, now)
        self.instances = Instances(Table(storage, f"{name}Instances"), self._blobs)
        self._partitions = Table(storage, f"{name}Partitions")
        self._made_for: Partitions | None = None

    async def create(self, partitions: Partitions) -> None:
        """Make what is missing of the hub; what is there stays as it is.

        Raises ``CannotStartError`` while a host of the older kind works on it.
        """
        lease = f"/{self.name.lower()}-applease"
        await asyncio.gather(
            self._create_partitions(partitions),
            self.histories.create(),
            self.instances.create(),
            self._create_app_lease(lease),
            *(
                self.queues.create(q)
                for q in (self.queues.work_items, *self.queues.control)
            ),
        )
        self._made_for = partitions

    async def remake(self) -> None:
        """Make the hub again of which the storage has lost a part."""
        if self._made_for is None:
            return  # it never was
        log.warning(
            "The storage has lost the task hub %s; it is made again.", self.name
        )
        self.instances.forget_recent()
        await self.create(self._made_for)

    async def _create_partitions(self, partitions: Partitions) -> None:
        await refuse_leased(self.storage, self.name)
        await partitions.create(self.queues.control)

    def partitions(
        self,
        *,
        worker_id: str,
        listen: Callable[[str, bool], None],
        unlisten: Callable[[str, bool], None],
        drained: Callable[[str], bool],
        others: Callable[[bool], None],
    ) -> Partitions:
        """Return the ownership of this hub's control queues for one host."""
        return Partitions(
            self._partitions,
            hub=self.name,
            worker_id=worker_id,
            now=self._now,
            listen=listen,
            unlisten=unlisten,
            drained=drained,
            others=others,
        )

    async def rewind(self, row: Instance, message: TaskMessage) -> None:
        """Let a failed instance run again from what failed; ``message`` wakes it.

        Children that failed are rewound in its stead, and wake it when they end. The
        message lies hidden until all is written: after a crash it comes by itself. What
        a crash has cut short can be asked for again.
        """
        changed, children = await self.histories.to_rewind(row.instance_id)
        item = None if children else await self._put_hidden(message)
        crash_point("rewind: after message")
        await self.histories.rewind(row.instance_id, changed)
        crash_point("rewind: after history")
        for child_id in children:
            child = await self.instances.peek(child_id)
            if child is not None and child.status is Status.FAILED:
                await self.rewind(child, replace(message, instance_id=child_id))
        if row.status is Status.FAILED:
            await self.instances.set_pending(row, self._now())
        crash_point("rewind: after instance row")
        if item is not None:
            await self.queues.update(item, 0)

    async def has_to_rewind(self, instance_id: str) -> bool:
        """Whether a rewind of an instance was cut short before all its children."""
        children = await self.histories.left_to_rewind(instance_id)
        found = [await self.instances.peek(child_id) for child_id in children]
        return any(child and child.status is Status.FAILED for child in found)

    async def _put_hidden(self, message: TaskMessage) -> Received:
        queue = self.queues.queue_for(message)
        return await self.queues.put(queue, message, hidden_s=LOCK_S)

    def stop_retrying(self) -> None:
        """Let requests that the storage does not answer fail from now on."""
        self.storage.stop_retrying()

    async def insert_start(
        self, item: Received, message: TaskMessage, *, over: Instance | None
    ) -> None:
        """Write the row of a start whose message has been put.

        ``over`` is the finished instance of the same id that it replaces. Raises
        ``ConflictError`` or ``PreconditionError`` when another start was first.
        """
        crash_point("start: after message")
        input_ = message.event["Input"]
        if item.blob is not None and input_ is not None:
            input_ = self._blobs.url(item.blob)
        row = rows.row_of_start(
            message.event, self._now(), hub=self.name, input_=input_
        )
        await self.instances.insert(message.instance_id, row, over=over)
        crash_point("start: after instance row")

    async def status(
        self, instance_id: str, *, is_own: bool, with_input: bool = True
    ) -> Instance | None:
        """Return an instance as a status shows it, None when there is none.

        ``is_own``: this process works on it, and may be up to a second behind what
        others have written.
        """
        if is_own:
            return await self.instances.recall(instance_id, with_input=with_input)
        return await self.instances.read(instance_id, with_input=with_input)

    async def purge(self, instance_id: str) -> bool:
        """Delete all that is kept of an instance; False when there was no row.

        The row goes last: a purge that a crash cut short can be asked for again.
        """
        if await self.instances.peek(instance_id) is None:
            return False
        await self.histories.delete(instance_id)
        crash_point("purge: after history")
        for folder in {instance_id, rows.key_of(instance_id)}:
            await self._blobs.delete_all(folder)
        crash_point("purge: after blobs")
        await self.instances.delete(instance_id)
        return True

    async def _create_app_lease(self, container: str) -> None:
        """Make what the extension makes; the lease itself stays free for it."""
        await create_container(self.storage, container)
        try:
            await self.storage.request(
                "blob",
                "PUT",
                f"{container}/{self.name.lower()}-appleaseinfo",
                headers={"x-ms-blob-type": "BlockBlob", "If-None-Match": "*"},
                body=b"{}",
            )
        except ConflictError:
            pass


@asynccontextmanager
async def open_task_hub(
    account: Account, *, name: str, partition_count: int, now: Callable[[], str]
) -> AsyncIterator[TaskHub]:
    """Connect to a task hub; nothing is created or asked for yet."""
    storage = RemakingStorage(account)
    hub = TaskHub(storage, name=name, partition_count=partition_count, now=now)
    storage.remake = hub.remake
    async with storage:
        yield hub
