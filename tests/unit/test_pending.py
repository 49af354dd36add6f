"""Messages that may not have been sent: until when, and what is noted of them."""

from __future__ import annotations

import pytest

from localhost.delivery.messages import WorkItem
from localhost.durable.pending import ANSWER, Pending, PendingMessage, notes_of
from localhost.history import EventType, HistoryEvent
from localhost.records import TaskMessage
from localhost.taskhub.port import Lock, Notes, Received


def message(name: str = "A") -> TaskMessage:
    event = HistoryEvent(
        type=EventType.TaskScheduled, timestamp="", fields={"Name": name}
    )
    return TaskMessage(event=event, instance_id="i1", execution_id="e1")


def in_queue() -> Received:
    return Received(
        queue="workitems",
        message_id="m",
        dequeue_count=1,
        message=None,
        lock=Lock(receipt="r", until_s=0.0),
    )


@pytest.mark.parametrize(
    ("item", "is_settled"),
    [
        (WorkItem(message=message()), False),
        (WorkItem(message=message(), received=in_queue()), True),
        (WorkItem(message=message(), is_over=True), True),
    ],
)
def test_an_activity_that_was_begun_is_pending_until_it_is_safe(
    item: WorkItem, is_settled: bool
) -> None:
    """It lies in the queue, or is answered for good."""
    pending = Pending([PendingMessage(number=0, message=message(), work_item=item)])

    assert is_settled is (pending.left() == [])


def test_what_was_sent_or_answered_is_pending_no_more() -> None:
    """Whichever comes first."""
    sent, answered, left = (PendingMessage(number=n) for n in range(3))
    pending = Pending([sent, answered, left])

    sent.is_sent = True
    pending.answered(1)

    assert [left] == pending.left()


def test_what_was_read_may_have_been_sent() -> None:
    """Until a message comes again that the history knows."""
    notes = Notes(unsent=frozenset({2, 1}), is_answer_unsent=True, outbox=(message(),))
    pending = Pending.of(notes, is_unsure=True)

    assert [None, 1, 2, ANSWER] == [each.number for each in pending.left()]
    assert [] == pending.certain()
    pending.make_sure()
    assert pending.left() == pending.certain()
    assert not pending.is_unsure


def test_notes_tell_numbers_answer_and_messages() -> None:
    """A message with a number is made again from a replay."""
    notes = notes_of(
        [
            PendingMessage(number=4, message=message()),
            PendingMessage(number=ANSWER, message=message()),
            PendingMessage(number=None, message=message("B")),
        ],
        custom_status="1",
    )

    assert (
        Notes(
            unsent=frozenset({4}),
            is_answer_unsent=True,
            outbox=(message("B"),),
            custom_status="1",
        )
        == notes
    )


def test_what_is_pending_outlives_its_history() -> None:
    """An execution that follows has other numbers: messages are kept as such."""
    item = WorkItem(message=message())
    pending = Pending(
        [
            PendingMessage(number=0, message=message("A"), work_item=item),
            PendingMessage(number=1, is_unsure=True),
            PendingMessage(number=2),
        ]
    )

    first, second = pending.after({1: message("B")})

    assert (None, "A", item) == (first.number, _name(first), first.work_item)
    assert (None, "B", True) == (second.number, _name(second), second.is_unsure)


def _name(pending: PendingMessage) -> str:
    assert pending.message is not None
    return str(pending.message.event["Name"])
