"""What the task hub asks of whoever works on a queue's messages in this process."""

from __future__ import annotations

from typing import Protocol

from localhost.taskhub.queues import Received


class Outlet(Protocol):
    """Who works on a queue's messages in this process."""

    def reserve(self, queue: str) -> bool:
        """Keep a place for a message that is about to be put, if it can begin now.

        ``offer`` takes the place; ``release`` gives it back when nothing comes.
        """

    def release(self, queue: str) -> None:
        """Give back a reserved place."""

    def announce(self, item: Received) -> None:
        """Hear of a message for which a place is kept, and which may soon begin."""

    def offer(self, item: Received) -> None:
        """Take a message that this process has put hidden, and so owns."""

    def hand_over(self, item: Received) -> None:
        """Take a work item that has become an answer; there is always room for one."""

    def look(self, queue: str) -> None:
        """Hear that an answer was stored: what held up the queue may be over."""

    def expect(self, queue: str, in_s: float) -> None:
        """Look at a queue in so many seconds: a message appears there then."""
