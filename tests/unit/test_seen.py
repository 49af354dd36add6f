"""What a history says of the messages that may still come."""

from __future__ import annotations

from localhost.durable.seen import Seen
from localhost.history import EventType, HistoryEvent
from localhost.records import TaskMessage

FAILED_AT, AGAIN_AT = "2026-11-22T04:00:01Z", "2026-11-22T04:00:09Z"


def event(
    type_: EventType, at: str, number: int = -1, **fields: object
) -> HistoryEvent:
    return HistoryEvent(type=type_, timestamp=at, event_id=number, fields=fields)


def failure(at: str) -> TaskMessage:
    """The answer of the child that was created under number 0."""
    failed = EventType.SubOrchestrationInstanceFailed
    return TaskMessage(
        event=event(failed, at, TaskScheduledId=0, Reason="boom"),
        instance_id="parent",
        execution_id="e",
        sender=("child", "c"),
    )


def test_the_failure_of_a_child_that_was_rewound_is_no_answer() -> None:
    """It may come again after a crash; how the child ends then is still to come."""
    created = EventType.SubOrchestrationInstanceCreated
    seen = Seen.of(
        [
            event(created, "2026-11-22T04:00:00Z", 0, InstanceId="child"),
            event(EventType.GenericEvent, FAILED_AT),
        ]
    )

    assert seen.is_of_another(failure(FAILED_AT))
    assert seen.branch().is_of_another(failure(FAILED_AT))
    assert not seen.is_of_another(failure(AGAIN_AT))
