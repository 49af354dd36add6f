"""Requests that nobody should send: a clear answer, and a host that goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from tests.acceptance import malformed
from tests.acceptance.asking import GREETINGS, ask, result_of, start_orchestrator
from tests.acceptance.hosts import Hosts, write_function
from tests.acceptance.raw_http import (
    RawAnswer,
    RawClient,
    RawRequest,
    connect,
    send_bytes,
)
from tests.acceptance.running_host import ROOT, Host

pytestmark = pytest.mark.timeout(120)

REQUESTS = 2_000
LIMIT_BYTES = 104_857_600
WAITER = """
import azure.durable_functions as df


def orchestrator_function(context):
    yield context.wait_for_external_event("Never")


main = df.Orchestrator.create(orchestrator_function)
"""
COUNTER = """
import azure.durable_functions as df


def entity_function(context):
    context.set_state(context.get_state(int) + 1)


main = df.Entity.create(entity_function)
"""
# What Azure's host answers with a 500 too: its text of the exception.
KNOWN_FAULTS = re.compile(
    r"An Orchestration instance with the status \w+ already exists\."
    r"|Unable to resolve the Azure Storage connection named '.*'\."
    r"|Cannot (suspend|resume) the orchestration instance .* state\."
    r"|The rewind operation is only supported on failed orchestration instances\."
    r"|Unexpected character encountered while parsing value: .*",
    re.DOTALL,
)
CLEAR_STATUSES = {200, 202, 204, 400, 401, 403, 404, 410, 413, 417, 431}
# A module of Python, a frame of a traceback, this folder.
LEAKS = re.compile(
    rb"Traceback|File \"|\.pyc?\b|site-packages|" + re.escape(bytes(ROOT))
)


@pytest.fixture(scope="module", name="host")
def _host(shared_hosts: Hosts) -> Host:
    """A host with instances that wait, and an entity."""
    app = shared_hosts.copy_app()
    trigger = {"name": "context", "direction": "in"}
    write_function(app, "Waiter", WAITER, trigger | {"type": "orchestrationTrigger"})
    write_function(app, "Counter", COUNTER, trigger | {"type": "entityTrigger"})
    host = shared_hosts.start(app)
    for known_id in malformed.KNOWN_IDS:
        target = f"{malformed.BASE.decode()}orchestrators/Waiter/{known_id}"
        started = ask(f"{host.url}{target}?code={host.code}", method="POST")
        assert 202 == started.status
    return host


@pytest.fixture(scope="module", name="client")
def _client(host: Host) -> Iterator[RawClient]:
    client = RawClient(host.port)
    yield client
    client.close()


def check(answer: RawAnswer) -> None:
    """A status that tells what is wrong, or a fault that Azure's host has too."""
    assert not LEAKS.search(answer.body), answer
    if answer.status == 500:
        message = json.loads(answer.body)["ExceptionMessage"]
        assert KNOWN_FAULTS.fullmatch(message), answer
    else:
        assert answer.status in CLEAR_STATUSES, answer


def check_that_it_goes_on(host: Host) -> None:
    assert host.is_alive, host.text()
    assert GREETINGS == result_of(start_orchestrator(host.url))["output"]


@settings(
    max_examples=REQUESTS,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(request=malformed.REQUESTS)
def test_a_malformed_request_is_answered(
    host: Host, client: RawClient, request: RawRequest
) -> None:
    """No 500 that Azure's host does not give, and nothing of the host's inside."""
    target = request.target.replace(malformed.CODE.encode(), host.code.encode())

    answer = client.send(replace(request, target=target))

    check(answer)


def test_the_host_has_no_fault_to_tell(host: Host) -> None:
    """After all that it runs the quickstart, and has logged no traceback."""
    check_that_it_goes_on(host)

    assert "Traceback" not in host.text()


@pytest.mark.parametrize(("depth", "status"), [(64, 202), (65, 400)])
def test_json_may_be_as_deep_as_azure_reads(
    host: Host, client: RawClient, depth: int, status: int
) -> None:
    """What is deeper is refused before anybody has to work with it."""
    target = malformed.BASE + b"orchestrators/Waiter?code=" + host.code.encode()
    body = b"[" * depth + b"]" * depth

    answer = client.send(RawRequest(method=b"POST", target=target, body=body))

    assert status == answer.status


BROKEN = {
    "nothing": b"",
    "empty lines": b"\r\n" * 50,
    "no target": b"GET\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "unknown version": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "TLS": bytes.fromhex("16030100f4010000f00303") + b"\xff" * 233,
    "binary": bytes(range(256)) * 4,
    "space in the target": b"GET %ba b HTTP/1.1\r\nHost: a\r\n\r\n" % malformed.BASE,
    "NUL in the target": b"GET %b\0 HTTP/1.1\r\nHost: a\r\n\r\n" % malformed.BASE,
    "target without a slash": b"GET instances HTTP/1.1\r\nHost: a\r\n\r\n",
    "another server": b"GET http://[::z]/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "tunnel": b"CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "long line": b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 300_000),
    "long header": b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % (b"x" * 300_000),
    "many headers": b"GET / HTTP/1.1\r\n%b\r\n" % (b"A: b\r\n" * 20_000),
    "no colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
    "length no number": b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    "length below zero": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\nab",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size no number": b"POST %borchestrators/Waiter HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n" % malformed.BASE,
    "endless chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"ffffffffffffffff\r\nabc",
    "half a head": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Le",
    "half a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_what_is_no_http_is_refused(host: Host, sent: bytes) -> None:
    """With a 4xx, or by closing the connection."""
    received = send_bytes(host.port, sent)

    assert not LEAKS.search(received), received
    assert not received or re.match(rb"HTTP/[01]\.\d [24]\d\d ", received), received


def test_after_broken_http_the_host_goes_on(host: Host) -> None:
    """And has logged each in a line, not as a traceback."""
    check_that_it_goes_on(host)

    assert "Traceback" not in host.text()


def test_a_client_that_leaves_in_the_body_disturbs_nobody(host: Host) -> None:
    """The start that it was about to make never happens."""
    target = malformed.BASE + b"orchestrators/Waiter/left?code=" + host.code.encode()
    with connect(host.port) as connected:
        connected.sendall(
            b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123" % target
        )

    check_that_it_goes_on(host)
    url = f"{host.url}{malformed.BASE.decode()}instances/left?code={host.code}"
    assert 404 == ask(url).status


def test_a_body_of_100_mb_is_refused(host: Host, client: RawClient) -> None:
    """Azure's limit, and its status."""
    body = b'"' + b"x" * (LIMIT_BYTES - 1) + b'"'
    target = malformed.BASE + b"orchestrators/Waiter?code=" + host.code.encode()

    answer = client.send(RawRequest(method=b"POST", target=target, body=body))

    assert 413 == answer.status
    check_that_it_goes_on(host)
