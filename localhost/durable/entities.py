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
from localhost.durable.entity import Entity, Request, in_order
from localhost.history import EventType, HistoryEvent, Status
from localhost.outcome import Outcome, Raised
from localhost.records import TaskMessage, dumps, json_object
from localhost.taskhub.hub import (
    Checkpoint,
    InstanceChange,
    LostHistoryError,
    Received,
    TaskHub,
)
from localhost.timestamps import to_ticks

log = logging.getLogger(__name__)

# Calls an entity function: name, batch as JSON text, instance id.
Invoke = Callable[[str, str, str], Awaitable[Outcome]]

RESPONSE_TYPE = (
    "Microsoft.Azure.WebJobs.Extensions.DurableTask.ResponseMessage,"
    " Microsoft.Azure.WebJobs.Extensions.DurableTask"
)
MOST_IN_HAND = 2_000


class Entities:
    """Works on the messages of entities.

    ``invoke`` calls the user's function, ``now`` gives timestamps, ``largest_batch``
    is how many operations one call may get.
    """

    def __init__(
        self,
        hub: TaskHub,
        *,
        invoke: Invoke,
        now: Callable[[], str],
        largest_batch: int,
    ) -> None:
        self._hub = hub
        self._invoke = invoke
        self._now = now
        self._largest_batch = largest_batch
        self._in_hand: dict[str, Entity] = {}

    def forget(self, instance_id: str) -> None:
        """Drop what is in memory of an entity, because the storage changed."""
        self._in_hand.pop(instance_id, None)

    async def process(
        self, instance_id: str, items: Sequence[Received]
    ) -> Sequence[Received]:
        """Work on messages of one entity; return those that must wait."""
        try:
            return await self._process(instance_id, items)
        except LostHistoryError:
            log.info("%s: its history moved on; looking at it again", instance_id)
            if not self._hub.works_on(items[0].lane_queue):
                return items  # whoever has the queue now goes on with them
            return await self._process(instance_id, items)

    async def _process(
        self, instance_id: str, items: Sequence[Received]
    ) -> Sequence[Received]:
        entity = self._in_hand.pop(instance_id, None)
        if entity is None:
            entity = Entity.of(await self._hub.histories.load(instance_id))
        requests, rest = _told_apart(instance_id, items)
        self._hub.complete(rest)
        due, waiting, duplicates = in_order(entity, requests)
        for request in duplicates:
            entity.note(request)
        for start in range(0, len(due), self._largest_batch):
            batch = due[start : start + self._largest_batch]
            await self._apply(instance_id, entity, batch)
        if duplicates and due:
            self._hub.complete(request.item for request in duplicates)
        elif duplicates:  # a crash may have left the row behind the history
            await self._commit(instance_id, entity, (), duplicates)
        if len(self._in_hand) >= MOST_IN_HAND:
            self._in_hand.clear()
        self._in_hand[instance_id] = entity
        return [request.item for request in waiting]

    async def _apply(
        self, instance_id: str, entity: Entity, batch: Sequence[Request]
    ) -> None:
        """Call the function with a batch, then reply and commit in the safe order."""
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
        outcome = await self._invoke(name, dumps(body), instance_id)
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
            self._reply(instance_id, entity, request, answer)
            for request, answer in zip(batch, result["results"], strict=True)
            if not request.is_signal and request.parent
        ]
        await self._commit(instance_id, entity, replies, batch)

    async def _commit(
        self,
        instance_id: str,
        entity: Entity,
        replies: Sequence[TaskMessage],
        batch: Sequence[Request],
    ) -> None:
        execution_id, now = uuid.uuid4().hex, self._now()
        started = HistoryEvent(
            type=EventType.ExecutionStarted,
            timestamp=now,
            is_played=True,
            fields={
                "OrchestrationInstance": {
                    "InstanceId": instance_id,
                    "ExecutionId": execution_id,
                },
                "Name": instance_id,
                "Version": "",
                "Input": dumps(entity.scheduler),
            },
        )
        events = (
            HistoryEvent(type=EventType.OrchestratorStarted, timestamp=now),
            started,
            HistoryEvent(
                type=EventType.OrchestratorCompleted, timestamp=now, is_played=True
            ),
        )
        change = InstanceChange(
            execution_id=execution_id,
            updated_at=now,
            custom_status='{"entityExists":true}' if entity.exists else "{}",
            started=started,
            status=Status.RUNNING,
        )
        entity.etag = await self._hub.commit(
            Checkpoint(
                instance_id=instance_id,
                execution_id=execution_id,
                outbox=replies,
                events=events,
                first_row=0,
                etag=entity.etag,
                change=change,
                received=[request.item for request in batch],
                applied=tuple(entity.applied),
            )
        )
        entity.execution_id = execution_id

    def _reply(
        self,
        instance_id: str,
        entity: Entity,
        request: Request,
        answer: Mapping[str, Any],
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
            sender=(instance_id, entity.execution_id),
            episode=message.episode if message else None,
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
    instance_id: str, items: Sequence[Received]
) -> tuple[list[Request], list[Received]]:
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


def _request_in(instance_id: str, item: Received) -> Request | None:
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
