"""Requests reach the storage: signed, tried again, and refused with the right error."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

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

HANG_UP, CUT_OFF, SILENCE = 0, 1, 2
NAMES = ("it's", "ключ-日本", "a^b", 'say "hi"', "a b+c%d&e=f", "é🙂", "a~b!(c)*")
TRY_LIMIT_S = 0.3


class Service:
    """Answers requests as a script says; then 200, or what ``always`` says.

    Statuses, or ``HANG_UP`` (no answer), ``CUT_OFF`` (half of one) and ``SILENCE``.
    """

    def __init__(
        self, script: Sequence[int] = (), always: Mapping[str, int] | None = None
    ) -> None:
        self.script = list(script)
        self.always = dict(always or {})
        self.arrivals: list[str] = []
        self.handlers: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the requests of one connection."""
        self.handlers[writer] = asyncio.current_task()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(reader, writer):
                pass
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        name = head.split()[1].decode().rpartition("/")[2]
        self.arrivals.append(name)
        status = self.script.pop(0) if self.script else self.always.get(name, 200)
        if status == SILENCE:
            await reader.read()
        if status == CUT_OFF:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
            await writer.drain()
        if status in (HANG_UP, CUT_OFF, SILENCE):
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
        for writer in service.handlers:
            writer.close()
    await asyncio.gather(*filter(None, service.handlers.values()))


def storage_at(port: int, queue_port: int | None = None) -> Storage:
    """The account on one port, or its queues on another one."""
    url = f"http://127.0.0.1:{port}/testaccount"
    queue_url = f"http://127.0.0.1:{queue_port or port}/testaccount"
    return Storage(
        account_at({"blob": url, "queue": queue_url, "table": url}),
        attempt_limit_s=TRY_LIMIT_S,
    )


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
        ((CUT_OFF,), 2),
        ((SILENCE, SILENCE), 3),
        ((503, HANG_UP, CUT_OFF, 500, SILENCE, 429), 7),
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


async def test_pauses_between_tries_grow() -> None:
    """A request that failed often lets a new one have three tries before its next."""
    service = Service(always={"old": 503, "new": 503})
    async with listening(service) as port, storage_at(port) as storage:
        old = asyncio.create_task(storage.request("queue", "GET", "/old"))
        await eventually(lambda: service.arrivals.count("old") == 5)
        new = asyncio.create_task(storage.request("queue", "GET", "/new"))
        await eventually(lambda: service.arrivals.count("new") == 3)
        service.always.clear()
        await asyncio.gather(old, new)

    assert ["old"] * 5 + ["new"] * 3 == service.arrivals[:8]


@pytest.mark.parametrize("fault", [503, HANG_UP, CUT_OFF, SILENCE])
async def test_one_failed_try_is_not_worth_a_line(
    fault: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Node may close a connection at the moment we use it."""
    caplog.set_level(logging.INFO)
    async with listening(Service([fault])) as port, storage_at(port) as storage:
        await storage.request("table", "GET", "/Tables")

    assert [] == caplog.messages


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (500, "only with HTTP 500 Code500"),
        (503, "only with HTTP 503 Code503"),
        (429, "only with HTTP 429 Code429"),
        (408, "only with HTTP 408 Code408"),
        (HANG_UP, "the connection broke off: .+"),
        (CUT_OFF, "the connection broke off: .+"),
        (SILENCE, "no answer came in time"),
    ],
)
async def test_an_outage_is_said_once_and_so_is_its_end(
    fault: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However many requests wait; with endpoint and reason, and how long it took."""
    service = Service([fault] * 20)
    async with listening(service) as port, storage_at(port) as storage:
        requests = [storage.request("queue", "POST", f"/{n}") for n in range(5)]
        answers = await asyncio.gather(*requests)

    assert 25 == sum(answer.attempts for answer in answers) == len(service.arrivals)
    begin, end = _warnings(caplog)
    assert re.fullmatch(
        rf"The storage at http://127.0.0.1:{port}/testaccount does not answer"
        rf" \({reason}\)\. What needs it is tried again until it does\.",
        begin,
    )
    assert re.fullmatch(r"The storage answers again after \d+\.\d s\.", end)


async def test_a_port_on_which_nobody_listens_is_said_as_such(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And what to do about it; once."""
    port = free_port()
    async with storage_at(port) as storage:
        request = asyncio.create_task(storage.request("queue", "GET", "/name"))
        await eventually(lambda: bool(_warnings(caplog)))
        async with listening(Service(), port):
            await request

    begin, _ = _warnings(caplog)
    assert "(nothing listens there; start it, unless that is under way)" in begin


async def test_an_outage_of_one_service_does_not_end_by_the_answers_of_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The console would say both again and again."""
    tables, queues = Service(always={"rows": 500}), Service()
    async with (
        listening(tables) as port,
        listening(queues) as queue_port,
        storage_at(port, queue_port) as storage,
    ):
        request = asyncio.create_task(storage.request("table", "GET", "/rows"))
        await eventually(lambda: bool(_warnings(caplog)))
        for _ in range(3):
            await storage.request("queue", "GET", "/messages")
            await storage.request("table", "GET", "/other")
        assert 1 == len(_warnings(caplog))
        tables.always.clear()
        await request

    begin, end = _warnings(caplog)
    assert f"The storage at http://127.0.0.1:{port}/testaccount does not" in begin
    assert "answers again" in end


async def test_an_outage_whose_last_request_is_given_up_ends_with_the_next_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of the same service."""
    service = Service(always={"rows": 500})
    async with listening(service) as port, storage_at(port) as storage:
        request = asyncio.create_task(storage.request("table", "GET", "/rows"))
        await eventually(lambda: bool(_warnings(caplog)))
        request.cancel()
        await asyncio.wait([request])
        await storage.request("table", "GET", "/other")

    begin, end = _warnings(caplog)
    assert ("does not answer" in begin, "answers again" in end) == (True, True)


async def test_a_second_outage_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    """And its end."""
    service = Service()
    async with listening(service) as port, storage_at(port) as storage:
        for _ in range(2):
            service.script = [503] * 4
            await storage.request("queue", "GET", "/name")

    assert 4 == len(_warnings(caplog))


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


async def test_a_closed_storage_sends_nothing() -> None:
    """Work that goes on after the end is a fault of ours."""
    async with storage_at(1) as storage:
        pass

    with pytest.raises(RuntimeError, match="the storage connection is closed"):
        await storage.request("queue", "GET", "/name")
