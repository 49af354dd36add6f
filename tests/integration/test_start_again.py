"""A start that a killed host left behind appears at any moment of a second one.

The host was killed between the message and the row of a start. Its caller asks again;
the message of the first try lies in the control queue, without a row.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.acceptance.asking import FINISHED, wait_for
from tests.chaos.histories import faults_of_history
from tests.chaos.proxy import slow_tables
from tests.conftest import Emulator
from tests.integration.conftest import Judge, clock, open_judge
from tests.integration.hosted import (
    ORCHESTRATOR,
    Hosted,
    envelope,
    hosts_on,
    make_hub,
    start_on,
)

pytestmark = pytest.mark.timeout(60)

TABLES_DELAY_S = 0.1  # so that each write of a turn is a moment of its own
STEP_S = 0.08
LEAD_S = 0.5
# Before the second start, and over all of its turns.
MOMENTS = range(-3, 29)
LIMIT_S = 20.0
OLD_EXECUTION = "0" * 32
SCRIPT = ORCHESTRATOR.format(
    body="entity = df.EntityId('Counter', context.instance_id)\n"
    "    context.signal_entity(entity, 'add', 1)\n"
    "    for digit in (10, 100, 1000):\n"
    "        yield context.call_entity(entity, 'add', digit)\n"
    "    return 'done'"
)
SUM, REQUESTS = 1111, 4

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is in the hub when nothing moves any more."""

    rows: Mapping[str, Row]
    histories: Mapping[str, Sequence[Row]]
    left: Mapping[str, int]

    @classmethod
    def of(cls, judge: Judge) -> Found:
        histories: dict[str, list[Row]] = {}
        for row in judge.rows("History"):
            histories.setdefault(row["PartitionKey"], []).append(row)
        return cls(
            rows={row["PartitionKey"]: row for row in judge.rows("Instances")},
            histories=histories,
            left=left_in_queues(judge),
        )


@pytest.fixture(scope="module", name="found")
def _found(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Found]:
    """All instances are started at once, each with its moment."""
    hub = f"StartAgain{time.monotonic_ns()}"
    make_hub(emulator, hub)
    with (
        slow_tables(emulator.urls, TABLES_DELAY_S) as urls,
        hosts_on(tmp_path_factory.mktemp("start-again")) as hosts,
        open_judge(emulator.connection_string, hub) as judge,
    ):
        front = replace(emulator, urls=urls)
        hosted = start_on(hosts, front, hub, AddsToOwn=SCRIPT)
        hosted.start("AddsToOwn", "warm-up")
        hosted.end_of("warm-up")
        with ThreadPoolExecutor(len(MOMENTS)) as pool:
            list(pool.map(lambda moment: _play(hosted, judge, moment), MOMENTS))
        wait_until_still(judge)
        yield Found.of(judge)


def id_of(moment: int) -> str:
    return f"moment-{moment:+03}"


def _play(hosted: Hosted, judge: Judge, moment: int) -> None:
    """Start an instance whose left-behind message appears at a moment."""
    instance_id = id_of(moment)
    queue = hosted.queue_of(instance_id)
    left_behind = envelope(
        {
            "EventType": 0,
            "OrchestrationInstance": {
                "InstanceId": instance_id,
                "ExecutionId": OLD_EXECUTION,
            },
            "Name": "AddsToOwn",
            "Version": "",
            "Input": "null",
            "Generation": 0,
            "Timestamp": clock.now(),
        },
        instance_id,
        OLD_EXECUTION,
    )
    begin_s = time.monotonic() + LEAD_S
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(_put_at, begin_s + moment * STEP_S, judge, queue, left_behind)
        sleep_until(begin_s)
        hosted.start("AddsToOwn", instance_id)
        put.result()


def _put_at(at_s: float, judge: Judge, queue: str, text: str) -> None:
    sleep_until(at_s)
    judge.put(queue, text)


def sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.monotonic()))


def wait_until_still(judge: Judge) -> None:
    """Wait until all have ended and no message is left, or until the time is up."""

    def is_still() -> bool:
        rows = {row["PartitionKey"]: row for row in judge.rows("Instances")}
        states = [rows[id_of(m)]["RuntimeStatus"] for m in MOMENTS]
        return set(states) <= set(FINISHED) and not left_in_queues(judge)

    with suppress(AssertionError):  # the tests say what is missing
        wait_for(is_still, "the end", limit_s=LIMIT_S, poll_s=0.5)


def left_in_queues(judge: Judge) -> dict[str, int]:
    listed = judge.queues.list_queues(name_starts_with=f"{judge.hub.lower()}-")
    counts = {queue.name: judge.count(queue.name) for queue in listed if queue.name}
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_instance_ends(found: Found, moment: int) -> None:
    """Under the execution that its row names, in a history that is whole."""
    instance_id = id_of(moment)
    row, history = found.rows[instance_id], found.histories[instance_id]

    assert ("Completed", '"done"') == (row["RuntimeStatus"], row.get("Output"))
    assert OLD_EXECUTION != row["ExecutionId"]
    assert [] == list(faults_of_history(history, row))


@pytest.mark.parametrize("moment", MOMENTS)
def test_each_of_its_requests_is_applied_once(found: Found, moment: int) -> None:
    """Its first turn has one execution's ids, whoever decides it."""
    entity = found.rows[f"@counter@{id_of(moment)}"]
    events = [row.get("EventType") for row in found.histories[id_of(moment)]]

    assert REQUESTS == events.count("EventSent")
    assert str(SUM) == json.loads(entity["Input"])["state"]


def test_no_message_is_left(found: Found) -> None:
    """The one that was left behind is dropped at one of its next tries."""
    assert {} == found.left
