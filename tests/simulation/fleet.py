"""Simulated hosts that are asked as the real ones are, and what happens to them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from enum import Enum
from random import Random
from typing import Any

from localhost.durable.client import Verdict
from localhost.errors import (
    ArgumentError,
    HostError,
    InstanceExistsError,
    InvalidStateError,
)
from tests.simulation.host import Functions, SimulatedHost
from tests.simulation.hub import Store

ANSWER_LIMIT_S = 6.0
LEASE_S = 30.0
LONGEST_PASS_S = 4.5  # between two looks at who else is there
LONGEST_FAULT_S = 300.0
STATUS_OF = {Verdict.ACCEPTED: 202, Verdict.UNKNOWN: 404, Verdict.GONE: 410}


class Fault(Enum):
    """What happens to a host."""

    CRASH = "host ended before or after a request, and started again"
    FREEZE = "host stood still"
    STOP = "host stopped, and started again"
    SHARE = "queues given to a second host, or back"
    LOSE = "queues of a host that stood still taken by another"
    CANCEL = "requests cut off by who had asked"


FAULTS_OF: dict[str, tuple[Fault, ...]] = {
    "none": (),
    "kill": (Fault.CRASH,),
    "freeze": (Fault.FREEZE,),
    "stop": (Fault.STOP,),
    "two": (Fault.SHARE, Fault.LOSE),
    "cancel": (Fault.CANCEL,),
    "all": tuple(Fault),
}


class Fleet:
    """One host or two on one hub in memory."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.store = Store()
        self.functions = Functions(chance)
        self.faults: Counter[Fault] = Counter()
        self.oddities: list[str] = []
        self.last_fault_at = time.monotonic()
        self.hosts: list[SimulatedHost] = []
        self._asked = 0
        self._noting: set[asyncio.Task[None]] = set()
        self._is_cutting = False

    # Hosts

    def open(self) -> None:
        host = self._add_host()
        for queue in host.parts.queues.control:
            host.listen(queue, was_killed=False)

    def _add_host(self) -> SimulatedHost:
        host = SimulatedHost(self.store, self.functions, self.chance)
        self.hosts.append(host)
        host.parts.sender.note_others(len(self.hosts) > 1)
        for each in self.hosts[:-1]:
            task = each.spawn(self._note_others(each))
            self._noting.add(task)
            task.add_done_callback(self._noting.discard)
        return host

    async def _note_others(self, host: SimulatedHost) -> None:
        """Let a host find out, at its next look, that there is another one."""
        await asyncio.sleep(self.chance.uniform(0.0, LONGEST_PASS_S))
        host.parts.sender.note_others(len(self.hosts) > 1)

    def replace(self, host: SimulatedHost, *, was_killed: bool) -> None:
        """Start another host, which owns at once what the one before did."""
        self.hosts.remove(host)
        new = self._add_host()
        for queue in sorted(host.queues):
            new.listen(queue, was_killed=was_killed)

    def _crash(self, host: SimulatedHost) -> None:
        if not host.is_dead:
            host.kill()
            self.replace(host, was_killed=True)

    async def close(self) -> None:
        """Stop all in order."""
        for host in list(self.hosts):
            await host.stop()

    def kept(self) -> list[str]:
        """What hosts have in hand: when all is over, a place, a lane or an anchor."""
        return [line for host in self.hosts for line in host.kept()]

    # Requests

    async def ask(
        self, path: str, method: str = "GET", body: Any = None
    ) -> tuple[int, Any]:
        """Ask one of the hosts; status 0 when it ended meanwhile."""
        self._asked += 1
        host = self.hosts[self._asked % len(self.hosts)]
        task = host.spawn(self._answer(host, path, method, body))
        is_cut = self._is_cutting and self.chance.random() < 0.3
        limit_s = self.chance.uniform(0.0, 0.01) if is_cut else ANSWER_LIMIT_S
        await asyncio.wait([task], timeout=limit_s)
        if not task.done():
            task.cancel()
            return 0, None
        return (0, None) if task.cancelled() else task.result()

    async def _answer(
        self, host: SimulatedHost, path: str, method: str, body: Any
    ) -> tuple[int, Any]:
        client = host.parts.client
        path, _, query = path.partition("?")
        [what, first, *rest] = path.strip("/").split("/")
        text = json.dumps(body)
        try:
            if what == "orchestrators":
                return 202, await client.start(first, rest[0], text)
            if what == "entities" and method == "POST":
                operation = query.removeprefix("op=")
                await client.signal_entity(first, rest[0], operation, text)
                return 202, None
            if what == "entities":
                entity = await client.entity(first, rest[0])
                if entity is None or not entity.exists:
                    return 404, None
                return 200, entity.state
            if rest:
                return await self._tell(client, first, rest, text, query)
            row = await client.status(first)
        except InstanceExistsError:
            return 409, None
        except (ArgumentError, InvalidStateError):
            return 400, None
        except HostError as error:
            self.oddities.append(f"{method} {path}: {error!r}")
            return 500, None
        if row is None:
            return 404, None
        return 200, {
            "runtimeStatus": row.status.value,
            "output": _value_of(row.output),
            "customStatus": _value_of(row.custom_status),
        }

    async def _tell(
        self, client: Any, instance_id: str, rest: list[str], text: str, query: str
    ) -> tuple[int, Any]:
        if rest[0] == "restart":
            return 202, await client.restart(instance_id, with_new_id=False)
        if rest[0] == "raiseEvent":
            verdict = await client.raise_event(instance_id, rest[1], text)
        else:
            reason = query.removeprefix("reason=") or None
            verdict = await getattr(client, rest[0])(instance_id, reason)
        return STATUS_OF[verdict], None

    # Faults

    async def play(self, fault: Fault) -> None:
        """Let something happen to one of the hosts."""
        await self.play_on(fault, self.chance.choice(self.hosts))

    async def play_on(self, fault: Fault, host: SimulatedHost) -> None:
        """Let something happen to a host."""
        self.faults[fault] += 1
        self.last_fault_at = time.monotonic() + LONGEST_FAULT_S  # nothing is late now
        work: dict[Fault, Callable[[SimulatedHost], Coroutine[Any, Any, None]]] = {
            Fault.CRASH: self._crash_soon,
            Fault.FREEZE: self._freeze,
            Fault.STOP: self._stop,
            Fault.SHARE: self._share,
            Fault.LOSE: self._lose,
            Fault.CANCEL: self._cut,
        }
        await work[fault](host)
        self.last_fault_at = time.monotonic()

    async def _crash_soon(self, host: SimulatedHost) -> None:
        """End a host at one of the next requests; if there are none, then."""
        host.connection.ended = lambda: self._crash(host)
        host.connection.ends_in = self.chance.randint(1, 200)
        await asyncio.sleep(self.chance.uniform(0.1, 4.0))
        self._crash(host)

    async def _freeze(self, host: SimulatedHost) -> None:
        pause_s = self.chance.uniform(1.0, 9.0)
        host.connection.frozen_until_s = time.monotonic() + pause_s
        await asyncio.sleep(pause_s)

    async def _stop(self, host: SimulatedHost) -> None:
        await host.stop()
        if host in self.hosts:
            self.replace(host, was_killed=False)

    async def _cut(self, host: SimulatedHost) -> None:
        self._is_cutting = True
        await asyncio.sleep(self.chance.uniform(0.5, 3.0))
        self._is_cutting = False

    async def _share(self, host: SimulatedHost) -> None:
        """Let a queue go from a host to another one, as they agree to."""
        other = self._other(host)
        for queue in sorted(host.queues):
            if self.chance.random() < 0.5:
                continue
            host.unlisten(queue, is_lost=False)
            limit_s = time.monotonic() + 2 * LEASE_S
            while not host.is_dead and not host.parts.is_drained(queue):
                assert time.monotonic() < limit_s, f"{queue} is not drained"
                await asyncio.sleep(1.0)
            owner = self._other(host) if other.is_dead else other
            owner.listen(queue, was_killed=host.is_dead)

    async def _lose(self, host: SimulatedHost) -> None:
        """Let a host stand still until its queues are another's."""
        other = self._other(host)
        queues = sorted(host.queues)
        late_s = self.chance.uniform(0.2, 5.0)
        host.connection.frozen_until_s = time.monotonic() + LEASE_S + late_s
        await asyncio.sleep(LEASE_S)
        if host.is_dead:
            return
        owner = self._other(host) if other.is_dead else other
        for queue in queues:
            owner.listen(queue, was_killed=True)
        await asyncio.sleep(late_s - 0.001)
        for queue in queues:
            host.unlisten(queue, is_lost=True)

    def _other(self, host: SimulatedHost) -> SimulatedHost:
        others = [each for each in self.hosts if each is not host]
        return others[0] if others else self._add_host()


def _value_of(text: str | None) -> Any:
    """What a text of JSON says; a text that is none says itself."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
