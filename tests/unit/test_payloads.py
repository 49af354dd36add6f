"""JSON of the Durable HTTP API: status, history, links, tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localhost.history import HistoryEvent, Status
from localhost.records import Instance
from localhost.web import payloads

Event = Callable[..., HistoryEvent]

ORIGIN = "http://127.0.0.1:7071"
QUERY = "taskHub=Hub&connection=Storage&code=KEY"
AT = "2026-11-22T04:00:00.9999999Z"
INSTANCE = Instance(
    instance_id="i1",
    name="Orch",
    execution_id="e1",
    status=Status.RUNNING,
    created_at=AT,
    updated_at=AT,
)


# Status


def test_status_has_its_members_in_order() -> None:
    """All members are there, those that are not set as null."""
    assert [
        ("name", "Orch"),
        ("instanceId", "i1"),
        ("runtimeStatus", "Running"),
        ("input", None),
        ("customStatus", None),
        ("output", None),
        ("createdTime", "2026-11-22T04:00:00Z"),
        ("lastUpdatedTime", "2026-11-22T04:00:00Z"),
    ] == list(payloads.status_payload(INSTANCE).items())


def test_input_of_the_sdk_is_text_in_json() -> None:
    """The SDK encodes an input, the host encodes it again: a text comes out."""
    instance = replace(INSTANCE, input='"{\\"a\\": 1}"')

    assert '{"a": 1}' == payloads.status_payload(instance)["input"]


def test_input_is_not_shown_unless_asked() -> None:
    """``showInput=false`` makes it null."""
    instance = replace(INSTANCE, input="1")

    assert payloads.status_payload(instance, show_input=False)["input"] is None


def test_history_comes_last() -> None:
    """``historyEvents`` is there only when it was asked for."""
    assert "historyEvents" not in payloads.status_payload(INSTANCE)
    assert "historyEvents" == list(payloads.status_payload(INSTANCE, history=[]))[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", ""),
        ("  ", ""),
        ('{"a": 1}', {"a": 1}),
        (" 5 ", 5),
        ("5 dollars", 5),
        ("true story", True),
        ("stop now", "stop now"),
        ('"a" b', "a"),
        ("{broken", "{broken"),
    ],
)
def test_stored_text_is_read_leniently(text: str | None, expected: object) -> None:
    """The first JSON value counts; a text that has none is a text."""
    assert expected == payloads.leniently_parsed(text)


# History


def shown(*events: HistoryEvent, **flags: bool) -> list[dict[str, Any]]:
    """Return the history as a status shows it."""
    known = {"show_input": True, "show_output": True, **flags}
    return payloads.history_payload(events, **known)


def test_turns_are_not_shown(event: Event) -> None:
    """Where turns begin and end is nothing to clients."""
    assert [] == shown(event("OrchestratorStarted"), event("OrchestratorCompleted"))


def test_start_shows_its_function(started: Event) -> None:
    """The name stands at the end, under another name."""
    (wire,) = shown(started(Input="1"))

    assert [
        "EventType",
        "Input",
        "Correlation",
        "ParentTraceContext",
        "ScheduledStartTime",
        "Generation",
        "Timestamp",
        "FunctionName",
    ] == list(wire)
    assert ("ExecutionStarted", "Orch") == (wire["EventType"], wire["FunctionName"])


def test_answer_takes_the_place_of_its_schedule(event: Event) -> None:
    """A completed call is one entry, with name and time of its schedule."""
    scheduled = event("TaskScheduled", id_=0, Name="Hello", at="2026-11-22T04:00:00.5Z")
    completed = event("TaskCompleted", TaskScheduledId=0, Result='{"a":1}')

    assert [
        {
            "EventType": "TaskCompleted",
            "Result": {"a": 1},
            "Timestamp": completed.timestamp,
            "ScheduledTime": "2026-11-22T04:00:00.5+00:00",
            "FunctionName": "Hello",
            "Input": None,
        }
    ] == shown(scheduled, completed)


def test_open_call_is_shown(event: Event) -> None:
    """A call that has no answer yet is shown itself, without its version."""
    (wire,) = shown(event("TaskScheduled", id_=0, Name="Hello", Version=""))

    assert ["EventType", "Name", "Input", "ParentTraceContext", "Timestamp"] == list(
        wire
    )


def test_answer_of_a_child_does_not_take_that_of_an_activity(event: Event) -> None:
    """Numbers of rewound calls may come twice: the kind has to fit too."""
    wires = shown(
        event("TaskScheduled", id_=0, Name="A"),
        event("SubOrchestrationInstanceCompleted", TaskScheduledId=0),
    )

    assert ["TaskScheduled", "SubOrchestrationInstanceCompleted"] == [
        wire["EventType"] for wire in wires
    ]


def test_number_that_was_given_twice_is_shown(event: Event) -> None:
    """A failure for non-determinism leaves two calls of one number: no fault."""
    twice = [event("TaskScheduled", id_=0, Name=name) for name in ("A", "B")]

    assert 1 == len(shown(*twice, event("TaskCompleted", TaskScheduledId=0)))


@pytest.mark.parametrize("shows", [True, False])
def test_results_are_shown_when_asked(event: Event, shows: bool) -> None:
    """``showHistoryOutput`` decides about results of tasks and of the instance."""
    completed = event("ExecutionCompleted", OrchestrationStatus=Status.COMPLETED)
    answer = event("TaskCompleted", TaskScheduledId=0, Result="1")

    for wire in shown(answer, completed, show_output=shows):
        assert shows is ("Result" in wire)


def test_inputs_are_hidden_when_asked(event: Event, started: Event) -> None:
    """``showInput=false`` removes the member from every event."""
    raised = event("EventRaised", Name="Go", Input="1")

    for wire in shown(started(Input="1"), raised, show_input=False):
        assert "Input" not in wire


def test_end_shows_its_status_by_name(event: Event) -> None:
    """Clients see names where the wire has numbers."""
    (wire,) = shown(event("ExecutionCompleted", OrchestrationStatus=Status.FAILED))

    assert "Failed" == wire["OrchestrationStatus"]
    assert ["EventType", "OrchestrationStatus", "Result", "FailureDetails"] == (
        list(wire)[:4]
    )


def test_rewound_event_keeps_its_order(event: Event) -> None:
    """What a rewind has left stands with its data first."""
    assert ["Data", "EventType", "Timestamp"] == list(shown(event("GenericEvent"))[0])


@pytest.mark.parametrize(
    ("type_", "hidden"), [("TimerFired", "TimerId"), ("TaskFailed", "TaskScheduledId")]
)
def test_numbers_are_not_shown(event: Event, type_: str, hidden: str) -> None:
    """Clients cannot do anything with the numbers of tasks."""
    (wire,) = shown(event(type_, **{hidden: 0}))

    assert set() == {hidden, "EventId", "IsPlayed"} & wire.keys()


# Links


def test_start_is_answered_with_id_and_links() -> None:
    """The keys are those that clients know, and none to rewind."""
    payload = payloads.start_payload(ORIGIN, "i1", QUERY)

    assert [
        "id",
        "statusQueryGetUri",
        "sendEventPostUri",
        "terminatePostUri",
        "purgeHistoryDeleteUri",
        "restartPostUri",
        "suspendPostUri",
        "resumePostUri",
    ] == list(payload)


def test_links_carry_hub_connection_and_key() -> None:
    """Placeholders stand unescaped for the caller to fill in."""
    links = payloads.links(ORIGIN, "i1", QUERY)
    address = f"{ORIGIN}/runtime/webhooks/durabletask/instances/i1"

    assert f"{address}?{QUERY}" == links["statusQueryGetUri"]
    assert f"{address}/raiseEvent/{{eventName}}?{QUERY}" == links["sendEventPostUri"]
    assert f"{address}/terminate?reason={{text}}&{QUERY}" == links["terminatePostUri"]


def test_id_in_a_link_is_encoded() -> None:
    """An id with a blank or a colon stays one path segment."""
    payload = payloads.start_payload(ORIGIN, "a b:1", QUERY)
    other = payloads.start_payload(ORIGIN, "a+b", QUERY)

    assert "a b:1" == payload["id"]
    assert "/instances/a%20b%3A1?" in payload["statusQueryGetUri"]
    assert "/instances/a%2Bb?" in other["statusQueryGetUri"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a b", "a+b"), ("-_.!*()", "-_.!*()"), ("~'é", "%7E%27%C3%A9")],
)
def test_text_is_encoded_as_net_does(text: str, expected: str) -> None:
    """Other characters stay as they are than in Python."""
    assert expected == payloads.encoded(text)


def binding(**changes: Any) -> dict[str, Any]:
    """Return what a client binding hands to a function."""
    known: dict[str, Any] = {
        "host": "localhost:7071",
        "hub": "Hub",
        "binding_hub": None,
        "binding_connection": None,
        "code": "KEY",
        "rpc_base_url": "http://127.0.0.1:1/x/",
    }
    value: dict[str, Any] = json.loads(payloads.client_binding(**{**known, **changes}))
    return value


def test_binding_leads_the_sdk_here() -> None:
    """The SDK speaks to the address for it, and gives out links with the key."""
    value = binding()

    assert "http://127.0.0.1:1/x/" == value["rpcBaseUrl"]
    assert "code=KEY" == value["requiredQueryStringParameters"]
    assert value["managementUrls"]["statusQueryGetUri"].endswith(
        "/instances/INSTANCEID?taskHub=Hub&connection=Storage&code=KEY"
    )


def test_binding_without_own_channel_has_no_address_for_it() -> None:
    """Without a channel for it the SDK uses the address with the key."""
    value = binding(rpc_base_url=None)

    assert "rpcBaseUrl" not in value
    assert "http://localhost:7071/runtime/webhooks/durabletask" == value["baseUrl"]


def test_binding_may_name_hub_and_connection() -> None:
    """function.json can name another hub and another connection."""
    value = binding(binding_hub="Other", binding_connection="Mine")

    assert ("Other", "Mine") == (value["taskHubName"], value["connectionName"])
    assert (
        "taskHub=Other&connection=Mine&"
        in (value["managementUrls"]["statusQueryGetUri"])
    )


# Errors and tokens


def test_error_is_a_message() -> None:
    """A refused request has one member."""
    assert {"Message": "no"} == payloads.error_payload("no")


def test_error_with_an_exception_tells_its_text() -> None:
    """What failed inside is told beside the message."""
    assert {
        "Message": "no",
        "ExceptionMessage": "why",
        "ExceptionType": "System.Exception",
        "StackTrace": "",
    } == payloads.error_payload("no", text="why")


@given(st.text(), st.text())
def test_token_is_read_as_it_was_written(key: str, row: str) -> None:
    """A list goes on where its token says."""
    token = payloads.continuation_token((key, row))

    assert (key, row) == payloads.read_continuation_token(token)


def test_token_has_the_members_of_the_storage_client() -> None:
    """The text inside is the one that the extension writes."""
    text = base64.b64decode(payloads.continuation_token(("k", ""))).decode()

    assert text == (
        '{"NextPartitionKey":"k","NextRowKey":"","NextTableName":null,'
        '"TargetLocation":0}'
    )


@pytest.mark.parametrize("token", ["", "no", "bm8=", "W10=", "e30=", "é"])
def test_token_that_is_none_is_refused(token: str) -> None:
    """A token of somebody else is an error in the extension's words."""
    with pytest.raises(ValueError, match="Unexpected character encountered"):
        payloads.read_continuation_token(token)
