"""Requests to an entity: which are due, which wait, which came before."""

from __future__ import annotations

import json
from typing import Any

from localhost.durable.entity_state import Entity, Request, in_order
from localhost.history import EventType, HistoryEvent
from localhost.records import TaskMessage
from localhost.taskhub.port import Lock, Received

NEVER = "0001-01-01T00:00:00"


def second(number: int) -> str:
    return NEVER if number == 0 else f"2026-11-22T04:00:{number:02}"


def request(id_: str, sent: int, after: int = 0, execution: str = "first") -> Request:
    """A request of the orchestration ``caller``; times are seconds, 0 is never."""
    wire: dict[str, Any] = {
        "op": "add",
        "id": id_,
        "parent": "caller",
        "parentExecution": execution,
        "Timestamp": second(sent),
        "Predecessor": second(after),
    }
    event = HistoryEvent(
        type=EventType.EventRaised,
        timestamp=second(sent),
        fields={"Name": "op", "Input": json.dumps(wire)},
    )
    message = TaskMessage(event=event, instance_id="@counter@k", execution_id=None)
    item = Received(
        queue="q",
        message_id=id_,
        dequeue_count=1,
        message=message,
        lock=Lock(receipt="", until_s=0),
    )
    found = Request.of(item, message)
    assert found is not None
    return found


def told_apart(entity: Entity, *requests: Request) -> list[list[str]]:
    """The ids of what is due, what waits and what came before."""
    due, waiting, duplicates = in_order(entity, requests)
    for each in (*duplicates, *due):
        entity.note(each)
    return [[each.id for each in part] for part in (due, waiting, duplicates)]


def test_requests_of_one_sender_are_due_in_their_order() -> None:
    """In whichever order they come."""
    entity = Entity()

    found = told_apart(entity, request("b", 2, after=1), request("a", 1))

    assert [["a", "b"], [], []] == found


def test_a_request_waits_for_the_one_before_it() -> None:
    """It is due with that."""
    entity = Entity()

    assert [[], ["b"], []] == told_apart(entity, request("b", 2, after=1))
    assert [["a", "b"], [], []] == told_apart(
        entity, request("b", 2, after=1), request("a", 1)
    )


def test_a_request_that_comes_again_is_known() -> None:
    """As is that of a client, which has no order."""
    entity = Entity()
    told_apart(entity, request("a", 1), request("b", 2, after=1))

    assert [["c"], [], ["a"]] == told_apart(
        entity, request("a", 1), request("c", 3, after=2)
    )


def test_what_comes_again_of_an_earlier_execution_holds_nothing_up() -> None:
    """Its sender has continued as new, and its requests begin anew."""
    entity = Entity()
    told_apart(entity, request("a", 1), request("b", 2, after=1))
    told_apart(entity, request("c", 3, execution="second"))

    assert [[], [], ["a"]] == told_apart(entity, request("a", 1))
    assert [["d"], [], []] == told_apart(
        entity, request("d", 4, after=3, execution="second")
    )
