"""Random programs on simulated hosts: crashes at every request, in no time.

What goes wrong here goes wrong on real hosts too, but there it takes hours to meet it.
``python3 dev.py chaos --programs N --simulated`` plays more of them.
"""

from __future__ import annotations

import asyncio
import json
import random
import time

import pytest

from localhost.history import Status
from tests.chaos.programs.generate import generate
from tests.simulation.fleet import FAULTS_OF, Fault, Fleet
from tests.simulation.host import Functions, SimulatedHost
from tests.simulation.hub import Store
from tests.simulation.play import Report, play
from tests.simulation.virtual_time import NothingIsDueError, run_in_virtual_time

SEED = 41
AT_ONCE = 3
HOUR_S = 3600.0


def played(faults: str, count: int) -> Report:
    """Play some programs, a few on each hub."""
    report = Report()
    for first in range(0, count, AT_ONCE):
        programs = [generate(SEED, number) for number in range(first, first + AT_ONCE)]
        report.add(play(programs, FAULTS_OF[faults], f"{SEED}/{first}"))
    return report


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("faults", "count"),
    [
        ("none", 12),
        ("kill", 24),
        ("stop", 24),
        ("freeze", 15),
        ("two", 15),
        ("cancel", 24),
        ("all", 30),
    ],
)
def test_random_programs_do_what_they_say(faults: str, count: int) -> None:
    """And nothing is left: no message, no place, no lane, no lock, no anchor."""
    report = played(faults, count)

    assert count == report.count
    assert {*report.faults} <= {*FAULTS_OF[faults]}
    assert [] == [f"{each.scope}: {each.fault}" for each in report.bad]
    assert [] == report.oddities


def test_hours_take_no_time() -> None:
    """The loop's clock jumps, and so do all that the code under test looks at."""

    async def sleep() -> float:
        begin_s = time.monotonic()
        await asyncio.sleep(HOUR_S)
        return time.monotonic() - begin_s

    begin_s = time.perf_counter()
    assert abs(run_in_virtual_time(sleep, seed="1") - HOUR_S) < 1
    assert time.perf_counter() - begin_s < HOUR_S


def test_waiting_for_nothing_is_a_fault() -> None:
    """A deadlock ends the run instead of holding it up."""

    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingIsDueError):
        run_in_virtual_time(wait, seed="1")


@pytest.mark.parametrize("passes", range(1, 60))
def test_a_start_is_cut_off_at_each_pass_of_the_loop(passes: int) -> None:
    """It may be known or not; one more start of the id ends well, and nothing leaks."""

    async def cut() -> tuple[object, list[str]]:
        fleet = Fleet(chance_of(passes))
        fleet.open()
        [host] = fleet.hosts
        given = {"scope": "s", "shared": "s-shared", "round": 0, "rounds": 1}
        given |= {"values": [], "body": {"do": "echo"}}
        client = host.parts.client
        text = given_text(given)
        first = host.spawn(client.start("Interpret", "s", text))
        for _ in range(passes):
            await asyncio.sleep(0.0005)
        first.cancel()
        await asyncio.wait([first])
        status, _ = await fleet.ask("/orchestrators/Interpret/s", "POST", given)
        assert status in (202, 409)
        return await end_of(fleet, "s"), fleet.kept()

    output, kept = run_in_virtual_time(cut, seed=str(passes))

    assert ["s_r0"] == output
    assert [] == kept


@pytest.mark.parametrize("passes", range(0, 360, 6))
def test_a_host_stops_at_any_time_and_takes_nothing_new(passes: int) -> None:
    """The next one goes on at once: what it left is visible, and done once."""

    async def stop() -> tuple[object, float, int]:
        fleet = Fleet(chance_of(passes))
        fleet.open()
        [host] = fleet.hosts
        parts = [{"do": "echo"}, {"do": "entity"}, {"do": "echo", "ms": 400}]
        parts += [{"do": "timer", "ms": 300}]
        given = {"scope": "s", "shared": "s-shared", "round": 0, "rounds": 2}
        given |= {"values": [], "body": {"do": "seq", "parts": parts}}
        await fleet.ask("/orchestrators/Interpret/s", "POST", given)
        await asyncio.sleep(passes / 200)
        begin_s = time.monotonic()
        await fleet.play_on(Fault.STOP, host)
        took_s = time.monotonic() - begin_s
        output = await end_of(fleet, "s")
        return output, took_s, fleet.functions.runs.total()

    output, took_s, runs = run_in_virtual_time(stop, seed=str(passes))

    values = [[f"s_r{n}.{part}" for part in range(4)] for n in range(2)]
    assert (values, 4) == (output, runs)
    assert took_s < 30


@pytest.mark.parametrize("requests", range(1, 25))
def test_signals_of_rounds_keep_their_order(requests: int) -> None:
    """A crash leaves one unsent, and the next event comes before what it was for."""

    async def crash() -> object:
        fleet = Fleet(chance_of(requests))
        fleet.open()
        [host] = fleet.hosts
        parts = [{"do": "next"}, {"do": "signal"}]
        given = {"scope": "s", "shared": "s-shared", "round": 0, "rounds": 3}
        given |= {"values": [], "body": {"do": "seq", "parts": parts}}
        raising = "/instances/s/raiseEvent/s_loop"
        await fleet.ask("/orchestrators/Interpret/s", "POST", given)
        await asyncio.sleep(1.0)
        before = dict(fleet.store.histories["s"].sentinel)
        host.connection.ends_in = requests
        host.connection.ended = host.kill
        answered, _ = await fleet.ask(raising, "POST", 1)
        await asyncio.sleep(1.0)
        host.kill()
        was_taken = before != fleet.store.histories["s"].sentinel
        for kept in fleet.store.queues[host.parts.queues.control_queue_of("s")]:
            kept.visible_at_s += 20.0 if was_taken else 0.0
        fleet.replace(host, was_killed=not was_taken)
        for number in (1, 2, 3) if answered == 0 else (2, 3):
            await fleet.ask(raising, "POST", number)
        await end_of(fleet, "s")
        await asyncio.sleep(30.0)
        return (await fleet.ask("/entities/Log/s"))[1]

    found = run_in_virtual_time(crash, seed=str(requests))

    assert ["s_r0.1", "s_r1.1", "s_r2.1"] == found


@pytest.mark.parametrize("orchestrators", [1, 3])
def test_no_more_orchestrators_run_than_may(orchestrators: int) -> None:
    """However many are started at once, and whatever could be decided ahead."""

    async def many() -> int:
        chance = chance_of(orchestrators)
        functions = Functions(chance)
        host = SimulatedHost(Store(), functions, chance, orchestrators=orchestrators)
        for queue in host.parts.queues.control:
            host.listen(queue, was_killed=False)
        client = host.parts.client
        given = {"scope": "s", "shared": "s-shared", "round": 0, "rounds": 1}
        given |= {"values": [], "body": {"do": "echo"}}
        starts = [
            client.start("Interpret", f"s{n}", given_text(given)) for n in range(10)
        ]
        await asyncio.gather(*map(host.spawn, starts))
        for number in range(10):
            await ended(host, f"s{number}")
        return functions.most_orchestrators

    assert orchestrators == run_in_virtual_time(many, seed=str(orchestrators))


def chance_of(number: int) -> random.Random:
    return random.Random(f"passes {number}")


def given_text(given: dict[str, object]) -> str:
    return json.dumps(given)


async def ended(host: SimulatedHost, instance_id: str) -> None:
    """Wait until an instance has completed."""
    for _ in range(600):
        row = await host.spawn(host.parts.client.status(instance_id))
        if row is not None and row.status is Status.COMPLETED:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{instance_id} does not end")


async def end_of(fleet: Fleet, instance_id: str) -> object:
    """Wait until an instance has ended and nothing of it is on its way."""
    for _ in range(600):
        await asyncio.sleep(0.1)
        _, found = await fleet.ask(f"/instances/{instance_id}")
        if found and found["runtimeStatus"] == "Completed" and not fleet.kept():
            return found["output"]
    raise AssertionError(f"{instance_id}: {found}; {fleet.kept()}")
