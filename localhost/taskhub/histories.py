"""The History table: events, written in transactions that a sentinel row guards.

The sentinel's ETag is the real mutual exclusion between hosts: a partition decides who
takes messages, the ETag who may write.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from localhost.crashpoints import crash_point
from localhost.errors import ConflictError, HostError, NotFoundError, PreconditionError
from localhost.history import EventType, HistoryEvent
from localhost.taskhub import notes, rewinds, rows
from localhost.taskhub.blobs import Blobs
from localhost.taskhub.port import (
    Checkpoint,
    InstanceChange,
    LostHistoryError,
    Notes,
    Stored,
)
from localhost.taskhub.tables import (
    LARGEST_TRANSACTION_ROWS,
    Operation,
    Row,
    Table,
    equals,
)

LARGEST_TRANSACTION_BYTES = 3 * 1024 * 1024


class Histories:
    """The histories of one task hub's instances."""

    def __init__(self, table: Table, blobs: Blobs, now: Callable[[], str]) -> None:
        self._table = table
        self._blobs = blobs
        self._now = now

    async def create(self) -> None:
        """Create the table; one that is there already is as good."""
        await self._table.create()

    async def etag(self, instance_id: str) -> str | None:
        """Return the ETag of a history as it is now, None when there is none."""
        sentinel = await self._table.get(rows.key_of(instance_id), rows.SENTINEL)
        return None if sentinel is None else str(sentinel["odata.etag"])

    async def load(self, instance_id: str) -> Stored:
        """Read an instance's history; one that is unknown has no events.

        Without a sentinel there is none. It is asked for first: on Azurite a filter
        costs time for each row of the table, and most new histories are of children.
        """
        key = rows.key_of(instance_id)
        if await self._table.get(key, rows.SENTINEL) is None:
            return Stored(execution_id=None, events=(), etag=None)
        found = await self._rows(instance_id)
        sentinel = next((r for r in found if r["RowKey"] == rows.SENTINEL), None)
        event_rows = [r for r in found if r["RowKey"] != rows.SENTINEL]
        execution_id = (sentinel or (event_rows[0] if event_rows else {})).get(
            "ExecutionId"
        )
        current = []
        for row in event_rows:
            if row.get("ExecutionId") != execution_id:
                break  # what an older, longer execution left behind
            current.append(await self._with_large_values(row))
        next_row = rows.place_of(current[-1]["RowKey"]) + 1 if current else 0
        return Stored(
            execution_id=execution_id,
            events=tuple(rows.event_of_row(row) for row in current),
            etag=sentinel["odata.etag"] if sentinel else None,
            next_row=next_row,
            applied=rows.applied_of(sentinel or {}),
            notes=await self._notes_in(sentinel or {}, execution_id, next_row),
            is_whole=bool((sentinel or {}).get("IsCheckpointComplete", True)),
        )

    async def _notes_in(
        self, sentinel: Row, execution_id: str | None, next_row: int
    ) -> Notes | None:
        """Read what was noted with the last turn; None when another host wrote it."""
        text = str(sentinel.get(notes.COLUMN) or "")
        if text and not text.startswith("{"):
            text = await self._blobs.read(text)
        return notes.notes_in(text, execution_id=execution_id, next_row=next_row)

    async def write(self, checkpoint: Checkpoint) -> tuple[str, InstanceChange | None]:
        """Write the events in transactions that each end with the sentinel.

        Returns its new ETag, and the change with addresses for values that were too
        large. Raises ``LostHistoryError``.
        """
        change, batches = await self._batches(checkpoint)
        key, etag = rows.key_of(checkpoint.instance_id), checkpoint.etag
        next_row = checkpoint.first_row
        for number, batch in enumerate(batches, 1):
            next_row += len(batch)
            columns = rows.sentinel_row(
                checkpoint.execution_id,
                self._now(),
                is_complete=number == len(batches),
                applied=checkpoint.applied,
            )
            columns |= await self._columns_of_notes(checkpoint, next_row)
            sentinel = Operation(
                method="POST" if etag is None else "MERGE",
                partition_key=key,
                row_key=rows.SENTINEL,
                columns=columns,
                if_match=etag,
            )
            try:
                etag = await self._table.transaction([*batch, sentinel])
            except (PreconditionError, ConflictError, NotFoundError) as exc:
                raise LostHistoryError(
                    f"{checkpoint.instance_id}: its history was changed by another host"
                ) from exc
            if number < len(batches):
                crash_point("between two history transactions")
        if etag is None:
            raise HostError(f"{checkpoint.instance_id}: the storage gave no ETag")
        return etag, change

    async def _columns_of_notes(self, checkpoint: Checkpoint, next_row: int) -> Row:
        """Return the columns of a checkpoint's notes; too large ones go to a blob."""
        text = notes.text_of(
            checkpoint.notes, execution_id=checkpoint.execution_id, next_row=next_row
        )
        if len(text) <= rows.LARGEST_VALUE_CHARS // 2:
            return {notes.COLUMN: text}
        blob = (
            f"{rows.key_of(checkpoint.instance_id)}/notes-{rows.row_key(next_row)}-"
            f"{secrets.token_hex(4).upper()}.json.gz"
        )
        await self._blobs.write(blob, text)
        return {notes.COLUMN: blob}

    async def _batches(
        self, checkpoint: Checkpoint
    ) -> tuple[InstanceChange | None, list[list[Operation]]]:
        """Turn events into rows, values too large into blobs, rows into batches."""
        change, batches, size = checkpoint.change, [[]], 0  # type: ignore[var-annotated]
        for place, event in enumerate(checkpoint.events, checkpoint.first_row):
            row = rows.row_of_event(event, checkpoint.execution_id)
            for name in rows.LARGE_FIELDS & row.keys():
                if rows.is_too_large(row[name]):
                    url = await self._move_to_blob(
                        checkpoint.instance_id, place, row, name
                    )
                    change = _with_url(change, event, name, url)
            row_size = 1024 + rows.bytes_of(row)
            is_full = len(batches[-1]) >= LARGEST_TRANSACTION_ROWS - 1
            if batches[-1] and (is_full or size + row_size > LARGEST_TRANSACTION_BYTES):
                batches.append([])
                size = 0
            size += row_size
            batches[-1].append(
                Operation(
                    method="PUT",
                    partition_key=rows.key_of(checkpoint.instance_id),
                    row_key=rows.row_key(place),
                    columns=row,
                )
            )
        return change, batches

    async def _move_to_blob(
        self, instance_id: str, place: int, row: Row, name: str
    ) -> str:
        """Move a value that is too large into a blob; return the blob's address."""
        value = row[name]
        blob = (
            f"{rows.key_of(instance_id)}/history-{rows.row_key(place)}-"
            f"{row['EventType']}-{secrets.token_hex(4).upper()}-{name}.json.gz"
        )
        await self._blobs.write(blob, value)
        crash_point("after a history blob")
        row[name] = ""
        row[f"{name}BlobName"] = blob
        return self._blobs.url(blob)

    async def _with_large_values(self, row: Row) -> Row:
        for name in rows.LARGE_FIELDS:
            blob = row.get(f"{name}BlobName")
            if blob:
                row[name] = await self._blobs.read(blob)
        return row

    async def to_rewind(self, instance_id: str) -> tuple[list[Row], tuple[str, ...]]:
        """Return what a rewind would change, and the children to be rewound with it."""
        return rewinds.rewound(await self._rows(instance_id))

    async def left_to_rewind(self, instance_id: str) -> list[str]:
        """Return the children to which an earlier rewind may not have come."""
        return rewinds.left_to_rewind(await self._rows(instance_id))

    async def _rows(self, instance_id: str) -> list[Row]:
        key = rows.key_of(instance_id)
        return await self._table.query_all(equals("PartitionKey", key))

    async def rewind(self, instance_id: str, changed: Sequence[Row]) -> None:
        """Turn what failed into events that a replay ignores, see ``to_rewind``.

        The erased tasks are scheduled again under their old numbers. Each row must be
        as it was read. Raises ``LostHistoryError``.
        """
        operations = [_replacement(row) for row in changed]
        try:
            for start in range(0, len(operations), LARGEST_TRANSACTION_ROWS):
                batch = operations[start : start + LARGEST_TRANSACTION_ROWS]
                await self._table.transaction(batch)
        except (PreconditionError, NotFoundError) as exc:
            raise LostHistoryError(f"{instance_id} runs again already") from exc

    async def delete(self, instance_id: str) -> None:
        """Delete every row of an instance, the sentinel with them."""
        key = rows.key_of(instance_id)
        filter_ = equals("PartitionKey", key)
        found = await self._table.query_all(filter_, select="PartitionKey,RowKey")
        keys = [row["RowKey"] for row in found]
        for start in range(0, len(keys), LARGEST_TRANSACTION_ROWS):
            await self._delete_rows(key, keys[start : start + LARGEST_TRANSACTION_ROWS])
            crash_point("purge: after some of the history")

    async def _delete_rows(self, key: str, row_keys: Sequence[str]) -> None:
        operations = [
            Operation(
                method="DELETE", partition_key=key, row_key=k, columns={}, if_match="*"
            )
            for k in row_keys
        ]
        try:
            await self._table.transaction(operations)
        except NotFoundError:  # a purge at the same time was faster with some of them
            await asyncio.gather(*(self._table.delete(key, k) for k in row_keys))


def _with_url(
    change: InstanceChange | None, event: HistoryEvent, name: str, url: str
) -> InstanceChange | None:
    """Let a row's large Input or Output be the address of its history blob."""
    if change is None:
        return change
    if event.type is EventType.ExecutionStarted and name == "Input":
        if change.started is None:
            return change
        fields = {**change.started.fields, "Input": url}
        return replace(change, started=replace(change.started, fields=fields))
    if event.type is EventType.ExecutionCompleted and name == "Result":
        return replace(change, output=url)
    return change


def _replacement(row: Row) -> Operation:
    """Return the write of a row that was read and changed."""
    service_columns = ("PartitionKey", "RowKey", "Timestamp", "odata.etag")
    return Operation(
        method="PUT",
        partition_key=row["PartitionKey"],
        row_key=row["RowKey"],
        columns={k: v for k, v in row.items() if k not in service_columns},
        if_match=row["odata.etag"],
    )
