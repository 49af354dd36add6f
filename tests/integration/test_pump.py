"""The pump takes messages of real queues: in order, side by side, and gives back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from localhost.delivery.pump import LONGEST_EARLY_S, Pump
from localhost.errors import StorageError
from localhost.history import EventType
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.port import LOCK_S, Received
from localhost.taskhub.queues import Queues
from localhost.timestamps import from_datetime
from tests.conftest import Emulator
from tests.integration.conftest import (
    WAIT_LIMIT_S,
    Judge,
    create,
    event,
    eventually,
    message,
    open_hub,
    raised,
)


def key_of(item: Received) -> str:
    assert item.message is not None
    return item.message.instance_id


def data_of(item: Received) -> str:
    assert item.message is not None
    return str(item.message.event["Input"])


class Work:
    """Processes messages: records them, blocks where it is told, then deletes them."""

    def __init__(self, hub: TaskHub) -> None:
        self._hub = hub
        self._gates: dict[str, asyncio.Event] = {}
        self.begun: list[Received] = []
        self.batches: list[tuple[str, list[str]]] = []
        self.ended: list[str] = []
        self.running: set[str] = set()
        self.most_running = 0
        self.faults: list[Exception] = []
        self.must_wait: set[str] = set()
        self.foreseen: list[tuple[str, list[str]]] = []

    def block(self, key: str) -> None:
        """Let the work on a key not end before ``release``."""
        self._gates[key] = asyncio.Event()

    def release(self, key: str) -> None:
        """Let the work on a key end."""
        self._gates.pop(key).set()

    async def process(self, key: str, items: Sequence[Received]) -> Sequence[Received]:
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
        self._hub.complete(item for item in items if item not in waiting)
        self.ended += [data_of(item) for item in items if item not in waiting]
        return waiting

    def foresee(self, key: str, items: Sequence[Received]) -> Coroutine[Any, Any, None]:
        """What the pump calls with what comes for a key in work."""
        shown = [data_of(item) for item in items]

        async def note() -> None:
            self.foreseen.append((key, shown))

        return note()

    async def _gate(self, key: str) -> None:
        gate = self._gates.get(key)
        if gate is not None:
            await gate.wait()


class Running:
    """A pump on the only control queue of a hub, and the work that it does."""

    def __init__(self, hub: TaskHub, work: Work, pump: Pump) -> None:
        self.hub, self.work, self.pump = hub, work, pump
        self.queue = hub.control_queues[0]
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Let the pump run."""
        self.pump.listen(self.queue)
        self._task = asyncio.create_task(self.pump.run(self._stop))

    def ask_to_stop(self) -> asyncio.Task[None]:
        """Ask the pump to end; the task is done when it has."""
        assert self._task is not None
        self._stop.set()
        return self._task

    async def send(self, key: str, *data: str) -> None:
        """Send messages of a key, one after the other."""
        for each in data:
            await self.hub.send(raised(key, each))

    async def put_visible(self, key: str, *data: str) -> None:
        """Put messages as another host does: nobody here knows of them."""
        self.hub.detach(self.queue)
        await self.send(key, *data)
        self.hub.attach(self.queue, self.pump)

    async def taken_by_another(self) -> list[Received]:
        """What another host gets, as soon as there is something."""
        end_s = time.monotonic() + WAIT_LIMIT_S
        while time.monotonic() < end_s:
            if items := await self.hub.receive(self.queue, 32):
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

    def new(
        *,
        slots: int = 4,
        buffer: int = 8,
        longest_pause_s: float = 0.5,
        drain_limit_s: float = 0.2,
        is_held_up: Callable[[], bool] = lambda: False,
    ) -> Running:
        work = Work(one_queue)
        pump = Pump(
            one_queue,
            name="test",
            key=key_of,
            process=work.process,
            slots=slots,
            buffer=buffer,
            longest_pause_s=longest_pause_s,
            drain_limit_s=drain_limit_s,
            foresee=work.foresee,
            is_held_up=is_held_up,
        )
        made.append(Running(one_queue, work, pump))
        return made[-1]

    yield new
    for each in made:
        with suppress(AssertionError):
            await each.ask_to_stop()


def quoted(*data: str) -> list[str]:
    return [f'"{each}"' for each in data]


async def test_messages_of_a_key_are_worked_on_in_order(make: Make) -> None:
    """However many come at once."""
    running = make()
    data = [str(number) for number in range(20)]
    await running.send("a", *data)

    running.start()
    await eventually(lambda: len(running.work.ended) == 20)

    assert quoted(*data) == running.work.ended


async def test_messages_of_a_key_wait_for_the_one_in_work(make: Make) -> None:
    """They come together afterwards, as one batch."""
    running = make()
    running.work.block("a")
    running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.running)
    await running.send("a", "2", "3")

    running.work.release("a")
    await eventually(lambda: len(running.work.ended) == 3)

    assert [("a", quoted("1")), ("a", quoted("2", "3"))] == running.work.batches


async def test_what_comes_for_a_key_in_work_is_shown_before_its_turn(
    make: Make,
) -> None:
    """Something about it can be done already."""
    running = make()
    running.work.block("a")
    running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.running)
    await running.send("a", "2", "3")
    await eventually(lambda: len(running.work.foreseen) == 2)

    assert [("a", quoted("2")), ("a", quoted("2", "3"))] == running.work.foreseen


async def test_what_is_announced_is_shown_if_it_can_begin(make: Make) -> None:
    """It is offered a moment later."""
    running = make(slots=1)
    running.start()
    item = await running.hub.put(raised("a", "1"))
    running.hub.announce(item)
    await eventually(lambda: running.work.foreseen)
    running.work.block("a")
    running.hub.offer(item)
    await eventually(lambda: running.work.running)
    running.hub.announce(await running.hub.put(raised("b", "2")))
    running.work.release("a")
    await eventually(lambda: running.work.ended)

    assert [("a", quoted("1"))] == running.work.foreseen


async def test_nothing_is_announced_to_a_pump_that_does_not_run(make: Make) -> None:
    """It begins with the message when it does."""
    running = make()
    running.pump.listen(running.queue)
    item = await running.hub.put(raised("a", "1"))
    running.hub.announce(item)

    assert item.is_ours
    assert [] == running.work.foreseen


async def test_keys_are_worked_on_side_by_side(make: Make) -> None:
    """One that takes long holds up only itself."""
    running = make()
    running.work.block("slow")
    running.start()
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
    running.start()

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

    running.start()
    await eventually(lambda: running.work.running)

    assert 2 == len(judge.visible(running.queue))
    running.work.release("a")
    await eventually(lambda: len(running.work.ended) == 3)


async def test_a_message_of_our_own_needs_no_poll(make: Make) -> None:
    """It is put hidden, worked on at once and deleted."""
    running = make(longest_pause_s=60)
    running.start()

    await running.send("a", "1")
    await eventually(lambda: running.work.ended)

    (item,) = running.work.begun
    assert (True, 1) == (item.is_ours, item.dequeue_count)


async def test_our_own_message_is_visible_when_no_slot_is_free(
    make: Make, judge: Judge
) -> None:
    """Another host may be idle."""
    running = make(slots=1, buffer=0)
    running.work.block("a")
    running.start()
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
    running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.running)
    await running.send("b", "2")

    running.work.release("a")

    await eventually(lambda: len(running.work.ended) == 2, limit_s=2)


async def test_a_message_that_comes_back_while_in_work_runs_once(
    make: Make, judge: Judge
) -> None:
    """Its new receipt replaces the old one, so that it can be deleted."""
    running = make()
    running.work.block("a")
    running.start()
    await running.put_visible("a", "1")
    (item,) = await eventually(lambda: running.work.begun)
    first = item.pop_receipt

    await running.hub.abandon(replace(item))
    await eventually(lambda: item.pop_receipt != first)
    running.work.release("a")
    await eventually(lambda: judge.count(running.queue) == 0)

    assert [("a", quoted("1"))] == running.work.batches


async def test_a_message_that_must_wait_comes_with_the_next(make: Make) -> None:
    """It is neither deleted nor given back."""
    running = make()
    running.work.must_wait = set(quoted("answer"))
    running.start()
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
    running.start()
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
    running.start()
    due_at = datetime.now(timezone.utc) + timedelta(seconds=0.4)
    timer = event(EventType.TimerFired, TimerId=0, FireAt=from_datetime(due_at))

    await running.hub.send(message(timer, "a"))
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
    running.start()

    await eventually(lambda: not judge.visible(running.queue))
    await eventually(lambda: running.pump.is_drained(running.queue))

    assert [] == running.work.begun
    assert 1 == judge.count(running.queue)


async def test_a_message_that_has_waited_for_long_goes_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have its place meanwhile, and it comes again by itself."""
    monkeypatch.setattr("localhost.durable.pump.LONGEST_WAIT_S", 0.0)
    running = make()
    running.work.must_wait.update(quoted("answer"))
    running.start()
    await running.put_visible("a", "answer")

    await eventually(lambda: len(running.work.begun) > 1)

    assert [1, 2] == [item.dequeue_count for item in running.work.begun[:2]]


async def test_an_answer_goes_straight_to_its_lane(make: Make, judge: Judge) -> None:
    """Its work item stays, as its message, until a turn has taken the answer."""
    running = make()
    running.start()
    item = await work_item(running.hub, "a")

    await running.hub.answer(item, raised("a", "answer"))
    await eventually(lambda: running.work.ended)

    assert [("a", quoted("answer"))] == running.work.batches
    await eventually(lambda: not judge.count(running.hub.work_item_queue))


async def test_a_work_item_that_comes_again_is_none_while_its_answer_is_in_hand(
    make: Make, judge: Judge
) -> None:
    """The activity does not run again; the new receipt deletes the item."""
    running = make()
    item = await answer_in_work(running)
    receipt = item.pop_receipt
    await running.hub.abandon(replace(item, stands_in=""))

    assert [] == await running.hub.receive(running.hub.work_item_queue, 32)

    assert receipt != item.pop_receipt
    running.work.release("a")
    await eventually(lambda: not judge.count(running.hub.work_item_queue))


async def test_an_answer_in_hand_becomes_a_message_at_the_end(
    make: Make, judge: Judge
) -> None:
    """A host that ends gives back what was answered, not what was asked."""
    running = make()
    running.work.block("a")
    running.start()
    await running.send("a", "first")
    await eventually(lambda: running.work.running)
    item = await work_item(running.hub, "a")
    await running.hub.answer(item, raised("a", "answer"))
    end = running.ask_to_stop()
    running.work.release("a")
    await end
    await running.hub.close()

    assert 0 == judge.count(running.hub.work_item_queue)
    (given_back,) = await running.taken_by_another()
    assert quoted("answer") == [data_of(given_back)]


async def test_an_answer_that_cannot_be_given_back_is_asked_for_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its work item is no longer known as answered."""
    running = make()
    item = await answer_in_work(running)
    with monkeypatch.context() as broken:
        broken.setattr(Queues, "put", _refuse)
        with pytest.raises(StorageError):
            await running.hub.abandon(item)

    await running.hub.abandon(replace(item, stands_in=""))

    [again] = await running.hub.receive(running.hub.work_item_queue, 32)
    assert item.message_id == again.message_id


async def _refuse(*_: object, **__: object) -> Received:
    raise StorageError("it is refused", status=403, code="AuthorizationFailure")


async def test_nothing_is_taken_while_the_pump_is_held_up(
    make: Make, judge: Judge
) -> None:
    """Neither from the queue nor from this process; then all of it."""
    is_held_up = True
    running = make(is_held_up=lambda: is_held_up, longest_pause_s=60)
    running.start()
    await running.put_visible("a", "a")
    await running.send("b", "b")

    assert [] == running.work.begun
    assert 2 == len(judge.visible(running.queue))

    is_held_up = False
    running.pump.look(running.queue)
    await eventually(lambda: sorted(running.work.ended) == quoted("a", "b"))


async def test_room_is_looked_for_when_an_answer_is_stored(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then fewer of them wait than before."""
    running = make()
    running.start()
    looked: list[str] = []
    monkeypatch.setattr(running.pump, "look", looked.append)
    queue = running.hub.work_item_queue
    item = await work_item(running.hub, "a")
    running.hub.attach(queue, running.pump)

    await running.hub.answer(item, raised("a", "answer"))
    await eventually(lambda: looked)

    assert [queue] == looked


async def test_an_answer_is_kept_for_longer_than_a_message(make: Make) -> None:
    """It may have to wait for a long history, and so may a thousand others."""
    running = make()
    item = await work_item(running.hub, "a")
    assert await running.hub.renew(item)
    assert item.locked_until_s <= time.monotonic() + LOCK_S

    item.stands_in = running.queue
    assert await running.hub.renew(item)

    assert item.locked_until_s > time.monotonic() + LOCK_S


async def test_an_answer_to_another_host_is_a_message(make: Make, judge: Judge) -> None:
    """Nobody works on its queue here."""
    running = make()
    item = await work_item(running.hub, "a")
    running.hub.detach(running.queue)

    await running.hub.answer(item, raised("a", "answer"))
    await running.hub.close()

    assert 0 == judge.count(running.hub.work_item_queue)
    (sent,) = await running.taken_by_another()
    assert quoted("answer") == [data_of(sent)]


async def answer_in_work(running: Running) -> Received:
    """A work item whose answer a lane has begun on, and does not end with."""
    running.work.block("a")
    running.start()
    item = await work_item(running.hub, "a")
    await running.hub.answer(item, raised("a", "answer"))
    await eventually(lambda: running.work.running)
    return item


async def work_item(hub: TaskHub, instance_id: str) -> Received:
    """A work item as an activity pump has taken it."""
    asked = event(EventType.TaskScheduled, event_id=0, Name="Hello", Version="")
    await hub.send(message(asked, instance_id))
    (item,) = await hub.receive(hub.work_item_queue, 1)
    return item


async def test_a_fault_gives_the_message_back_for_later(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes again after a pause, and the fault is said with its traceback."""
    caplog.set_level(logging.ERROR)
    running = make()
    running.work.faults = [RuntimeError("our fault")]
    running.start()
    await running.put_visible("a", "1")

    await eventually(lambda: running.work.ended)

    first, again = running.work.begun
    assert (first.message_id, 2) == (again.message_id, again.dequeue_count)
    (record,) = caplog.records
    assert "a: could not work on it; trying again later" == record.getMessage()
    assert record.exc_info and "our fault" == str(record.exc_info[1])


async def test_a_queue_that_cannot_be_read_is_tried_again(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody deleted it, and somebody makes it again."""
    running = make()
    queue = f"{running.queue}-not-yet"
    running.pump.listen(queue)
    running.start()
    await eventually(lambda: "cannot read" in caplog.text)

    await running.hub.storage.request("queue", "PUT", f"/{queue}")
    await eventually(lambda: _is_quiet(caplog))

    of_the_pump = [r for r in caplog.records if r.name == "localhost.durable.polling"]
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
    running.start()
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
    running.start()
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
    running.start()
    await running.send("a", "1")
    await eventually(lambda: running.work.running)

    await running.ask_to_stop()
    (item,) = await running.taken_by_another()

    assert quoted("1") == [data_of(item)]
    assert set() == running.work.running


async def test_a_drained_pump_takes_nothing(make: Make, judge: Judge) -> None:
    """What is sent afterwards is for another host."""
    running = make()
    running.start()
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
    running.start()
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
    running.start()
    running.pump.unlisten(running.queue)

    await running.send("a", "1")

    assert 1 == len(judge.visible(running.queue))
    assert 1 == len(await running.taken_by_another())
    assert [] == running.work.begun


async def test_a_queue_may_come_back(make: Make) -> None:
    """A partition that was given up is owned again."""
    running = make()
    running.start()
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
    running.start()
    await running.send("one", "early")
    await eventually(lambda: running.work.begun)

    running.pump.unlisten(running.queue)
    running.work.release("one")

    await eventually(lambda: running.pump.is_drained(running.queue), LOCK_S / 2)
    assert ['"early"'] == [data_of(x) for x in await running.taken_by_another()]


async def test_what_is_early_for_a_queue_that_was_let_go_is_given_back(
    make: Make, one_queue: TaskHub
) -> None:
    """A timer in the last second before it falls due."""
    running = make()
    running.start()
    at = from_datetime(datetime.now(timezone.utc) + timedelta(seconds=1.9))
    fires = event(EventType.TimerFired, TimerId=0, FireAt=at)
    await one_queue.send(message(fires, "one"))
    await eventually(lambda: not running.pump.is_drained(running.queue))

    running.pump.unlisten(running.queue)

    await eventually(lambda: running.pump.is_drained(running.queue))
    assert [] == running.work.begun
