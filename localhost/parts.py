"""What works on a task hub, put together of delivery and durable; nothing runs here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localhost.compat import TaskGroup
from localhost.delivery.answers_in_hand import AnswersInHand
from localhost.delivery.locks import Locks
from localhost.delivery.messages import Answer, Control, WorkItem
from localhost.delivery.pump import Pump
from localhost.delivery.sender import Sender, sent_at
from localhost.durable.activities import Activities
from localhost.durable.client import Client
from localhost.durable.commit import Commits
from localhost.durable.entities import Entities
from localhost.durable.execution import Rules
from localhost.durable.orchestrations import Orchestrations
from localhost.durable.starts import Starts
from localhost.functions import DurableFunctions
from localhost.records import TaskMessage
from localhost.settings import Settings
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.port import LOCK_S, Queues, Received
from localhost.timestamps import Clock

CONTROL_BUFFER = 64  # few enough to be worked off before their locks need renewal
PAUSE_ON_LOOPBACK_S, PAUSE_ELSEWHERE_S = 1.0, 30.0
# A host that was killed has hidden messages for so long; some more for clocks.
SETTLE_S = LOCK_S + 0.5


class Instances:
    """Sends messages of control queues to orchestrations or entities, by their id."""

    def __init__(self, orchestrations: Orchestrations, entities: Entities) -> None:
        self._orchestrations = orchestrations
        self._entities = entities

    def expect(self, message: TaskMessage) -> None:
        """Hear of the start of an instance that is new."""
        self._orchestrations.expect(message)

    def forget(self, instance_id: str) -> None:
        """Drop what is in memory of an instance, because the storage changed."""
        self.forget_all(lambda each: each == instance_id)

    def forget_all(self, is_meant: Callable[[str], bool] = lambda each: True) -> None:
        """Drop what is in memory of instances, because other hosts may have changed it.

        A message that is judged by an old history can be dropped as unknown, and no
        ETag is checked then. What is in work goes on with what it has, and is checked.
        """
        self._orchestrations.forget(is_meant)
        self._entities.forget(is_meant)

    async def process(
        self, instance_id: str, items: Sequence[Control]
    ) -> Sequence[Control]:
        """Work on messages of one instance; return those that must wait."""
        if instance_id.startswith("@"):
            return await self._entities.process(instance_id, items)
        return await self._orchestrations.process(instance_id, items)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What works on a task hub: pumps, what they work with, and the client."""

    queues: Queues
    locks: Locks
    sender: Sender
    control: Pump[Control]
    work_items: Pump[WorkItem]
    commits: Commits
    instances: Instances
    activities: Activities
    client: Client

    async def run(self, stop: asyncio.Event, *, drain_limit_s: float) -> None:
        """Work until ``stop`` is set, then end what runs and give back the rest."""
        async with TaskGroup() as group:
            lasting = [
                group.create_task(self.locks.run(), name="locks"),
                group.create_task(self.commits.run(), name="anchors"),
            ]
            working = [
                group.create_task(
                    self.control.run(
                        stop,
                        process=self.instances.process,
                        abandon=self.sender.abandon,
                        received=self.sender.received,
                        drain_limit_s=drain_limit_s,
                    ),
                    name="control queues",
                ),
                group.create_task(
                    self.work_items.run(
                        stop,
                        process=self.activities.process,
                        abandon=self.sender.abandon,
                        received=self.sender.received,
                        drain_limit_s=drain_limit_s,
                    ),
                    name="work items",
                ),
            ]
            await stop.wait()
            await self.commits.put_all(lambda each: True)
            await asyncio.wait(working)
            await self.commits.put_all(lambda each: True)
            await self.commits.close()
            await self.sender.close()
            for task in lasting:
                task.cancel()

    def forget_all(self) -> None:
        """Forget what was stored: the storage ended, and may have lost some of it."""
        self.instances.forget_all()
        self.activities.forget()
        self.commits.forget()

    def listen(self, queue: str, was_killed: bool) -> None:
        """Take messages of a control queue; ``was_killed``: as maybe its last owner."""
        self.instances.forget_all(lambda each: self.sender.queue_of(each) == queue)
        self.commits.own(queue)
        self.control.listen(queue, settles_in_s=SETTLE_S if was_killed else 0.0)

    def unlisten(self, queue: str, is_lost: bool) -> None:
        """Take no more messages of a queue; ``is_lost``: others may do so already."""
        if is_lost:
            self.commits.lose(queue)
        self.control.unlisten(queue)
        self.sender.forget_lying(queue)
        self.sender.start(
            self.commits.put_all(lambda each: self.sender.queue_of(each) == queue),
            f"{queue} put what is in work",
        )

    def is_drained(self, queue: str) -> bool:
        """Whether nothing of a control queue is in work, or waits here."""
        return self.control.is_drained(queue) and self.commits.is_idle(queue)


def make_parts(
    settings: Settings, functions: DurableFunctions, hub: TaskHub, clock: Clock
) -> Parts:
    """Put together what works on a hub; nothing runs and nothing is owned yet."""
    durable = settings.durable
    on_loopback = settings.storage.is_loopback
    longest_pause_s = PAUSE_ON_LOOPBACK_S if on_loopback else PAUSE_ELSEWHERE_S
    queues, locks, answers = hub.queues, Locks(hub.queues), AnswersInHand()
    control, work_items = make_pumps(
        queues,
        locks,
        answers,
        orchestrators=durable.max_orchestrators,
        activities=durable.max_activities,
        longest_pause_s=longest_pause_s,
        settles_in_s=SETTLE_S,
    )
    work_items.listen(queues.work_items)
    sender = Sender(
        queues, locks, answers, control=control, work_items=work_items, now=clock.now
    )
    activities = Activities(sender, invoke=functions.activity, now=clock.now)
    commits, starts = Commits(hub, sender, activities), Starts()
    rules = Rules(
        unknown=functions.unknown,
        store_inputs=durable.store_inputs,
        max_actions=durable.max_orchestration_actions,
    )
    orchestrations = Orchestrations(
        hub,
        sender,
        commits,
        starts,
        invoke=functions.orchestrator,
        rules=rules,
        now=clock.now,
        http_sleep_ms=durable.http_sleep_ms,
        history_bytes=settings.history_bytes,
    )
    entities = Entities(
        hub,
        sender,
        commits,
        invoke=functions.entity,
        now=clock.now,
        largest_batch=durable.max_entity_batch,
        memory_bytes=settings.history_bytes,
    )
    instances = Instances(orchestrations, entities)
    client = Client(
        hub,
        sender,
        commits,
        starts,
        instances,
        rules=rules,
        now=clock.now,
        may_override=durable.overridable_states == "AnyState",
    )
    return Parts(
        queues=queues,
        locks=locks,
        sender=sender,
        control=control,
        work_items=work_items,
        commits=commits,
        instances=instances,
        activities=activities,
        client=client,
    )


def make_pumps(
    queues: Queues,
    locks: Locks,
    answers: AnswersInHand,
    *,
    orchestrators: int,
    activities: int,
    longest_pause_s: float,
    buffer: int = CONTROL_BUFFER,
    settles_in_s: float = 0.0,
) -> tuple[Pump[Control], Pump[WorkItem]]:
    """Make the pump of the control queues and that of the work items."""
    control: Pump[Control] = Pump(
        queues,
        locks,
        name="control queues",
        key=_instance_of,
        queue_of=lambda item: item.queue,
        wrap=lambda received: received,
        sent_at=_sent_at,
        at_once=orchestrators,
        buffer=buffer,
        longest_pause_s=longest_pause_s,
        settles_in_s=settles_in_s,
    )
    work_items: Pump[WorkItem] = Pump(
        queues,
        locks,
        name="work items",
        key=lambda item: f"activity {id(item)}",
        queue_of=lambda item: queues.work_items,
        wrap=_work_item_of,
        at_once=activities,
        buffer=0,
        longest_pause_s=longest_pause_s,
        is_held_up=lambda: answers.are_many,
    )
    return control, work_items


def _instance_of(item: Control) -> str:
    """A control message's lane: its instance; what cannot be read has its own."""
    return item.message.instance_id if item.message else item.message_id


def _sent_at(item: Control) -> int | None:
    if isinstance(item, Answer) or item.message is None:
        return None
    return sent_at(item.message)


def _work_item_of(received: Received) -> WorkItem:
    return WorkItem(message=received.message, received=received)
