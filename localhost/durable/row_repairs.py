"""The row of an instance, written anew: after a crash, or when nothing else helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from localhost.delivery.messages import Control
from localhost.durable.commit import Commits
from localhost.durable.history_cache import (
    InstanceHistory,
    change_of,
    start_of,
    status_of,
    was_suspended,
    without_large_input,
)
from localhost.history import EventType, HistoryEvent, Status
from localhost.records import Instance
from localhost.taskhub.port import Hub, InstanceChange


class RowRepairs:
    """Writes rows that do not say what they should; ``now`` gives timestamps."""

    def __init__(self, hub: Hub, commits: Commits, *, now: Callable[[], str]) -> None:
        self._hub = hub
        self._commits = commits
        self._now = now

    async def repair(self, history: InstanceHistory, custom_status: str | None) -> None:
        """Let a row follow a history that was written just before a crash.

        The row of an instance that was started again meanwhile is left alone.
        """
        await self._commits.until_written(history.instance_id)
        row = await self._hub.instances.peek(history.instance_id)
        if row is not None and not _is_behind(row, history, custom_status):
            return
        started = start_of((), history)
        if row is not None:
            started = without_large_input(started)
        change = change_of(
            history.events,
            started=started,
            execution_id=started["OrchestrationInstance"]["ExecutionId"],
            custom_status=custom_status,
            was_suspended=was_suspended(history.events),
            now=self._now(),
        )
        await self._hub.instances.change(history.instance_id, change, over=row)

    async def end(self, instance_id: str, items: Sequence[Control], error: str) -> None:
        """Let the row of an instance say that it has ended, whatever its history is."""
        row = await self._hub.instances.peek(instance_id)
        if row is None or row.status.is_terminal:
            return
        now = self._now()
        change = InstanceChange(
            execution_id=row.execution_id or "",
            updated_at=now,
            custom_status=row.custom_status,
            status=Status.FAILED,
            output=error,
            completed_at=now,
        )
        for item in items:
            event = item.message.event if item.message else None
            if event is not None and event.type is EventType.ExecutionTerminated:
                reason = event["Input"]
                change = replace(change, status=Status.TERMINATED, output=reason)
        await self._hub.instances.change(instance_id, change, over=row)


def _is_behind(
    row: Instance, history: InstanceHistory, custom_status: str | None
) -> bool:
    """Whether a row does not say what the history says.

    A row that is Pending under another execution is that of a start which is still to
    come; one of an instance that was rewound waits for the turn which does it.
    """
    if row.status is Status.PENDING:
        if row.execution_id != history.execution_id:
            return False
        if _is_just_rewound(history.events):
            return False
    if not row.name:
        return True
    return (row.execution_id, row.status, row.custom_status) != (
        history.execution_id,
        status_of(history.events),
        custom_status,
    )


def _is_just_rewound(events: Sequence[HistoryEvent]) -> bool:
    """Whether the end of an execution was rewound, and no turn has followed.

    What took the place of the end has its number; what wakes an instance has none.
    """
    for event in reversed(events):
        if event.type is EventType.OrchestratorStarted:
            return False
        if event.type is EventType.GenericEvent and event.event_id >= 0:
            return True
    return False
