"""What this process has in hand beside messages of queues: work items and answers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TypeAlias

from localhost.records import TaskMessage
from localhost.taskhub.port import Received


@dataclass(kw_only=True, slots=True, eq=False)
class WorkItem:
    """An activity that this process works on.

    ``message`` is None when what lies in the queue cannot be read. ``received`` is its
    message in the work-item queue; None while there is none, because this process began
    the activity at once. ``is_over`` says that it is answered for
    good: the answer lies in a history or in a queue. ``guard`` keeps its message from
    being put and deleted at the same time.
    """

    message: TaskMessage | None
    received: Received | None = None
    is_over: bool = False
    began_s: float = field(default_factory=time.monotonic)
    guard: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def is_safe(self) -> bool:
        """Whether it is answered for good, or comes again if this process ends."""
        return self.is_over or self.received is not None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answer:
    """The answer of an activity in hand, on its way to an instance of this process.

    ``queue`` is the control queue whose owner works on that instance.
    """

    message: TaskMessage
    queue: str
    work_item: WorkItem
    dequeue_count: int = 1
    fault: str = ""
    due_at_s: float = 0.0

    @property
    def message_id(self) -> str:
        """What tells it from other messages in hand."""
        return f"answer {id(self)}"


# What waits for its turn in a control queue's lanes.
Control: TypeAlias = Received | Answer
