"""What the real host wrote: ours must read it, and write the same bytes.

A line of ``tests/data/storage`` is one storage request of the real host, with messages
and rows decoded. Rows and messages are compared column by column, in order.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from localhost.durable.activities import answer_of
from localhost.durable.execution import Rules
from localhost.durable.history_cache import change_of
from localhost.durable.outbox import Sender
from localhost.durable.sdk import state_of
from localhost.durable.turn import decide
from localhost.history import SCHEDULES, EventType, HistoryEvent
from localhost.outcome import Outcome, Raised, Returned
from localhost.records import TaskMessage
from localhost.taskhub import rows
from localhost.taskhub.queues import blob_named_in, message_blob_name
from localhost.text import dumps
from localhost.timestamps import trimmed

DATA = Path(__file__).parents[1] / "data"
HUB = "PatternsHub"
# What our rows do not say by themselves: names of blobs that hold large values.
_BLOB_COLUMNS = {"ResultBlobName"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One recorded request; ``place`` is file and milliseconds."""

    place: str
    request: dict[str, Any]

    @property
    def message(self) -> dict[str, Any] | None:
        """The task message that was put, unless it only names a blob."""
        message = self.request.get("message")
        return message if message and message["TaskMessage"] else None

    @property
    def text(self) -> str:
        """The message's JSON as it travels."""
        return dumps(self.request["message"])

    @property
    def partition(self) -> str:
        """The PartitionKey of the rows that were written."""
        first = self.request["rows"][0]["entity"] if self.is_batch else None
        return _key("PartitionKey", first or self.request["path"])

    @property
    def is_batch(self) -> bool:
        """Whether a history was written."""
        is_batch: bool = self.request["op"] == "batch"
        return is_batch and self.request["rows"][0]["method"] != "DELETE"

    @property
    def is_start(self) -> bool:
        """Whether a client wrote the row of a new instance."""
        is_insert = self.request.get("path") == f"{HUB}Instances()"
        return bool(is_insert and self.request["op"] == "POST")

    @property
    def is_change(self) -> bool:
        """Whether a checkpoint changed the row of an instance."""
        path, op = self.request.get("path", ""), self.request["op"]
        return (
            path.startswith(f"{HUB}Instances(PartitionKey")
            and op == "POST"
            and "if-match" not in self.request["headers"]  # a rewind, by the client
        )

    @property
    def event_rows(self) -> list[dict[str, Any]]:
        """The rows of events that were written."""
        written = [row["properties"] for row in self.request["rows"]]
        return [properties for properties in written if "EventType" in properties]


def _key(name: str, entity: str) -> str:
    found = re.search(f"{name}='(.*?)'", entity)
    return found[1] if found else ""


def _lines() -> Iterator[Line]:
    for path in sorted((DATA / "storage").glob("*.jsonl")):
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines()):
            request = json.loads(text)
            yield Line(place=f"{path.name[:2]}-{number}", request=request)


LINES = list(_lines())


def _params(lines: list[Line]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("line", [pytest.param(x, id=x.place) for x in lines])


MESSAGES = [line for line in LINES if line.message]
BATCHES = [line for line in LINES if line.is_batch]
REWOUND = [
    line.request["body"]
    for line in LINES
    if line.request.get("path", "").startswith(f"{HUB}History(")
    and line.request["op"] == "PUT"
]


def test_every_recording_is_read() -> None:
    """All files are there, with the requests that the tests below are about."""
    event_rows = sum(len(line.event_rows) for line in BATCHES)

    assert 32 == len(list((DATA / "storage").glob("*.jsonl")))
    assert (119, 77) == (len(MESSAGES), len(BATCHES))
    assert (309, 3) == (event_rows, len(REWOUND))


# Messages


@_params(MESSAGES)
def test_message_is_written_as_it_was_read(line: Line) -> None:
    """A message that was read is written with the same members in the same order."""
    envelope = line.message or {}
    written = TaskMessage.from_json(line.text).to_json(
        activity_id=envelope["ActivityId"], sequence_number=envelope["SequenceNumber"]
    )

    assert line.text == written


@pytest.mark.parametrize(
    "wrapper",
    [
        pytest.param(line.request["message"], id=line.place)
        for line in LINES
        if line.request.get("message") and not line.message
    ],
)
def test_wrapper_of_a_large_message_names_its_blob(wrapper: dict[str, Any]) -> None:
    """What travels for a message that was too large says where it is."""
    name = blob_named_in(dumps(wrapper))

    assert wrapper["CompressedBlobName"] == name
    assert name is not None and name.endswith("-TaskCompleted.json.gz")


def test_blob_of_a_large_message_is_named_alike() -> None:
    """A message's blob is in the instance's folder, under the activity id."""
    wrapper = next(
        line.request["message"]
        for line in LINES
        if line.request.get("message") and not line.message
    )
    folder, _, file = wrapper["CompressedBlobName"].partition("/")
    event = HistoryEvent(type=EventType.TaskCompleted, timestamp="2026-11-22T04:00:00Z")
    message = TaskMessage(event=event, instance_id=folder, execution_id=None)
    digits = file.split("-")[1]
    activity_id = "-".join(
        (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    )

    assert wrapper["CompressedBlobName"] == message_blob_name(message, activity_id)


# Rows of the history


@_params(BATCHES)
def test_event_rows_are_written_as_they_were_read(line: Line) -> None:
    """A row that was read is written with the same columns, values and types."""
    written = [
        rows.row_of_event(rows.event_of_row(row), row["ExecutionId"])
        for row in line.event_rows
    ]

    expected = [_without_blobs(row) for row in line.event_rows]
    assert [_typed(row) for row in expected] == [_typed(row) for row in written]


def _without_blobs(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in _BLOB_COLUMNS}


def _typed(row: dict[str, Any]) -> dict[str, tuple[type, Any]]:
    """Return columns with their types, for which True is 1 otherwise."""
    return {name: (type(value), value) for name, value in row.items()}


@_params(BATCHES)
def test_sentinel_row_is_as_recorded(line: Line) -> None:
    """The last row of every transaction guards it with the same columns."""
    sentinel = line.request["rows"][-1]["properties"]
    completed_at = trimmed(sentinel["CheckpointCompletedTimestamp"])

    written = rows.sentinel_row(sentinel["ExecutionId"], completed_at, is_complete=True)

    keys = {"PartitionKey", "RowKey"}
    assert {k: v for k, v in sentinel.items() if k not in keys} == written


@_params(BATCHES)
def test_row_keys_count_on(line: Line) -> None:
    """RowKeys are the events' places in their execution, in sixteen digits."""
    keys = [_key("RowKey", row["entity"]) for row in line.request["rows"][:-1]]
    first = int(keys[0], 16)

    assert keys == [rows.row_key(first + place) for place in range(len(keys))]


@pytest.mark.parametrize("row", REWOUND)
def test_rewound_row_is_a_generic_event(row: dict[str, Any]) -> None:
    """What a rewind leaves of a row says nothing but its number."""
    event = rows.event_of_row(row)

    assert EventType.GenericEvent is event.type
    assert (row["EventId"], {}) == (event.event_id, event.fields)


# Rows of instances


def _starts() -> Iterator[Any]:
    """Yield the row of each start with the message that was put before it."""
    messages = {}
    for line in LINES:
        if line.message:
            message = TaskMessage.from_json(line.text)
            messages[message.instance_id, message.event.type] = message.event
        elif line.is_start:
            body = dict(line.request["body"])
            key = body.pop("PartitionKey")
            assert body.pop("RowKey") == ""
            started = messages[rows.id_of(key), EventType.ExecutionStarted]
            yield pytest.param(started, body, id=line.place)


@pytest.mark.parametrize(("started", "body"), list(_starts()))
def test_row_of_a_start_is_as_recorded(
    started: HistoryEvent, body: dict[str, Any]
) -> None:
    """A client writes the same columns, in order, for the message it has put."""
    written = rows.row_of_start(
        started,
        trimmed(body["LastUpdatedTime"]),
        hub=HUB,
        input_=started["Input"],
    )

    assert list(body.items()) == list(written.items())


def _changes() -> Iterator[Any]:
    """Yield what each checkpoint merged, with the events that it had written."""
    written = {}
    for line in LINES:
        if line.is_batch:
            written[line.partition] = [rows.event_of_row(r) for r in line.event_rows]
        elif line.is_change:
            events = written.pop(line.partition)
            if not _has_output_in_blob(events):
                yield pytest.param(events, line.request["body"], id=line.place)


def _has_output_in_blob(events: list[HistoryEvent]) -> bool:
    """Whether an output went into a blob, of which only the storage room knows."""
    completed = [e for e in events if e.type is EventType.ExecutionCompleted]
    return any(event["Result"] == "" for event in completed)


@pytest.mark.parametrize(("events", "body"), list(_changes()))
def test_change_of_a_checkpoint_is_as_recorded(
    events: list[HistoryEvent], body: dict[str, Any]
) -> None:
    """A checkpoint merges the columns that its events say, in order."""
    custom_status = body["CustomStatus"]
    change = change_of(
        events,
        started=next((e for e in events if e.type is EventType.ExecutionStarted), None),
        execution_id=body["ExecutionId"],
        custom_status=None if custom_status == "null" else custom_status,
        now=trimmed(body.get("CompletedTime", "")),
    )

    assert list(body.items()) == list(rows.row_of_change(change).items())


@_params([line for line in LINES if line.is_change])
def test_instance_is_read_from_a_checkpoint(line: Line) -> None:
    """A row that the real host wrote is read as the instance that it tells of."""
    body = line.request["body"]

    instance = rows.instance_of_row({**body, "PartitionKey": line.partition})

    assert rows.id_of(line.partition) == instance.instance_id
    assert body.get("RuntimeStatus", "Pending") == instance.status.value
    assert (body.get("Input"), body.get("Output")) == (instance.input, instance.output)


# Messages of a turn


# Scenarios whose orchestrators returned what the recorded turns of that name did.
_SAME_CODE_AND_INPUT = {
    *("01", "03", "04", "05", "06", "11", "12", "13", "14", "15", "16"),
    *("17", "21", "22", "26"),
}
_FIRE_AT = re.compile(r'(?<="fireAt":")[^"]*')


def _states() -> dict[tuple[str, int], tuple[str, str]]:
    """Return states by name and length of the history, with their instance's id."""
    states = {}
    for path in (DATA / "turns").glob("*.jsonl"):
        for text in filter(None, path.read_text(encoding="utf-8").splitlines()):
            turn = json.loads(text)
            if turn["returned"] is not None:
                place = path.stem, len(turn["received"]["history"])
                states[place] = (
                    turn["received"]["instanceId"],
                    dumps(turn["returned"]),
                )
    return states


def _checkpoints() -> Iterator[Any]:
    """Yield what a turn began from, its state and the messages that it sent."""
    states = _states()
    history: dict[str, list[HistoryEvent]] = defaultdict(list)
    sent: dict[str, list[str]] = defaultdict(list)
    for line in LINES:
        if line.message and not _is_answer_of_activity(line.message):
            sent[line.message["Sender"]["InstanceId"]].append(line.text)
        elif line.is_batch and not line.partition.startswith("@"):
            events = [rows.event_of_row(row) for row in line.event_rows]
            past, new = history[line.partition], _came_in(events)
            history[line.partition] = past + events
            name = _started([*past, *new])["Name"] if past or len(new) > 1 else ""
            state = states.get((name, len(past) + len(new)))
            texts = sent.pop(line.partition, [])
            if line.place[:2] in _SAME_CODE_AND_INPUT and state is not None:
                text = _fitted(state, line.partition, events)
                yield pytest.param(past, new, text, texts, id=f"{line.place}-{name}")


def _is_answer_of_activity(message: dict[str, Any]) -> bool:
    """Whether an activity sent it, which does so in the name of its instance."""
    return message["TaskMessage"]["Event"]["EventType"] in {
        EventType.TaskCompleted,
        EventType.TaskFailed,
    }


def _fitted(state: tuple[str, str], instance: str, events: list[HistoryEvent]) -> str:
    """Return a state with the instance's id and times put where the recorded were."""
    recorded_instance, text = state
    fire_at = [e["FireAt"] for e in events if e.type is EventType.TimerCreated]
    text = text.replace(recorded_instance, instance)
    return _FIRE_AT.sub(fire_at[0], text) if fire_at else text


def _came_in(events: list[HistoryEvent]) -> list[HistoryEvent]:
    """Return the events with which a turn began, as they were before it."""
    own = {*SCHEDULES, EventType.OrchestratorCompleted, EventType.ExecutionCompleted}
    end = next(place for place, event in enumerate(events) if event.type in own)
    return [replace(event, is_played=False) for event in events[:end]]


def _started(events: list[HistoryEvent]) -> HistoryEvent:
    return next(e for e in events if e.type is EventType.ExecutionStarted)


def _comparable(text: str) -> str:
    """Return a message without what every run gives anew."""
    envelope = json.loads(text)
    envelope["ActivityId"], envelope["SequenceNumber"] = "", 0
    message = envelope["TaskMessage"]
    message["Event"]["Timestamp"] = ""
    if message["Event"]["EventType"] == EventType.ExecutionStarted:
        message["OrchestrationInstance"]["ExecutionId"] = ""
        message["Event"]["OrchestrationInstance"]["ExecutionId"] = ""
    return dumps(envelope)


CHECKPOINTS = list(_checkpoints())


def test_checkpoints_of_many_scenarios_are_compared() -> None:
    """More than forty turns have states that apply."""
    assert len(CHECKPOINTS) == 46


@pytest.mark.parametrize(("past", "new", "state", "texts"), CHECKPOINTS)
def test_turn_sends_the_recorded_messages(
    past: list[HistoryEvent], new: list[HistoryEvent], state: str, texts: list[str]
) -> None:
    """A turn's messages are the same JSON: activities, timers, children, answers."""
    target = _started([*past, *new])["OrchestrationInstance"]
    begun = [e for e in [*past, *new] if e.type is EventType.OrchestratorStarted]
    turn = decide(
        past=past,
        new=new,
        state=state_of(Returned(value=state)),
        rules=Rules(unknown=lambda kind, name: None),
        sender=Sender(
            instance_id=target["InstanceId"],
            execution_id=target["ExecutionId"],
            episode=len(begun),
        ),
        now="2026-11-22T05:00:00Z",
    )
    sent = [m.to_json(activity_id="", sequence_number=0) for m in turn.messages]

    assert [_comparable(text) for text in texts] == [_comparable(t) for t in sent]


# Answers of activities


def _answered() -> Iterator[Any]:
    """Yield the messages of a work item and of its answer."""
    asked: dict[tuple[str, str, int], str] = {}
    for line in LINES:
        if not line.message:
            continue
        event = line.message["TaskMessage"]["Event"]
        target = line.message["TaskMessage"]["OrchestrationInstance"]
        key = (target["InstanceId"], target["ExecutionId"])
        if event["EventType"] == EventType.TaskScheduled:
            asked[(*key, event["EventId"])] = line.text
        elif _is_answer_of_activity(line.message):
            question = asked.get((*key, event["TaskScheduledId"]))
            if question is not None:
                yield pytest.param(question, line.text, id=line.place)


ANSWERS = list(_answered())


def test_many_answers_are_compared() -> None:
    """Those whose question is in a recording too."""
    assert len(ANSWERS) == 37


@pytest.mark.parametrize(("asked", "expected"), ANSWERS)
def test_answer_of_an_activity_is_as_recorded(asked: str, expected: str) -> None:
    """Envelope and event; what a failure says in .NET's words has its own tests."""
    recorded = TaskMessage.from_json(expected).event
    outcome: Outcome = Returned(value=recorded["Result"])
    if recorded.type is EventType.TaskFailed:
        outcome = Raised(type_name="ValueError", message="", traceback="")
    answer = answer_of(
        outcome, TaskMessage.from_json(asked), now="2026-11-22T05:00:00Z"
    )
    if recorded.type is EventType.TaskFailed:
        texts = {name: recorded[name] for name in ("Reason", "Details")}
        fields = {**answer.event.fields, **texts}
        answer = replace(answer, event=replace(answer.event, fields=fields))
    bare = replace(answer, asked_at=None)  # of our own: answers-by-question
    written = bare.to_json(activity_id="", sequence_number=0)

    assert _comparable(expected) == _comparable(written)
