"""Storage that does not answer: the host says so, waits, and goes on by itself."""

from __future__ import annotations

import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pytest

from localhost.account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from tests.acceptance.asking import (
    GREETINGS,
    Answer,
    ask,
    result_of,
    start_orchestrator,
    wait_for,
)
from tests.acceptance.hosts import Gate, Hosts
from tests.acceptance.running_host import EXIT_LIMIT_S, Host, Storage

pytestmark = pytest.mark.timeout(60)
OUTAGE, END = "does not answer (", "answers again"
INSTANCES = 5
DRAIN_LIMIT_S = 30.0


def outage_lines(host: Host) -> list[str]:
    return [line for line in host.text().splitlines() if OUTAGE in line]


def wait_for_outage_line(host: Host) -> str:
    return wait_for(lambda: outage_lines(host), "a line on the outage", limit_s=15)[0]


@dataclass(frozen=True, kw_only=True)
class Outage:
    """A host whose Azurite ended while activities ran, and came back.

    ``answer`` is that of a request which came while there was no storage.
    """

    host: Host
    answer: Answer
    outputs: list[object]


@pytest.fixture(scope="module", name="outage")
def _outage(shared_hosts: Hosts) -> Outage:
    if sys.platform == "win32":
        pytest.skip("Windows ends Azurite in another way")
    storage, app = Storage.on_free_ports(), shared_hosts.copy_app()
    azurite_app, gate = shared_hosts.copy_app(), Gate.in_app(app)
    azurite = shared_hosts.azurite(storage, azurite_app)
    host = shared_hosts.start(app, storage=storage)
    starts = [start_orchestrator(host.url) for _ in range(INSTANCES)]
    wait_for(lambda: len(gate.runs()) == INSTANCES, "all to begin", limit_s=10)
    azurite.stop()
    gate.open()
    with ThreadPoolExecutor() as pool:
        history = f"{starts[0]['statusQueryGetUri']}&showHistory=true"
        answer = pool.submit(ask, history)
        wait_for_outage_line(host)
        assert not answer.done()
        shared_hosts.azurite(storage, azurite_app)
    return Outage(
        host=host,
        answer=answer.result(),
        outputs=[result_of(start)["output"] for start in starts],
    )


def test_work_goes_on_after_an_outage(outage: Outage) -> None:
    """The results of activities that ran meanwhile are not lost."""
    assert [GREETINGS] * INSTANCES == outage.outputs


def test_a_request_waits_for_the_end_of_an_outage(outage: Outage) -> None:
    """It is answered as if nothing had been."""
    assert outage.answer.status in (200, 202)


def test_an_outage_is_told_once(outage: Outage) -> None:
    """With place, reason and next step, however many requests fail meanwhile."""
    (line,) = outage_lines(outage.host)

    assert re.search(
        r"Warning: The storage at http://127\.0\.0\.1:\d+/devstoreaccount1 does not"
        r" answer \(nothing listens there; start it, unless that is under way\)\.",
        line,
    )


def test_the_end_of_an_outage_is_told(outage: Outage) -> None:
    """With how long it was."""
    wait_for(lambda: END in outage.host.text(), "the end of the outage", limit_s=5)
    (end,) = (line for line in outage.host.text().splitlines() if END in line)

    assert re.search(r"Warning: The storage answers again after \d+\.\d s\.$", end)


@contextmanager
def silent_storage(storage: Storage) -> Iterator[None]:
    """Somebody listens on all three ports and closes every connection at once."""
    with ExitStack() as stack:
        for port in storage.ports:
            server = stack.enter_context(socket.create_server(("127.0.0.1", port)))
            thread = threading.Thread(target=close_connections, args=[server])
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown, socket.SHUT_RDWR)
        yield


def close_connections(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            server.accept()[0].close()


@pytest.mark.skipif(sys.platform != "linux", reason="others do not end accept() so")
def test_storage_that_does_not_answer_at_the_start_is_waited_for(hosts: Hosts) -> None:
    """The host says what is wrong, and runs when the storage is there."""
    storage = Storage.on_free_ports()
    with silent_storage(storage):
        host = hosts.launch(storage=storage)
        wait_for_outage_line(host)
    hosts.azurite(storage)
    host.wait_until_ready()

    assert GREETINGS == result_of(start_orchestrator(host.url))["output"]


@pytest.mark.skipif(sys.platform != "linux", reason="others do not end accept() so")
def test_a_host_that_waits_for_its_storage_can_be_stopped(hosts: Hosts) -> None:
    """One Ctrl-C is enough, with code 0."""
    storage = Storage.on_free_ports()
    with silent_storage(storage):
        host = hosts.launch(storage=storage)
        wait_for_outage_line(host)

        assert 0 == host.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends Azurite otherwise")
@pytest.mark.timeout(90)
def test_a_host_whose_storage_is_gone_can_be_stopped(hosts: Hosts) -> None:
    """What cannot be told to it within the limit is let go, with code 0.

    Also when there is work: an activity ends, and others wait for a turn.
    """
    storage, app = Storage.on_free_ports(), hosts.copy_app()
    gate = Gate.in_app(app)
    azurite = hosts.azurite(storage)
    host = hosts.start(app, storage=storage)
    for _ in range(INSTANCES):
        start_orchestrator(host.url)
    wait_for(lambda: len(gate.runs()) == INSTANCES, "all to begin", limit_s=10)
    azurite.stop()
    gate.open()
    wait_for_outage_line(host)

    host.send(signal.SIGTERM)

    assert 0 == host.exit_code(limit_s=DRAIN_LIMIT_S + 10)
    assert "Traceback" not in host.text()


@pytest.mark.skipif(sys.platform != "linux", reason="others do not end accept() so")
def test_a_real_account_that_does_not_answer_is_waited_for(hosts: Hosts) -> None:
    """No Azurite is started for it; the line names the account's address."""
    storage = Storage.on_free_ports()
    url = f"https://localhost:{storage.ports[0]}/{DEVELOPMENT_ACCOUNT}"
    connection_string = (
        f"AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};"
        f"BlobEndpoint={url};QueueEndpoint={url};TableEndpoint={url}"
    )
    with silent_storage(storage):
        host = hosts.launch(AzureWebJobsStorage=connection_string)
        line = wait_for_outage_line(host)
        host.kill()

    assert f"Warning: The storage at {url} does not answer (" in line
    assert not (host.app / ".azurite").exists()


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (f"AccountKey={DEVELOPMENT_KEY[:4]}", "AccountKey=AAAA", "HTTP 403 "),
        (f"/{DEVELOPMENT_ACCOUNT};", "/nobody;", "HTTP 404 "),
    ],
)
def test_a_storage_that_refuses_is_not_waited_for(
    hosts: Hosts, storage: Storage, before: str, after: str, status: str
) -> None:
    """A wrong key or account: code 3, with account, answer and next step."""
    string = storage.connection_string.replace(before, after)
    assert string != storage.connection_string

    host = hosts.launch(AzureWebJobsStorage=string)

    assert 3 == host.exit_code(limit_s=EXIT_LIMIT_S)
    last = host.text().splitlines()[-1]
    assert last.startswith("localhost: The storage at http://127.0.0.1:")
    assert f"does not let account '{DEVELOPMENT_ACCOUNT}' make the task hub" in last
    assert status in last
    assert "Check AccountName, AccountKey and the endpoints there" in last
    assert "Traceback" not in host.text()
