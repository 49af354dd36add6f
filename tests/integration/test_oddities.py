"""What should not lie in a hub: each ends in a defined way and disturbs nobody.

Messages that nobody can work on, that come twice, from nowhere or for nobody, and rows
that do not fit. All are put by the Azure SDK into the hub of one host; after each, an
instance of the same control queue completes within two seconds.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from azure.storage.queue import QueueServiceClient

from localhost.durable.inbox import ANSWERS_BEFORE_DROP
from tests.acceptance.asking import wait_for
from tests.conftest import Emulator
from tests.integration.conftest import EXECUTION, Judge
from tests.integration.hosted import (
    Hosted,
    answer,
    envelope,
    go,
    history_of_waiting,
    hosts_on,
    make_hub,
    row_of,
    start_on,
    types_in_history,
)

pytestmark = pytest.mark.timeout(60)

LIMIT_S = 10.0
MOST_REQUESTS_PER_S = 200.0  # hundreds of messages come back by and by
IDLE_S = 1.5
LAST_TRY = 5
MANY = 100  # more than the host keeps in memory
POISON_LINE = "is none to work on; moved to "
WAITS = {
    "OrchestrationInstance": {"InstanceId": "x", "ExecutionId": EXECUTION},
    "EventType": 0,
    "Name": "WaitsForGo",
    "Version": "",
}
WRAPPER = {"TaskMessage": None, "CompressedBlobName": "odd/message.json.gz"}
DEEP = '{"TaskMessage":' * 3_000
# What nobody can work on, by the queue that it lies in.
POISON = {
    "control-00": {
        "no JSON": "{no JSON",
        "neither JSON nor Base64": "no message",
        "Base64 of no text": base64.b64encode(b"\xff\xfe\x00").decode(),
        "Base64 of no JSON": base64.b64encode(b"nothing").decode(),
        "to be escaped in XML": "<&>\"'\r\n ]]>",
        "too deep": DEEP,
        "a number too large": go("x").replace('"EventId":-1', '"EventId":1e999'),
    },
    "control-01": {
        "an unknown event type": envelope({"EventType": 21}, "x"),
        "an event without a class": envelope({"EventType": 2}, "x"),
        "an event that is never sent": envelope({"EventType": 12}, "x"),
        "a work item": envelope({"EventType": 4, "Name": "Hello", "EventId": 0}, "x"),
    },
    "control-02": {
        "a timer at no time": envelope({"EventType": 11, "FireAt": "soon"}, "x"),
        "a signal at no time": envelope({"EventType": 15, "Name": "op@soon"}, "@c@x"),
        "an event of no time": envelope({**WAITS, "Timestamp": "?"}, "x", EXECUTION),
        "an answer to no number": envelope({"EventType": 5}, "x"),
    },
    "control-03": {
        "a start of no execution": envelope({"EventType": 0, "Name": "x"}, "x"),
        "a start of no function": envelope({**WAITS, "Name": None}, "x", EXECUTION),
        "a start of no input": envelope({**WAITS, "Input": [1]}, "x", EXECUTION),
        "a child of nobody": envelope({**WAITS, "ParentInstance": {}}, "x", EXECUTION),
        "a blob that is not there": envelope({}, "x", **WRAPPER),
    },
    "workitems": {
        "no message": "neither",
        "an answer": answer("x", EXECUTION, 0),
    },
}
GHOST = envelope(WAITS, "ghost", EXECUTION)
LATE_ANSWER = answer("nobody", EXECUTION, 0, at="2026-11-22T04:28:42.5Z")


@pytest.fixture(scope="module")
def hub_name() -> str:
    """One hub for all: an oddity must not disturb the next one either."""
    return f"Odd{time.monotonic_ns()}"


@pytest.fixture(scope="module", name="hosted")
def _hosted(
    emulator: Emulator, hub_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosted]:
    """A host on a hub in which some messages have been tried in vain before."""
    make_hub(emulator, hub_name)
    text = emulator.connection_string
    with QueueServiceClient.from_connection_string(text) as queues:
        low = hub_name.lower()
        try_in_vain(queues, f"{low}-control-03", [GHOST], 5)
        try_in_vain(queues, f"{low}-control-01", [LATE_ANSWER], ANSWERS_BEFORE_DROP)
        for queue, texts in POISON.items():
            messages = list(texts.values())
            try_in_vain(queues, f"{low}-{queue}", messages, LAST_TRY - 1)
    with hosts_on(tmp_path_factory.mktemp("odd")) as hosts:
        yield start_on(hosts, emulator, hub_name)


def try_in_vain(
    queues: QueueServiceClient, queue: str, texts: Sequence[str], times: int
) -> None:
    """Put messages, then take all of the queue and give them back."""
    client = queues.get_queue_client(queue)
    for text in texts:
        client.send_message(text, time_to_live=-1)
    for _ in range(times):
        for taken in list(client.receive_messages(visibility_timeout=30)):
            client.update_message(taken, visibility_timeout=0)


def queue_with(hosted: Hosted, kind: str) -> str:
    return f"{hosted.hub.lower()}-{kind}"


def wait_for_count(judge: Judge, queue: str, count: int = 0) -> None:
    """Wait until a queue holds no more than what others have left in it."""
    wait_for(
        lambda: judge.count(queue) <= count, f"{count} in {queue}", limit_s=LIMIT_S
    )


# What nobody can work on


@pytest.mark.parametrize("kind", POISON)
def test_what_nobody_can_work_on_is_moved_at_the_fifth_try(
    hosted: Hosted, judge: Judge, kind: str
) -> None:
    """To a queue of its own, to the letter, with one line for each."""
    queue = queue_with(hosted, kind)
    poison, count = f"{queue}-poison", len(POISON[kind])
    told = f"{POISON_LINE}{poison}"

    wait_for(
        lambda: hosted.host.text().count(told) == count, f"{count} lines", limit_s=5
    )
    wait_for_count(judge, queue)

    assert sorted(POISON[kind].values()) == sorted(judge.visible(poison))
    assert hosted.runs_a_neighbour_of("x")


def test_what_was_tried_often_enough_is_dropped(hosted: Hosted, judge: Judge) -> None:
    """A start without a row at the tenth try, an old answer to nobody at the 21st."""
    wait_for_count(judge, queue_with(hosted, "control-03"))
    wait_for_count(judge, queue_with(hosted, "control-01"))

    for instance_id in ("ghost", "nobody"):
        assert hosted.status(instance_id) is None
        assert [] == judge.rows("History", instance_id)


def test_what_cannot_be_read_is_put_off_without_a_line(
    hosted: Hosted, judge: Judge
) -> None:
    """Its first tries: it stays in its queue, hidden for 2, 4, 8 and 16 s."""
    queue = hosted.queue_of("x")
    judge.put(queue, "not yet readable")

    wait_for(lambda: not judge.visible(queue), "it to be taken", limit_s=LIMIT_S)

    assert hosted.runs_a_neighbour_of("x")
    assert 1 == judge.count(queue)
    assert "not yet readable" not in hosted.host.text()
    assert "put off" not in hosted.host.text()


# Messages for nobody


@pytest.mark.parametrize(
    "event",
    [
        {"EventType": 15, "Name": "Go", "Input": "1"},
        {"EventType": 3, "Input": "terminated"},
        {"EventType": 19, "Reason": "suspended"},
        {"EventType": 20, "Reason": "resumed"},
        {"EventType": 17, "Data": "rewound"},
    ],
)
def test_an_event_for_an_unknown_instance_is_dropped(
    hosted: Hosted, judge: Judge, event: dict[str, Any]
) -> None:
    """It makes neither a row nor a history."""
    queue = hosted.queue_of("unknown")
    others = judge.count(queue)
    judge.put(queue, envelope(event, "unknown"))

    wait_for_count(judge, queue, others)

    assert hosted.runs_a_neighbour_of("unknown")
    assert hosted.status("unknown") is None
    assert [] == judge.rows("History", "unknown")


def test_answers_to_an_unknown_instance_take_nobodys_place(
    hosted: Hosted, judge: Judge
) -> None:
    """They are put off for ten minutes, as a start may be on its way."""
    queue = hosted.queue_of("no-one")
    others = judge.count(queue)
    for task_id in range(MANY):
        judge.put(queue, answer("no-one", EXECUTION, task_id))

    assert hosted.runs_a_neighbour_of("no-one")
    assert MANY + others >= judge.count(queue) >= MANY


def test_messages_for_a_purged_instance_take_nobodys_place(
    hosted: Hosted, judge: Judge
) -> None:
    """Its answers go the way of those for an instance that never was."""
    execution_id = hosted.start_waiting(judge, "purged")
    assert 200 == hosted.ask("DELETE", "instances/purged").status
    queue = hosted.queue_of("purged")
    others = judge.count(queue)
    for task_id in range(MANY):
        judge.put(queue, answer("purged", execution_id, task_id))
    judge.put(queue, go("purged"))

    wait_for_count(judge, queue, others + MANY)

    assert hosted.runs_a_neighbour_of("purged")
    assert hosted.status("purged") is None
    assert [] == judge.rows("History", "purged")


def test_a_message_that_is_no_request_leaves_its_entity_alone(
    hosted: Hosted, judge: Judge
) -> None:
    """It is dropped with a line; the requests beside it are applied."""
    entity_id, queue = "@counter@odd", hosted.queue_of("@counter@odd")
    fine = {"op": "add", "signal": True, "input": '"5"', "id": "1"}
    for id_, request in {
        "@odd": {**fine, "id": "2"},
        entity_id: {**fine, "id": "3", "Timestamp": "?"},
    }.items():
        event = {"EventType": 15, "Name": "op", "Input": json.dumps(request)}
        judge.put(hosted.queue_of(id_), envelope(event, id_))
    judge.put(queue, envelope(WAITS, entity_id, EXECUTION))
    event = {"EventType": 15, "Name": "op", "Input": json.dumps(fine)}
    judge.put(queue, envelope(event, entity_id))

    def state() -> Any:
        return hosted.ask("GET", "entities/counter/odd").text

    wait_for(lambda: state() == "5", "the request to be applied", limit_s=LIMIT_S)
    line = "dropped a message that is no request"
    wait_for(lambda: hosted.host.text().count(line) == 3, line, limit_s=LIMIT_S)
    assert hosted.runs_a_neighbour_of(entity_id)


# Messages that come twice, too early, or that nobody asked for


def test_what_comes_twice_is_dropped(hosted: Hosted, judge: Judge) -> None:
    """A start, an answer and an event: each is in the history once."""
    execution_id = hosted.start_waiting(judge, "twice")
    queue = hosted.queue_of("twice")
    others = judge.count(queue)
    target = {"InstanceId": "twice", "ExecutionId": execution_id}
    start = {**WAITS, "OrchestrationInstance": target}
    for text in (
        envelope(start, "twice", execution_id),
        answer("twice", execution_id, 0),
        go("twice"),
        go("twice"),
    ):
        judge.put(queue, text)

    assert ["Hello Tokyo!", 1] == hosted.end_of("twice")["output"]

    judge.put(queue, envelope(start, "twice", execution_id))
    wait_for_count(judge, queue, others)
    assert hosted.runs_a_neighbour_of("twice")
    types = types_in_history(judge, "twice")
    once = ("ExecutionStarted", "TaskCompleted", "EventRaised", "ExecutionCompleted")
    assert [1] * 4 == [types.count(type_) for type_ in once]


def test_answers_that_nobody_asked_for_take_nobodys_place(
    hosted: Hosted, judge: Judge
) -> None:
    """Some wait in memory, the rest is put off; none gets into the history."""
    execution_id = hosted.start_waiting(judge, "asked")
    queue = hosted.queue_of("asked")
    for task_id in range(1, 1 + MANY):
        judge.put(queue, answer("asked", execution_id, task_id))
    assert hosted.runs_a_neighbour_of("asked")

    judge.put(queue, go("asked"))

    assert ["Hello Tokyo!", 1] == hosted.end_of("asked")["output"]
    assert 1 == types_in_history(judge, "asked").count("TaskCompleted")


def test_an_answer_may_overtake_its_question(hosted: Hosted, judge: Judge) -> None:
    """It waits for the turn that asks; the activity's own answer is the duplicate."""
    hosted.start("GoThenHello", "early")
    wait_for(
        lambda: "OrchestratorCompleted" in types_in_history(judge, "early"),
        "its first turn",
        limit_s=LIMIT_S,
    )
    execution_id = judge.rows("History", "early")[0]["ExecutionId"]
    queue = hosted.queue_of("early")

    judge.put(queue, answer("early", execution_id, 0))
    wait_for(lambda: not judge.visible(queue), "it to be taken", limit_s=LIMIT_S)
    judge.put(queue, go("early"))

    assert hosted.end_of("early")["output"] in ("odd", "Hello Tokyo!")
    assert 1 == types_in_history(judge, "early").count("TaskCompleted")
    assert hosted.runs_a_neighbour_of("early")


# Rows that do not fit


def test_a_pending_row_without_a_message_stays_until_it_is_purged(
    hosted: Hosted, judge: Judge
) -> None:
    """Nobody will start it; its id is taken meanwhile."""
    judge.write("Instances", row_of("pending", EXECUTION, "Pending"))

    assert hosted.runs_a_neighbour_of("pending")
    assert "Pending" == hosted.status("pending")["runtimeStatus"]
    assert 200 == hosted.ask("DELETE", "instances/pending").status
    assert hosted.status("pending") is None


def test_a_history_without_a_row_gets_one(hosted: Hosted, judge: Judge) -> None:
    """Written anew from the history at the next turn."""
    for row in history_of_waiting("rowless", EXECUTION):
        judge.write("History", row)

    judge.put(hosted.queue_of("rowless"), go("rowless"))

    status = hosted.end_of("rowless")
    assert ("WaitsForGo", "in") == (status["name"], status["input"])
    assert ["Hello Tokyo!", 1] == status["output"]
    assert "2026-11-22T04:28:42Z" == status["createdTime"]


def start_with_a_hole(
    hosted: Hosted, judge: Judge, missing: str, prefix: str = "without"
) -> str:
    """Write an instance of which one row is not there; raise what it waits for."""
    instance_id = f"{prefix}-{missing}"
    judge.write("Instances", row_of(instance_id, EXECUTION, "Running"))
    rows = history_of_waiting(instance_id, EXECUTION)
    hole = [row.get("EventType") for row in rows].index(missing)
    for row in rows[:hole] + rows[hole + 1 :]:
        judge.write("History", row)
    judge.put(hosted.queue_of(instance_id), go(instance_id))
    return instance_id


@pytest.mark.parametrize(
    "missing", ["OrchestratorStarted", "TaskScheduled", "OrchestratorCompleted"]
)
def test_a_history_without_a_row_that_says_little_is_finished(
    hosted: Hosted, judge: Judge, missing: str
) -> None:
    """What was scheduled is scheduled again; its answer is there already."""
    instance_id = start_with_a_hole(hosted, judge, missing)

    assert ["Hello Tokyo!", 1] == hosted.end_of(instance_id)["output"]
    assert hosted.runs_a_neighbour_of(instance_id)


def test_no_row_is_written_over_when_one_before_it_is_missing(
    hosted: Hosted, judge: Judge
) -> None:
    """What follows is written behind the last row that is there."""
    instance_id = start_with_a_hole(
        hosted, judge, "OrchestratorStarted", "kept-without"
    )
    before = {
        r["RowKey"]: r.get("EventType") for r in judge.rows("History", instance_id)
    }
    hosted.end_of(instance_id)
    after = {
        r["RowKey"]: r.get("EventType") for r in judge.rows("History", instance_id)
    }

    assert before.items() <= after.items()


def test_a_history_without_an_answer_waits_for_it(hosted: Hosted, judge: Judge) -> None:
    """As for an activity that still runs; the instance can be terminated."""
    instance_id = start_with_a_hole(hosted, judge, "TaskCompleted")
    wait_for(
        lambda: "EventRaised" in types_in_history(judge, instance_id),
        "its turn",
        limit_s=LIMIT_S,
    )

    assert hosted.runs_a_neighbour_of(instance_id)
    assert "Running" == hosted.status(instance_id)["runtimeStatus"]
    assert 202 == hosted.ask("POST", f"instances/{instance_id}/terminate").status
    assert "Terminated" == hosted.end_of(instance_id)["runtimeStatus"]


def test_a_history_without_its_start_is_of_no_instance(
    hosted: Hosted, judge: Judge
) -> None:
    """What comes for it is dropped, and it stays as it is until it is purged."""
    queue = hosted.queue_of("without-ExecutionStarted")
    others = judge.count(queue)
    instance_id = start_with_a_hole(hosted, judge, "ExecutionStarted")

    wait_for_count(judge, queue, others)

    assert hosted.runs_a_neighbour_of(instance_id)
    assert "Running" == hosted.status(instance_id)["runtimeStatus"]
    assert 200 == hosted.ask("DELETE", f"instances/{instance_id}").status
    assert [] == judge.rows("History", instance_id)


def write_unreadable(hosted: Hosted, judge: Judge, instance_id: str) -> None:
    """Write an instance that waits, with a row in its history that none can read."""
    judge.write("Instances", row_of(instance_id, EXECUTION, "Running"))
    for row in history_of_waiting(instance_id, EXECUTION):
        is_odd = row.get("EventType") == "TaskCompleted"
        judge.write("History", row | {"EventType": "Odd"} if is_odd else row)


def test_a_history_that_cannot_be_read_fails_its_instance(
    hosted: Hosted, judge: Judge
) -> None:
    """At the first message, with a sentence that names the row."""
    write_unreadable(hosted, judge, "unreadable")
    judge.put(hosted.queue_of("unreadable"), go("unreadable"))

    status = hosted.end_of("unreadable")

    assert "Failed" == status["runtimeStatus"]
    assert "row unreadable/0000000000000005 of the history" in status["output"]
    wait_for_count(judge, hosted.queue_of("unreadable"))
    assert hosted.runs_a_neighbour_of("unreadable")


def test_what_cannot_be_read_can_be_terminated_and_purged(
    hosted: Hosted, judge: Judge
) -> None:
    """Nothing of it is left."""
    write_unreadable(hosted, judge, "unreadable-too")
    path = "instances/unreadable-too"

    assert 202 == hosted.ask("POST", f"{path}/terminate?reason=enough").status
    status = hosted.end_of("unreadable-too")
    assert ("Terminated", "enough") == (status["runtimeStatus"], status["output"])
    assert 200 == hosted.ask("DELETE", path).status
    assert hosted.status("unreadable-too") is None
    assert [] == judge.rows("History", "unreadable-too")


# What lies long


def test_a_message_that_is_hidden_for_long_is_waited_for(
    hosted: Hosted, judge: Judge
) -> None:
    """Whoever took it may still have it; its instance waits and can be asked."""
    hosted.start_waiting(judge, "hidden")
    queue = hosted.queue_of("hidden")
    others = judge.count(queue)

    judge.put(queue, go("hidden"), hidden_s=3600)

    assert hosted.runs_a_neighbour_of("hidden")
    assert judge.count(queue) == others + 1
    assert "Running" == hosted.status("hidden")["runtimeStatus"]


def test_a_message_may_be_hidden_for_longer_than_a_host_lives(
    hosted: Hosted, judge: Judge
) -> None:
    """The next host takes it when its time has come."""
    hosted.start_waiting(judge, "outlived")
    judge.put(hosted.queue_of("outlived"), go("outlived"), hidden_s=3)

    assert 0 == hosted.host.stop()
    following = replace(hosted, host=hosted.hosts.restart(hosted.host))

    assert ["Hello Tokyo!", 1] == following.end_of("outlived")["output"]
    assert following.host.stop() == 0


def test_what_lies_about_keeps_no_host_busy(
    hosted: Hosted, judge: Judge, emulator: Emulator
) -> None:
    """With all that the tests above have left, a host asks little of its storage."""
    following = replace(hosted, host=hosted.hosts.restart(hosted.host))
    assert following.runs_a_neighbour_of("x")
    before = lines_in(emulator)

    time.sleep(IDLE_S)  # what is counted is what happens when nothing is asked

    assert lines_in(emulator) - before < MOST_REQUESTS_PER_S * IDLE_S
    assert following.runs_a_neighbour_of("asked")


def lines_in(emulator: Emulator) -> int:
    """How many requests Azurite has written down."""
    return emulator.log.read_bytes().count(b"\n")
