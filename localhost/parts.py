"""What works on a task hub, put together from the durable room; nothing runs here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from localhost.durable.activities import Activities
from localhost.durable.client import Client
from localhost.durable.entities import Entities
from localhost.durable.execution import Rules
from localhost.durable.orchestrations import Orchestrations
from localhost.durable.pump import Pump
from localhost.functions import DurableFunctions
from localhost.settings import DurableSettings, Settings
from localhost.taskhub.hub import Received, TaskHub
from localhost.timestamps import Clock

DRAIN_LIMIT_S = 30.0
CONTROL_BUFFER = 64  # few enough to be worked off before their locks need renewal
PAUSE_ON_LOOPBACK_S, PAUSE_ELSEWHERE_S = 1.0, 30.0


class Instances:
    """Sends messages of control queues to orchestrations or entities, by their id."""

    def __init__(self, make: Callable[[], tuple[Orchestrations, Entities]]) -> None:
        self._make = make
        self.forget_all()

    def forget_all(self) -> None:
        """Drop all that is in memory, because other hosts may have changed it.

        A message that is judged by an old history can be dropped as unknown, and no
        ETag is checked then. What is in work goes on with what it has, and is checked.
        """
        self._orchestrations, self._entities = self._make()

    def forget(self, instance_id: str) -> None:
        """Drop what is in memory of an instance, because the storage changed."""
        self._orchestrations.forget(instance_id)
        self._entities.forget(instance_id)

    async def process(
        self, instance_id: str, items: Sequence[Received]
    ) -> Sequence[Received]:
        """Work on messages of one instance; return those that must wait."""
        if instance_id.startswith("@"):
            return await self._entities.process(instance_id, items)
        return await self._orchestrations.process(instance_id, items)

    def foresee(
        self, instance_id: str, items: Sequence[Received]
    ) -> Coroutine[Any, Any, None] | None:
        """Return what can be done already about messages that wait for their turn."""
        if instance_id.startswith("@"):
            return None
        return self._orchestrations.foresee(instance_id, items)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What works on a task hub: the pumps, and the client that starts instances."""

    control: Pump
    work_items: Pump
    instances: Instances
    client: Client


def make_parts(
    settings: Settings, functions: DurableFunctions, hub: TaskHub, clock: Clock
) -> Parts:
    """Put together what works on a hub; nothing runs and nothing is owned yet."""
    durable = settings.durable
    rules = Rules(
        unknown=functions.unknown,
        store_inputs=durable.store_inputs,
        max_actions=durable.max_orchestration_actions,
    )
    make = partial(_deciders, durable, functions, hub, clock, rules)
    instances = Instances(make)
    activities = Activities(hub, invoke=functions.activity, now=clock.now)
    on_loopback = settings.storage.is_loopback
    longest_pause_s = PAUSE_ON_LOOPBACK_S if on_loopback else PAUSE_ELSEWHERE_S
    control = Pump(
        hub,
        name="control queues",
        key=_instance_of,
        process=instances.process,
        foresee=instances.foresee,
        slots=durable.max_orchestrators,
        buffer=CONTROL_BUFFER,
        longest_pause_s=longest_pause_s,
        drain_limit_s=DRAIN_LIMIT_S,
    )
    work_items = Pump(
        hub,
        name="work items",
        key=lambda item: item.message_id,
        process=activities.process,
        is_held_up=hub.has_many_answers,
        slots=durable.max_activities,
        buffer=0,
        longest_pause_s=longest_pause_s,
        drain_limit_s=DRAIN_LIMIT_S,
    )
    work_items.listen(hub.work_item_queue)
    client = Client(
        hub,
        rules=rules,
        now=clock.now,
        forget=instances.forget,
        may_override=durable.overridable_states == "AnyState",
    )
    return Parts(
        control=control, work_items=work_items, instances=instances, client=client
    )


def _deciders(
    durable: DurableSettings,
    functions: DurableFunctions,
    hub: TaskHub,
    clock: Clock,
    rules: Rules,
) -> tuple[Orchestrations, Entities]:
    orchestrations = Orchestrations(
        hub,
        invoke=functions.orchestrator,
        rules=rules,
        now=clock.now,
        http_sleep_ms=durable.http_sleep_ms,
    )
    entities = Entities(
        hub,
        invoke=functions.entity,
        now=clock.now,
        largest_batch=durable.max_entity_batch,
    )
    return orchestrations, entities


def _instance_of(item: Received) -> str:
    """A control message's lane: its instance; what cannot be read has its own."""
    return item.message.instance_id if item.message else item.message_id
