"""What ``delivery`` and ``durable`` ask of a task hub: its records, and who answers.

Everything that is kept comes through here as a record; no queue, row or blob is named.
Imports only words that all rooms share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from localhost.errors import HostError
from localhost.history import HistoryEvent, Status
from localhost.records import Instance, TaskMessage

LOCK_S = 5  # how soon a killed host's work returns; renewed at half of it


class LostHistoryError(HostError):
    """Another host wrote this instance's history first: this turn does not count."""


class UnreadableHistoryError(HostError):
    """A row of the History table is not one that Durable writes; the text says why."""


# Messages


@dataclass(kw_only=True, slots=True, eq=False)
class Lock:
    """By what a message is held: its pop receipt, valid until ``until_s``.

    ``until_s`` is a time of ``time.monotonic``. Both change with every renewal;
    ``guard`` lets a delete wait for a renewal on its way, which brings the receipt
    that the delete needs.
    """

    receipt: str
    until_s: float
    guard: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Received:
    """A message that lies in a queue and is held here by its ``lock``.

    ``message`` is None when ``text`` is no task message; ``fault`` then says why (a
    message that this process put has no ``text``). ``due_at_s`` is when it may be
    worked on (``time.monotonic``); ``blob`` names where its text is when it was too
    large for the queue.
    """

    queue: str
    message_id: str
    dequeue_count: int
    message: TaskMessage | None
    lock: Lock
    text: str = ""
    fault: str = ""
    due_at_s: float = 0.0
    blob: str | None = None


class Queues(Protocol):
    """The control queues and the work-item queue of one hub."""

    control: tuple[str, ...]
    work_items: str

    def control_queue_of(self, instance_id: str) -> str:
        """Return the control queue that carries an instance's messages."""

    def queue_for(self, message: TaskMessage) -> str:
        """Return where a message goes: activities to the work items."""

    async def put(
        self, queue: str, message: TaskMessage, *, hidden_s: int | None
    ) -> Received:
        """Put a message, hidden for some seconds or (None) visible at once."""

    async def get(self, queue: str, *, count: int, lock_s: int) -> list[Received]:
        """Take up to ``count`` (at most 32) visible messages, locked for ``lock_s``."""

    async def update(self, item: Received, hidden_s: int) -> bool:
        """Keep a message hidden for so long; False when it is no longer ours."""

    async def delete(self, item: Received) -> bool:
        """Delete a message; False when it was taken anew and is there still."""

    async def move(self, item: Received, queue: str) -> None:
        """Put the text of a message into another queue, then delete it here."""

    async def count(self, queue: str) -> int:
        """Return how many messages a queue holds, hidden ones too; roughly."""


# Histories and instances


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What this host notes beside a history, in the transaction that writes it.

    ``unsent`` are the numbers of what the execution has scheduled, and whose message
    was not known to lie in a queue when this was written; ``is_answer_unsent`` says so
    of the answer to the parent. ``outbox`` holds messages that the history does not
    tell of and that were not sent yet. ``custom_status`` is that of the last turn,
    JSON text or None.
    """

    unsent: frozenset[int] = frozenset()
    is_answer_unsent: bool = False
    outbox: tuple[TaskMessage, ...] = ()
    custom_status: str | None = None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An instance's history as it is kept; ``etag`` is that of its sentinel row.

    ``next_row`` is the place of the first row after it, which is not their number when
    a row is missing. ``applied`` are ids of what was applied already. ``notes`` is None
    when the last turn was written by somebody else, who sends before he writes.
    ``is_whole`` is False when a crash came between two transactions of a turn.
    """

    execution_id: str | None
    events: tuple[HistoryEvent, ...]
    etag: str | None
    next_row: int = 0
    applied: tuple[str, ...] = ()
    notes: Notes | None = None
    is_whole: bool = True


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a turn writes into its instance's history, all or nothing.

    ``events`` are written from row ``first_row`` on; ``etag`` is that of the sentinel
    on which the turn was decided (None: there is none yet). ``change`` is what the
    instance's row is to say then, None when that is nothing new.
    """

    instance_id: str
    execution_id: str
    events: Sequence[HistoryEvent]
    first_row: int
    etag: str | None
    change: InstanceChange | None
    notes: Notes = field(default_factory=Notes)
    applied: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class InstanceChange:
    """What a checkpoint says of its instance; None leaves the column as it is.

    ``started`` is the ExecutionStarted of a new execution: its name, input and times
    are written. ``custom_status`` None is written as the text ``null``.
    """

    execution_id: str
    updated_at: str
    custom_status: str | None
    started: HistoryEvent | None = None
    status: Status | None = None
    output: str | None = None
    completed_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which instances a list shows; None means any. Times are timestamp texts."""

    created_from: str | None = None
    created_to: str | None = None
    statuses: frozenset[Status] = frozenset()
    prefix: str | None = None
    page_size: int = 100
    after: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class InstancePage:
    """Instances of a list; ``next`` continues it, None at its end."""

    instances: list[Instance] = field(default_factory=list)
    next: tuple[str, str] | None = None


class Histories(Protocol):
    """The histories of one hub's instances."""

    async def load(self, instance_id: str) -> Stored:
        """Read an instance's history; one that is unknown has no events."""

    async def etag(self, instance_id: str) -> str | None:
        """Return the ETag of a history as it is now, None when there is none."""

    async def write(self, checkpoint: Checkpoint) -> tuple[str, InstanceChange | None]:
        """Write a checkpoint; return the new ETag and what the row is to say.

        Values that are too large are addresses there. Raises ``LostHistoryError``.
        """


class Instances(Protocol):
    """The rows of one hub's instances."""

    async def read(
        self, instance_id: str, *, with_input: bool = True, with_output: bool = True
    ) -> Instance | None:
        """Read one instance's row; large values are read from their blobs."""

    async def peek(self, instance_id: str) -> Instance | None:
        """Read one instance's row and nothing else: large values stay addresses."""

    async def change(
        self, instance_id: str, change: InstanceChange, *, over: Instance | None = None
    ) -> bool:
        """Merge columns into an instance's row, which is made when missing.

        Only into one that is as this process has written it, if it has, or as it was
        read (``over``); else False.
        """

    async def list(
        self, wanted: Filter, *, with_input: bool = True, with_output: bool = True
    ) -> InstancePage:
        """Return one page of the instances that a filter finds, by id."""


class Hub(Protocol):
    """One task hub."""

    @property
    def name(self) -> str:
        """Its name, as host.json says it."""

    @property
    def queues(self) -> Queues:
        """Its queues."""

    @property
    def histories(self) -> Histories:
        """Its histories."""

    @property
    def instances(self) -> Instances:
        """The rows of its instances."""

    async def status(
        self, instance_id: str, *, is_own: bool, with_input: bool = True
    ) -> Instance | None:
        """Return an instance as a status shows it, None when there is none.

        ``is_own``: only this process works on it, and may answer from what it wrote.
        """

    async def insert_start(
        self, item: Received, message: TaskMessage, *, over: Instance | None
    ) -> None:
        """Write the row of a start whose message has been put.

        ``over`` is the finished instance of the same id that it replaces. Raises
        ``ConflictError`` or ``PreconditionError`` when another start was first.
        """

    async def purge(self, instance_id: str) -> bool:
        """Delete all that is kept of an instance; False when there was no row."""

    async def rewind(self, row: Instance, message: TaskMessage) -> None:
        """Let a failed instance run again from what failed; ``message`` wakes it."""

    async def has_to_rewind(self, instance_id: str) -> bool:
        """Whether a rewind of an instance was cut short before all its children."""
