"""Which messages a turn takes, drops, or lets wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from localhost.durable.inbox import (
    ANSWERS_BEFORE_DROP,
    LONGEST_WAIT_MS,
    STARTS_BEFORE_DROP,
    Inbox,
    sort_messages,
    verdict_on_start,
)
from localhost.durable.seen import Seen, marks_of
from localhost.history import HistoryEvent, Status
from localhost.records import Instance, TaskMessage
from localhost.taskhub.port import Received, Stored
from localhost.timestamps import plus_ms

Event = Callable[..., HistoryEvent]
Receive = Callable[..., Received]

EARLIER, LATER = "2026-11-22T01:00:00Z", "2026-11-22T05:00:00Z"


def stored(*events: HistoryEvent) -> Stored:
    """Return a history as it is kept."""
    return Stored(execution_id="e1" if events else None, events=events, etag=None)


def sorted_at(
    stored: Stored,
    items: list[Received],
    *,
    now: str = "",
    is_pending: bool = False,
) -> Inbox:
    """Tell messages apart, at a time when nothing has waited for long."""
    sent = [item.message.event.timestamp for item in items if item.message]
    seen = Seen.of(stored.events, stored.applied)
    return sort_messages(seen, items, now=now or max(sent), is_pending=is_pending)


def told(inbox: Inbox) -> tuple[int, int, int]:
    """Return how many messages were taken, dropped and made to wait."""
    return len(inbox.taken), len(inbox.dropped), len(inbox.waiting)


TAKEN, DROPPED, WAITS = (1, 0, 0), (0, 1, 0), (0, 0, 1)


@pytest.fixture(name="running")
def _running(event: Event, started: Event) -> Stored:
    """The history of an instance that waits for task 0."""
    return stored(started(), event("TaskScheduled", id_=0, Name="A"))


@pytest.fixture(name="ended")
def _ended(event: Event, started: Event) -> Stored:
    """The history of an instance that is over."""
    completed = event("ExecutionCompleted", OrchestrationStatus=Status.COMPLETED)
    return stored(started(), event("TaskScheduled", id_=0), completed)


# Answers


def test_answer_is_taken(running: Stored, event: Event, received: Receive) -> None:
    """An answer to what the history has scheduled belongs to the next turn."""
    answer = received(event("TaskCompleted", TaskScheduledId=0))

    assert TAKEN == told(sorted_at(running, [answer]))


def test_answer_that_is_in_the_history_is_dropped(
    event: Event, started: Event, received: Receive
) -> None:
    """A message that comes again after its turn is only deleted."""
    answer = event("TaskCompleted", TaskScheduledId=0)
    history = stored(started(), event("TaskScheduled", id_=0), answer)

    inbox = sorted_at(history, [received(answer)])

    assert DROPPED == told(inbox)
    assert ["TaskCompleted: it came before"] == inbox.reasons


def test_second_answer_of_a_batch_is_dropped(
    running: Stored, event: Event, received: Receive
) -> None:
    """Of two answers to one task the first counts, whatever they say."""
    answers = [
        received(event("TaskCompleted", TaskScheduledId=0, Result="1")),
        received(event("TaskFailed", TaskScheduledId=0, Reason="2")),
    ]

    inbox = sorted_at(running, answers)

    assert (1, 1, 0) == told(inbox)
    assert "1" == inbox.events()[0]["Result"]


def test_answer_ahead_of_its_checkpoint_waits(
    running: Stored, event: Event, received: Receive
) -> None:
    """An answer can be faster than the history that tells of its task."""
    answer = received(event("TaskCompleted", TaskScheduledId=1))

    assert WAITS == told(sorted_at(running, [answer]))


def test_answer_of_another_generation_is_dropped(
    running: Stored, event: Event, received: Receive
) -> None:
    """What an execution asked for that is over is of no use to the next."""
    answer = received(event("TaskCompleted", TaskScheduledId=0), execution="e0")

    inbox = sorted_at(running, [answer])

    assert DROPPED == told(inbox)
    assert ["TaskCompleted: it is for an execution that is over"] == inbox.reasons


def test_nothing_reaches_an_instance_that_is_over(
    ended: Stored, event: Event, received: Receive
) -> None:
    """A terminal instance takes neither answers nor events."""
    items = [
        received(event("TaskCompleted", TaskScheduledId=0)),
        received(event("EventRaised", Name="Go"), execution=None),
        received(event("ExecutionTerminated", Input="x"), execution=None),
    ]

    inbox = sorted_at(ended, items)

    assert (0, 3, 0) == told(inbox)
    assert {"the instance has ended"} == {r.partition(": ")[2] for r in inbox.reasons}


def test_entity_that_answers_ahead_of_the_checkpoint_waits(
    running: Stored, event: Event, received: Receive
) -> None:
    """An entity can answer before the history tells that it was asked."""
    reply = received(event("EventRaised", Name="r1"), sender=("@c@k", "x"))

    assert WAITS == told(sorted_at(running, [reply]))


def test_answer_of_an_entity_is_taken(
    event: Event, started: Event, received: Receive
) -> None:
    """An answer to a request of the history is taken."""
    sent = event("EventSent", id_=0, Name="op", Input='{"id":"r1"}')
    reply = received(event("EventRaised", Name="r1"), sender=("@c@k", "x"))

    assert TAKEN == told(sorted_at(stored(started(), sent), [reply]))


def test_second_answer_of_an_entity_is_dropped(
    event: Event, started: Event, received: Receive
) -> None:
    """It has another time when a crash made the entity say it again."""
    sent = event("EventSent", id_=0, Name="op", Input='{"id":"r1"}')
    first = received(event("EventRaised", Name="r1"), sender=("@c@k", "x"))
    second = received(event("EventRaised", Name="r1"), sender=("@c@k", "y"))

    inbox = sorted_at(stored(started(), sent), [first, second])

    assert (1, 1, 0) == told(inbox)


# Events


def test_equal_events_of_different_times_are_two(
    running: Stored, event: Event, received: Receive
) -> None:
    """Raising the same event twice is twice an event."""
    raised = [event("EventRaised", Name="Go", Input="1") for _ in range(2)]

    inbox = sorted_at(running, [received(e, execution=None) for e in raised])

    assert (2, 0, 0) == told(inbox)


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        ("EventRaised", {"Name": "Go", "Input": "1"}),
        ("ExecutionTerminated", {"Input": "x"}),
        ("ExecutionSuspended", {"Reason": "x"}),
        ("ExecutionResumed", {"Reason": None}),
        ("GenericEvent", {"Data": "x"}),
    ],
)
def test_event_that_comes_again_is_dropped(
    running: Stored,
    event: Event,
    received: Receive,
    type_: str,
    fields: dict[str, Any],
) -> None:
    """The same bytes are the same message, delivered twice."""
    same = event(type_, **fields)

    inbox = sorted_at(running, [received(same), received(same)])

    assert (1, 1, 0) == told(inbox)


def test_events_are_taken_in_the_order_of_their_times(
    running: Stored, event: Event, received: Receive
) -> None:
    """Queues do not keep the order; timestamps do."""
    raised = [event("EventRaised", Name="Go", Input=text) for text in "123"]

    inbox = sorted_at(running, [received(e) for e in reversed(raised)])

    assert ["1", "2", "3"] == [e["Input"] for e in inbox.events()]


# Before the start


def test_event_for_nobody_is_dropped(event: Event, received: Receive) -> None:
    """An event for an instance that does not exist goes nowhere."""
    inbox = sorted_at(stored(), [received(event("EventRaised", Name="Go"))])

    assert DROPPED == told(inbox)
    assert ["EventRaised: there is no such instance"] == inbox.reasons


def test_event_before_the_start_of_a_pending_instance_waits(
    event: Event, received: Receive
) -> None:
    """The start is on its way: an event that was faster is not lost."""
    raised = received(event("EventRaised", Name="Go"))

    assert WAITS == told(sorted_at(stored(), [raised], is_pending=True))


@pytest.mark.parametrize(
    ("waited_ms", "tries", "expected"),
    [
        (LONGEST_WAIT_MS, 50, WAITS),
        (LONGEST_WAIT_MS * 100, ANSWERS_BEFORE_DROP, WAITS),
        (LONGEST_WAIT_MS + 1, ANSWERS_BEFORE_DROP + 1, DROPPED),
    ],
)
def test_answer_to_nobody_waits_a_while(
    event: Event,
    received: Receive,
    waited_ms: int,
    tries: int,
    expected: tuple[int, int, int],
) -> None:
    """The first checkpoint may be late; kills add tries, a night off adds age."""
    answer = event("TaskCompleted", TaskScheduledId=0)
    item = received(answer, dequeue_count=tries)
    now = plus_ms(answer.timestamp, waited_ms)

    assert expected == told(sorted_at(stored(), [item], now=now))


@pytest.mark.parametrize(
    ("waited_ms", "tries", "expected"),
    [
        (LONGEST_WAIT_MS, 50, WAITS),
        (LONGEST_WAIT_MS * 100, ANSWERS_BEFORE_DROP, WAITS),
        (LONGEST_WAIT_MS + 1, ANSWERS_BEFORE_DROP + 1, DROPPED),
    ],
)
def test_answer_without_its_question_waits_a_while(
    running: Stored,
    event: Event,
    received: Receive,
    waited_ms: int,
    tries: int,
    expected: tuple[int, int, int],
) -> None:
    """The turn that asks was undone by a crash, and comes again."""
    answer = event("TaskCompleted", TaskScheduledId=7)
    item = received(answer, dequeue_count=tries)
    now = plus_ms(answer.timestamp, waited_ms)

    assert expected == told(sorted_at(running, [item], now=now))


def test_event_beside_the_start_is_taken(
    event: Event, started: Event, received: Receive
) -> None:
    """A start and what came with it are one turn, the start first."""
    raised = event("EventRaised", Name="Go", at=EARLIER)

    inbox = sorted_at(stored(), [received(raised), received(started())])

    assert ["ExecutionStarted", "EventRaised"] == [e.type.name for e in inbox.events()]


def test_event_that_an_earlier_execution_took_is_dropped(
    event: Event, started: Event, received: Receive
) -> None:
    """The history that knew it is gone, its mark is not."""
    raised = event("EventRaised", Name="Go", Input="1")
    marks = tuple(marks_of([started(), raised]))
    history = replace(stored(started()), applied=marks)

    inbox = sorted_at(history, [received(raised, execution=None)])

    assert 2 == len(marks)
    assert DROPPED == told(inbox)


def test_start_that_an_earlier_execution_took_is_dropped(
    event: Event, started: Event, received: Receive
) -> None:
    """It was kept for what the first execution began, and has come again."""
    first = started()
    history = replace(
        stored(started(execution="e2")),
        execution_id="e2",
        applied=tuple(marks_of([first])),
    )

    inbox = sorted_at(history, [received(first)])

    assert DROPPED == told(inbox)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("TimerCreated", "TaskCompleted"),
        ("SubOrchestrationInstanceCreated", "TaskCompleted"),
        ("TaskScheduled", "SubOrchestrationInstanceCompleted"),
        ("TaskScheduled", "TimerFired"),
        ("TaskScheduled", "SubOrchestrationInstanceFailed"),
        ("EventSent", "TaskFailed"),
    ],
)
def test_answer_to_something_else_is_dropped(
    event: Event, started: Event, received: Receive, question: str, answer: str
) -> None:
    """The number is that of another kind: a turn of its own was undone by a crash."""
    asked = event(question, id_=0, Name="A", FireAt=LATER, InstanceId="c")
    field = "TimerId" if answer == "TimerFired" else "TaskScheduledId"
    answered = event(answer, FireAt=LATER, **{field: 0})

    inbox = sorted_at(stored(started(), asked), [received(answered)])

    assert DROPPED == told(inbox)


@pytest.mark.parametrize(
    ("asked_at", "answered_at", "expected"),
    [
        ("2026-11-22T03:00:00Z", LATER, TAKEN),
        ("2026-11-22T03:00:00.0001Z", LATER, TAKEN),  # the real host has two clocks
        ("2026-11-22T02:59:59Z", LATER, DROPPED),
        ("2026-11-22T03:00:01Z", LATER, DROPPED),
        (None, LATER, TAKEN),
        (None, "2026-11-22T02:59:59Z", DROPPED),
    ],
)
def test_activity_answers_the_very_scheduling(
    event: Event,
    started: Event,
    received: Receive,
    asked_at: str | None,
    answered_at: str,
    expected: tuple[int, int, int],
) -> None:
    """An answer that names no time cannot be older than what it answers."""
    scheduled = event("TaskScheduled", id_=0, Name="A")
    scheduled = replace(scheduled, timestamp="2026-11-22T03:00:00Z")
    completed = replace(
        event("TaskCompleted", TaskScheduledId=0, Result="1"), timestamp=answered_at
    )
    item = received(completed)
    assert item.message is not None
    item = replace(item, message=replace(item.message, asked_at=asked_at))

    inbox = sorted_at(stored(started(), scheduled), [item])

    assert expected == told(inbox)


@pytest.mark.parametrize(
    ("sender", "expected"), [("c", TAKEN), ("other", DROPPED), ("", TAKEN)]
)
def test_child_answers_for_itself(
    event: Event,
    started: Event,
    received: Receive,
    sender: str,
    expected: tuple[int, int, int],
) -> None:
    """Another child may have had the number in a turn that a crash undid."""
    created = event("SubOrchestrationInstanceCreated", id_=0, InstanceId="c")
    answer = event("SubOrchestrationInstanceCompleted", TaskScheduledId=0)

    inbox = sorted_at(
        stored(started(), created), [received(answer, sender=(sender, "x"))]
    )

    assert expected == told(inbox)


def test_timer_of_a_turn_that_a_crash_undid_is_dropped(
    event: Event, started: Event, received: Receive
) -> None:
    """The timer in the history has its number, and is due later."""
    created = event("TimerCreated", id_=0, FireAt=LATER)
    early, due = (
        received(event("TimerFired", TimerId=0, FireAt=at)) for at in (EARLIER, LATER)
    )

    inbox = sorted_at(stored(started(), created), [early, due])

    assert (1, 1, 0) == told(inbox)
    assert due in inbox.taken


# Starts


def test_start_that_comes_again_is_dropped(
    running: Stored, started: Event, received: Receive
) -> None:
    """The history of this execution has the start already."""
    assert DROPPED == told(sorted_at(running, [received(started())]))


def test_start_under_the_id_of_a_running_instance_takes_its_place(
    running: Stored, started: Event, received: Receive
) -> None:
    """A caller who may override, or a parent that gives the id, gets its execution."""
    start = received(started(execution="e2"), execution="e2")
    late = received(started(execution="e2"), execution="e2")

    assert (1, 1, 0) == told(sorted_at(running, [start, late]))


def test_child_that_went_on_under_a_new_execution_is_not_started_again(
    started: Event, received: Receive
) -> None:
    """The place in the parent tells that its start came before."""
    parent = {"Name": "P", "TaskScheduleId": 3}
    history = stored(started(execution="e2", ParentInstance=parent))
    again = received(started(execution="e1", ParentInstance=parent), execution="e1")

    assert DROPPED == told(sorted_at(history, [again]))


def test_start_over_an_ended_instance_is_taken(
    ended: Stored, event: Event, started: Event, received: Receive
) -> None:
    """A new execution begins, and nothing of the old one counts for it."""
    start = received(started(execution="e2"), execution="e2")
    answer = received(event("TaskCompleted", TaskScheduledId=0), execution="e2")

    assert (1, 0, 1) == told(sorted_at(ended, [answer, start]))


def test_two_starts_are_one(started: Event, received: Receive) -> None:
    """Of two deliveries of a start one is taken."""
    start = started()

    inbox = sorted_at(stored(), [received(start), received(start)])

    assert (1, 1, 0) == told(inbox)


# The row of a start


def row_of(
    *,
    execution: str | None = "e1",
    status: Status = Status.PENDING,
    created_at: str = EARLIER,
    generation: int = 0,
) -> Instance:
    """Return an instance's row."""
    return Instance(
        instance_id="i1",
        name="Orch",
        execution_id=execution,
        status=status,
        created_at=created_at,
        updated_at=created_at,
        generation=generation,
    )


@pytest.mark.parametrize(
    ("row", "dequeue_count", "expected"),
    [
        (row_of(), 1, "run"),
        (row_of(), STARTS_BEFORE_DROP, "run"),
        (row_of(execution=None), 1, "run"),
        (row_of(status=Status.RUNNING), 1, "run"),
        (None, 1, "later"),
        (None, STARTS_BEFORE_DROP - 1, "later"),
        (None, STARTS_BEFORE_DROP, "drop"),
        (row_of(execution="e0"), 1, "drop"),
        (row_of(execution="e0", created_at=LATER), 1, "later"),
        (row_of(execution="e0", created_at=LATER), 2, "drop"),
        (row_of(execution="e0", status=Status.RUNNING), 1, "later"),
        (row_of(execution="e0", status=Status.RUNNING), 2, "drop"),
        (row_of(execution="e0", generation=1), 1, "drop"),
    ],
)
def test_verdict_on_a_start(
    started: Event,
    received: Receive,
    row: Instance | None,
    dequeue_count: int,
    expected: str,
) -> None:
    """A start runs when the row is of its execution; the others wait or are deleted."""
    message = received(started()).message
    assert isinstance(message, TaskMessage)

    assert expected == verdict_on_start(message, row, dequeue_count)
