"""An entity in memory and the requests to it: state, order, duplicates; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localhost.delivery.messages import Control
from localhost.durable.pending import Pending
from localhost.history import EventType
from localhost.records import Instance, TaskMessage, json_object
from localhost.taskhub.port import Stored
from localhost.text import loads
from localhost.timestamps import plus_ms, to_ticks

REORDER_WINDOW_MS = 30 * 60_000
MOST_APPLIED_IDS = 800  # as many as a column holds
_NEVER = "0001-01-01T00:00:00"


@dataclass(kw_only=True)
class Request:
    """An operation as its message asks for it; ``parent`` None for a client."""

    item: Control
    id: str
    operation: str
    input: str | None
    is_signal: bool
    parent: str | None
    parent_execution: str | None
    sent_at: str
    predecessor: str

    @classmethod
    def of(cls, item: Control, message: TaskMessage) -> Request | None:
        """Read it from its message; None when the message asks for no operation."""
        wire = json_object(message.event["Input"])
        name = str(message.event["Name"] or "")
        if name.partition("@")[0] != "op" or "id" not in wire:
            return None
        return cls(
            item=item,
            id=str(wire["id"]),
            operation=str(wire.get("op") or ""),
            input=wire.get("input"),
            is_signal=bool(wire.get("signal")),
            parent=wire.get("parent"),
            parent_execution=wire.get("parentExecution"),
            sent_at=str(wire.get("Timestamp") or message.event.timestamp),
            predecessor=str(wire.get("Predecessor") or _NEVER),
        )


@dataclass(kw_only=True)
class Entity:
    """An entity in memory: its scheduler state, and what was applied to it.

    ``pending`` are replies that may not have been sent.
    """

    instance_id: str = ""
    scheduler: dict[str, Any] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)
    execution_id: str | None = None
    etag: str | None = None
    pending: Pending = field(default_factory=Pending)

    @classmethod
    def of(cls, instance_id: str, stored: Stored) -> Entity:
        """Read it from its history: the state is the input of its start."""
        started = [e for e in stored.events if e.type is EventType.ExecutionStarted]
        return cls(
            instance_id=instance_id,
            pending=Pending.of(stored.notes, is_unsure=bool(stored.events)),
            scheduler=json_object(started[-1]["Input"] if started else None),
            applied=[str(id_) for id_ in stored.applied],
            execution_id=stored.execution_id,
            etag=stored.etag,
        )

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, roughly."""
        return 2 * len(str(self.scheduler)) + 100 * len(self.applied)

    @property
    def exists(self) -> bool:
        """Whether the entity has a state."""
        return bool(self.scheduler.get("exists"))

    def last_from(self, request: Request) -> str:
        """When the latest request of a request's sender was sent."""
        senders = self.scheduler.get("sorter", {}).get("ReceivedFromInstance", {})
        known = senders.get(request.parent or "", {})
        if known.get("ExecutionId") != request.parent_execution:
            return _NEVER
        return str(known.get("Last") or _NEVER)

    def note(self, request: Request) -> None:
        """Remember that a request was received, also when it is a duplicate.

        A duplicate says nothing of an execution that its sender has left behind.
        """
        is_duplicate = request.id in self.applied
        if not is_duplicate:
            self.applied = [*self.applied, request.id][-MOST_APPLIED_IDS:]
        if request.parent is None:
            return
        if to_ticks(request.sent_at) < to_ticks(self.last_from(request)):
            return
        sorter = self.scheduler.setdefault("sorter", {})
        senders = sorter.setdefault("ReceivedFromInstance", {})
        known = senders.get(request.parent)
        if (
            is_duplicate
            and known
            and known.get("ExecutionId") != request.parent_execution
        ):
            return
        senders[request.parent] = {
            "Last": request.sent_at,
            "ExecutionId": request.parent_execution,
        }
        horizon = plus_ms(request.sent_at, -REORDER_WINDOW_MS)
        for sender in [s for s, k in senders.items() if _is_before(k, horizon)]:
            del senders[sender]
        sorter["ReceiveHorizon"] = horizon

    def take(self, result: Mapping[str, Any]) -> None:
        """Take over the state that the function returned."""
        rest = {k: v for k, v in self.scheduler.items() if k not in ("exists", "state")}
        self.scheduler = {"exists": True} if result.get("entityExists") else {}
        if result.get("entityState") is not None:
            self.scheduler["state"] = result["entityState"]
        self.scheduler |= rest


@dataclass(frozen=True, kw_only=True)
class EntityState:
    """An entity as its row shows it; ``state`` is any JSON value."""

    name: str
    key: str
    exists: bool
    state: object
    updated_at: str

    @classmethod
    def of(cls, row: Instance) -> EntityState:
        """Read it from the row of its instance."""
        _, name, key = row.instance_id.split("@", 2)
        return cls(
            name=name,
            key=key,
            exists=bool(json_object(row.custom_status).get("entityExists")),
            state=entity_state(row.input),
            updated_at=row.created_at,
        )


def in_order(
    entity: Entity, requests: Sequence[Request]
) -> tuple[list[Request], list[Request], list[Request]]:
    """Tell requests apart: due (in the order of sending), waiting, duplicates.

    A sender's request waits while the one that it sent before has not come.
    """
    due: list[Request] = []
    waiting: list[Request] = []
    duplicates: list[Request] = []
    applied, last = set(entity.applied), dict[tuple[str | None, str | None], int]()
    for request in sorted(requests, key=lambda r: to_ticks(r.sent_at)):
        sender = (request.parent, request.parent_execution)
        known = last.setdefault(sender, to_ticks(entity.last_from(request)))
        if request.id in applied:
            duplicates.append(request)
        elif request.parent and to_ticks(request.predecessor) > known:
            waiting.append(request)
            continue
        else:
            applied.add(request.id)
            due.append(request)
        last[sender] = max(known, to_ticks(request.sent_at))
    return due, waiting, duplicates


def entity_state(text: str | None) -> Any:
    """Return the state in an entity's stored input; None when there is none."""
    state = json_object(text).get("state")
    return None if state is None else loads(state)


def _is_before(known: Mapping[str, Any], horizon: str) -> bool:
    try:
        return to_ticks(str(known.get("Last"))) < to_ticks(horizon)
    except ValueError:
        return True
