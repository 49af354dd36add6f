"""Messages on real queues: visible when they should be, and whose they are."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from localhost.errors import StorageError
from localhost.records import TaskMessage
from localhost.taskhub.blobs import Blobs
from localhost.taskhub.port import Received
from localhost.taskhub.queues import LARGEST_MESSAGE_BYTES, Queues
from localhost.taskhub.storage import Storage
from tests.integration.conftest import WAIT_LIMIT_S, Judge, raised

LONG_S = 60


@pytest.fixture
async def queues(storage: Storage, hub_name: str) -> AsyncIterator[Queues]:
    """The queues of a hub; that of the work items is there."""
    made = Queues(storage, hub_name, 1, Blobs(storage, hub_name))
    await made.create(made.work_items)
    yield made


async def get(queues: Queues, lock_s: int = LONG_S) -> list[Received]:
    return await queues.get(queues.work_items, count=32, lock_s=lock_s)


async def wait_for_one(queues: Queues) -> Received:
    """Take the next message that comes."""
    end_s = time.monotonic() + WAIT_LIMIT_S
    while time.monotonic() < end_s:
        for item in await get(queues):
            return item
    raise AssertionError("no message came")


def size_bytes(put: TaskMessage) -> int:
    """The size of a message in a queue before Base64."""
    text = put.to_json(activity_id="0" * 36, sequence_number=1)
    return len(text.encode())


def assert_same(put: TaskMessage, got: TaskMessage | None) -> None:
    """Say that a message is the same, however it was written down."""
    assert got is not None
    assert put.event.to_wire() == got.event.to_wire()
    assert replace(put, event=got.event) == got


async def test_a_message_comes_as_it_was_put(queues: Queues) -> None:
    """Event, instance and execution are the same after the queue."""
    put = raised("abc", {"text": "日本 \U0001f642 <&>\"'"})

    await queues.put(queues.work_items, put, hidden_s=None)
    (item,) = await get(queues)

    assert_same(put, item.message)
    assert 1 == item.dequeue_count


async def test_a_delayed_message_comes_after_its_delay(queues: Queues) -> None:
    """Not before: timers rely on it."""
    put_s = time.monotonic()
    await queues.put(queues.work_items, raised("abc"), hidden_s=1)

    assert [] == await get(queues)
    await wait_for_one(queues)

    assert time.monotonic() - put_s >= 0.9


async def test_a_lock_that_expires_gives_the_message_back(queues: Queues) -> None:
    """What a killed host held is counted as taken twice."""
    await queues.put(queues.work_items, raised("abc"), hidden_s=None)
    (held,) = await get(queues, lock_s=1)

    assert [] == await get(queues)
    item = await wait_for_one(queues)

    assert (held.message_id, 2) == (item.message_id, item.dequeue_count)


async def test_a_renewed_lock_outlives_one_that_is_not(queues: Queues) -> None:
    """Only the other message comes back."""
    await queues.put(queues.work_items, raised("kept"), hidden_s=None)
    await queues.put(queues.work_items, raised("left"), hidden_s=None)
    kept, left = await get(queues, lock_s=1)

    assert await queues.update(kept, LONG_S)
    item = await wait_for_one(queues)

    assert left.message_id == item.message_id
    assert [] == await get(queues)


async def test_an_abandoned_message_comes_at_once(queues: Queues) -> None:
    """It need not wait for its lock to expire."""
    await queues.put(queues.work_items, raised("abc"), hidden_s=None)
    (held,) = await get(queues)

    await queues.update(held, 0)
    (item,) = await get(queues)

    assert (held.message_id, 2) == (item.message_id, item.dequeue_count)


async def test_a_message_put_hidden_is_ours(queues: Queues, judge: Judge) -> None:
    """Its put gave a receipt: it can be deleted without having been received."""
    item = await queues.put(queues.work_items, raised("abc"), hidden_s=1)

    assert 1 == judge.count(queues.work_items)
    assert await queues.delete(item)
    assert 0 == judge.count(queues.work_items)


async def test_a_message_put_hidden_can_be_renewed(
    queues: Queues, judge: Judge
) -> None:
    """The renewal brings a new receipt, and the old one is void."""
    item = await queues.put(queues.work_items, raised("abc"), hidden_s=1)
    first = item.lock.receipt

    assert await queues.update(item, LONG_S)
    assert first != item.lock.receipt
    assert await queues.delete(item)
    assert 0 == judge.count(queues.work_items)


async def test_a_message_that_another_took_is_not_renewed(queues: Queues) -> None:
    """False, and no exception: it is his now."""
    await queues.put(queues.work_items, raised("abc"), hidden_s=None)
    (held,) = await get(queues, lock_s=1)
    await wait_for_one(queues)

    assert not await queues.update(held, LONG_S)
    assert not await queues.delete(held)


async def test_a_message_that_is_gone_is_deleted_without_a_fault(
    queues: Queues,
) -> None:
    """A delete may reach the storage twice."""
    await queues.put(queues.work_items, raised("abc"), hidden_s=None)
    (item,) = await get(queues)

    assert await queues.delete(item)
    assert await queues.delete(item)


async def test_a_queue_that_is_missing_is_an_error(queues: Queues) -> None:
    """It is not the same as an empty one."""
    with pytest.raises(StorageError, match="QueueNotFound"):
        await queues.get("no-such-queue", count=1, lock_s=1)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no message", "neither JSON nor Base64"),
        ("{", "the message is no task message in JSON"),
        (base64.b64encode(b"\xff\xfe").decode(), "neither JSON nor Base64"),
        ("bm8gSlNPTg==", "the message is no task message in JSON"),
        ('{"TaskMessage":null}', "the message is no task message in JSON"),
        (
            '{"TaskMessage":null,"CompressedBlobName":"a/no-such.json.gz"}',
            "its blob a/no-such.json.gz",
        ),
    ],
)
async def test_a_message_that_is_none_says_why(
    queues: Queues, judge: Judge, text: str, fault: str
) -> None:
    """It comes all the same: whoever takes it decides."""
    judge.put(queues.work_items, text)

    (item,) = await get(queues)

    assert item.message is None
    assert item.fault.startswith(fault)


@pytest.mark.parametrize("character", ["x", "é", "\U0001f642"])
async def test_a_message_too_large_for_a_queue_goes_through_a_blob(
    queues: Queues, character: str
) -> None:
    """Nobody who sends or takes it notices."""
    put = raised("a b", character * LARGEST_MESSAGE_BYTES)

    sent = await queues.put(queues.work_items, put, hidden_s=None)
    (item,) = await get(queues)

    assert_same(put, item.message)
    assert sent.blob and sent.blob.startswith("a b/message-")
    assert sent.blob.endswith("-EventRaised.json.gz")


async def test_a_message_of_the_largest_size_stays_in_the_queue(
    queues: Queues,
) -> None:
    """45 KiB of UTF-8, its envelope included."""
    empty = raised("abc", "")
    missing_bytes = LARGEST_MESSAGE_BYTES - size_bytes(empty)
    input_ = json.dumps("x" * missing_bytes)
    largest = replace(empty.event, fields={**empty.event.fields, "Input": input_})
    put = replace(empty, event=largest)
    assert LARGEST_MESSAGE_BYTES == size_bytes(put)

    sent = await queues.put(queues.work_items, put, hidden_s=None)
    (item,) = await get(queues)

    assert sent.blob is None
    assert_same(put, item.message)


async def test_thirty_two_messages_come_at_a_time(queues: Queues) -> None:
    """All of them in the order in which they were put."""
    for number in range(33):
        await queues.put(queues.work_items, raised(str(number)), hidden_s=None)

    items = await get(queues)
    last = await get(queues)

    ids = [item.message.instance_id for item in items + last if item.message]
    assert 32 == len(items)
    assert [str(number) for number in range(33)] == ids
