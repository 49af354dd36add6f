"""Processes that stand still do none of their work again.

They stop in the middle of user code and go on all at once: what waits for a lock, a
lease or an answer wakes together with the user's code. At a breakpoint the worker
process stands still alone; where a laptop slept, the host too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue import QueueServiceClient

from tests.acceptance.asking import (
    FINISHED,
    GREETINGS,
    ask,
    start_orchestrator,
    wait_for,
)
from tests.acceptance.hosts import Hosts, write_function
from tests.acceptance.running_host import Host, Storage

pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot freeze"),
]

LOCKS_S, LEASES_S = 10, 40  # longer than those of messages; than those of partitions
BEGIN_LIMIT_S = 15.0
END_LIMIT_S = 45.0
SLOTS, FANNED_OUT = 2, 12

# Notes each run in a file of its own; stops the process in one place, once.
_NOTES = """
import os
import pathlib
import signal
import time

notes = pathlib.Path(__file__).parents[1] / "notes"


def note(name):
    (notes / f"{name}.{time.monotonic_ns()}").touch()


def stop_once(with_host):
    try:
        file = open(notes / "stopped", "x")
    except FileExistsError:
        return
    pids = [os.getppid(), os.getpid()] if with_host else [os.getpid()]
    with file:
        file.write(" ".join(str(pid) for pid in pids) + ".")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
"""
_ACTIVITY = """
{notes}

def main(name: str) -> str:
    note(name)
    if name == {stops_at!r}:
        stop_once({with_host})
    return f"Hello {{name}}!"
"""
_CHAIN = """
import azure.durable_functions as df

{notes}

def orchestrator_function(context):
    outputs = [(yield context.call_activity("Hello", "Tokyo"))]
    if {stops}:
        stop_once({with_host})
    outputs.append((yield context.call_activity("Hello", "Seattle")))
    outputs.append((yield context.call_activity("Hello", "London")))
    return outputs


main = df.Orchestrator.create(orchestrator_function)
"""
_FAN_OUT = """
import azure.durable_functions as df


def orchestrator_function(context):
    names = [str(number) for number in range({count})]
    return (yield context.task_all([context.call_activity("Hello", n) for n in names]))


main = df.Orchestrator.create(orchestrator_function)
"""
_TRIGGER = {"name": "context", "type": "orchestrationTrigger", "direction": "in"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Where the worker stops, and for how long; what it is to give in the end.

    ``stops_at`` is the activity's input, empty for a stop in the orchestrator.
    """

    frozen_s: int
    stops_at: str = ""
    with_host: bool = True
    orchestrator: str = _CHAIN
    output: tuple[str, ...] = tuple(GREETINGS)


# Not every try meets a message that comes back in the wrong moment.
CASES = {
    f"the second activity, {LOCKS_S} s": Case(frozen_s=LOCKS_S, stops_at="Seattle"),
    f"the second activity, {LOCKS_S} s, again": Case(
        frozen_s=LOCKS_S, stops_at="Seattle"
    ),
    f"the second activity, {LEASES_S} s": Case(frozen_s=LEASES_S, stops_at="Seattle"),
    f"the second activity, {LOCKS_S} s, worker": Case(
        frozen_s=LOCKS_S, stops_at="Seattle", with_host=False
    ),
    f"the orchestrator, {LOCKS_S} s, worker": Case(frozen_s=LOCKS_S, with_host=False),
    f"the orchestrator, {LOCKS_S} s": Case(frozen_s=LOCKS_S),
    f"an activity from the queue, {LOCKS_S} s": Case(
        frozen_s=LOCKS_S,
        stops_at=str(FANNED_OUT // 2),
        orchestrator=_FAN_OUT,
        output=tuple(f"Hello {number}!" for number in range(FANNED_OUT)),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The output of an instance, and how often each activity has run."""

    output: object
    runs: Counter[str]


Outcomes = Mapping[str, Future[Outcome]]


@pytest.fixture(scope="module", name="outcomes")
def _outcomes(shared_hosts: Hosts, storage: Storage) -> Iterator[Outcomes]:
    """All cases at once, for they do nothing for most of the time."""
    hosts = {
        name: shared_hosts.start(_app_of(case, shared_hosts.copy_app()))
        for name, case in CASES.items()
    }
    with ThreadPoolExecutor(len(CASES), thread_name_prefix="frozen") as pool:
        yield {
            name: pool.submit(_play, case, hosts[name], storage)
            for name, case in CASES.items()
        }


def _app_of(case: Case, app: Path) -> Path:
    (app / "notes").mkdir()
    activity = _ACTIVITY.format(
        notes=_NOTES, stops_at=case.stops_at, with_host=case.with_host
    )
    (app / "Hello" / "__init__.py").write_text(activity)
    stops = not case.stops_at
    script = case.orchestrator.format(
        notes=_NOTES, stops=stops, with_host=case.with_host, count=FANNED_OUT
    )
    write_function(app, "HelloOrchestrator", script, _TRIGGER)
    limits = {"maxConcurrentActivityFunctions": SLOTS}
    settings = json.loads((app / "host.json").read_text())
    settings.setdefault("extensions", {}).setdefault("durableTask", {}).update(limits)
    (app / "host.json").write_text(json.dumps(settings))
    return app


def _play(case: Case, host: Host, storage: Storage) -> Outcome:
    """Start an instance, let processes stand still and go on, wait for the end."""
    stopped = host.app / "notes" / "stopped"
    start = start_orchestrator(host.url)
    pids = wait_for(lambda: _pids_in(stopped), "the stop", limit_s=BEGIN_LIMIT_S)
    if not case.with_host:
        assert ask(start["statusQueryGetUri"]).status == 202
    time.sleep(case.frozen_s)  # what is tested is that so much time goes by
    for pid in pids:
        os.kill(pid, signal.SIGCONT)

    def ended() -> Any:
        status = ask(start["statusQueryGetUri"]).json()
        return status if status["runtimeStatus"] in FINISHED else None

    status = wait_for(ended, "its end", limit_s=END_LIMIT_S)
    # What came back is in its queue until it has been worked on, or known.
    wait_for(lambda: not _left(storage, host), "empty queues", limit_s=END_LIMIT_S)
    runs = Counter(path.name.partition(".")[0] for path in stopped.parent.iterdir())
    del runs[stopped.name]
    return Outcome(output=status["output"], runs=runs)


def _left(storage: Storage, host: Host) -> int:
    """How many messages are in the queues of a host's hub, hidden ones included."""
    text = storage.connection_string
    with QueueServiceClient.from_connection_string(text) as service:
        listed = service.list_queues(name_starts_with=f"{host.hub.lower()}-")
        queues = [service.get_queue_client(queue) for queue in listed]
        found = [queue.get_queue_properties() for queue in queues]
        return sum(each.approximate_message_count or 0 for each in found)


def _pids_in(path: Path) -> list[int]:
    """The pids in a file; none as long as it is not written."""
    text = path.read_text() if path.exists() else ""
    return [int(pid) for pid in text[:-1].split()] if text.endswith(".") else []


@pytest.mark.parametrize("name", CASES)
def test_each_activity_runs_once(outcomes: Outcomes, name: str) -> None:
    """Whatever came back to its queue while the process stood still."""
    outcome = outcomes[name].result()

    greeted = [greeting[6:-1] for greeting in CASES[name].output]
    assert Counter(greeted) == outcome.runs


@pytest.mark.parametrize("name", CASES)
def test_the_instance_ends_right(outcomes: Outcomes, name: str) -> None:
    """Each answer stands where it was asked for."""
    assert list(CASES[name].output) == outcomes[name].result().output
