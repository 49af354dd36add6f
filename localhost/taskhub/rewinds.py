"""What a rewind changes in the rows of a history; pure."""

from __future__ import annotations

from collections.abc import Sequence

from localhost.history import EventType, Status
from localhost.taskhub.tables import Row


def rewound(found: Sequence[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """Return the rows of a history that a rewind changes, and children to rewind.

    Those are the ones that failed, and ``left_to_rewind``. What failed becomes a
    GenericEvent, which a replay ignores; so does the schedule of a failed activity,
    which is thereby scheduled again. A child runs again itself.
    """
    current = _current(found)
    schedules = {
        (r.get("EventType"), r.get("EventId")): r
        for r in current
        if r.get("EventType") in ("TaskScheduled", "SubOrchestrationInstanceCreated")
    }
    changed: dict[str, Row] = {}
    children = left_to_rewind(found)
    for row in current:
        kind = row.get("EventType")
        schedule = None
        if kind == "TaskFailed":
            schedule = schedules.get(("TaskScheduled", row.get("TaskScheduledId")))
        elif kind == "SubOrchestrationInstanceFailed":
            created = "SubOrchestrationInstanceCreated"
            child = schedules.get((created, row.get("TaskScheduledId")))
            if child is not None:
                changed[child["RowKey"]] = {**child, "Reason": f"Rewound: {created}"}
                children.append(child["InstanceId"])
        elif row.get("OrchestrationStatus") != Status.FAILED.value:
            continue
        for failed in filter(None, (schedule, row)):
            changed[failed["RowKey"]] = {
                **failed,
                "Reason": f"Rewound: {failed['EventType']}",
                "EventType": EventType.GenericEvent.name,
            }
    return list(changed.values()), tuple(children)


def left_to_rewind(found: Sequence[Row]) -> list[str]:
    """Return the children of an earlier rewind that have not answered since.

    A crash may have cut it short before they were rewound.
    """
    current = _current(found)
    answered = {
        row.get("TaskScheduledId")
        for row in current
        if str(row.get("EventType")).startswith("SubOrchestrationInstance")
    }
    return [
        row["InstanceId"]
        for row in current
        if row.get("EventType") == "SubOrchestrationInstanceCreated"
        and str(row.get("Reason")).startswith("Rewound: ")
        and row.get("EventId") not in answered
    ]


def _current(found: Sequence[Row]) -> list[Row]:
    """Return the rows of the latest execution."""
    started = [r for r in found if r.get("EventType") == "OrchestratorStarted"]
    execution_id = started[-1]["ExecutionId"] if started else None
    return [r for r in found if r.get("ExecutionId") == execution_id]
