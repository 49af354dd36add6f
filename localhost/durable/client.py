"""The Durable client: start, raise event, terminate, purge, status, list …

What an operation cannot do is said by the exceptions of ``errors``; which HTTP status
that is, is the web room's business.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Protocol

from localhost.delivery.sender import Sender
from localhost.durable.commit import Commits
from localhost.durable.entity_state import EntityState
from localhost.durable.execution import Rules
from localhost.durable.purges import purge_all
from localhost.durable.starts import Starts
from localhost.errors import (
    ArgumentError,
    ConflictError,
    InstanceExistsError,
    InvalidStateError,
    PreconditionError,
)
from localhost.history import EventType, HistoryEvent, Status
from localhost.records import Instance, TaskMessage
from localhost.taskhub.port import Filter, Hub, InstancePage, Received
from localhost.text import dumps

LONGEST_ID_CHARS = 256
_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_ACTIVE = frozenset(
    {Status.RUNNING, Status.PENDING, Status.SUSPENDED, Status.CONTINUED_AS_NEW}
)

__all__ = ["Client", "EntityState", "Filter", "InstancePage", "Verdict"]


class Verdict(Enum):
    """What became of a request to an instance."""

    ACCEPTED = auto()
    UNKNOWN = auto()  # there is no such instance
    GONE = auto()  # it has ended


class InMemory(Protocol):
    """What is in memory of instances."""

    def expect(self, message: TaskMessage) -> None:
        """Hear of the start of an instance that is new."""

    def forget(self, instance_id: str) -> None:
        """Drop what is in memory of an instance, because the storage changed."""


class Client:
    """Does to instances of one task hub what the SDK's client and HTTP ask for.

    ``instances`` is told of an instance that is new, or whose history the client has
    changed by itself. ``may_override`` says whether a start may replace an instance
    that still runs.
    """

    def __init__(
        self,
        hub: Hub,
        sender: Sender,
        commits: Commits,
        starts: Starts,
        instances: InMemory,
        *,
        rules: Rules,
        now: Callable[[], str],
        may_override: bool = False,
    ) -> None:
        self.hub_name = hub.name
        self._hub = hub
        self._sender = sender
        self._commits = commits
        self._starts = starts
        self._instances = instances
        self._rules = rules
        self._now = now
        self._may_override = may_override

    async def start(
        self, name: str, instance_id: str | None, input_: str | None
    ) -> str:
        """Start an instance; ``input_`` is JSON text. Returns its id.

        Raises ``ArgumentError`` (unknown orchestrator, bad id) and
        ``InstanceExistsError`` when an instance of that id is not finished.
        """
        unknown = self._rules.unknown("orchestrator", name)
        if unknown is not None:
            raise ArgumentError(unknown)
        is_new = not instance_id
        instance_id = instance_id or uuid.uuid4().hex
        check_instance_id(instance_id)
        existing = None if is_new else await self._hub.instances.peek(instance_id)
        if existing and existing.status in _ACTIVE and not self._may_override:
            raise InstanceExistsError(existing.status.value)
        message = self._start_message(name, instance_id, input_, existing)
        try:
            await self._send_start(message, existing)
        except (ConflictError, PreconditionError) as exc:
            raise InstanceExistsError(Status.PENDING.value) from exc
        return instance_id

    async def _send_start(self, message: TaskMessage, over: Instance | None) -> None:
        """Put the message of a start, then write its row; only then it may begin."""

        async def write_row(item: Received) -> None:
            try:
                await self._hub.insert_start(item, message, over=over)
            except (ConflictError, PreconditionError):
                self._sender.complete([item])
                raise
            if over is None:
                self._instances.expect(message)

        with self._starts.writing(message.instance_id):
            await self._sender.send(message, then=write_row)

    def _start_message(
        self, name: str, instance_id: str, input_: str | None, over: Instance | None
    ) -> TaskMessage:
        target = {"InstanceId": instance_id, "ExecutionId": uuid.uuid4().hex}
        generation = 0 if over is None else (over.generation or 0) + 1
        fields = {
            "OrchestrationInstance": target,
            "Name": name,
            "Version": "",
            "Input": input_,
            "Generation": generation,
        }
        return TaskMessage(
            event=HistoryEvent(
                type=EventType.ExecutionStarted, timestamp=self._now(), fields=fields
            ),
            instance_id=instance_id,
            execution_id=target["ExecutionId"],
        )

    async def restart(self, instance_id: str, *, with_new_id: bool) -> str:
        """Start an instance again with its name and input; return the copy's id.

        Raises ``ArgumentError`` when there is no such instance.
        """
        row = await self._hub.instances.read(instance_id, with_output=False)
        if row is None:
            raise ArgumentError(
                f"An orchestrastion with the instanceId {instance_id} was not found."
            )
        new_id = None if with_new_id else instance_id
        return await self.start(
            row.name, new_id, "null" if row.input is None else row.input
        )

    async def status(
        self, instance_id: str, *, with_input: bool = True
    ) -> Instance | None:
        """Return an instance's row; ``with_input`` says whether to read a large one."""
        return await self._hub.status(
            instance_id,
            is_own=self._sender.is_alone_with(instance_id),
            with_input=with_input,
        )

    async def history(self, instance_id: str) -> tuple[HistoryEvent, ...]:
        """Return the history of an instance's current execution."""
        return (await self._hub.histories.load(instance_id)).events

    async def list(self, wanted: Filter, *, with_input: bool = True) -> InstancePage:
        """Return one page of instances; for ``with_input`` see ``status``."""
        return await self._hub.instances.list(wanted, with_input=with_input)

    async def raise_event(self, instance_id: str, name: str, data: str) -> Verdict:
        """Raise an event; ``data`` is JSON text."""
        fields = {"Name": name, "Input": data}
        return await self._tell(instance_id, EventType.EventRaised, fields)

    async def terminate(self, instance_id: str, reason: str | None) -> Verdict:
        """Ask an instance to end; its children and activities go on."""
        fields = {"Input": reason}
        return await self._tell(instance_id, EventType.ExecutionTerminated, fields)

    async def suspend(self, instance_id: str, reason: str | None) -> Verdict:
        """Let an instance pause. Raises ``InvalidStateError`` when it does already."""
        verdict = await self.verdict(instance_id)
        if verdict is Verdict.ACCEPTED:
            await self._must_not_be(instance_id, "suspend", is_suspended=True)
        fields = {"Reason": reason}
        return await self._tell(instance_id, EventType.ExecutionSuspended, fields)

    async def resume(self, instance_id: str, reason: str | None) -> Verdict:
        """Let a suspended instance go on. Raises ``InvalidStateError``."""
        verdict = await self.verdict(instance_id)
        if verdict is Verdict.ACCEPTED:
            await self._must_not_be(instance_id, "resume", is_suspended=False)
        fields = {"Reason": reason}
        return await self._tell(instance_id, EventType.ExecutionResumed, fields)

    async def rewind(self, instance_id: str, reason: str | None) -> Verdict:
        """Let a failed instance run again from what failed.

        Raises ``InvalidStateError`` when it has not failed and not ended.
        """
        row = await self._hub.instances.peek(instance_id)
        if row is None:
            return Verdict.UNKNOWN
        if row.status in _ACTIVE and not await self._hub.has_to_rewind(instance_id):
            raise InvalidStateError(
                "The rewind operation is only supported on failed orchestration"
                " instances."
            )
        if row.status.is_terminal and row.status is not Status.FAILED:
            return Verdict.GONE
        await self._commits.until_written(instance_id)
        self._instances.forget(instance_id)
        event = HistoryEvent(
            type=EventType.GenericEvent, timestamp=self._now(), fields={"Data": reason}
        )
        message = TaskMessage(event=event, instance_id=instance_id, execution_id=None)
        await self._hub.rewind(row, message)
        return Verdict.ACCEPTED

    async def signal_entity(
        self, name: str, key: str, operation: str, input_: str | None
    ) -> None:
        """Ask an entity for an operation, without an answer; ``input_`` is JSON text.

        Raises ``ArgumentError`` for an entity that cannot be.
        """
        entity_id = self.entity_id(name, key)
        if _FORBIDDEN.search(key):
            raise ArgumentError(
                "entityKey (Parameter 'Entity keys must not contain /, \\, #, ?, or"
                " control characters.')"
            )
        request: dict[str, object] = {"op": operation, "signal": True}
        if input_ is not None:
            request["input"] = input_
        request["id"] = str(uuid.uuid4())
        fields = {"Name": "op", "Input": dumps(request)}
        event = HistoryEvent(
            type=EventType.EventRaised, timestamp=self._now(), fields=fields
        )
        await self._sender.send(
            TaskMessage(event=event, instance_id=entity_id, execution_id=None)
        )

    async def entity(self, name: str, key: str) -> EntityState | None:
        """Return an entity, None when there never was one of that id."""
        row = await self._hub.instances.read(f"@{name.lower()}@{key}")
        return None if row is None else EntityState.of(row)

    async def entities(
        self, wanted: Filter
    ) -> tuple[Sequence[EntityState], tuple[str, str] | None]:
        """Return one page of the entities that exist, and what continues it."""
        page = await self._hub.instances.list(wanted)
        found = [EntityState.of(row) for row in page.instances]
        return [entity for entity in found if entity.exists], page.next

    def entity_id(self, name: str, key: str) -> str:
        """Return an entity's instance id. Raises ``ArgumentError``."""
        if not name:
            raise ArgumentError(
                "Invalid entity id: entity name must not be a null or empty string."
                " (Parameter 'entityName')"
            )
        unknown = self._rules.unknown("entity", name.lower())
        if unknown is not None:
            raise ArgumentError(unknown)
        return f"@{name.lower()}@{key}"

    async def purge(self, instance_id: str) -> int:
        """Delete an instance whatever its state; return how many were (0 or 1)."""
        await self._commits.until_written(instance_id)
        was_there = await self._hub.purge(instance_id)
        self._instances.forget(instance_id)
        self._commits.drop(instance_id)
        return int(was_there)

    async def purge_all(self, wanted: Filter) -> int:
        """Delete the instances that a filter finds; return how many."""
        return await purge_all(self._hub, wanted, purge=self.purge)

    async def _must_not_be(
        self, instance_id: str, what: str, *, is_suspended: bool
    ) -> None:
        row = await self._hub.instances.peek(instance_id)
        if row is None or (row.status is Status.SUSPENDED) is not is_suspended:
            return
        raise InvalidStateError(
            f"Cannot {what} the orchestration instance {instance_id} because instance"
            f" is in the {row.status.value} state."
        )

    async def verdict(self, instance_id: str) -> Verdict:
        """Say what would become of a request to an instance."""
        row = await self._hub.instances.peek(instance_id)
        if row is None:
            return Verdict.UNKNOWN
        return Verdict.ACCEPTED if row.status in _ACTIVE else Verdict.GONE

    async def _tell(
        self, instance_id: str, type_: EventType, fields: Mapping[str, str | None]
    ) -> Verdict:
        """Send an event to whatever execution of an instance is current."""
        verdict = await self.verdict(instance_id)
        if verdict is Verdict.ACCEPTED:
            event = HistoryEvent(type=type_, timestamp=self._now(), fields=fields)
            await self._sender.send(
                TaskMessage(event=event, instance_id=instance_id, execution_id=None)
            )
        return verdict


def check_instance_id(instance_id: str) -> None:
    """Raise ``ArgumentError`` for an id that cannot be, in the extension's words."""
    if instance_id.startswith("@"):
        raise ArgumentError(
            "instanceId (Parameter 'Orchestration instance ids must not start with @.')"
        )
    if _FORBIDDEN.search(instance_id):
        raise ArgumentError(
            "instanceId (Parameter 'Orchestration instance ids must not contain /, \\,"
            " #, ?, or control characters.')"
        )
    if len(instance_id) > LONGEST_ID_CHARS:
        raise ArgumentError("Instance ID lengths must not exceed 256 characters.")
