"""One host of the programs' app on a hub in memory: what ``localhost.parts`` wires.

Orchestrators and entities are the app's own, called through the SDK; activities are
done here, because they take their time.
"""

from __future__ import annotations

import asyncio
import json
import warnings
import weakref
from collections import Counter
from collections.abc import Coroutine
from contextvars import copy_context
from importlib import util
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from localhost.outcome import Outcome, Raised, Returned
from localhost.parts import make_parts
from localhost.settings import DurableSettings
from localhost.timestamps import Clock
from localhost.worker.tracebacks import failure_of
from tests.acceptance.running_host import ROOT
from tests.simulation.hub import Connection, SimulatedHub, Store
from tests.simulation.virtual_time import tasks_of

T = TypeVar("T")
APP = ROOT / "tests" / "data" / "programs_app"
DRAIN_LIMIT_S = 30.0
LEAVING_PASS_S = 0.2


def _main_of(name: str) -> Any:
    spec = util.spec_from_file_location(f"simulated_{name}", APP / name / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


MAINS = {name: _main_of(name) for name in ("Interpret", "Log")}


class Functions:
    """The app's functions. ``runs`` counts activities, ``failed`` knows flaky ones."""

    def __init__(self, chance: Random) -> None:
        self.runs: Counter[str] = Counter()
        self.most_orchestrators = 0
        self._orchestrators = 0
        self._failed: set[str] = set()
        self._chance = chance

    async def orchestrator(self, name: str, body: str, instance_id: str) -> Outcome:
        self._orchestrators += 1
        self.most_orchestrators = max(self.most_orchestrators, self._orchestrators)
        try:
            return await self._call(name, body)
        finally:
            self._orchestrators -= 1

    async def entity(self, name: str, batch: str, instance_id: str) -> Outcome:
        return await self._call("Log", batch)

    async def _call(self, name: str, text: str) -> Outcome:
        await self._pause()
        try:
            with warnings.catch_warnings():  # the SDK has its own
                warnings.simplefilter("ignore")
                return Returned(value=MAINS[name](text))
        except Exception as exc:
            return failure_of(exc, APP).raised
        finally:
            await self._pause()

    async def _pause(self) -> None:
        is_slow = self._chance.random() < 0.05
        longest_s = 0.4 if is_slow else 0.001
        await asyncio.sleep(self._chance.uniform(0.0001, longest_s))

    async def activity(self, name: str, input_: str, instance_id: str) -> Outcome:
        call: Any = json.loads(input_)
        tag = call["tag"] if name == "Echo" else call
        self.runs[tag.partition("!")[0]] += 1
        if name == "Echo":
            await asyncio.sleep(call.get("ms", 0) / 1000)
        await self._pause()
        if name == "Fail" or (name == "Flaky" and tag not in self._failed):
            self._failed.add(tag)
            return Raised(type_name="RuntimeError", message=f"<<{tag}>>", traceback="")
        return Returned(value=json.dumps(tag))

    def unknown(self, kind: str, name: str) -> str | None:
        return None


class SimulatedHost:
    """A host that owns the control queues that it is given, until it ends."""

    def __init__(
        self,
        store: Store,
        functions: Functions,
        chance: Random,
        *,
        orchestrators: int | None = None,
    ) -> None:
        self.connection = Connection(store, chance)
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._stop = asyncio.Event()
        clock = Clock()
        settings = SimpleNamespace(
            durable=DurableSettings(
                max_activities=chance.choice([1, 4, 20]),
                max_orchestrators=orchestrators or chance.choice([1, 4, 20]),
            ),
            storage=SimpleNamespace(is_loopback=True),
            history_bytes=chance.choice([0, 20_000, 64 * 1024 * 1024]),
        )
        hub = SimulatedHub(self.connection, clock.now)
        self.queues: set[str] = set()
        self.parts = make_parts(
            cast(Any, settings), cast(Any, functions), cast(Any, hub), clock
        )
        self.running = self.spawn(
            self.parts.run(self._stop, drain_limit_s=DRAIN_LIMIT_S)
        )

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin something that ends with the host."""
        context = copy_context()
        context.run(tasks_of.set, self.tasks)
        return context.run(asyncio.get_running_loop().create_task, work)

    @property
    def is_dead(self) -> bool:
        return self.connection.is_dead

    def listen(self, queue: str, *, was_killed: bool) -> None:
        """Own a queue; ``was_killed``: as maybe its last owner."""
        self.queues.add(queue)
        self.spawn(self._do(lambda: self.parts.listen(queue, was_killed)))

    def unlisten(self, queue: str, *, is_lost: bool) -> None:
        """Own a queue no longer."""
        self.queues.discard(queue)
        self.spawn(self._do(lambda: self.parts.unlisten(queue, is_lost)))

    async def _do(self, work: Any) -> None:
        work()

    def kept(self) -> list[str]:
        """What it has in hand: when all is over, nothing."""
        pumps = (self.parts.control.slots, self.parts.work_items.slots)
        return [
            *(
                f"{s.free} of {s.capacity} places"
                for s in pumps
                if s.free != s.capacity
            ),
            *(f"{q} in work" for q in self.queues if not self.parts.is_drained(q)),
        ]

    def kill(self) -> None:
        """End here and now: nothing that is on its way is stored."""
        self.connection.is_dead = True
        for task in list(self.tasks):
            task.cancel()

    async def stop(self) -> None:
        """End in order."""
        self._stop.set()
        try:
            await asyncio.wait([self.running], timeout=2 * DRAIN_LIMIT_S)
            if not self.is_dead:
                assert self.running.done(), "a stop that does not end"
                self.running.result()
            while not all(map(self.parts.is_drained, self.queues)):  # noqa: ASYNC110
                await asyncio.sleep(LEAVING_PASS_S)
        finally:
            self.connection.is_dead = True
