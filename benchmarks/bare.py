"""The bare requests of a fan-out, without a host: what the storage needs for them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence

from benchmarks.ground import Ground, account_at
from localhost.history import EventType, HistoryEvent
from localhost.records import TaskMessage
from localhost.taskhub import rows
from localhost.taskhub.blobs import Blobs
from localhost.taskhub.hub import LOCK_S
from localhost.taskhub.queues import Queues
from localhost.taskhub.storage import Storage
from localhost.taskhub.tables import LARGEST_TRANSACTION_ROWS, Operation, Table
from localhost.timestamps import Clock

HUB = "Bare"
AT_ONCE = 20  # work items that a host takes at once
_NAMES = (uuid.uuid4().hex, uuid.uuid4().hex)


async def bare_fan_out_ms(ground: Ground, count: int) -> float:
    """Put work items, take and delete them; write a row for each and its answer."""
    async with Storage(account_at(ground.ports)) as storage:
        queues = Queues(storage, HUB, 1, Blobs(storage, HUB))
        table = Table(storage, f"{HUB}History")
        await table.create()
        await queues.create(queues.work_items)
        began_s = time.perf_counter()
        await _send_and_take(queues, table, count)
        return (time.perf_counter() - began_s) * 1000


async def _send_and_take(queues: Queues, table: Table, count: int) -> None:
    queue, now = queues.work_items, Clock().now
    asked = [_asked(number, now()) for number in range(count)]
    answers = [_answer(number, now()) for number in range(count)]
    await asyncio.gather(
        *(queues.put(queue, message, hidden_s=None) for message in asked)
    )
    await _write(table, [message.event for message in asked], 0)
    taken = 0
    while taken < count:
        items = await queues.get(queue, count=AT_ONCE, lock_s=LOCK_S)
        await _write(table, answers[taken : taken + len(items)], count + taken)
        await asyncio.gather(*(queues.delete(item) for item in items))
        taken += len(items)


async def _write(table: Table, events: Sequence[HistoryEvent], first: int) -> None:
    instance_id, execution_id = _NAMES
    operations = [
        Operation(
            method="PUT",
            partition_key=instance_id,
            row_key=rows.row_key(place),
            columns=rows.row_of_event(event, execution_id),
        )
        for place, event in enumerate(events, first)
    ]
    for start in range(0, len(operations), LARGEST_TRANSACTION_ROWS):
        await table.transaction(operations[start : start + LARGEST_TRANSACTION_ROWS])


def _asked(number: int, at: str) -> TaskMessage:
    fields = {"Name": "Echo", "Version": "", "Input": f"[{number}]"}
    event = HistoryEvent(
        type=EventType.TaskScheduled, timestamp=at, event_id=number, fields=fields
    )
    instance_id, execution_id = _NAMES
    return TaskMessage(
        event=event, instance_id=instance_id, execution_id=execution_id, sender=_NAMES
    )


def _answer(number: int, at: str) -> HistoryEvent:
    fields = {"TaskScheduledId": number, "Result": str(number)}
    return HistoryEvent(type=EventType.TaskCompleted, timestamp=at, fields=fields)
