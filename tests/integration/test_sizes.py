"""What a host asks of a hub with finished instances, and what it does not.

A filter costs the emulator time for each row of a table, whatever it finds: a host that
knows which row it wants must name it, else every turn slows down as a hub fills.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from localhost.taskhub.blobs import Blobs
from localhost.taskhub.storage import Storage as HubStorage
from tests.acceptance.asking import Answer, ask
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import Storage
from tests.conftest import Emulator
from tests.integration.conftest import Judge, Proxy, eventually
from tests.integration.hosted import (
    Hosted,
    history_of_waiting,
    make_hub,
    row_of,
    start_on,
)

pytestmark = pytest.mark.timeout(60)

EXECUTION = "0123456789abcdef0123456789abcdef"
FINISHED = 30
COUNTED_CHAINS = 20
LARGE = "ß" * 60_000


@pytest.fixture(name="watched")
async def _watched(
    emulator: Emulator, proxy: Proxy, judge: Judge, hub_name: str, tmp_path: Path
) -> AsyncIterator[Hosted]:
    """A host behind the proxy, on a hub with finished instances and one that waits."""
    await asyncio.to_thread(make_hub, emulator, hub_name)
    for number in range(FINISHED):
        row = row_of(f"done-{number}", uuid.uuid4().hex, "Completed")
        judge.write("Instances", row)
    for row in history_of_waiting("waits", EXECUTION):
        judge.write("History", row)
    judge.write("Instances", row_of("waits", EXECUTION, "Running"))
    behind = Emulator(urls=proxy.urls, log=emulator.log)
    hosts = Hosts(tmp_path, Storage.on_free_ports())
    try:
        yield await asyncio.to_thread(start_on, hosts, behind, hub_name)
    finally:  # not here: what a host that ends asks for goes through this loop
        await asyncio.to_thread(hosts.__exit__, None, None, None)


def filters(proxy: Proxy, hub: str) -> list[str]:
    """The requests for instances or histories that name no row."""
    tables = tuple(f"GET /{hub}{name}()" for name in ("Instances", "History"))
    return [what for what in proxy.seen if what.startswith(tables)]


def reads(proxy: Proxy, hub: str) -> list[str]:
    """All requests for instances or histories."""
    return [what for what in proxy.seen if re.match(rf"GET /{hub}(Inst|Hist)", what)]


async def run(watched: Hosted, name: str, instance_id: str) -> str:
    """Start an instance and wait for its end."""
    await asyncio.to_thread(watched.start, name, instance_id)
    status = await asyncio.to_thread(watched.end_of, instance_id)
    return str(status["runtimeStatus"])


def say_go(watched: Hosted, instance_id: str) -> int:
    base = f"{watched.host.url}/runtime/webhooks/durabletask/instances/{instance_id}"
    url = f"{base}/raiseEvent/Go?code={watched.host.code}"
    return ask(url, method="POST", body=1).status


async def test_a_start_reads_no_instance_and_no_history(
    watched: Hosted, proxy: Proxy
) -> None:
    """However many there are, finished or not: messages tell what is to be done."""
    assert [] == reads(proxy, watched.hub)


async def test_a_chain_reads_its_row_by_key_and_no_history(
    watched: Hosted, proxy: Proxy
) -> None:
    """The status that is asked for is one row too."""
    assert "Completed" == await run(watched, "HelloOrchestrator", "chain")

    for what in reads(proxy, watched.hub):
        assert what.startswith(f"GET /{watched.hub}Instances(PartitionKey='chain'")


async def test_an_instance_in_hand_is_read_by_key_when_its_event_comes(
    watched: Hosted, proxy: Proxy, judge: Judge
) -> None:
    """Its history is in memory."""
    await asyncio.to_thread(watched.start_waiting, judge, "in-hand")

    assert 202 == await asyncio.to_thread(say_go, watched, "in-hand")
    status = await asyncio.to_thread(watched.end_of, "in-hand")

    assert "Completed" == status["runtimeStatus"]
    assert [] == filters(proxy, watched.hub)


async def test_a_history_that_is_not_in_hand_is_read_once(
    watched: Hosted, proxy: Proxy
) -> None:
    """A host before this one had it; no other is looked at."""
    assert 202 == await asyncio.to_thread(say_go, watched, "waits")
    status = await asyncio.to_thread(watched.end_of, "waits")

    assert "Completed" == status["runtimeStatus"]
    (asked,) = filters(proxy, watched.hub)
    assert "PartitionKey%20eq%20%27waits%27" in asked


async def test_a_new_child_costs_no_filter(watched: Hosted, proxy: Proxy) -> None:
    """It has no history: its parent's message says that it begins."""
    assert "Completed" == await run(watched, "CallsChild", "parent")

    assert [] == filters(proxy, watched.hub)


# Large payloads that nobody asked to see


def body_of_blobs(proxy: Proxy, hub: str) -> list[str]:
    """The requests that read large payloads."""
    container = f"{hub.lower()}-largemessages"
    return [what for what in proxy.seen if re.match(rf"GET /{container}/", what)]


async def start_large(watched: Hosted, proxy: Proxy, instance_id: str) -> None:
    """Run an instance whose input and output are too large for a row."""
    path = f"orchestrators/Echoes/{instance_id}"
    answer = await asyncio.to_thread(call, watched, "POST", path, {"text": LARGE})
    assert 202 == answer.status
    status = await asyncio.to_thread(watched.end_of, instance_id)
    assert {"text": LARGE} == status["output"]
    proxy.seen.clear()


def call(watched: Hosted, method: str, path: str, body: object = None) -> Answer:
    base = f"{watched.host.url}/runtime/webhooks/durabletask"
    mark = "&" if "?" in path else "?"
    url = f"{base}/{path}{mark}code={watched.host.code}"
    return ask(url, method=method, body=body)


@pytest.mark.parametrize("path", ["instances/large", "instances"])
async def test_a_status_without_input_does_not_read_it(
    watched: Hosted, proxy: Proxy, path: str
) -> None:
    """Only the output is fetched, for one instance as for a list."""
    await start_large(watched, proxy, "large")

    shown = await asyncio.to_thread(call, watched, "GET", f"{path}?showInput=false")

    assert LARGE in shown.text
    (what,) = body_of_blobs(proxy, watched.hub)
    assert "-ExecutionCompleted-" in what


async def test_an_event_or_a_start_reads_no_payload(
    watched: Hosted, proxy: Proxy
) -> None:
    """Whether an instance runs is in its row."""
    await start_large(watched, proxy, "large")

    late = await asyncio.to_thread(
        call, watched, "POST", "instances/large/raiseEvent/Go", 1
    )
    again = await asyncio.to_thread(
        call, watched, "POST", "orchestrators/Echoes/large", {"text": "small"}
    )

    assert (410, 202) == (late.status, again.status)
    assert [] == body_of_blobs(proxy, watched.hub)


async def test_a_purge_by_filter_reads_no_payload_and_leaves_none(
    watched: Hosted, proxy: Proxy, judge: Judge
) -> None:
    """Of many instances, some of which have none."""
    await start_large(watched, proxy, "large")
    path = "instances?createdTimeFrom=2020-01-01&runtimeStatus=Completed"

    purged = await asyncio.to_thread(call, watched, "DELETE", path)

    assert {"instancesDeleted": FINISHED + 1} == purged.json()
    assert ["waits"] == [row["PartitionKey"] for row in judge.rows("Instances")]
    assert {"waits"} == {row["PartitionKey"] for row in judge.rows("History")}
    assert [] == judge.blob_names()


async def test_what_a_purge_left_when_it_was_cut_short_can_be_shown_and_purged(
    watched: Hosted, proxy: Proxy, judge: Judge
) -> None:
    """The row goes last: its addresses lead nowhere then."""
    await start_large(watched, proxy, "large")
    container = judge.blobs.get_container_client(f"{judge.hub.lower()}-largemessages")
    for name in judge.blob_names():
        container.delete_blob(name)

    shown = await asyncio.to_thread(call, watched, "GET", "instances?top=1000")
    purged = await asyncio.to_thread(call, watched, "DELETE", "instances/large")

    (found,) = [one for one in shown.json() if one["instanceId"] == "large"]
    assert (None, None) == (found["input"], found["output"])
    assert {"instancesDeleted": 1} == purged.json()


async def test_a_large_reason_to_suspend_is_shown_and_purged(
    watched: Hosted, judge: Judge
) -> None:
    """It stands in the output of the row, which has no room for it."""
    reason = "r" * 60_000
    path = f"instances/waits/suspend?reason={reason}"

    answer = await asyncio.to_thread(call, watched, "POST", path)
    assert 202 == answer.status

    await eventually(
        lambda: judge.rows("Instances", "waits")[0]["RuntimeStatus"] == "Suspended"
    )
    status = await asyncio.to_thread(watched.status, "waits")
    assert reason == status["output"]
    purged = await asyncio.to_thread(call, watched, "DELETE", "instances/waits")
    assert {"instancesDeleted": 1} == purged.json()
    assert [] == judge.blob_names()


async def test_more_blobs_than_a_list_shows_at_once_are_deleted(
    storage: HubStorage, judge: Judge
) -> None:
    """The list goes on where a page ends."""
    blobs = Blobs(storage, judge.hub, listed=3)
    await asyncio.gather(*(blobs.write(f"many/{number}", "") for number in range(7)))
    await blobs.write("manymore/1", "")

    await blobs.delete_all("many")

    assert ["manymore/1"] == judge.blob_names()


# Requests of a chain


def kind_of(what: str, hub: str) -> str:
    """``POST workitems`` for ``POST /hub-workitems/messages?…``."""
    method, _, path = what.partition(" ")
    named = re.match(rf"/(?:{hub}-?)?([A-Za-z$]+)", path, re.I)
    return f"{method} {named[1].lower() if named else path}"


async def test_a_chain_costs_seven_requests_and_two_for_its_start(
    watched: Hosted, proxy: Proxy
) -> None:
    """Four histories, two rows, and the delete of the start; no activity is put.

    Counted over some chains: one too many may be a matter of luck. A row that is late
    goes with the next one.
    """
    await run(watched, "HelloOrchestrator", "warm")
    await eventually(lambda: any("DELETE" in what for what in proxy.seen))
    proxy.seen.clear()

    for number in range(COUNTED_CHAINS):
        status = await run(watched, "HelloOrchestrator", f"counted-{number}")
        assert "Completed" == status
    of_each = {
        "POST control": 1,
        "POST instances": 1,
        "POST $batch": 4,
        "MERGE instances": 2,
        "DELETE control": 1,
    }
    expected = {kind: n * COUNTED_CHAINS for kind, n in of_each.items()}

    def written() -> dict[str, int]:
        asked = [what for what in proxy.seen if "Partitions" not in what]
        kinds = Counter(kind_of(what, watched.hub) for what in asked)
        return {kind: n for kind, n in kinds.items() if not kind.startswith("GET")}

    await eventually(lambda: written().get("DELETE control", 0) >= COUNTED_CHAINS)
    found = written()
    assert COUNTED_CHAINS <= found["MERGE instances"] <= expected["MERGE instances"]
    assert expected == {**found, "MERGE instances": expected["MERGE instances"]}
    assert sum(of_each.values()) == 9


async def test_a_status_of_an_instance_that_runs_here_reads_nothing_for_a_second(
    watched: Hosted, proxy: Proxy
) -> None:
    """Who polls every few milliseconds gets what was just written."""
    await run(watched, "HelloOrchestrator", "polled")
    proxy.seen.clear()
    statuses = [await asyncio.to_thread(watched.status, "polled") for _ in range(5)]

    assert {"Completed"} == {status["runtimeStatus"] for status in statuses}
    assert len(reads(proxy, watched.hub)) <= 1
