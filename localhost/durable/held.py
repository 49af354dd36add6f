"""Messages in hand: known by their ids, their locks renewed until they are let go."""

from __future__ import annotations

import asyncio
import logging
import time

from localhost.errors import StorageError
from localhost.taskhub.hub import LOCK_S, Received, TaskHub

log = logging.getLogger(__name__)

# Messages are looked over this often, and renewed when half of the lock has gone.
RENEWAL_PASS_S = LOCK_S / 6


class Held:
    """The messages that one pump has in hand."""

    def __init__(self, hub: TaskHub) -> None:
        self._hub = hub
        self._items: dict[str, Received] = {}
        self._since_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: Received) -> bool:
        return self._items.get(item.message_id) is item

    def has_any_of(self, queue: str) -> bool:
        """Whether a message of a queue is in hand."""
        return any(item.lane_queue == queue for item in self._items.values())

    def take(self, item: Received) -> bool:
        """Take a message; one that is in hand only gets its new pop receipt (False)."""
        known = self._items.get(item.message_id)
        if known is not None:
            known.pop_receipt = item.pop_receipt
            known.locked_until_s = item.locked_until_s
            return False
        self._items[item.message_id] = item
        self._since_s[item.message_id] = time.monotonic()
        return True

    def let_go(self, item: Received) -> None:
        """Forget a message that was worked on or given back."""
        self._items.pop(item.message_id, None)
        self._since_s.pop(item.message_id, None)

    def let_go_all(self) -> list[Received]:
        """Forget all messages and return them."""
        rest = list(self._items.values())
        self._items.clear()
        self._since_s.clear()
        return rest

    def held_s(self, item: Received) -> float:
        """Return for how many seconds a message has been in hand."""
        return time.monotonic() - self._since_s.get(item.message_id, time.monotonic())

    async def renew_due(self) -> None:
        """Renew every lock that ends within half of ``LOCK_S``."""
        soon_s = time.monotonic() + LOCK_S / 2
        due = [i for i in self._items.values() if i.locked_until_s <= soon_s]
        await asyncio.gather(*(self._renew(item) for item in due))

    async def _renew(self, item: Received) -> None:
        try:
            is_ours = await self._hub.renew(item)
        except StorageError as exc:
            log.error("a lock of %s was not renewed: %s", item.queue, exc)
            return
        except Exception:
            log.exception("a lock of %s was not renewed", item.queue)
            return
        if not is_ours and item in self:
            log.debug("a message of %s was taken by another", item.queue)
