"""The Instances table: one row per instance, what a status shows."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import replace

from localhost.errors import ConflictError, NotFoundError, PreconditionError
from localhost.history import EventType, Status
from localhost.records import Instance, TaskMessage
from localhost.taskhub import rows
from localhost.taskhub.blobs import Blobs
from localhost.taskhub.port import Filter, InstanceChange, InstancePage
from localhost.taskhub.recent import RecentRows
from localhost.taskhub.tables import Row, Table, equals
from localhost.timestamps import padded

MOST_WRITTEN = 10_000


class Instances:
    """The instances of one task hub."""

    def __init__(self, table: Table, blobs: Blobs) -> None:
        self._table = table
        self._blobs = blobs
        self._recent = RecentRows()
        self._written: OrderedDict[str, str] = OrderedDict()

    async def create(self) -> None:
        """Create the table; one that is there already is as good."""
        await self._table.create()

    async def read(
        self, instance_id: str, *, with_input: bool = True, with_output: bool = True
    ) -> Instance | None:
        """Read one instance's row; large values are read from their blobs.

        Without them, they stay addresses, which say that there is something.
        """
        key = rows.key_of(instance_id)
        row = await self._table.get(key, "")
        if row is None:
            self._written.pop(key, None)
            return None
        return await self._instance_of(row, with_input, with_output)

    async def recall(
        self, instance_id: str, *, with_input: bool = True
    ) -> Instance | None:
        """Return one instance as it was a moment ago, or else ``read`` it.

        For instances that nobody else works on. It has no ETag: nothing is to be
        decided by it.
        """
        key = rows.key_of(instance_id)
        row, since = self._recent.get(key), self._recent.writes
        if row is None:
            row = await self._table.get(key, "")
            if row is None:
                return None
            self._recent.note_read(key, row, since=since)
        return await self._instance_of(row, with_input, with_output=True)

    def forget_recent(self) -> None:
        """Recall nothing, because the storage may be older than it was."""
        self._recent.forget_all()

    async def peek(self, instance_id: str) -> Instance | None:
        """Read one instance's row and nothing else, see ``read``."""
        return await self.read(instance_id, with_input=False, with_output=False)

    async def insert(
        self, instance_id: str, row: Row, *, over: Instance | None
    ) -> None:
        """Write the row of a start, over that of a finished instance or as a new one.

        Raises ``ConflictError`` or ``PreconditionError`` when another was first. What
        was first may be our own first try, whose answer was lost: that is no other.
        """
        key = rows.key_of(instance_id)
        try:
            if over is None:
                etag = await self._table.insert(key, "", row)
            else:
                etag = await self._table.put(key, "", row, if_match=over.etag)
        except (ConflictError, PreconditionError):
            self._recent.forget(key)
            found = await self._table.get(key, "")
            if found is None or found.get("ExecutionId") != row["ExecutionId"]:
                raise
            etag = found["odata.etag"]
        self._recent.note(key, {"PartitionKey": key, **row})
        self._note_written(key, etag)

    async def change(
        self, instance_id: str, change: InstanceChange, *, over: Instance | None = None
    ) -> bool:
        """Merge columns into an instance's row, which is made when missing.

        Only into one that is as this process has written it, if it has, or as it was
        read (``over``); else False. Values that are too large and have no blob yet get
        one.
        """
        row = rows.row_of_change(change)
        key = rows.key_of(instance_id)
        for name in rows.LARGE_COLUMNS & row.keys():
            if rows.is_too_large(row[name]):
                row[name] = await self._address_of(key, name, row[name])
        if_match = self._written.get(key) if over is None else over.etag
        try:
            etag = await self._table.put(key, "", row, if_match=if_match, merge=True)
        except (PreconditionError, NotFoundError):
            self._forget(key)
            if if_match is None:
                raise
            return False
        except BaseException:
            self._forget(key)  # who knows what is written
            raise
        self._recent.merge(key, row)
        self._note_written(key, etag)
        return True

    def _note_written(self, key: str, etag: str) -> None:
        """Remember the ETag of a row that this process has written."""
        self._written[key] = etag
        self._written.move_to_end(key)
        if len(self._written) > MOST_WRITTEN:
            self._written.popitem(last=False)

    def _forget(self, key: str) -> None:
        self._recent.forget(key)
        self._written.pop(key, None)

    async def _address_of(self, key: str, name: str, text: str) -> str:
        """Move a value into a blob; return its address."""
        blob = f"{key}/row-{secrets.token_hex(4).upper()}-{name}.json.gz"
        await self._blobs.write(blob, text)
        return self._blobs.url(blob)

    async def set_pending(self, rewound: Instance, now: str) -> None:
        """Let the row of a rewound instance say that it is to run again.

        A row that has changed since it was read says so already, or better.
        """
        row = {
            "RuntimeStatus": Status.PENDING.value,
            "LastUpdatedTime": padded(now),
            "LastUpdatedTime@odata.type": "Edm.DateTime",
        }
        key = rows.key_of(rewound.instance_id)
        try:
            await self._table.put(key, "", row, if_match=rewound.etag, merge=True)
        except (PreconditionError, NotFoundError):
            pass
        finally:
            self._forget(key)

    async def delete(self, instance_id: str) -> bool:
        """Delete an instance's row; False when there was none."""
        key = rows.key_of(instance_id)
        try:
            return await self._table.delete(key, "")
        finally:
            self._forget(key)

    async def list(
        self, wanted: Filter, *, with_input: bool = True, with_output: bool = True
    ) -> InstancePage:
        """Return one page of the instances that a filter finds, by id; see ``read``."""
        page = await self._table.query(
            _filter_text(wanted), top=wanted.page_size, after=wanted.after
        )
        found = await asyncio.gather(
            *(self._instance_of(row, with_input, with_output) for row in page.rows)
        )
        return InstancePage(instances=list(found), next=page.next)

    async def _instance_of(
        self, row: Row, with_input: bool, with_output: bool
    ) -> Instance:
        instance = rows.instance_of_row(row)
        input_, output = instance.input, instance.output
        return replace(
            instance,
            input=await self._large_value(input_) if with_input else input_,
            output=await self._large_value(output) if with_output else output,
        )

    async def _large_value(self, value: str | None) -> str | None:
        """Follow the address that stands for a large value; see the blob's name.

        A purge that is under way, or was cut short, has left no blob: None.
        """
        blob = self._blobs.name_in(value) if value else None
        if blob is None:
            return value
        try:
            text = await self._blobs.read(blob)
        except NotFoundError:
            return None
        if not blob.endswith(f"-{EventType.ExecutionStarted.name}.json.gz"):
            return text
        input_ = TaskMessage.from_json(text).event["Input"]
        return None if input_ is None else str(input_)


def _filter_text(wanted: Filter) -> str:
    """Return the filter of a list in the table service's language."""
    conditions = []
    if wanted.created_from is not None:
        conditions.append(f"CreatedTime ge datetime'{wanted.created_from}'")
    if wanted.created_to is not None:
        conditions.append(f"CreatedTime le datetime'{wanted.created_to}'")
    if wanted.statuses:
        names = sorted(status.value for status in wanted.statuses)
        conditions.append(" or ".join(equals("RuntimeStatus", name) for name in names))
    if wanted.prefix:
        conditions += _of_prefix(rows.key_of(wanted.prefix))
    return " and ".join(f"({condition})" for condition in conditions)


def _of_prefix(first: str) -> list[str]:
    """Return the conditions that a key begins with a text.

    Half a pair of surrogates cannot be asked for; U+FFFD stands in its place.
    """
    first = first.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    conditions = [_compared("ge", first)]
    if last := _after_all_of(first):
        conditions.append(_compared("lt", last))
    return conditions


def _compared(sign: str, key: str) -> str:
    quoted = key.replace("'", "''")
    return f"PartitionKey {sign} '{quoted}'"


def _after_all_of(prefix: str) -> str:
    """Return the first text behind all that begin with a prefix; empty without one.

    The table service orders texts by their UTF-16 units: U+10000 and above, which are
    written as surrogates, come between U+D7FF and U+E000, and U+FFFF is the last.
    """
    rest = prefix.rstrip("\uffff")
    if not rest:
        return ""
    number = ord(rest[-1])
    after = {0xD7FF: 0x10000, 0x10FFFF: 0xE000}.get(number, number + 1)
    return rest[:-1] + chr(after)
