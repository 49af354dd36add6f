"""Two hosts as processes on one hub: they share its partitions, and inherit them.

What takes long (a lease ends after 30 s) happens side by side: each scenario has a hub
and hosts of its own, and runs in a thread.
"""

from __future__ import annotations

import platform
import re
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from tests.acceptance.asking import GREETINGS, wait_for
from tests.conftest import Emulator
from tests.integration.conftest import Judge
from tests.integration.hosted import Hosted, go, hosts_on, start_on

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]

SHARE_LIMIT_S, END_LIMIT_S = 20.0, 20.0
KILLED_LIMIT_S, STOPPED_LIMIT_S = 35.0, 5.0
HAS_ALL = "00, 01, 02, 03: this host."
HAS_NONE = "none: this host; "
WAITING = tuple(f"waits-{number}" for number in range(8))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two hosts that share a hub; ``halves`` are the control queues of each."""

    judge: Judge
    first: Hosted
    second: Hosted
    halves: tuple[frozenset[str], frozenset[str]]

    def start(self, *names: str) -> list[str]:
        """Start instances of the chain, through the first and the second in turn."""
        for number, name in enumerate(names):
            (self.first, self.second)[number % 2].start("HelloOrchestrator", name)
        return list(names)

    def go(self) -> None:
        """Raise the event for which the waiting instances wait."""
        for name in WAITING:
            self.judge.put(self.first.queue_of(name), go(name))


def worker_id(hosted: Hosted) -> str:
    return f"{platform.node()}-localhost-{hosted.host.port}"


def queues_of(judge: Judge, hosted: Hosted) -> frozenset[str]:
    """The control queues that the Partitions table says are a host's."""
    rows, name = judge.rows("Partitions"), worker_id(hosted)
    return frozenset(r["RowKey"] for r in rows if r.get("CurrentOwner") == name)


def outputs(names: list[str], through: Hosted) -> list[Any]:
    """Wait for the ends of instances and return what came out."""
    return [through.end_of(name, END_LIMIT_S)["output"] for name in names]


@contextmanager
def judging(emulator: Emulator) -> Iterator[Judge]:
    """A hub of its own, through the Azure SDKs."""
    text = emulator.connection_string
    with (
        TableServiceClient.from_connection_string(text) as tables,
        QueueServiceClient.from_connection_string(text) as queues,
        BlobServiceClient.from_connection_string(text) as blobs,
    ):
        hub = f"Hub{uuid.uuid4().hex[:20]}"
        yield Judge(hub=hub, tables=tables, queues=queues, blobs=blobs)


@contextmanager
def sharing(folder: Path, emulator: Emulator) -> Iterator[Pair]:
    """Two hosts with half of the partitions each, and instances that wait."""
    with hosts_on(folder) as hosts, judging(emulator) as judge:
        first = start_on(hosts, emulator, judge.hub)
        for name in WAITING:
            first.start_waiting(judge, name)
        second = start_on(hosts, emulator, judge.hub)

        def halves() -> tuple[frozenset[str], frozenset[str]] | None:
            found = queues_of(judge, first), queues_of(judge, second)
            return found if (2, 2) == (len(found[0]), len(found[1])) else None

        second.host.wait_for_text("Partitions of task hub")
        found = wait_for(halves, "two halves", limit_s=SHARE_LIMIT_S)
        yield Pair(judge=judge, first=first, second=second, halves=found)


# Scenarios


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Twenty instances that two hosts were asked for; ``turns`` of each, by its log."""

    pair: Pair
    outputs: list[Any]
    turns: tuple[set[str], set[str]]
    texts: tuple[str, str]


def chains_in(text: str) -> set[str]:
    """The instances of which a host ran the orchestrator, by what it printed."""
    return set(re.findall(r"(chain-\d+): Executed 'Functions.HelloOrchestrator'", text))


def shared(folder: Path, emulator: Emulator) -> Iterator[Shared]:
    with sharing(folder, emulator) as pair:
        names = pair.start(*(f"chain-{number}" for number in range(20)))
        ended = outputs(names[10:], pair.first) + outputs(names[:10], pair.second)
        texts = pair.first.host.text(), pair.second.host.text()
        turns = chains_in(texts[0]), chains_in(texts[1])
        yield Shared(pair=pair, outputs=ended, turns=turns, texts=texts)


@dataclass(frozen=True, kw_only=True)
class Inherited:
    """What the second host has and finishes after the first has gone."""

    took_s: float
    queues: frozenset[str]
    chains: list[Any]
    waiting: list[Any]
    code: int = 0


def inherited(pair: Pair, end: Callable[[Hosted], int]) -> Inherited:
    """End the first host in the middle of instances; ``end`` returns its exit code."""
    names = pair.start(*(f"chain-{number}" for number in range(10)))
    began_s = time.monotonic()
    code = end(pair.first)
    pair.second.host.wait_for_text(HAS_ALL, limit_s=KILLED_LIMIT_S + 5)
    took_s = time.monotonic() - began_s
    queues = queues_of(pair.judge, pair.second)
    pair.go()
    return Inherited(
        took_s=took_s,
        queues=queues,
        chains=outputs(names, pair.second),
        waiting=outputs([*WAITING], pair.second),
        code=code,
    )


def killed(folder: Path, emulator: Emulator) -> Iterator[Inherited]:
    def kill(hosted: Hosted) -> int:
        hosted.host.kill()
        return 0

    with sharing(folder, emulator) as pair:
        yield inherited(pair, kill)


def stopped(folder: Path, emulator: Emulator) -> Iterator[Inherited]:
    def stop(hosted: Hosted) -> int:
        hosted.host.send(signal.SIGTERM)
        return hosted.host.exit_code()

    with sharing(folder, emulator) as pair:
        yield inherited(pair, stop)


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """A host that came back on its port: owners until then, and rows at that moment."""

    pair: Pair
    owners: set[frozenset[str]]
    killed_at: datetime
    renewed_at: list[datetime]
    chains: list[Any]


def restarted(folder: Path, emulator: Emulator) -> Iterator[Restarted]:
    with sharing(folder, emulator) as pair, ThreadPoolExecutor(1) as pool:
        killed_at = datetime.now(timezone.utc)
        names = pair.start(*(f"chain-{number}" for number in range(10)))
        pair.first.host.kill()
        back = pool.submit(pair.first.hosts.restart, pair.first.host)
        owners = {queues_of(pair.judge, pair.first)}

        def is_back() -> bool:
            owners.add(queues_of(pair.judge, pair.first))
            return back.done()

        wait_for(is_back, "the first host", limit_s=END_LIMIT_S)
        rows = pair.judge.rows("Partitions")
        first = replace(pair.first, host=back.result())
        chains = outputs(names, first)
        owners.add(queues_of(pair.judge, first))
        yield Restarted(
            pair=pair,
            owners=owners,
            killed_at=killed_at,
            renewed_at=[
                row["LastRenewal"] for row in rows if row["RowKey"] in pair.halves[0]
            ],
            chains=chains,
        )


@dataclass(frozen=True, kw_only=True)
class Alone:
    """What hosts print of which one follows another: on its port, on another port."""

    killed: Hosted
    on_its_port: str
    elsewhere: str


def alone(folder: Path, emulator: Emulator) -> Iterator[Alone]:
    with hosts_on(folder) as hosts, judging(emulator) as judge:
        first = start_on(hosts, emulator, judge.hub)
        first.host.kill()
        second = hosts.restart(first.host)
        second.kill()
        third = start_on(hosts, emulator, judge.hub)
        third.host.wait_for_text(HAS_ALL, limit_s=KILLED_LIMIT_S)
        yield Alone(
            killed=first, on_its_port=second.text(), elsewhere=third.host.text()
        )


@dataclass(frozen=True, kw_only=True)
class Thawed:
    """A host that stood still until another had its partitions.

    ``sent`` are instances whose messages lay there when it went on, the other host
    standing still too, and still when it had seen what it lost; ``turns`` are those
    that it worked on meanwhile.
    """

    sent: list[str]
    turns: list[str]
    waiting: list[Any]


def thawed(folder: Path, emulator: Emulator) -> Iterator[Thawed]:
    with sharing(folder, emulator) as pair:
        first, second, judge = pair.first.host, pair.second.host, pair.judge
        sent = [n for n in WAITING if pair.first.queue_of(n) in pair.halves[0]]
        first.send(signal.SIGSTOP)
        second.wait_for_text(HAS_ALL, limit_s=KILLED_LIMIT_S)
        second.send(signal.SIGSTOP)
        try:
            pair.go()
            said = first.text()
            first.send(signal.SIGCONT)
            first.wait_for_text(HAS_NONE)
            wait_for(
                lambda: sent == messages_in(judge, pair.halves[0]),
                "the messages to lie there",
                limit_s=END_LIMIT_S,
            )
            since = first.text().removeprefix(said)
        finally:
            second.send(signal.SIGCONT)
        yield Thawed(
            sent=sent,
            turns=re.findall(r"(waits-\d+): Executed", since),
            waiting=outputs([*WAITING], pair.second),
        )


def messages_in(judge: Judge, queues: frozenset[str]) -> list[str]:
    """The instances for which messages lie in queues where anybody could take them."""
    texts = [text for queue in queues for text in judge.visible(queue)]
    return [name for name in WAITING if f'"{name}"' in "".join(texts)]


# Fixtures

SCENARIOS = (killed, thawed, alone, stopped, restarted, shared)


@pytest.fixture(scope="module", name="scenarios")
def _scenarios(
    tmp_path_factory: pytest.TempPathFactory, emulator: Emulator
) -> Iterator[dict[str, Future[Any]]]:
    """All scenarios by name; they begin together, and their hosts end at the end."""
    with ExitStack() as ends, ThreadPoolExecutor(len(SCENARIOS)) as pool:
        begun = {}
        for scenario in SCENARIOS:
            name = scenario.__name__
            steps = scenario(tmp_path_factory.mktemp(name), emulator)
            ends.callback(list, steps)
            begun[name] = pool.submit(next, steps)
        yield begun


@pytest.fixture(name="shared")
def _shared(scenarios: dict[str, Future[Shared]]) -> Shared:
    return scenarios["shared"].result()


@pytest.fixture(name="inherited", params=["killed", "stopped"])
def _inherited(
    scenarios: dict[str, Future[Inherited]], request: pytest.FixtureRequest
) -> Inherited:
    return scenarios[request.param].result()


@pytest.fixture(name="restarted")
def _restarted(scenarios: dict[str, Future[Restarted]]) -> Restarted:
    return scenarios["restarted"].result()


@pytest.fixture(name="alone")
def _alone(scenarios: dict[str, Future[Alone]]) -> Alone:
    return scenarios["alone"].result()


@pytest.fixture(name="thawed")
def _thawed(scenarios: dict[str, Future[Thawed]]) -> Thawed:
    return scenarios["thawed"].result()


# Two hosts


def test_every_partition_is_of_one_of_them(shared: Shared) -> None:
    """Half of them each."""
    first, second = shared.pair.halves

    assert (2, 2, 4) == (len(first), len(second), len(first | second))


def test_instances_complete_whoever_was_asked(shared: Shared) -> None:
    """For the start, and for the status."""
    assert [GREETINGS] * 20 == shared.outputs


def test_none_works_on_a_partition_of_the_other(shared: Shared) -> None:
    """Each turn was one of the host that owns the instance's partition."""
    for half, turns in zip(shared.pair.halves, shared.turns, strict=True):
        assert turns
        assert {shared.pair.first.queue_of(name) for name in turns} <= half
    assert 20 == len(shared.turns[0] | shared.turns[1])


def test_both_say_that_there_is_another(shared: Shared) -> None:
    """By name; the second at its start, the first when it sees it."""
    pair, (first, second) = shared.pair, shared.texts
    hub = f"task hub {pair.judge.hub}"
    joined = f"Another host, {worker_id(pair.first)}, works on 4 of the 4 partitions of"

    assert f"{joined} {hub}. They share them from now on" in second
    assert second.index(joined) < second.index("Functions:")
    assert f"Another host, {worker_id(pair.second)}, has come to {hub}." in first
    assert "extensions.durableTask.hubName" in first
    assert "extensions.durableTask.hubName" in second


def test_both_say_who_has_which_partition(shared: Shared) -> None:
    """In one line."""
    for text, half in zip(shared.texts, shared.pair.halves, strict=True):
        numbers = ", ".join(sorted(queue[-2:] for queue in half))
        assert f"hub {shared.pair.judge.hub}: {numbers}: this host; " in text


# One of them goes


def test_the_other_has_all_partitions(inherited: Inherited) -> None:
    """By the table."""
    assert 4 == len(inherited.queues)


def test_the_other_finishes_what_was_in_work(inherited: Inherited) -> None:
    """Instances that ran, and those that waited for an event."""
    assert [GREETINGS] * 10 == inherited.chains
    assert [["Hello Tokyo!", 1]] * len(WAITING) == inherited.waiting


def test_partitions_of_a_killed_host_pass_within_35_s(
    scenarios: dict[str, Future[Inherited]],
) -> None:
    """Its leases must end first."""
    assert scenarios["killed"].result().took_s < KILLED_LIMIT_S


def test_partitions_of_a_stopped_host_pass_within_5_s(
    scenarios: dict[str, Future[Inherited]],
) -> None:
    """It gives them up."""
    stopped = scenarios["stopped"].result()

    assert stopped.took_s < STOPPED_LIMIT_S
    assert 0 == stopped.code


# One of them comes back


def test_a_restarted_host_finds_its_partitions_its_own(restarted: Restarted) -> None:
    """At no time did one of them belong to the other, or one of the other to it."""
    assert {restarted.pair.halves[0]} == restarted.owners


def test_a_restarted_host_renews_its_partitions_at_once(restarted: Restarted) -> None:
    """They are new at the moment at which it says that it runs."""
    assert 2 == len(restarted.renewed_at)
    assert all(at > restarted.killed_at for at in restarted.renewed_at)


def test_a_restarted_host_finishes_what_was_in_work(restarted: Restarted) -> None:
    """As if nothing had happened."""
    assert [GREETINGS] * 10 == restarted.chains


# One follows another


def test_a_host_restarted_on_its_port_says_nothing(alone: Alone) -> None:
    """There is nobody else."""
    assert "host," not in alone.on_its_port
    assert "Partitions of" not in alone.on_its_port


def test_a_host_on_another_port_says_that_it_waits(alone: Alone) -> None:
    """It cannot know whether the one before was killed or is only quiet."""
    said = f"Another host, {worker_id(alone.killed)}, works on 4 of the 4 partitions"

    assert said in alone.elsewhere
    assert re.search(
        r"\(If that one was killed, they pass to this host in \d+ s\.\)",
        alone.elsewhere,
    )


# One of them stands still


def test_a_host_that_stood_still_takes_nothing_that_is_not_its_own(
    thawed: Thawed,
) -> None:
    """Though it lay there for all to take when it went on, and nobody else was up."""
    assert thawed.sent
    assert [] == thawed.turns


def test_nothing_is_lost_when_a_host_stands_still(thawed: Thawed) -> None:
    """Whoever has the partitions in the end."""
    assert [["Hello Tokyo!", 1]] * len(WAITING) == thawed.waiting
