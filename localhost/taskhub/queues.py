"""Control queues and the work-item queue: names, partitions, messages ↔ records."""

from __future__ import annotations

import base64
import itertools
import time
import uuid
import xml.etree.ElementTree as ElementTree
import zlib
from urllib.parse import quote
from xml.sax.saxutils import escape

from localhost.crashpoints import crash_point
from localhost.errors import StorageError
from localhost.history import EventType, UnreadableMessageError
from localhost.records import TaskMessage
from localhost.taskhub.blobs import Blobs
from localhost.taskhub.due import due_at_s
from localhost.taskhub.port import Lock, Received
from localhost.taskhub.reading import task_message_of, unpacked
from localhost.taskhub.storage import Response, Storage
from localhost.text import dumps, loads

LARGEST_MESSAGE_BYTES = 46_080  # its Base64 form stays below the 64 KiB of a queue
LONGEST_PAUSE_S = 600
_GONE = 404
_NOT_OURS = (400, _GONE)  # another pop receipt, or no such message
_NO_ID = "00000000-0000-0000-0000-000000000000"


def partition_of(instance_id: str, partition_count: int) -> int:
    """Return the partition of an instance: FNV-1a (32 bits) of its UTF-8 bytes."""
    value = 2_166_136_261
    for byte in instance_id.encode():
        value = ((value ^ byte) * 16_777_619) & 0xFFFFFFFF
    return value % partition_count


class Queues:
    """The queues of one task hub; reads and writes task messages."""

    def __init__(
        self, storage: Storage, hub: str, partition_count: int, blobs: Blobs
    ) -> None:
        self._storage = storage
        self._blobs = blobs
        self._numbers = itertools.count(1)
        self.work_items = f"{hub.lower()}-workitems"
        self.control = tuple(
            f"{hub.lower()}-control-{number:02}" for number in range(partition_count)
        )

    def control_queue_of(self, instance_id: str) -> str:
        """Return the control queue that carries an instance's messages."""
        return self.control[partition_of(instance_id, len(self.control))]

    def queue_for(self, message: TaskMessage) -> str:
        """Return where a message goes: activities to the work items."""
        if message.event.type is EventType.TaskScheduled:
            return self.work_items
        return self.control_queue_of(message.instance_id)

    async def create(self, queue: str) -> None:
        """Create a queue; one that is there already is as good."""
        await self._storage.request("queue", "PUT", f"/{queue}")

    async def put(
        self, queue: str, message: TaskMessage, *, hidden_s: int | None
    ) -> Received:
        """Put a message, hidden for some seconds or (None) visible at once."""
        activity_id = str(uuid.uuid4())
        text = message.to_json(
            activity_id=activity_id, sequence_number=next(self._numbers)
        )
        blob = None
        if len(text) > LARGEST_MESSAGE_BYTES // 4:
            text, blob = await self._fit(message, activity_id, text)
        hidden = "" if hidden_s is None else f"&visibilitytimeout={hidden_s}"
        packed = base64.b64encode(text.encode()).decode()
        entry = await self._post(queue, packed, hidden)
        return Received(
            queue=queue,
            message_id=entry.findtext("MessageId", ""),
            dequeue_count=1,
            message=message,
            lock=Lock(
                receipt=entry.findtext("PopReceipt", ""),
                until_s=time.monotonic() + (hidden_s or 0),
            ),
            due_at_s=due_at_s(message),
            blob=blob,
        )

    async def move(self, item: Received, queue: str) -> None:
        """Put the text of a message into another queue, then delete it here."""
        await self.create(queue)
        await self._post(queue, item.text)
        crash_point("poison: before delete")
        await self.delete(item)

    async def _post(
        self, queue: str, text: str, hidden: str = ""
    ) -> ElementTree.Element:
        """Put a text as it is; it never expires. Returns what the queue says of it."""
        body = (
            f"<QueueMessage><MessageText>{_escaped(text)}</MessageText></QueueMessage>"
        )
        answer = await self._storage.request(
            "queue",
            "POST",
            f"/{queue}/messages",
            query=f"messagettl=-1{hidden}",
            headers={"Content-Type": "application/xml"},
            body=body.encode(),
        )
        return ElementTree.fromstring(answer.body)[0]

    async def get(self, queue: str, *, count: int, lock_s: int) -> list[Received]:
        """Take up to ``count`` (at most 32) visible messages, locked for ``lock_s``."""
        answer = await self._storage.request(
            "queue",
            "GET",
            f"/{queue}/messages",
            query=f"numofmessages={count}&visibilitytimeout={lock_s}",
        )
        locked_until_s = time.monotonic() + lock_s
        entries = ElementTree.fromstring(answer.body)
        return [await self._received(queue, entry, locked_until_s) for entry in entries]

    async def update(self, item: Received, hidden_s: int) -> bool:
        """Keep a message hidden for ``hidden_s``; False when it is no longer ours."""
        lock = item.lock
        async with lock.guard:
            try:
                answer = await self._storage.request(
                    "queue",
                    "PUT",
                    f"/{item.queue}/messages/{item.message_id}",
                    query=f"popreceipt={quote(lock.receipt, safe='')}"
                    f"&visibilitytimeout={hidden_s}",
                )
            except StorageError as exc:
                if exc.status not in _NOT_OURS:
                    raise
                return False
            lock.receipt = _header(answer, "x-ms-popreceipt")
            lock.until_s = time.monotonic() + hidden_s
            return True

    async def delete(self, item: Received) -> bool:
        """Delete a message; False when it was taken anew and is there still."""
        lock = item.lock
        async with lock.guard:
            try:
                await self._storage.request(
                    "queue",
                    "DELETE",
                    f"/{item.queue}/messages/{item.message_id}",
                    query=f"popreceipt={quote(lock.receipt, safe='')}",
                )
            except StorageError as exc:
                if exc.status not in _NOT_OURS:
                    raise
                return exc.status == _GONE
            return True

    async def count(self, queue: str) -> int:
        """Return how many messages a queue holds, hidden ones too; roughly."""
        answer = await self._storage.request(
            "queue", "GET", f"/{queue}", query="comp=metadata"
        )
        return int(answer.headers.get("x-ms-approximate-messages-count", "0"))

    async def _received(
        self, queue: str, entry: ElementTree.Element, locked_until_s: float
    ) -> Received:
        text, message, fault = entry.findtext("MessageText", ""), None, ""
        try:
            message = await self._read(text)
        except UnreadableMessageError as exc:
            fault = str(exc)
        return Received(
            queue=queue,
            message_id=entry.findtext("MessageId", ""),
            dequeue_count=int(entry.findtext("DequeueCount", "1")),
            message=message,
            lock=Lock(receipt=entry.findtext("PopReceipt", ""), until_s=locked_until_s),
            text=text,
            fault=fault,
            due_at_s=due_at_s(message),
        )

    async def _read(self, text: str) -> TaskMessage:
        """Read a message, and the blob of one that was too large for its queue."""
        text = unpacked(text)
        blob = blob_named_in(text)
        if blob is None:
            return task_message_of(text)
        try:
            text = await self._blobs.read(blob)
        except (StorageError, OSError, EOFError, ValueError, zlib.error) as exc:
            raise UnreadableMessageError(f"its blob {blob}: {exc}") from exc
        return task_message_of(text)

    async def _fit(
        self, message: TaskMessage, activity_id: str, text: str
    ) -> tuple[str, str | None]:
        """Move a text too large for a queue into a blob; return rest and name."""
        if len(text.encode()) <= LARGEST_MESSAGE_BYTES:
            return text, None
        blob = message_blob_name(message, activity_id)
        await self._blobs.write(blob, text)
        crash_point("after a message blob")
        wrapper = {
            "$type": "DurableTask.AzureStorage.MessageData",
            "ActivityId": _NO_ID,
            "TaskMessage": None,
            "CompressedBlobName": blob,
            "SequenceNumber": 0,
            "Sender": None,
            "SerializableTraceContext": None,
        }
        return dumps(wrapper), blob


def message_blob_name(message: TaskMessage, activity_id: str) -> str:
    """Return the name of the blob that holds a message too large for its queue."""
    number = activity_id.replace("-", "")
    return f"{message.instance_id}/message-{number}-{message.event.type.name}.json.gz"


def blob_named_in(text: str) -> str | None:
    """Return the blob that a wrapper message names, None for any other message."""
    if '"TaskMessage":null' not in text:
        return None
    try:
        name = loads(text).get("CompressedBlobName")
    except (ValueError, AttributeError):
        return None
    return name if isinstance(name, str) and name else None


def _escaped(text: str) -> str:
    """Return a text as XML keeps it to the letter."""
    return escape(text, {"\r": "&#13;"})


def _header(answer: Response, name: str) -> str:
    return answer.headers[name]
