"""The pump takes messages of real queues: in order, side by side, and gives back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest

from localhost.delivery.answers_in_hand import AnswersInHand
from localhost.delivery.locks import ANSWERED_LOCK_S, Locks
from localhost.delivery.messages import Control, WorkItem
from localhost.delivery.pump import LONGEST_EARLY_S, Pump
from localhost.delivery.sender import Sender, sent_at
from localhost.errors import StorageError
from localhost.history import EventType
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.port import LOCK_S, Received
from localhost.timestamps import from_datetime
from tests.conftest import Emulator
from tests.integration.conftest import (
    WAIT_LIMIT_S,
    Judge,
    clock,
    create,
    event,
    eventually,
    message,
    open_hub,
    put,
    raised,
    receive,
)


def key_of(item: Control) -> str:
    assert item.message is not None
    return item.message.instance_id


def data_of(item: Control) -> str:
    assert item.message is not None
    return str(item.message.event["Input"])


class Work:
    """Processes messages: records them, blocks where it is told, then deletes them."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._gates: dict[str, asyncio.Event] = {}
        self.begun: list[Control] = []
        self.batches: list[tuple[str, list[str]]] = []
        self.ended: list[str] = []
        self.running: set[str] = set()
        self.most_running = 0
        self.faults: list[BaseException] = []
        self.must_wait: set[str] = set()

    def block(self, key: str) -> None:
        """Let the work on a key not end before ``release``."""
        self._gates[key] = asyncio.Event()

    def release(self, key: str) -> None:
        """Let the work on a key end."""
        self._gates.pop(key).set()

    async def process(self, key: str, items: Sequence[Control]) -> Sequence[Control]:
        """What the pump calls."""
        assert key not in self.running
        self.begun += items
        self.batches.append((key, [data_of(item) for item in items]))
        self.running.add(key)
        self.most_running = max(self.most_running, len(self.running))
        try:
            await self._gate(key)
            if self.faults:
                raise self.faults.pop()
        finally:
            self.running.discard(key)
        waiting = [item for item in items if data_of(item) in self.must_wait]
        self._sender.complete(item for item in items if item not in waiting)
        self.ended += [data_of(item) for item in items if item not in waiting]
        return waiting

    async def _gate(self, key: str) -> None:
        gate = self._gates.get(key)
        if gate is not None:
            await gate.wait()


class Running:
    """A pump on the only control queue of a hub, and the work that it does."""

    def __init__(
        self,
        hub: TaskHub,
        *,
        slots: int = 4,
        buffer: int = 8,
        longest_pause_s: float = 0.5,
        drain_limit_s: float = 0.2,
        is_held_up: Callable[[], bool] = lambda: False,
        sent_at: Callable[[Control], int | None] = lambda item: None,
    ) -> None:
        self.hub = hub
        self.queue = hub.queues.control[0]
        self.locks, answers = Locks(hub.queues), AnswersInHand()
        self.pump: Pump[Control] = Pump(
            hub.queues,
            self.locks,
            name="test",
            key=key_of,
            queue_of=lambda item: item.queue,
            wrap=lambda received: received,
            sent_at=sent_at,
            at_once=slots,
            buffer=buffer,
            longest_pause_s=longest_pause_s,
            is_held_up=is_held_up,
        )
        self.activities: Pump[WorkItem] = Pump(
            hub.queues,
            self.locks,
            name="work items",
            key=lambda item: str(id(item)),
            queue_of=lambda item: hub.queues.work_items,
            wrap=lambda received: WorkItem(message=received.message, received=received),
            at_once=1,
            buffer=0,
            longest_pause_s=longest_pause_s,
        )
        self.sender = Sender(
            hub.queues,
            self.locks,
            answers,
            control=self.pump,
            work_items=self.activities,
            now=clock.now,
        )
        self.work = Work(self.sender)
        self._drain_limit_s = drain_limit_s
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._locks: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Let the pump run; what lay in the queue is in hand then."""
        self.pump.listen(self.queue)
        self._locks = asyncio.create_task(self.locks.run())
        self._task = asyncio.create_task(
            self.pump.run(
                self._stop,
                process=self.work.process,
                abandon=self.sender.abandon,
                received=self.sender.received,
                drain_limit_s=self._drain_limit_s,
            )
        )
        await eventually(lambda: self.pump.has_settled(self.queue))

    def ask_to_stop(self) -> asyncio.Task[None]:
        """Ask the pump to end; the task is done when it has."""
        assert self._task is not None and self._locks is not None
        self._stop.set()
        self._locks.cancel()
        return self._task

    async def send(self, key: str, *data: str) -> None:
        """Send messages of a key, one after the other."""
        for each in data:
            await self.sender.send(raised(key, each))

    async def put_visible(self, key: str, *data: str) -> None:
        """Put messages as another host does: nobody here knows of them."""
        for each in data:
            await put(self.hub, raised(key, each))

    async def taken_by_another(self) -> list[Received]:
        """What another host gets, as soon as there is something."""
        end_s = time.monotonic() + WAIT_LIMIT_S
        while time.monotonic() < end_s:
            if items := await receive(self.hub, self.queue):
                return items
        raise AssertionError("another host gets nothing")


Make = Callable[..., Running]


@pytest.fixture
async def one_queue(emulator: Emulator, hub_name: str) -> AsyncIterator[TaskHub]:
    """A hub with one control queue."""
    async with open_hub(emulator.account, hub_name, partition_count=1) as hub:
        await create(hub)
        yield hub


@pytest.fixture
async def make(one_queue: TaskHub) -> AsyncIterator[Make]:
    """Makes pumps, and ends those that a test leaves running."""
    made: list[Running] = []

    def new(**options: object) -> Running:
        made.append(Running(one_queue, **options))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for each in made:
        with suppress(AssertionError):
            await each.ask_to_stop()
        await each.sender.close()


def quoted(*data: str) -> list[str]:
    return [f'"{each}"' for each in data]


async def test_messages_of_a_key_are_worked_on_in_order(make: Make) -> None:
    """However many come at once."""
    running = make()
    data = [str(number) for number in range(20)]
    await running.send("a", *data)

    await running.start()
    await eventually(lambda: len(running.work.ended) == 20)

    assert quoted(*data) == running.work.ended


async def test_messages_that_come_in_another_order_are_put_right(make: Make) -> None:
    """A queue gives what was locked, and came back, behind what was sent later."""
    running = make(sent_at=lambda item: item.message and sent_at(item.message))
    running.work.block("a")
    await running.start()
    await running.send("a", "0")
    await eventually(lambda: running.work.running)
    first, second = raised("a", "1"), raised("a", "2")
    for each in (second, first):
        await put(running.hub, each)
    await eventually(lambda: running.pump.slots.free == running.pump.slots.capacity - 3)

    running.work.release("a")
    await eventually(lambda: len(running.work.ended) == 3)

    assert quoted("0", "1", "2") == running.work.ended


async def test_messages_of_a_key_wait_for_the_one_in_work(make: Make) -> None:
    """They come together afterwards, as one batch."""
    running = make()
    running.work.block("a")
    await running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.running)
    await running.send("a", "2", "3")

    running.work.release("a")
    await eventually(lambda: len(running.work.ended) == 3)

    assert [("a", quoted("1")), ("a", quoted("2", "3"))] == running.work.batches


async def test_keys_are_worked_on_side_by_side(make: Make) -> None:
    """One that takes long holds up only itself."""
    running = make()
    running.work.block("slow")
    await running.start()
    await running.send("slow", "1")
    await running.send("quick", "2")

    await eventually(lambda: running.work.ended == quoted("2"))

    assert {"slow"} == running.work.running
    running.work.release("slow")
    await eventually(lambda: len(running.work.ended) == 2)


async def test_no_more_keys_are_in_work_than_there_are_slots(make: Make) -> None:
    """The others wait for a slot, and nobody is forgotten."""
    running = make(slots=2)
    keys = [f"k{number}" for number in range(6)]
    for key in keys:
        running.work.block(key)
        await running.send(key, key)
    await running.start()

    await eventually(lambda: len(running.work.running) == 2)
    for key in keys:
        running.work.release(key)
    await eventually(lambda: len(running.work.ended) == 6)

    assert 2 == running.work.most_running
    assert set(quoted(*keys)) == set(running.work.ended)


async def test_no_more_is_taken_than_the_buffer_holds(make: Make, judge: Judge) -> None:
    """The rest stays where another host may take it."""
    running = make(slots=1, buffer=0)
    running.work.block("a")
    await running.send("a", "1")
    await running.send("b", "2")
    await running.send("c", "3")

    await running.start()
    await eventually(lambda: running.work.running)

    assert 2 == len(judge.visible(running.queue))
    running.work.release("a")
    await eventually(lambda: len(running.work.ended) == 3)


async def test_our_own_message_is_visible_when_no_slot_is_free(
    make: Make, judge: Judge
) -> None:
    """Another host may be idle."""
    running = make(slots=1, buffer=0)
    running.work.block("a")
    await running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.running)

    await running.send("b", "2")

    assert 1 == len(judge.visible(running.queue))
    running.work.release("a")
    await eventually(lambda: running.work.ended == quoted("1", "2"))


async def test_our_own_message_is_looked_for_at_once_when_a_slot_is_free_again(
    make: Make,
) -> None:
    """However long the pauses between polls are by then."""
    running = make(slots=1, buffer=0, longest_pause_s=60)
    running.work.block("a")
    await running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.running)
    await running.send("b", "2")

    running.work.release("a")

    await eventually(lambda: len(running.work.ended) == 2, limit_s=2)


async def test_a_message_that_must_wait_comes_with_the_next(make: Make) -> None:
    """It is neither deleted nor given back."""
    running = make()
    running.work.must_wait = set(quoted("answer"))
    await running.start()
    await running.send("a", "answer")
    await eventually(lambda: running.work.batches)

    running.work.must_wait = set()
    await running.send("a", "schedule")
    await eventually(lambda: len(running.work.ended) == 2)

    assert [
        ("a", quoted("answer")),
        ("a", quoted("answer", "schedule")),
    ] == running.work.batches


async def test_a_message_that_must_wait_is_tried_again_after_another(
    make: Make,
) -> None:
    """That one may have been what it waits for; else it rests until the next."""
    running = make()
    running.work.must_wait = set(quoted("answer"))
    await running.start()
    await running.send("a", "answer")
    await eventually(lambda: running.work.batches)

    await running.send("a", "schedule")
    await eventually(lambda: len(running.work.batches) == 3)
    await running.send("b", "other")
    await eventually(lambda: len(running.work.ended) == 2)

    assert [
        ("a", quoted("answer")),
        ("a", quoted("answer", "schedule")),
        ("a", quoted("answer")),
        ("b", quoted("other")),
    ] == running.work.batches


async def test_a_message_that_is_early_waits_in_memory(make: Make) -> None:
    """The queue counts whole seconds only, cut off."""
    running = make()
    await running.start()
    due_at = datetime.now(timezone.utc) + timedelta(seconds=0.4)
    timer = event(EventType.TimerFired, TimerId=0, FireAt=from_datetime(due_at))

    await running.sender.send(message(timer, "a"))
    await eventually(lambda: running.work.begun)

    assert datetime.now(timezone.utc) >= due_at


async def test_a_message_that_is_due_much_later_goes_back_until_then(
    make: Make, judge: Judge
) -> None:
    """It takes no place in memory, and no lock is renewed for it."""
    running = make()
    due_at = datetime.now(timezone.utc) + timedelta(seconds=LONGEST_EARLY_S + 60)
    timer = event(EventType.TimerFired, TimerId=0, FireAt=from_datetime(due_at))
    text = message(timer, "a").to_json(activity_id="1", sequence_number=1)
    judge.put(running.queue, text)
    await running.start()

    await eventually(lambda: not judge.visible(running.queue))
    await eventually(lambda: running.pump.is_drained(running.queue))

    assert [] == running.work.begun
    assert 1 == judge.count(running.queue)


async def test_a_message_that_has_waited_for_long_goes_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have its place meanwhile, and it comes again by itself."""
    monkeypatch.setattr("localhost.delivery.pump.LONGEST_WAIT_S", 0.0)
    running = make()
    running.work.must_wait.update(quoted("answer"))
    await running.start()
    await running.put_visible("a", "answer")

    await eventually(lambda: len(running.work.begun) > 1)

    assert [1, 2] == [item.dequeue_count for item in running.work.begun[:2]]


async def test_a_message_of_our_own_needs_no_poll(make: Make, judge: Judge) -> None:
    """It is put hidden, worked on at once and deleted."""
    running = make(longest_pause_s=60)
    await running.start()
    running.work.block("a")

    await running.send("a", "1")
    await eventually(lambda: running.work.running)

    assert [] == judge.visible(running.queue)
    running.work.release("a")
    await eventually(lambda: judge.count(running.queue) == 0)


async def test_a_later_message_does_not_begin_before_one_that_lies_in_a_queue(
    make: Make, judge: Judge
) -> None:
    """A place may be free again by then; the earlier one has to be polled first."""
    running = make(slots=1, buffer=1, longest_pause_s=60)
    await running.start()
    running.work.block("other")
    await running.send("other", "first")
    await eventually(lambda: running.work.running)
    await running.send("a", "1")
    running.work.release("other")
    await running.send("a", "2")

    await eventually(lambda: len(running.work.ended) == 3)

    assert quoted("first", "1", "2") == running.work.ended


async def test_nothing_is_taken_while_the_pump_is_held_up(
    make: Make, judge: Judge
) -> None:
    """Neither from the queue nor from this process; then all of it."""
    is_held_up = True
    running = make(is_held_up=lambda: is_held_up, longest_pause_s=60)
    await running.start()
    await running.put_visible("a", "a")
    await running.send("b", "b")

    assert [] == running.work.begun
    assert 2 == len(judge.visible(running.queue))

    is_held_up = False
    running.pump.look()
    await eventually(lambda: sorted(running.work.ended) == quoted("a", "b"))


# Messages that come again


async def test_a_message_that_comes_back_while_in_work_runs_once(
    make: Make, judge: Judge
) -> None:
    """Its new receipt replaces the old one, so that it can be deleted."""
    running = make()
    running.work.block("a")
    await running.start()
    await running.put_visible("a", "1")
    (item,) = await eventually(lambda: running.work.begun)
    first = item.lock.receipt

    await running.hub.queues.update(item, 0)
    await eventually(lambda: item.lock.receipt != first)
    running.work.release("a")
    await eventually(lambda: judge.count(running.queue) == 0)

    assert [("a", quoted("1"))] == running.work.batches


async def test_a_finished_message_that_was_taken_anew_is_deleted_when_it_comes(
    make: Make, judge: Judge
) -> None:
    """A poll had just taken it when its delete was sent: the receipt was void."""
    running = make()
    await put(running.hub, raised("a", "1"))
    (item,) = await receive(running.hub, running.queue)
    await running.hub.queues.update(item, 0)
    old = item.lock.receipt
    (again,) = await receive(running.hub, running.queue)
    item.lock.receipt = old

    running.sender.complete([item])
    await running.sender.close()
    assert 1 == judge.count(running.queue)
    running.sender.received(again)
    await running.sender.close()

    assert 0 == judge.count(running.queue)
    assert not running.locks.is_finished(again)


async def test_a_finished_message_is_not_worked_on_again(
    make: Make, judge: Judge
) -> None:
    """It comes while its delete is on its way."""
    running = make()
    await put(running.hub, raised("a", "1"))
    (item,) = await receive(running.hub, running.queue)
    running.locks.finish(item)
    await running.start()

    await running.hub.queues.update(item, 0)
    await eventually(lambda: judge.count(running.queue) == 0)

    assert [] == running.work.begun


# Answers


async def test_an_answer_goes_straight_to_its_lane(make: Make, judge: Judge) -> None:
    """Its work item stays, as its message, until a turn has taken the answer."""
    running = make()
    await running.start()
    item = await work_item(running)

    await running.sender.answer(item, raised("a", "answer"))
    await eventually(lambda: running.work.ended)

    assert [("a", quoted("answer"))] == running.work.batches
    await eventually(lambda: not judge.count(running.hub.queues.work_items))


async def test_an_answer_in_hand_becomes_a_message_at_the_end(
    make: Make, judge: Judge
) -> None:
    """A host that ends gives back what was answered, not what was asked."""
    running = make()
    running.work.block("a")
    await running.start()
    await running.send("a", "first")
    await eventually(lambda: running.work.running)
    item = await work_item(running)
    await running.sender.answer(item, raised("a", "answer"))
    end = running.ask_to_stop()
    running.work.release("a")
    await end
    await running.sender.close()

    assert 0 == judge.count(running.hub.queues.work_items)
    (given_back,) = await running.taken_by_another()
    assert quoted("answer") == [data_of(given_back)]


async def test_an_answer_is_kept_for_longer_than_a_message(make: Make) -> None:
    """It may have to wait for a long history, and so may a thousand others."""
    running = make()
    item = await work_item(running)
    assert item.received is not None
    running.locks.hold(item.received)
    item.received.lock.until_s = 0.0
    await running.locks.renew_due()
    assert item.received.lock.until_s <= time.monotonic() + LOCK_S

    running.locks.lengthen(item.received)
    item.received.lock.until_s = 0.0
    await running.locks.renew_due()

    assert item.received.lock.until_s > time.monotonic() + ANSWERED_LOCK_S - 2


async def test_an_answer_to_another_host_is_a_message(make: Make, judge: Judge) -> None:
    """Nobody works on its queue here."""
    running = make()
    item = await work_item(running)

    await running.sender.answer(item, raised("a", "answer"))
    await running.sender.close()

    assert 0 == judge.count(running.hub.queues.work_items)
    (sent,) = await running.taken_by_another()
    assert quoted("answer") == [data_of(sent)]


async def test_an_activity_that_is_put_while_it_is_answered_leaves_nothing(
    make: Make, judge: Judge
) -> None:
    """Whichever is first: its message is deleted, or never put."""
    running = make()
    await running.start()
    asked = event(EventType.TaskScheduled, event_id=0, Name="Hello", Version="")
    for number in range(10):
        item = WorkItem(message=message(asked, "a"))
        putting = asyncio.create_task(running.sender.put(item))
        await asyncio.sleep(number / 2_000)
        await running.sender.answer(item, raised("a", str(number)))
        await putting

    await eventually(lambda: len(running.work.ended) == 10)
    await running.sender.close()
    assert 0 == judge.count(running.hub.queues.work_items)


async def work_item(running: Running) -> WorkItem:
    """A work item as an activity pump has taken it."""
    asked = event(EventType.TaskScheduled, event_id=0, Name="Hello", Version="")
    await put(running.hub, message(asked, "a"))
    (item,) = await receive(running.hub, running.hub.queues.work_items)
    return WorkItem(message=item.message, received=item)


# Faults


async def test_what_failed_is_tried_again_before_what_was_sent_later(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause; the fault is said with its traceback."""
    monkeypatch.setattr("localhost.delivery.pump.FIRST_RETRY_S", 0.1)
    caplog.set_level(logging.ERROR)
    running = make()
    running.work.faults = [RuntimeError("our fault")]
    await running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.batches)
    await running.send("a", "2")

    await eventually(lambda: len(running.work.ended) == 2)

    assert quoted("1", "2") == running.work.ended
    (record,) = caplog.records
    assert "a: could not work on it (try 1); trying again in" in record.getMessage()
    assert record.exc_info and "our fault" == str(record.exc_info[1])


async def test_a_fault_leaves_its_slot_to_others(make: Make) -> None:
    """While it waits to be tried again."""
    running = make(slots=1)
    running.work.faults = [RuntimeError("our fault")]
    await running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.batches)

    await running.send("b", "2")

    await eventually(lambda: running.work.ended == quoted("2"), limit_s=0.9)


@pytest.mark.parametrize(
    "fault", [asyncio.CancelledError(), StorageError("no", status=409, code="")]
)
async def test_a_lane_whose_work_ends_badly_leaves_its_slot(
    make: Make, fault: BaseException
) -> None:
    """The next one can begin."""
    running = make(slots=1, buffer=2)
    running.work.faults = [fault]
    await running.start()
    await running.send("a", "1")
    await eventually(lambda: not running.work.faults)

    await running.send("b", "2")

    await eventually(lambda: quoted("2") == running.work.ended[:1])


async def test_puts_on_their_way_when_a_queue_goes_leave_no_place_taken(
    make: Make,
) -> None:
    """They are given back as they come."""
    running = make(slots=4, buffer=64)
    await running.start()
    sending = [
        asyncio.create_task(running.send(f"k{number}", "x")) for number in range(45)
    ]
    await asyncio.sleep(0)
    running.pump.unlisten(running.queue)
    await asyncio.gather(*sending)

    await eventually(lambda: running.pump.is_drained(running.queue))
    assert 64 == running.pump.slots.free


async def test_sends_that_are_cancelled_leave_no_place_taken(make: Make) -> None:
    """At whatever await that is."""
    running = make(slots=4, buffer=64)
    await running.start()

    async def never(item: Received) -> None:
        await asyncio.sleep(WAIT_LIMIT_S)

    for number in range(50):
        sending = asyncio.create_task(
            running.sender.send(raised(f"k{number}"), then=never)
        )
        await asyncio.sleep(number / 20_000)
        sending.cancel()
        await asyncio.wait([sending])

    assert 64 == running.pump.slots.free
    assert not running.locks.has_any_of(running.queue)


async def test_a_queue_that_cannot_be_read_is_tried_again(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody deleted it, and somebody makes it again."""
    running = make()
    queue = f"{running.queue}-not-yet"
    running.pump.listen(queue)
    await running.start()
    await eventually(lambda: "cannot read" in caplog.text)

    await running.hub.storage.request("queue", "PUT", f"/{queue}")
    await eventually(lambda: _is_quiet(caplog))

    of_the_pump = [r for r in caplog.records if r.name == "localhost.delivery.polling"]
    told = {r.getMessage().partition(": GET")[0] for r in of_the_pump}
    assert {f"test: cannot read {queue}"} == told
    assert not any(record.exc_info for record in of_the_pump)


def _is_quiet(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether the last fault is longer ago than the longest pause."""
    return time.time() - caplog.records[-1].created > 0.8


async def test_locks_of_what_runs_and_what_waits_are_renewed(
    make: Make, judge: Judge
) -> None:
    """Nobody else gets them, however long the work takes."""
    running = make(slots=1)
    for key in ("runs", "waits"):
        running.work.block(key)
        await running.put_visible(key, key)
    await running.start()
    await eventually(lambda: running.work.running)
    until_s = time.monotonic() + LOCK_S + 0.5

    def is_hidden_long_enough() -> bool:
        assert [] == judge.visible(running.queue)
        return time.monotonic() > until_s

    await eventually(is_hidden_long_enough)
    running.work.release("runs")
    running.work.release("waits")
    await eventually(lambda: len(running.work.ended) == 2)

    assert [1, 1] == [item.dequeue_count for item in running.work.begun]
    await eventually(lambda: judge.count(running.queue) == 0)


# Giving back


async def test_a_drain_finishes_what_runs_and_gives_back_the_rest(make: Make) -> None:
    """What was not begun can be taken at once, by whoever comes next."""
    running = make(slots=1, drain_limit_s=10)
    running.work.block("runs")
    await running.send("runs", "1")
    await running.send("waits", "2")
    await running.start()
    await eventually(lambda: running.work.running)

    ending = running.ask_to_stop()
    items = await running.taken_by_another()
    assert quoted("2") == [data_of(item) for item in items]
    assert not ending.done()

    running.work.release("runs")
    await ending
    assert quoted("1") == running.work.ended


async def test_a_drain_lets_go_what_does_not_end(make: Make) -> None:
    """Its message is given back, so that it runs again elsewhere."""
    running = make(drain_limit_s=0.1)
    running.work.block("a")
    await running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.running)

    await running.ask_to_stop()
    (item,) = await running.taken_by_another()

    assert quoted("1") == [data_of(item)]
    assert set() == running.work.running


async def test_a_drained_pump_takes_nothing(make: Make, judge: Judge) -> None:
    """What is sent afterwards is for another host."""
    running = make()
    await running.start()
    await running.ask_to_stop()

    await running.send("a", "1")

    assert 1 == len(judge.visible(running.queue))
    assert [] == running.work.begun


async def test_a_queue_that_is_given_up_gets_back_what_was_not_begun(
    make: Make,
) -> None:
    """It is drained when what runs has ended."""
    running = make(slots=1)
    running.work.block("runs")
    await running.send("runs", "1")
    await running.send("waits", "2")
    await running.start()
    await eventually(lambda: running.work.running)

    running.pump.unlisten(running.queue)
    items = await running.taken_by_another()

    assert quoted("2") == [data_of(item) for item in items]
    assert not running.pump.is_drained(running.queue)
    running.work.release("runs")
    await eventually(lambda: running.pump.is_drained(running.queue))
    assert quoted("1") == running.work.ended


async def test_a_queue_that_is_given_up_gets_no_more_polls(
    make: Make, judge: Judge
) -> None:
    """Its messages are for its next owner."""
    running = make(longest_pause_s=0.05)
    await running.start()
    running.pump.unlisten(running.queue)

    await running.send("a", "1")

    assert 1 == len(judge.visible(running.queue))
    assert 1 == len(await running.taken_by_another())
    assert [] == running.work.begun


async def test_a_queue_may_come_back(make: Make) -> None:
    """A partition that was given up is owned again."""
    running = make()
    await running.start()
    running.pump.unlisten(running.queue)
    running.pump.listen(running.queue)
    running.pump.listen(running.queue)

    await running.send("a", "1")
    await eventually(lambda: running.work.ended)

    assert [("a", quoted("1"))] == running.work.batches


async def test_what_must_wait_for_a_queue_that_was_let_go_is_given_back(
    make: Make,
) -> None:
    """It was in work when the queue went, so that nobody saw it wait."""
    running = make()
    running.work.block("one")
    running.work.must_wait = {'"early"'}
    await running.start()
    await running.send("one", "early")
    await eventually(lambda: running.work.begun)

    running.pump.unlisten(running.queue)
    running.work.release("one")

    await eventually(lambda: running.pump.is_drained(running.queue), LOCK_S / 2)
    assert ['"early"'] == [data_of(x) for x in await running.taken_by_another()]


async def test_what_is_early_for_a_queue_that_was_let_go_is_given_back(
    make: Make,
) -> None:
    """A timer in the last second before it falls due."""
    running = make()
    await running.start()
    at = from_datetime(datetime.now(timezone.utc) + timedelta(seconds=1.9))
    fires = event(EventType.TimerFired, TimerId=0, FireAt=at)
    await running.sender.send(message(fires, "one"))
    await eventually(lambda: not running.pump.is_drained(running.queue))

    running.pump.unlisten(running.queue)

    await eventually(lambda: running.pump.is_drained(running.queue))
    assert [] == running.work.begun
