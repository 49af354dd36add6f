"""Azurite stands still, or ends and comes back, while twenty chains run."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from localhost.azurite import AZURITE_SCRIPT
from tests.acceptance.asking import GREETINGS, result_of, start_orchestrator, wait_for
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import Host, Storage, azurite_pid

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not AZURITE_SCRIPT.exists(), reason="Azurite is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]

CHAINS = 20
FROZEN_S, GONE_S = 3.0, 2.0
END_LIMIT_S = 30.0
CALLS = CHAINS * 3
DOES_NOT_ANSWER, ANSWERS_AGAIN = "does not answer (", "answers again after"
SLOW_ACTIVITY = """
import time


def main(name: str) -> str:
    time.sleep(0.3)
    return f"Hello {name}!"
"""


@pytest.fixture(name="storage")
def _storage() -> Storage:
    return Storage.on_free_ports()


@pytest.fixture(name="hosts")
def _hosts(tmp_path: Path, storage: Storage) -> Iterator[Hosts]:
    with Hosts(tmp_path, storage) as hosts:
        yield hosts


def start_chains(hosts: Hosts) -> tuple[Host, list[Any]]:
    """Start a host and chains on it; return when a third of their calls is done."""
    app = hosts.copy_app()
    (app / "Hello" / "__init__.py").write_text(SLOW_ACTIVITY)
    host = hosts.start(app)
    starts = [start_orchestrator(host.url) for _ in range(CHAINS)]
    wait_for(lambda: calls_done(host) > CALLS / 3, "some calls", limit_s=END_LIMIT_S)
    return host, starts


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Let a process stand still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def calls_done(host: Host) -> int:
    return host.text().count("Executed 'Functions.Hello'")


def outputs_of(starts: list[Any]) -> list[object]:
    return [result_of(start, limit_s=END_LIMIT_S)["output"] for start in starts]


def times_of(host: Host, words: str) -> list[datetime]:
    """When the console said something."""
    lines = [line for line in host.text().splitlines() if words in line]
    return [datetime.fromisoformat(line[1:24]) for line in lines]


def test_chains_survive_a_storage_that_stands_still(
    hosts: Hosts, storage: Storage
) -> None:
    """Requests wait for it, and every lock outlives it or comes again."""
    app = hosts.copy_app()
    hosts.azurite(storage, app)
    host, starts = start_chains(hosts)

    with frozen(azurite_pid(app)):
        time.sleep(FROZEN_S)  # what is tested is that so much time goes by
        was_done = calls_done(host)

    assert was_done < CALLS
    assert [GREETINGS] * CHAINS == outputs_of(starts)


def test_chains_survive_a_storage_that_ends_and_comes_back(
    hosts: Hosts, storage: Storage
) -> None:
    """The console says once that it waits, and once that this is over."""
    app = hosts.copy_app()
    azurite = hosts.azurite(storage, app)
    host, starts = start_chains(hosts)

    azurite.stop()
    was_done = calls_done(host)
    time.sleep(GONE_S)  # what is tested is that so much time goes by
    hosts.azurite(storage, app)

    assert was_done < CALLS
    assert [GREETINGS] * CHAINS == outputs_of(starts)
    wait_for(lambda: times_of(host, ANSWERS_AGAIN), "the end of the outage", limit_s=5)
    (begin,) = times_of(host, DOES_NOT_ANSWER)
    (end,) = times_of(host, ANSWERS_AGAIN)
    assert begin < end
    assert re.search(rf"Warning: The storage {ANSWERS_AGAIN} \d+\.\d s\.", host.text())
