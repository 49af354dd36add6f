"""Messages that cannot be worked on, now or ever: put off, or moved out of the way."""

from __future__ import annotations

import logging

from localhost.delivery.sender import Sender
from localhost.taskhub.port import Received

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 600
TRIES = 5  # of a message that nobody can read


async def put_off(
    sender: Sender,
    item: Received,
    reason: str,
    *,
    longest_s: int = LONGEST_PAUSE_S,
    level: int = logging.WARNING,
) -> None:
    """Give a message back for a while that doubles with every try."""
    pause_s = min(2 ** min(item.dequeue_count, 20), longest_s)
    log.log(
        level,
        "%s: put off for %d s a message of %s (try %d): %s",
        item.message.instance_id if item.message else item.message_id,
        pause_s,
        item.queue,
        item.dequeue_count,
        reason,
    )
    await sender.abandon(item, pause_s)


async def refuse(sender: Sender, item: Received, reason: str) -> None:
    """Put off a message that nobody can work on; after some tries, move it away.

    The tries are for a blob that comes late, or a host that knows more than this one.
    """
    if item.dequeue_count < TRIES:
        return await put_off(sender, item, reason, level=logging.DEBUG)
    log.warning(
        "A message of %s is none to work on; moved to %s after %d tries: %s",
        item.queue,
        await sender.poison(item),
        item.dequeue_count,
        reason,
    )
