"""Messages in hand: known by their ids, their locks renewed until they are released."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict

from localhost.errors import StorageError, UnavailableError
from localhost.taskhub.port import LOCK_S, Queues, Received

log = logging.getLogger(__name__)

# Messages are looked over this often, and renewed when half of the lock has gone.
RENEWAL_PASS_S = LOCK_S / 6
ANSWERED_LOCK_S = 20  # of a work item whose answer waits for a long history's write
RENEWED_AT_ONCE = 20  # thousands of them are in no hurry
MOST_FINISHED = 10_000


class Locks:
    """The messages that this process has in hand, and those that it has finished.

    A message comes again when every thread stood still and its lock ended, or when it
    was being received at the moment in which it was deleted. One in hand only brings
    its new pop receipt then; one that is finished is deleted with it.
    """

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._held: dict[str, tuple[Received, float]] = {}
        self._answered: set[str] = set()
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._renewing = asyncio.Semaphore(RENEWED_AT_ONCE)

    def __contains__(self, item: Received) -> bool:
        known = self._held.get(item.message_id)
        return known is not None and known[0] is item

    def has_any_of(self, queue: str) -> bool:
        """Whether a message of a queue is in hand."""
        return any(item.queue == queue for item, _ in self._held.values())

    def hold(self, item: Received) -> None:
        """Keep a message, and renew its lock from now on."""
        self._held[item.message_id] = (item, time.monotonic())

    def receive(self, item: Received) -> bool:
        """Take a message from a queue; True when it is new here.

        One that is in hand gives its lock to the copy that is here.
        """
        known = self._held.get(item.message_id)
        if known is not None:
            held = known[0].lock
            held.receipt, held.until_s = item.lock.receipt, item.lock.until_s
            return False
        if item.message_id in self._finished:
            return False
        self.hold(item)
        return True

    def is_finished(self, item: Received) -> bool:
        """Whether a message was finished here: it is to be deleted when it comes."""
        return item.message_id in self._finished

    def release(self, item: Received) -> None:
        """Renew the lock of a message no longer: it is finished, or given back."""
        self._held.pop(item.message_id, None)
        self._answered.discard(item.message_id)

    def lengthen(self, item: Received) -> None:
        """Renew the lock of a work item more seldom: its answer is here already."""
        self._answered.add(item.message_id)

    def finish(self, item: Received) -> None:
        """Know a message from now on as one that is to be deleted."""
        self.release(item)
        self._finished[item.message_id] = None
        if len(self._finished) > MOST_FINISHED:
            self._finished.popitem(last=False)

    def deleted(self, item: Received) -> None:
        """Forget a message that is in its queue no longer."""
        self._finished.pop(item.message_id, None)

    def held_s(self, item: Received) -> float:
        """Return for how many seconds a message has been in hand."""
        known = self._held.get(item.message_id)
        return 0.0 if known is None else time.monotonic() - known[1]

    async def run(self) -> None:
        """Renew the lock of everything in hand in good time, for ever."""
        while True:
            await asyncio.sleep(RENEWAL_PASS_S)
            await self.renew_due()

    async def renew_due(self) -> None:
        """Renew every lock that ends within half of ``LOCK_S``."""
        soon_s = time.monotonic() + LOCK_S / 2
        due = [i for i, _ in self._held.values() if i.lock.until_s <= soon_s]
        await asyncio.gather(*(self._renew(item) for item in due))

    async def _renew(self, item: Received) -> None:
        async with self._renewing:
            if item not in self:
                return
            is_answered = item.message_id in self._answered
            lock_s = ANSWERED_LOCK_S if is_answered else LOCK_S
            try:
                is_ours = await self._queues.update(item, lock_s)
            except UnavailableError:
                return
            except StorageError as exc:
                log.error("a lock of %s was not renewed: %s", item.queue, exc)
                return
            except Exception:
                log.exception("a lock of %s was not renewed", item.queue)
                return
        if not is_ours and item in self:
            log.debug("a message of %s was taken anew", item.queue)
