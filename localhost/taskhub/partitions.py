"""Which host works on which control queue: carries out what ``leases`` decides.

Pass after pass the rows of the Partitions table are read, renewed, claimed or given up,
and the host is told which queues it owns.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from localhost.compat import timeout
from localhost.crashpoints import crash_point
from localhost.errors import (
    ConflictError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from localhost.taskhub.leases import RENEW_AFTER_MS, Lease, decide
from localhost.taskhub.neighbours import Neighbours
from localhost.taskhub.tables import Row, Table
from localhost.timestamps import plus_ms

log = logging.getLogger(__name__)

PASS_S = 4.0
BUSY_PASS_S = 1.0  # while draining, or waiting for a partition that another gives up
LEAVING_PASS_S = 0.2
SHARED_PASS_S = 2.0  # while other hosts are there, of which one may go
WATCH_S = 1.0
LET_GO_BEFORE_MS = 2_000  # before a lease ends that was not renewed


class Partitions:
    """Owns control queues for this host and says which ones.

    ``listen`` is told of each queue that comes, and whether its last owner may have
    been killed; ``unlisten`` of each that goes, and whether another host may work on it
    already; ``others`` whether there are other hosts. ``drained`` is asked whether a
    queue that is to go has nothing in work. ``worker_id`` must be the host's own: two
    with the same id both believe they own the same queues.
    """

    def __init__(
        self,
        table: Table,
        *,
        hub: str,
        worker_id: str,
        now: Callable[[], str],
        listen: Callable[[str, bool], None],
        unlisten: Callable[[str, bool], None],
        drained: Callable[[str], bool],
        others: Callable[[bool], None],
    ) -> None:
        self._table = table
        self._me = worker_id
        self._now = now
        self._listen, self._unlisten, self._drained = listen, unlisten, drained
        self._others = others
        self._queues: Sequence[str] = ()
        self._owned: dict[str, Lease] = {}
        self._neighbours = Neighbours(hub=hub, me=worker_id)
        self._has_left = False
        self._renew_after_ms = 0  # what an earlier life of this host left is renewed

    async def create(self, queues: Sequence[str]) -> None:
        """Make the table and a row for each control queue where there is none."""
        self._queues = queues
        await self._table.create()
        await asyncio.gather(*(self._create_row(queue) for queue in queues))

    async def run(self, stop: asyncio.Event) -> None:
        """Claim, renew and share until ``stop`` is set; then give up what is drained.

        Ends when nothing is owned any more, or the storage was given up.
        """
        self._watch()
        try:
            while not self._has_left:
                is_stopping = stop.is_set()
                is_waiting = await self.step(is_stopping=is_stopping)
                self._has_left = is_stopping and not is_waiting
                if is_stopping:
                    await asyncio.sleep(LEAVING_PASS_S if is_waiting else 0)
                else:
                    await self._rest(stop, is_waiting)
        except UnavailableError:
            return
        finally:
            self._watching.cancel()

    async def step(self, *, is_stopping: bool = False) -> bool:
        """Make one pass; True when the next one should follow soon."""
        leases = [Lease.from_row(row) for row in await self._rows()]
        mine = {x.queue for x in leases if self._is_mine(x) and not is_stopping}
        lost = {x.queue for x in leases if x.owner != self._me}
        self._release(self._owned.keys() - mine, lost)
        writes = decide(
            leases,
            me=self._me,
            now=self._now(),
            drained={
                lease.queue
                for lease in leases
                if lease.queue not in mine and self._drained(lease.queue)
            },
            is_stopping=is_stopping,
            renew_after_ms=self._renew_after_ms,
        )
        results = await asyncio.gather(*(self._write(wish) for wish in writes))
        self._renew_after_ms = RENEW_AFTER_MS
        written = [x for x, is_done in zip(writes, results, strict=True) if is_done]
        now_are = {lease.queue: lease for lease in (*leases, *written)}.values()
        crash_point("after a claim of partitions")
        if is_stopping:
            return not all(results) or any(x.owner == self._me for x in now_are)
        before = {lease.queue: lease for lease in leases}
        self._take_over(now_are, before)
        return not all(results) or any(self._is_on_its_way(x) for x in now_are)

    async def _rows(self) -> list[Row]:
        """Read all rows; those that an Azurite which was killed forgot are made."""
        rows = await self._table.query_all()
        if {row["RowKey"] for row in rows}.issuperset(self._queues):
            return rows
        await self.create(self._queues)
        return await self._table.query_all()

    async def release(self) -> None:
        """Give up what ``run`` has not; the pumps must have let go of it before."""
        if not self._has_left:
            await self.step(is_stopping=True)

    async def _rest(self, stop: asyncio.Event, is_waiting: bool) -> None:
        """Wait until the next pass is due, or until ``stop`` is set."""
        pause_s = SHARED_PASS_S if self._neighbours.are_there else PASS_S
        with contextlib.suppress(asyncio.TimeoutError):
            async with timeout(BUSY_PASS_S if is_waiting else pause_s):
                await stop.wait()

    def _is_mine(self, lease: Lease) -> bool:
        """Whether this host may take messages of a queue."""
        is_asked_for = lease.next_owner is not None or lease.is_draining
        return lease.owner == self._me and not is_asked_for

    def _is_on_its_way(self, lease: Lease) -> bool:
        """Whether a queue comes to this host, or goes from it, once it is drained."""
        is_leaving = lease.owner == self._me and lease.is_draining
        return is_leaving or lease.next_owner == self._me

    def _take_over(
        self, leases: Collection[Lease], before: Mapping[str, Lease]
    ) -> None:
        """Take messages of what is ours now, and of nothing else.

        ``before`` are the rows as they were read before this pass.
        """
        now = self._now()
        mine = {
            lease.queue: lease
            for lease in leases
            if self._is_mine(lease) and not lease.is_expired(now)
        }
        lost = {lease.queue for lease in leases if lease.owner != self._me}
        self._release(self._owned.keys() - mine.keys(), lost)
        for note in self._neighbours.look(list(leases), now):
            log.log(note.level, "%s", note.text)
        self._others(self._neighbours.are_there)
        for queue in sorted(mine.keys() - self._owned.keys()):
            earlier = before.get(queue)
            # An owner that ends in order, or hands a queue over, gives its row up.
            self._listen(queue, earlier is not None and earlier.owner is not None)
        self._owned = mine

    def _release(self, queues: Iterable[str], lost: Collection[str]) -> None:
        for queue in sorted(queues):
            del self._owned[queue]
            self._unlisten(queue, queue in lost)

    def _watch(self) -> None:
        """Let go of what could not be renewed before others may claim it.

        A callback and not a task: in a process that stood still it comes before any
        task that would take a message.
        """
        soon = plus_ms(self._now(), LET_GO_BEFORE_MS)
        late = [queue for queue, x in self._owned.items() if x.is_expired(soon)]
        if late:
            log.debug("not renewed in time: %s", ", ".join(late))
        self._release(late, late)
        self._watching = asyncio.get_running_loop().call_later(WATCH_S, self._watch)

    async def _create_row(self, queue: str) -> None:
        try:
            await self._table.insert("", queue, {"IsDraining": False})
        except ConflictError:
            pass

    async def _write(self, lease: Lease) -> bool:
        try:
            await self._table.put("", lease.queue, lease.to_row(), if_match=lease.etag)
        except (PreconditionError, NotFoundError):
            return False
        return True
