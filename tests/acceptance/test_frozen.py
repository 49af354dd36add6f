"""A host that stands still for longer than every lock and lease: a long breakpoint."""

from __future__ import annotations

import signal
import sys
import time

import pytest
from azure.storage.queue import QueueServiceClient

from tests.acceptance.asking import (
    GREETINGS,
    result_of,
    start_orchestrator,
    wait_for,
)
from tests.acceptance.hosts import Gate, Hosts
from tests.acceptance.running_host import Host, Storage

FROZEN_S = 45


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot freeze a process")
def test_an_activity_runs_once_whatever_its_host_sleeps_through(
    hosts: Hosts, storage: Storage
) -> None:
    """Its message came back meanwhile, and the partitions' leases expired."""
    app = hosts.copy_app()
    gate = Gate.in_app(app)
    host = hosts.start(app)
    start = start_orchestrator(host.url)
    wait_for(gate.runs, "the begin of an activity", limit_s=10)

    host.send(signal.SIGSTOP)
    time.sleep(FROZEN_S)  # what is tested is that so much time goes by
    assert 1 == visible_work_items(storage, host)
    host.send(signal.SIGCONT)
    wait_for(
        lambda: not visible_work_items(storage, host),
        "the message that came back to be taken again",
        limit_s=10,
    )
    gate.open()

    assert GREETINGS == result_of(start)["output"]
    cities = ("Tokyo", "Seattle", "London")
    expected = [f"{city} {what}" for city in cities for what in ("begins", "ends")]
    assert expected == gate.runs()


def visible_work_items(storage: Storage, host: Host) -> int:
    """How many activities anybody could take now."""
    with QueueServiceClient.from_connection_string(
        storage.connection_string
    ) as service:
        queue = service.get_queue_client(f"{host.hub.lower()}-workitems")
        return len(queue.peek_messages())
