"""Requests reach the storage: signed, tried again, and refused with the right error."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest

from localhost.errors import (
    ConflictError,
    NotFoundError,
    PreconditionError,
    StorageError,
)
from localhost.taskhub.blobs import Blobs
from localhost.taskhub.storage import Storage
from localhost.taskhub.tables import Table
from tests.conftest import account_at
from tests.integration.conftest import eventually

HANG_UP = 0
NAMES = ("it's", "ключ-日本", "a^b", 'say "hi"', "a b+c%d&e=f", "é🙂", "a~b!(c)*")


class Service:
    """Answers requests as a script says: statuses, or ``HANG_UP``; then 200."""

    def __init__(self, script: Sequence[int] = ()) -> None:
        self.script = list(script)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the requests of one connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        status = self.script.pop(0) if self.script else 200
        if status == HANG_UP:
            return False
        code = "OK" if status == 200 else f"Code{status}"
        writer.write(
            f"HTTP/1.1 {status} {code}\r\nContent-Length: 0\r\n"
            f"x-ms-error-code: {code}\r\n\r\n".encode()
        )
        await writer.drain()
        return True


@asynccontextmanager
async def listening(service: Service, port: int = 0) -> AsyncIterator[int]:
    """Have a service listen, on a free port unless one is given."""
    server = await asyncio.start_server(service.serve, "127.0.0.1", port)
    async with server:
        yield server.sockets[0].getsockname()[1]


def storage_at(port: int) -> Storage:
    url = f"http://127.0.0.1:{port}/testaccount"
    return Storage(account_at({"blob": url, "queue": url, "table": url}))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.mark.parametrize("name", NAMES)
async def test_a_row_with_such_a_key_is_written_and_read(
    storage: Storage, hub_name: str, name: str
) -> None:
    """The signature covers the encoded path, whatever the key."""
    table = Table(storage, hub_name)
    await table.create()

    await table.insert(name, name, {"Value": name})
    row = await table.get(name, name)

    assert row and name == row["Value"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_blob_with_such_a_name_is_written_and_read(
    storage: Storage, hub_name: str, name: str
) -> None:
    """Blob names hold instance ids."""
    blobs = Blobs(storage, hub_name)

    await blobs.write(f"{name}/message.json.gz", f"text of {name}")

    assert f"text of {name}" == await blobs.read(f"{name}/message.json.gz")


@pytest.mark.parametrize("name", NAMES)
async def test_the_blobs_of_such_an_instance_are_deleted(
    storage: Storage, hub_name: str, name: str
) -> None:
    """The name is in the query of the list there."""
    blobs = Blobs(storage, hub_name)
    await blobs.write(f"{name}/message.json.gz", "text")

    await blobs.delete_all(name)

    with pytest.raises(NotFoundError):
        await blobs.read(f"{name}/message.json.gz")


async def test_blobs_of_an_instance_whose_id_begins_the_same_stay(
    storage: Storage, hub_name: str
) -> None:
    """A folder is one instance's, not that of every id that begins so."""
    blobs = Blobs(storage, hub_name)
    await blobs.write("abcd/message.json.gz", "text")

    await blobs.delete_all("abc")

    assert "text" == await blobs.read("abcd/message.json.gz")


@pytest.mark.parametrize(
    ("script", "attempts"),
    [
        ((), 1),
        ((503, 503), 3),
        ((500,), 2),
        ((408, 429, 502), 4),
        ((HANG_UP,), 2),
        ((HANG_UP, 504), 3),
    ],
)
async def test_a_request_is_tried_until_it_is_answered(
    script: tuple[int, ...], attempts: int
) -> None:
    """``attempts`` tells that the service may have had it before.

    It is a POST: aiohttp itself sends a PUT again after a connection was lost.
    """
    async with listening(Service(script)) as port, storage_at(port) as storage:
        answer = await storage.request("queue", "POST", "/name", body=b"text")

    assert (200, attempts) == (answer.status, answer.attempts)


async def test_a_request_waits_for_a_service_that_is_not_there_yet() -> None:
    """A host may start before its storage, or outlive it."""
    port = free_port()
    async with storage_at(port) as storage:
        request = asyncio.create_task(storage.request("table", "GET", "/Tables"))
        await eventually(lambda: storage.requests_sent >= 2)
        async with listening(Service(), port):
            answer = await request

    assert 200 == answer.status
    assert answer.attempts > 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotFoundError),
        (409, ConflictError),
        (412, PreconditionError),
        (400, StorageError),
        (403, StorageError),
    ],
)
async def test_a_refusal_is_an_error_at_once(
    status: int, kind: type[StorageError]
) -> None:
    """It names request, status and the service's own word."""
    async with listening(Service([status])) as port, storage_at(port) as storage:
        with pytest.raises(kind) as caught:
            await storage.request("queue", "GET", "/name/messages")

        assert 1 == storage.requests_sent
    assert kind is type(caught.value)
    assert (status, f"Code{status}") == (caught.value.status, caught.value.code)
    assert f"GET queue /name/messages: HTTP {status} Code{status}" == str(caught.value)


@pytest.mark.parametrize("script", [(503,), (HANG_UP,)])
async def test_one_failed_try_is_not_worth_a_line(
    script: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Node may close a connection at the moment we use it."""
    caplog.set_level(logging.INFO)
    async with listening(Service(script)) as port, storage_at(port) as storage:
        await storage.request("table", "GET", "/Tables")

    assert [] == caplog.messages


async def test_an_outage_is_said_at_most_once_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However many requests wait; and its end is said once."""
    said = _outage_lines(caplog)
    port = free_port()
    async with storage_at(port) as storage:
        requests = [
            asyncio.create_task(storage.request("queue", "GET", f"/{number}"))
            for number in range(5)
        ]
        await eventually(lambda: len(said()) >= 3)
        async with listening(Service(), port):
            await asyncio.gather(*requests)

    *during, end = said()
    pauses_s = [later.created - line.created for line, later in pairwise(during)]
    assert min(pauses_s) >= 0.99
    assert all(
        line.getMessage().startswith(
            f"The storage at http://127.0.0.1:{port}/testaccount does not answer ("
        )
        for line in during
    )
    assert re.fullmatch(
        r"The storage answers again after \d+\.\d s\.", end.getMessage()
    )


def _outage_lines(
    caplog: pytest.LogCaptureFixture,
) -> Callable[[], list[logging.LogRecord]]:
    return lambda: [
        record for record in caplog.records if record.levelno == logging.WARNING
    ]


async def test_a_closed_storage_sends_nothing() -> None:
    """Work that goes on after the end is a fault of ours."""
    async with storage_at(1) as storage:
        pass

    with pytest.raises(RuntimeError, match="the storage connection is closed"):
        await storage.request("queue", "GET", "/name")
