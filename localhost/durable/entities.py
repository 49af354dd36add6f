"""One batch of operations of one entity: load → call → reply → commit.

An entity is kept as an instance that runs for ever: its state is the input of its
latest execution, and every batch writes a new execution over the old one. An operation
is applied once, however often its message comes: the ids of requests that were applied
stand beside the state, in the same transaction.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from localhost.crashpoints import crash_point
from localhost.delivery.messages import Control
from localhost.delivery.sender import Sender
from localhost.durable.commit import Commits
from localhost.durable.entity_state import Entity, Request, in_order
from localhost.durable.faults import Faults, sentence_of
from localhost.durable.history_cache import HistoryCache
from localhost.durable.pending import PendingMessage, notes_of
from localhost.history import EventType, HistoryEvent, Status
from localhost.outcome import Outcome, Raised
from localhost.records import TaskMessage, json_object
from localhost.taskhub.port import (
    Checkpoint,
    Hub,
    InstanceChange,
    LostHistoryError,
)
from localhost.text import dumps
from localhost.timestamps import to_ticks

log = logging.getLogger(__name__)

# Calls an entity function: name, batch as JSON text, instance id.
Invoke = Callable[[str, str, str], Awaitable[Outcome]]

RESPONSE_TYPE = (
    "Microsoft.Azure.WebJobs.Extensions.DurableTask.ResponseMessage,"
    " Microsoft.Azure.WebJobs.Extensions.DurableTask"
)


class Entities:
    """Works on the messages of entities.

    ``invoke`` calls the user's function, ``now`` gives timestamps, ``largest_batch``
    is how many operations one call may get.
    """

    def __init__(
        self,
        hub: Hub,
        sender: Sender,
        commits: Commits,
        *,
        invoke: Invoke,
        now: Callable[[], str],
        largest_batch: int,
        memory_bytes: int,
    ) -> None:
        self._hub = hub
        self._sender = sender
        self._commits = commits
        self._invoke = invoke
        self._now = now
        self._largest_batch = largest_batch
        self._cache: HistoryCache[Entity] = HistoryCache(most_bytes=memory_bytes)
        self._faults = Faults()

    def forget(self, is_meant: Callable[[str], bool]) -> None:
        """Drop what is in memory of entities, because the storage changed."""
        self._cache.drop(is_meant)

    async def process(
        self, instance_id: str, items: Sequence[Control]
    ) -> Sequence[Control]:
        """Work on messages of one entity; return those that must wait."""
        failed: Outcome | None = None
        try:
            waiting = await self._process(instance_id, items)
        except LostHistoryError:
            log.info("%s: its history moved on; looking at it again", instance_id)
            if not self._sender.works_on(instance_id):
                return items  # whoever has the queue now goes on with them
            waiting = await self._process(instance_id, items)
        except Exception as exc:
            if not self._faults.is_final(instance_id, exc):
                raise
            error = sentence_of("the operations of the entity", exc)
            log.error("%s: %s", instance_id, error, exc_info=exc)
            failed = Raised(type_name="HostError", message=error, traceback="")
            waiting = await self._process(instance_id, items, failed)
        self._faults.forget(instance_id)
        return waiting

    async def _process(
        self,
        instance_id: str,
        items: Sequence[Control],
        failed: Outcome | None = None,
    ) -> Sequence[Control]:
        """Apply what is due; with ``failed``, as if the function had given that."""
        age = self._cache.age
        entity = self._cache.take(instance_id)
        if entity is None:
            stored = await self._hub.histories.load(instance_id)
            entity = Entity.of(instance_id, stored)
            known = self._cache.pending_of(instance_id, entity.etag)
            entity.pending = known or entity.pending
        requests, rest = _told_apart(instance_id, items)
        self._sender.complete(rest)
        due, waiting, duplicates = in_order(entity, requests)
        for request in duplicates:
            entity.note(request)
        for start in range(0, len(due), self._largest_batch):
            batch = due[start : start + self._largest_batch]
            await self._apply(entity, batch, failed)
        await self._drop(entity, duplicates)
        self._cache.keep(entity, age=age)
        return [request.item for request in waiting]

    async def _drop(self, entity: Entity, duplicates: Sequence[Request]) -> None:
        """Delete requests that were applied, once their replies are sent.

        One comes again when a crash left its batch without its replies or its row.
        """
        if not duplicates:
            return
        change = None
        if entity.pending.is_unsure:
            entity.pending.make_sure()
            await self._commits.send(
                entity.instance_id, entity.pending, entity.pending.left(), ()
            )
            change = _change_of(entity, self._now())
        items = [request.item for request in duplicates]
        self._commits.follow(
            entity.instance_id, entity.pending, entity.etag, change, items
        )

    async def _apply(
        self, entity: Entity, batch: Sequence[Request], failed: Outcome | None
    ) -> None:
        """Call the function with a batch, then write, reply and delete."""
        instance_id = entity.instance_id
        _, name, key = instance_id.split("@", 2)
        body = {
            "self": {"name": name, "key": key},
            "exists": entity.exists,
            "state": entity.scheduler.get("state"),
            "batch": [
                {"name": r.operation, "input": r.input, "isSignal": r.is_signal}
                for r in batch
            ],
        }
        outcome = failed or await self._invoke(name, dumps(body), instance_id)
        crash_point("during an entity batch")
        result = result_of(outcome, len(batch))
        if result.get("entityExists") is not None:
            entity.take(result)
        for request in batch:
            entity.note(request)
        for request, answer in zip(batch, result["results"], strict=True):
            if answer.get("isError"):
                log.error(
                    "%s: operation '%s' failed: %s",
                    instance_id,
                    request.operation,
                    answer["result"],
                )
        replies = [
            PendingMessage(number=None, message=self._reply(entity, request, answer))
            for request, answer in zip(batch, result["results"], strict=True)
            if not request.is_signal and request.parent
        ]
        await self._commit(entity, replies, [request.item for request in batch])

    async def _commit(
        self,
        entity: Entity,
        replies: Sequence[PendingMessage],
        received: Sequence[Control],
    ) -> None:
        execution_id, now = uuid.uuid4().hex, self._now()
        started = _started(entity, execution_id, now)
        change = _change_of(entity, now, started)
        checkpoint = Checkpoint(
            instance_id=entity.instance_id,
            execution_id=execution_id,
            events=(
                HistoryEvent(type=EventType.OrchestratorStarted, timestamp=now),
                started,
                HistoryEvent(
                    type=EventType.OrchestratorCompleted, timestamp=now, is_played=True
                ),
            ),
            first_row=0,
            etag=entity.etag,
            change=change,
            notes=notes_of(
                [*entity.pending.left(), *replies], custom_status=change.custom_status
            ),
            applied=tuple(entity.applied),
        )
        entity.etag, written = await self._commits.write(checkpoint)
        entity.execution_id = execution_id
        entity.pending.add(replies)
        await self._commits.send(entity.instance_id, entity.pending, replies, received)
        self._commits.follow(
            entity.instance_id, entity.pending, entity.etag, written, received
        )

    def _reply(
        self, entity: Entity, request: Request, answer: Mapping[str, Any]
    ) -> TaskMessage:
        """Return the event that answers a call; it is named as the request."""
        response: dict[str, Any] = {"$type": RESPONSE_TYPE, "result": answer["result"]}
        if answer.get("isError"):
            response["exceptionType"] = "Error"
        message = request.item.message
        return TaskMessage(
            event=HistoryEvent(
                type=EventType.EventRaised,
                timestamp=self._now(),
                fields={"Name": request.id, "Input": dumps(response)},
            ),
            instance_id=request.parent or "",
            execution_id=request.parent_execution,
            sender=(entity.instance_id, entity.execution_id),
            episode=message.episode if message else None,
        )


def _started(entity: Entity, execution_id: str, now: str) -> HistoryEvent:
    """Return the event that starts an execution with what an entity is now."""
    return HistoryEvent(
        type=EventType.ExecutionStarted,
        timestamp=now,
        is_played=True,
        fields={
            "OrchestrationInstance": {
                "InstanceId": entity.instance_id,
                "ExecutionId": execution_id,
            },
            "Name": entity.instance_id,
            "Version": "",
            "Input": dumps(entity.scheduler),
        },
    )


def _change_of(
    entity: Entity, now: str, started: HistoryEvent | None = None
) -> InstanceChange:
    """Return what the row of an entity is to say."""
    execution_id = entity.execution_id or ""
    if started is not None:
        execution_id = started["OrchestrationInstance"]["ExecutionId"]
    return InstanceChange(
        execution_id=execution_id,
        updated_at=now,
        custom_status='{"entityExists":true}' if entity.exists else "{}",
        started=started or _started(entity, execution_id, now),
        status=Status.RUNNING,
    )


def result_of(outcome: Outcome, count: int) -> Mapping[str, Any]:
    """Read a batch result; a function that failed as a whole failed every operation."""
    if isinstance(outcome, Raised):
        error = f"{outcome.type_name}: {outcome.message}"
    else:
        result = json_object(outcome.value)
        if len(result.get("results") or ()) == count:
            return {**result, "results": [_answer(r) for r in result["results"]]}
        error = "the entity function returned no result for each operation"
    failed = {"isError": True, "result": dumps(error)}
    return {"results": [failed] * count}


def _answer(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """A result must be a text for the SDK: JSON, ``null`` when there is none."""
    text = result.get("result")
    return {**result, "result": "null" if text is None else text}


def _told_apart(
    instance_id: str, items: Sequence[Control]
) -> tuple[list[Request], list[Control]]:
    """Return the requests among some messages, and what is none and is dropped."""
    requests, rest = [], []
    for item in items:
        request = _request_in(instance_id, item)
        if request is None:
            log.warning("%s: dropped a message that is no request", instance_id)
            rest.append(item)
        else:
            requests.append(request)
    return requests, rest


def _request_in(instance_id: str, item: Control) -> Request | None:
    """Read a request whose times are times, to an id that an entity can have."""
    message, is_entity = item.message, instance_id.count("@") >= 2
    if not message or message.event.type is not EventType.EventRaised or not is_entity:
        return None
    request = Request.of(item, message)
    try:
        for time in (request.sent_at, request.predecessor) if request else ():
            to_ticks(time)
    except ValueError:
        return None
    return request
