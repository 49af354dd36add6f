"""Messages that a history says were sent, until each of them surely was; pure.

A turn is written before anything of it leaves. Until its messages lie in queues, or are
answered, this is where they are known; beside the history stands which they are (see
``Notes``), so that whoever goes on after a crash can send them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from localhost.delivery.messages import WorkItem
from localhost.history import EventType
from localhost.records import TaskMessage
from localhost.taskhub.port import Notes

ANSWER = -1  # in place of a number: the answer to the parent


@dataclass(kw_only=True, eq=False, slots=True)
class PendingMessage:
    """A message that may not have been sent.

    ``number`` is that of the event which scheduled it, ``ANSWER``, or None for what no
    event of the history tells of. ``message`` is None as long as it must be made from a
    replay. ``work_item`` is the activity that was begun without a message.
    ``is_unsure`` says that it may have been sent after this was noted.
    """

    number: int | None
    message: TaskMessage | None = None
    work_item: WorkItem | None = None
    is_sent: bool = False
    is_answered: bool = False
    is_unsure: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether it lies in a queue, or nobody needs it any more."""
        is_safe = self.work_item is not None and self.work_item.is_safe
        return self.is_sent or self.is_answered or is_safe


class Pending:
    """The pending messages of one instance, in the order in which they are to leave.

    ``is_unsure`` says that the history was read from the storage: what was pending at
    its last write may have been sent since, and the row may be behind it. Nobody knows
    until a message comes again that the history has taken.
    """

    def __init__(
        self, messages: Iterable[PendingMessage] = (), *, is_unsure: bool = False
    ) -> None:
        self._messages = list(messages)
        self.is_unsure = is_unsure

    @classmethod
    def of(cls, notes: Notes | None, *, is_unsure: bool) -> Pending:
        """Read them from what was noted with the last write."""
        if notes is None:
            return cls(is_unsure=is_unsure)
        numbers = [*sorted(notes.unsent), *([ANSWER] if notes.is_answer_unsent else [])]
        return cls(
            (
                *(
                    PendingMessage(number=None, message=message, is_unsure=True)
                    for message in notes.outbox
                ),
                *(PendingMessage(number=number, is_unsure=True) for number in numbers),
            ),
            is_unsure=is_unsure,
        )

    def left(self) -> list[PendingMessage]:
        """Return what is pending still; the rest is forgotten."""
        self._messages = [each for each in self._messages if not each.is_settled]
        return list(self._messages)

    def certain(self) -> list[PendingMessage]:
        """Return what surely was not sent yet."""
        return [each for each in self.left() if not each.is_unsure]

    def to_be_sent_before(
        self, messages: Iterable[PendingMessage]
    ) -> list[PendingMessage]:
        """Return events that may be unsent, to receivers of some newer events.

        What one instance tells another keeps its order; who has them knows them.
        """
        receivers = {_receiver_of(each) for each in messages} - {None}
        return [
            each
            for each in self.left()
            if each.is_unsure and _receiver_of(each) in receivers
        ]

    def make_sure(self) -> None:
        """Know from now on that what is pending was not sent."""
        self.is_unsure = False
        for each in self._messages:
            each.is_unsure = False

    def add(self, messages: Iterable[PendingMessage]) -> None:
        """Add messages of a turn that was written."""
        self._messages.extend(messages)

    def answered(self, number: int) -> None:
        """Take note that what has a number is answered in the history."""
        for each in self._messages:
            if each.number == number:
                each.is_answered = True

    def unmade(self) -> list[int]:
        """Return the numbers whose messages must be made from a replay."""
        return [
            each.number
            for each in self.left()
            if each.message is None and each.number is not None and each.number >= 0
        ]

    def make(self, made: Mapping[int, TaskMessage]) -> None:
        """Give messages their texts, as far as these are made."""
        for each in self.left():
            if each.message is None and each.number is not None:
                each.message = made.get(each.number)

    def drop_unmade(self) -> None:
        """Forget messages that no replay could make."""
        self._messages = [m for m in self._messages if m.message is not None]

    def after(self, made: Mapping[int, TaskMessage]) -> list[PendingMessage]:
        """Return what is pending still once the history's events are gone.

        No number tells of it any more; ``made`` are the messages of some numbers.
        """
        kept = []
        for each in self.left():
            message = each.message
            if message is None and each.number is not None:
                message = made.get(each.number)
            if message is not None:
                kept.append(
                    PendingMessage(
                        number=None,
                        message=message,
                        work_item=each.work_item,
                        is_unsure=each.is_unsure,
                    )
                )
        return kept


def pending_of(
    outbox: Mapping[int, TaskMessage], answer: TaskMessage | None
) -> list[PendingMessage]:
    """Return what a turn sends, in order: by number, then the answer to the parent."""
    messages = [
        PendingMessage(number=number, message=message)
        for number, message in outbox.items()
    ]
    if answer is not None:
        messages.append(PendingMessage(number=ANSWER, message=answer))
    return messages


def without_numbers(messages: Iterable[PendingMessage]) -> list[PendingMessage]:
    """Return messages of an execution whose events are about to be forgotten."""
    return [PendingMessage(number=None, message=each.message) for each in messages]


def _receiver_of(pending: PendingMessage) -> str | None:
    """Return who gets an event; None for other messages, which have no order."""
    message = pending.message
    if message is None or message.event.type is not EventType.EventRaised:
        return None
    return message.instance_id


def notes_of(messages: Iterable[PendingMessage], *, custom_status: str | None) -> Notes:
    """Return what is to be noted of pending messages beside the history."""
    messages = list(messages)
    numbers = {m.number for m in messages if m.number is not None}
    return Notes(
        unsent=frozenset(numbers - {ANSWER}),
        is_answer_unsent=ANSWER in numbers,
        outbox=tuple(
            m.message for m in messages if m.number is None and m.message is not None
        ),
        custom_status=custom_status,
    )
