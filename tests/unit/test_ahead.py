"""A turn is decided while the one before it is written, and counts only after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from localhost.compat import timeout
from localhost.durable.execution import Rules
from localhost.durable.orchestrations import Orchestrations
from localhost.history import HistoryEvent
from localhost.outcome import Outcome, Returned
from localhost.records import TaskMessage, dumps
from localhost.taskhub.port import Checkpoint, LostHistoryError, Received, Stored
from localhost.timestamps import Clock

Event = Callable[..., HistoryEvent]
Receive = Callable[..., Received]
LIMIT_S = 10.0
CITIES = ("Tokyo", "Seattle", "London")


@dataclass
class Hub:
    """Takes note of what a turn writes; a checkpoint waits where it is told to."""

    done: list[str] = field(default_factory=list)
    noted: asyncio.Event = field(default_factory=asyncio.Event)
    faults: list[Exception] = field(default_factory=list)
    before_history: asyncio.Event = field(default_factory=asyncio.Event)
    before_row: asyncio.Event = field(default_factory=asyncio.Event)
    stored: list[HistoryEvent] = field(default_factory=list)
    completed: list[Received] = field(default_factory=list)

    def write(self) -> None:
        """Let checkpoints go to their end from now on."""
        self.before_history.set()
        self.before_row.set()

    @property
    def histories(self) -> Hub:
        return self

    @property
    def instances(self) -> Hub:
        return self

    async def load(self, instance_id: str) -> Stored:
        events = tuple(self.stored)
        execution_id = "e1" if events else None
        return Stored(execution_id=execution_id, events=events, etag="1")

    async def peek(self, instance_id: str) -> None:
        return None

    async def until_row_is_written(self, instance_id: str) -> None: ...

    def works_on(self, queue: str) -> bool:
        return True

    def complete(self, items: Sequence[Received]) -> None:
        self.completed += items

    def send_ahead(self, outbox: Sequence[TaskMessage]) -> asyncio.Task[None]:
        return asyncio.create_task(self._send(outbox))

    async def _send(self, outbox: Sequence[TaskMessage]) -> None:
        for message in outbox:
            self.note(f"send {message.event.type.name}")

    def note(self, what: str) -> None:
        self.done.append(what)
        self.noted.set()

    async def commit(
        self, checkpoint: Checkpoint, *, follow: Callable[[], None]
    ) -> str:
        await self._send(checkpoint.outbox)
        await self.before_history.wait()
        if self.faults:
            raise self.faults.pop()
        self.note("history")
        self.stored += checkpoint.events
        if checkpoint.change is not None:
            follow()
            await self.before_row.wait()
            self.note("row")
        self.complete(checkpoint.received)
        return "1"


@dataclass
class Engine:
    """One instance that calls an activity for each city."""

    hub: Hub
    orchestrations: Orchestrations
    calls: list[int]
    may_return: asyncio.Event
    receive: Receive
    event: Event

    def answer(self, number: int) -> Received:
        fields = {"TaskScheduledId": number, "Result": '"ok"'}
        return self.receive(self.event("TaskCompleted", **fields))

    def process(self, *items: Received) -> asyncio.Task[Sequence[Received]]:
        return asyncio.create_task(self.orchestrations.process("i1", items))

    async def foresee(self, *items: Received) -> bool:
        """Let the next turn be decided; False when nothing is done yet."""
        work = self.orchestrations.foresee("i1", items)
        if work is not None:
            await work
        return work is not None

    async def until(self, condition: Callable[[], bool]) -> None:
        async with timeout(LIMIT_S):
            while not condition():
                self.hub.noted.clear()
                await self.hub.noted.wait()


def actions(count: int) -> list[dict[str, Any]]:
    return [
        {"actionType": 0, "functionName": "Hello", "input": dumps(city)}
        for city in CITIES[:count]
    ]


@pytest.fixture(name="receive")
def _receive() -> Receive:
    """Makes a received message of the instance."""

    def make(event: HistoryEvent, **fields: Any) -> Received:
        message = TaskMessage(
            event=event, instance_id="i1", execution_id="e1", sender=("i1", "e1")
        )
        known = {"message_id": event.timestamp, "dequeue_count": 1, "is_ours": True}
        return Received(
            queue="q",
            pop_receipt="r",
            locked_until_s=0.0,
            message=message,
            **{**known, **fields},
        )

    return make


@pytest.fixture(name="engine")
async def _engine(event: Event, receive: Receive) -> Engine:
    """The function asks for one activity more with each answer."""
    hub, calls, may_return = Hub(), [], asyncio.Event()
    may_return.set()

    async def invoke(name: str, body: str, instance_id: str) -> Outcome:
        answers = body.count('"EventType":5,')
        calls.append(answers)
        hub.noted.set()
        await may_return.wait()
        state = {
            "isDone": answers == len(CITIES),
            "actions": [actions(answers + 1)],
            "schemaVersion": 2,
        }
        return Returned(value=dumps(state))

    orchestrations = Orchestrations(
        hub,  # type: ignore[arg-type]
        invoke=invoke,
        rules=Rules(unknown=lambda kind, name: None),
        now=Clock().now,
        http_sleep_ms=1,
    )
    return Engine(hub, orchestrations, calls, may_return, receive, event)


@pytest.fixture(name="start")
def _start(started: Event, receive: Receive) -> Received:
    """The start of the instance, which is new."""
    return receive(started(), is_first=True)


async def begun(engine: Engine, start: Received) -> asyncio.Task[Sequence[Received]]:
    """Let the first turn be on its way into the storage."""
    first = engine.process(start)
    await engine.until(lambda: "send TaskScheduled" in engine.hub.done)
    return first


async def test_the_next_turn_is_decided_before_the_last_one_is_written(
    engine: Engine, start: Received
) -> None:
    """And sends nothing before; then the function is not called again."""
    first = await begun(engine, start)
    answer = engine.answer(0)

    assert await engine.foresee(answer)
    assert ([0, 1], ["send TaskScheduled"]) == (engine.calls, engine.hub.done)

    engine.hub.write()
    await first
    await engine.process(answer)

    assert [0, 1] == engine.calls
    assert 2 == engine.hub.done.count("send TaskScheduled")
    assert [start, answer] == engine.hub.completed


async def test_its_messages_follow_the_history_and_not_the_row(
    engine: Engine, start: Received
) -> None:
    """They are sent once."""
    first = await begun(engine, start)
    answer = engine.answer(0)
    await engine.foresee(answer)
    engine.hub.before_history.set()
    await engine.until(lambda: engine.hub.done.count("send TaskScheduled") == 2)

    assert ["send TaskScheduled", "history", "send TaskScheduled"] == engine.hub.done

    engine.hub.before_row.set()
    await first
    await engine.process(answer)

    assert ["row", "history"] == engine.hub.done[3:]


async def test_what_is_decided_late_is_sent_while_the_row_is_written(
    engine: Engine, start: Received
) -> None:
    """The answer may come when the history is written already."""
    first = await begun(engine, start)
    engine.hub.before_history.set()
    await engine.until(lambda: "history" in engine.hub.done)
    await engine.foresee(engine.answer(0))
    await engine.until(lambda: engine.hub.done.count("send TaskScheduled") == 2)

    assert "row" not in engine.hub.done

    first.cancel()


async def test_what_is_decided_in_that_moment_is_sent_once(
    engine: Engine, start: Received
) -> None:
    """The history is written in the same step of the loop."""
    first = await begun(engine, start)
    engine.may_return.clear()
    ahead = asyncio.create_task(engine.foresee(engine.answer(0)))
    await engine.until(lambda: engine.calls == [0, 1])
    engine.may_return.set()
    engine.hub.before_history.set()
    await ahead
    engine.hub.before_row.set()
    await first

    assert 2 == engine.hub.done.count("send TaskScheduled")


async def test_a_turn_that_was_not_written_has_no_next_one(
    engine: Engine, start: Received
) -> None:
    """What was decided on it is forgotten; another host's history decides."""
    first = await begun(engine, start)
    answer = engine.answer(0)
    await engine.foresee(answer)
    engine.hub.faults.append(LostHistoryError("another was first"))
    engine.hub.write()
    await first  # looked at again, and written

    assert [0, 1, 0] == engine.calls

    await engine.process(answer)

    assert [0, 1, 0, 1] == engine.calls


async def test_what_comes_later_is_left_for_the_turn_after(
    engine: Engine, start: Received
) -> None:
    """The function has not seen it."""
    first = await begun(engine, start)
    answer = engine.answer(0)
    await engine.foresee(answer)
    later = engine.receive(engine.event("EventRaised", Name="Go", Input="1"))
    assert not await engine.foresee(answer, later)
    engine.hub.write()
    await first

    assert [later] == await engine.process(answer, later)
    assert [0, 1] == engine.calls


async def test_nothing_is_decided_while_another_answer_may_come(
    engine: Engine, start: Received
) -> None:
    """It is taken in the same turn, which costs one replay less."""
    first = await begun(engine, start)
    event = engine.receive(engine.event("EventRaised", Name="Go", Input="1"))

    assert not await engine.foresee(event)

    first.cancel()


async def test_what_is_dropped_or_must_wait_is_not_foreseen(
    engine: Engine, start: Received
) -> None:
    """The messages are told apart when their turn comes."""
    first = await begun(engine, start)

    assert not await engine.foresee(engine.answer(0), engine.answer(0))
    assert not await engine.foresee(engine.answer(0), engine.answer(7))

    first.cancel()


async def test_a_start_is_decided_while_its_row_is_written(
    engine: Engine, start: Received
) -> None:
    """And begins with what was decided."""
    assert await engine.foresee(start)
    assert ([0], []) == (engine.calls, engine.hub.done)

    await begun(engine, start)

    assert [0] == engine.calls


async def test_a_start_that_came_to_nothing_leaves_no_turn(
    engine: Engine, start: Received, started: Event
) -> None:
    """Whoever starts the instance then begins anew."""
    await engine.foresee(start)
    another = engine.receive(started(execution="e1"), is_first=True)
    await begun(engine, another)

    assert [0, 0] == engine.calls


async def test_a_fault_shows_when_the_turn_comes(
    engine: Engine, start: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done ahead fails in silence."""

    def broken(**fields: Any) -> None:
        raise RuntimeError("it cannot be decided")

    with monkeypatch.context() as patch:
        patch.setattr("localhost.durable.turns.decide", broken)
        assert await engine.foresee(start)
    await begun(engine, start)

    assert [0, 0] == engine.calls
