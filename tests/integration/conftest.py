"""A task hub on Azurite, the Azure SDKs as judges of it, and what may go wrong."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from azure.data.tables import TableEntity, TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from yarl import URL

from localhost.delivery.answers_in_hand import AnswersInHand
from localhost.delivery.locks import Locks
from localhost.delivery.messages import Control, WorkItem
from localhost.delivery.pump import Pump
from localhost.delivery.sender import Sender
from localhost.durable.activities import Activities
from localhost.durable.client import Client
from localhost.durable.commit import Commits
from localhost.durable.execution import Rules
from localhost.durable.starts import Starts
from localhost.history import EventType, HistoryEvent, Status
from localhost.outcome import Outcome
from localhost.parts import make_pumps
from localhost.records import Instance, TaskMessage
from localhost.taskhub.hub import Account, TaskHub, open_task_hub
from localhost.taskhub.port import (
    LOCK_S,
    Checkpoint,
    InstanceChange,
    Notes,
    Received,
)
from localhost.taskhub.storage import Storage
from localhost.timestamps import Clock
from tests.conftest import SERVICES, Emulator, account_at, connection_string_of

WAIT_LIMIT_S = 12.0
PARTITIONS = 4
EXECUTION = "0123456789abcdef0123456789abcdef"
clock = Clock()


async def eventually(holds: Callable[[], object], limit_s: float = WAIT_LIMIT_S) -> Any:
    """Wait until a condition holds and return what it gave."""
    end_s = time.monotonic() + limit_s
    while not (found := holds()):
        if time.monotonic() > end_s:
            raise AssertionError(f"not within {limit_s} s: {holds}")
        await asyncio.sleep(0.01)
    return found


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A task hub as the Azure SDKs, which are somebody else's, see it."""

    hub: str
    tables: TableServiceClient
    queues: QueueServiceClient
    blobs: BlobServiceClient

    def rows(self, table: str, partition: str | None = None) -> list[TableEntity]:
        """All rows of ``Instances``, ``History`` or ``Partitions``."""
        client = self.tables.get_table_client(f"{self.hub}{table}")
        if partition is None:
            return list(client.list_entities())
        return list(
            client.query_entities("PartitionKey eq @key", parameters={"key": partition})
        )

    def write(self, table: str, row: Mapping[str, Any]) -> None:
        """Insert a row."""
        self.tables.get_table_client(f"{self.hub}{table}").create_entity(row)

    def visible(self, queue: str) -> list[str]:
        """The texts of the messages that anybody could take."""
        client = self.queues.get_queue_client(queue)
        return [message.content for message in client.peek_messages(32)]

    def count(self, queue: str) -> int:
        """How many messages there are, hidden ones included."""
        properties = self.queues.get_queue_client(queue).get_queue_properties()
        return properties.approximate_message_count or 0

    def put(self, queue: str, text: str, *, hidden_s: int = 0) -> None:
        """Put a message with exactly this text."""
        client = self.queues.get_queue_client(queue)
        client.send_message(text, visibility_timeout=hidden_s, time_to_live=-1)

    def blob_names(self) -> list[str]:
        """The names of the large payloads; none when there is no container."""
        containers = [each.name for each in self.blobs.list_containers()]
        name = f"{self.hub.lower()}-largemessages"
        if name not in containers:
            return []
        return list(self.blobs.get_container_client(name).list_blob_names())

    def blob(self, name: str) -> str:
        """The text of a large payload."""
        container = f"{self.hub.lower()}-largemessages"
        client = self.blobs.get_blob_client(container, name)
        return gzip.decompress(client.download_blob().readall()).decode()

    def write_blob(self, name: str, text: str) -> None:
        """Store a large payload as the extension does."""
        container = f"{self.hub.lower()}-largemessages"
        names = [each.name for each in self.blobs.list_containers()]
        if container not in names:
            self.blobs.create_container(container)
        client = self.blobs.get_blob_client(container, name)
        client.upload_blob(gzip.compress(text.encode()))


@pytest.fixture
def judge(emulator: Emulator, hub_name: str) -> Iterator[Judge]:
    """The test's task hub through the Azure SDKs."""
    with open_judge(emulator.connection_string, hub_name) as opened:
        yield opened


@contextmanager
def open_judge(text: str, hub: str) -> Iterator[Judge]:
    """Have the clients of a connection string open."""
    with (
        TableServiceClient.from_connection_string(text) as tables,
        QueueServiceClient.from_connection_string(text) as queues,
        BlobServiceClient.from_connection_string(text) as blobs,
    ):
        yield Judge(hub=hub, tables=tables, queues=queues, blobs=blobs)


@pytest.fixture
async def storage(emulator: Emulator) -> AsyncIterator[Storage]:
    """Requests to Azurite."""
    async with Storage(emulator.account) as opened:
        yield opened


@pytest.fixture
async def hub(emulator: Emulator, hub_name: str) -> AsyncIterator[TaskHub]:
    """A task hub that has been made and is empty."""
    async with open_hub(emulator.account, hub_name) as opened:
        await create(opened)
        yield opened


def open_hub(
    account: Account, name: str, *, partition_count: int = PARTITIONS
) -> AbstractAsyncContextManager[TaskHub]:
    """Return the context manager of a task hub."""
    return open_task_hub(
        account, name=name, partition_count=partition_count, now=clock.now
    )


async def create(hub: TaskHub) -> None:
    """Make queues, tables and containers of a task hub."""
    await hub.create(
        hub.partitions(
            worker_id="maker",
            listen=lambda queue, was_killed: None,
            unlisten=lambda queue, is_lost: None,
            drained=lambda queue: True,
            others=lambda are_there: None,
        )
    )


# What a host does with a hub, without anything that runs


async def put(
    hub: TaskHub, message_: TaskMessage, *, hidden_s: int | None = None
) -> Received:
    """Put a message into its queue."""
    queue = hub.queues.queue_for(message_)
    return await hub.queues.put(queue, message_, hidden_s=hidden_s)


async def receive(hub: TaskHub, queue: str, count: int = 32) -> list[Received]:
    """Take messages from a queue."""
    return await hub.queues.get(queue, count=count, lock_s=LOCK_S)


async def write(hub: TaskHub, checkpoint_: Checkpoint) -> str:
    """Write a history, then the row; return the sentinel's ETag."""
    etag, change = await hub.histories.write(checkpoint_)
    if change is not None:
        await hub.instances.change(checkpoint_.instance_id, change)
    return etag


async def add(
    hub: TaskHub, message_: TaskMessage, *, over: Instance | None = None
) -> Received:
    """Put the message of a start, then write its row."""
    item = await put(hub, message_)
    await hub.insert_start(item, message_, over=over)
    return item


@dataclass(frozen=True, kw_only=True)
class Works:
    """What sends and commits on a hub, as the wiring puts it together; nothing runs."""

    locks: Locks
    sender: Sender
    commits: Commits
    control: Pump[Control]
    work_items: Pump[WorkItem]
    client: Client

    async def done(self) -> None:
        """Wait for rows and deletes that are on their way."""
        await self.commits.close()
        await self.sender.close()


class NothingKept:
    """What the client tells of instances, where nothing is in memory."""

    def expect(self, message: TaskMessage) -> None: ...

    def forget(self, instance_id: str) -> None: ...


def works_on(hub: TaskHub, *, slots: int = 4, buffer: int = 8) -> Works:
    """Put together what works on a hub."""
    locks, answers, starts = Locks(hub.queues), AnswersInHand(), Starts()
    control, work_items = make_pumps(
        hub.queues,
        locks,
        answers,
        orchestrators=slots,
        activities=slots,
        longest_pause_s=0.5,
        buffer=buffer,
    )
    sender = Sender(
        hub.queues,
        locks,
        answers,
        control=control,
        work_items=work_items,
        now=clock.now,
    )

    async def invoke(name: str, input_: str, instance_id: str) -> Outcome:
        raise AssertionError(f"{name} was called")

    commits = Commits(hub, sender, Activities(sender, invoke=invoke, now=clock.now))
    return Works(
        locks=locks,
        sender=sender,
        commits=commits,
        control=control,
        work_items=work_items,
        client=Client(
            hub,
            sender,
            commits,
            starts,
            NothingKept(),
            rules=Rules(unknown=lambda kind, name: None),
            now=clock.now,
        ),
    )


# Records


def started(
    instance_id: str, *, execution_id: str = EXECUTION, **fields: Any
) -> HistoryEvent:
    """Return the event that starts an execution."""
    return event(
        EventType.ExecutionStarted,
        OrchestrationInstance={"InstanceId": instance_id, "ExecutionId": execution_id},
        Name="Chain",
        Version="",
        Generation=0,
        **fields,
    )


def event(type_: EventType, *, event_id: int = -1, **fields: Any) -> HistoryEvent:
    """Return an event of now."""
    return HistoryEvent(
        type=type_, timestamp=clock.now(), event_id=event_id, fields=fields
    )


def completed(result: str | None) -> HistoryEvent:
    """Return the event that ends an execution well."""
    return event(
        EventType.ExecutionCompleted,
        event_id=1,
        OrchestrationStatus=Status.COMPLETED,
        Result=result,
    )


def message(
    event_: HistoryEvent, instance_id: str, *, execution_id: str | None = None
) -> TaskMessage:
    """Return a message as a client sends it."""
    return TaskMessage(event=event_, instance_id=instance_id, execution_id=execution_id)


def raised(instance_id: str, data: object = None, name: str = "Go") -> TaskMessage:
    """Return the message that raises an event."""
    return message(
        event(EventType.EventRaised, Name=name, Input=json.dumps(data)), instance_id
    )


def checkpoint(
    instance_id: str,
    *events: HistoryEvent,
    execution_id: str = EXECUTION,
    notes: Notes | None = None,
    first_row: int = 0,
    etag: str | None = None,
    **change: Any,
) -> Checkpoint:
    """Return a checkpoint that writes events."""
    return Checkpoint(
        instance_id=instance_id,
        execution_id=execution_id,
        events=events,
        first_row=first_row,
        etag=etag,
        change=InstanceChange(
            execution_id=execution_id,
            updated_at=clock.now(),
            custom_status=None,
            **change,
        ),
        notes=notes or Notes(),
    )


# What may go wrong between a host and its storage


@dataclass(kw_only=True)
class Proxy:
    """Stands between a host and Azurite; records requests and loses answers.

    ``urls`` are the account's addresses behind it. ``lost`` holds beginnings of
    ``METHOD path`` (without the account): the first request that fits one reaches
    Azurite, but the connection is closed instead of an answer.
    """

    urls: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    answers_lost: int = 0

    @property
    def account(self) -> Account:
        """The account behind the proxy."""
        return account_at(self.urls)

    @property
    def connection_string(self) -> str:
        """The account behind the proxy, for a setting."""
        return connection_string_of(self.urls)

    def is_lost(self, what: str) -> bool:
        """Whether to lose the answer to a request; each loss happens once."""
        for beginning in self.lost:
            if what.startswith(beginning):
                self.lost.remove(beginning)
                self.answers_lost += 1
                return True
        return False


@pytest.fixture
async def proxy(emulator: Emulator) -> AsyncIterator[Proxy]:
    """A proxy in front of Azurite's three services."""
    made = Proxy()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False)
        )
        for service in SERVICES:
            url = await _start_proxy(stack, session, made, emulator.urls[service])
            made.urls[service] = url
        yield made


async def _start_proxy(
    stack: AsyncExitStack, session: aiohttp.ClientSession, proxy: Proxy, to: str
) -> str:
    """Start a server that passes on to a service; return the account's address."""
    target = URL(to)

    async def handle(request: web.BaseRequest) -> web.Response:
        path = request.raw_path
        what = f"{request.method} {path.removeprefix(target.path)}"
        url = f"{target.origin()}{path}"
        async with session.request(
            request.method,
            URL(url, encoded=True),
            headers=request.headers,
            data=io.BytesIO(await request.content.read()),
        ) as answer:
            body = await answer.read()
        proxy.seen.append(what)
        if proxy.is_lost(what) and request.transport is not None:
            request.transport.close()
        kept = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() not in ("transfer-encoding", "content-length", "connection")
        }
        return web.Response(status=answer.status, headers=kept, body=body)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    return f"http://127.0.0.1:{port}{target.path}"
