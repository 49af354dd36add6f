"""The whole client API of azure-functions-durable, called by functions over HTTP."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.asking import GREETINGS, ask, wait_for
from tests.acceptance.client_functions import Functions, copy_recorded_app
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import Host

pytestmark = pytest.mark.timeout(60)

LONG_AGO, LONG_AFTER = "2000-01-01T00:00:00", "2100-01-01T00:00:00"


@pytest.fixture(scope="module", name="call")
def _call(shared_hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Functions:
    folder = tmp_path_factory.mktemp("client-api")
    healed = folder / "healed"
    healed.mkdir()
    host = shared_hosts.start(copy_recorded_app(folder), TMPDIR=str(healed))
    return Functions(host=host, healed=healed)


# start_new


@pytest.mark.parametrize(
    "input_",
    [
        {"a": [1, {"b": None}]},
        [1, "a"],
        "東京",
        "",
        5,
        0,
        1.5,
        True,
        False,
        None,
        [],
        {},
    ],
    ids=repr,
)
def test_an_input_of_any_json_type_arrives(call: Functions, input_: Any) -> None:
    """The orchestrator gets the value that the client gave, and its status shows it."""
    instance_id = call.start("Echo", input_)

    assert input_ == call.ended(instance_id)["output"]


def test_start_new_makes_an_id(call: Functions) -> None:
    """Without an id it is 32 hex digits."""
    instance_id = call("start_new", "HelloOrchestrator")

    assert re.fullmatch("[0-9a-f]{32}", instance_id)
    assert GREETINGS == call.ended(instance_id)["output"]


def test_start_new_refuses_an_unknown_orchestrator(call: Functions) -> None:
    """And names those that there are."""
    kind, text = call.error("start_new", "Nope")

    assert "Exception" == kind
    assert text.startswith(
        "The function 'Nope' doesn't exist, is disabled, or is not an orchestrator"
        " function. Additional info: The following are the known orchestrator"
        " functions: '"
    )


def test_start_new_refuses_an_id_that_cannot_be(call: Functions) -> None:
    """The text is the extension's."""
    said = "instanceId (Parameter 'Orchestration instance ids must not start with @.')"

    assert ("Exception", said) == call.error("start_new", "Echo", "@bad")


def test_start_new_refuses_the_id_of_an_instance_that_runs(call: Functions) -> None:
    """It goes on as it was."""
    instance_id = call.start("LongWait")
    call.reached(instance_id, "Running")

    kind, text = call.error("start_new", "Echo", instance_id)

    assert "Exception" == kind
    assert "An Orchestration instance with the status Running already exists." in text
    assert "Running" == call.status(instance_id)["runtime_status"]


def test_start_new_takes_the_id_of_an_instance_that_has_ended(call: Functions) -> None:
    """The new instance takes its place."""
    instance_id = call.start("Echo", 1)
    call.ended(instance_id)

    assert instance_id == call("start_new", "Types", instance_id)
    assert isinstance(call.ended(instance_id)["output"], list)


# get_status


def test_get_status_shows_the_input_with_every_flag_and_none(call: Functions) -> None:
    """The SDK cannot ask to leave it out, and shows the JSON that was sent as text."""
    instance_id = call.start("Echo", {"a": 1})
    call.ended(instance_id)

    shown = [call.status(instance_id, False, False, flag) for flag in (False, True)]

    assert ['{"a": 1}'] * 2 == [status["input"] for status in shown]


def test_get_status_shows_no_history_unless_asked(call: Functions) -> None:
    """The history is what costs."""
    instance_id = call.start("HelloOrchestrator")
    status = call.ended(instance_id)

    assert (None, None) == (status["history"], status["history_events"])


def test_get_status_shows_the_history(call: Functions) -> None:
    """Without results; the SDK leaves ``history`` empty and sets ``historyEvents``."""
    instance_id = call.start("HelloOrchestrator")
    call.ended(instance_id)

    status = call.status(instance_id, True)

    assert status["history"] is None
    assert [
        ("ExecutionStarted", "HelloOrchestrator"),
        *[("TaskCompleted", "Hello")] * 3,
        ("ExecutionCompleted", None),
    ] == [
        (event["EventType"], event.get("FunctionName"))
        for event in status["history_events"]
    ]
    assert not any("Result" in event for event in status["history_events"])


def test_get_status_shows_the_results_in_the_history(call: Functions) -> None:
    """``show_history_output`` counts with ``show_history`` only."""
    instance_id = call.start("HelloOrchestrator")
    call.ended(instance_id)

    status = call.status(instance_id, True, True)

    results = [e["Result"] for e in status["history_events"] if "Result" in e]
    assert [*GREETINGS, GREETINGS] == results
    assert call.status(instance_id, False, True)["history_events"] is None


def test_get_status_shows_the_custom_status(call: Functions) -> None:
    """While it runs and after."""
    instance_id = call.start("CustomStatus")

    def shows_the_second() -> bool:
        shown = call.status(instance_id)["custom_status"]
        return bool(shown == {"step": 2, "who": "Seattle"})

    wait_for(shows_the_second, "the second custom status", limit_s=10)
    assert ["done", 3] == call.ended(instance_id)["custom_status"]


def test_get_status_of_a_failed_instance_says_why(call: Functions) -> None:
    """The output is the text of the failure."""
    status = call.ended(call.start("FailOrchEarly"))

    assert ("Failed", "Orchestrator function 'FailOrchEarly' failed: 'early'") == (
        status["runtime_status"],
        status["output"],
    )


def test_get_status_of_an_unknown_id_is_false(call: Functions) -> None:
    """It raises nothing; its ``to_json`` does, in the SDK."""
    status = call.status("never-was")

    assert (False, None) == (status["is_there"], status["runtime_status"])
    assert (
        "AttributeError",
        "'NoneType' object has no attribute 'strftime'",
    ) == call.error("get_status", "never-was")


def test_to_json_of_a_status(call: Functions) -> None:
    """Times have microseconds, which are none."""
    instance_id = call.start("Echo", 5)
    call.ended(instance_id)

    status = call("get_status", instance_id)

    times = [status.pop("createdTime"), status.pop("lastUpdatedTime")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.000000Z", t) for t in times)
    assert {
        "name": "Echo",
        "instanceId": instance_id,
        "output": 5,
        "input": "5",
        "runtimeStatus": "Completed",
    } == {name: value for name, value in status.items() if value is not None}


# get_status_all, get_status_by


def test_get_status_all_lists_the_instances(call: Functions) -> None:
    """One page, whatever their state."""
    started = [call.start("Echo"), call.start("LongWait"), call.start("FailOrchEarly")]

    listed = [status["instanceId"] for status in call("get_status_all")]

    assert set(started) <= set(listed)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Instances whose ids begin alike: one completed, one failed, one that runs."""

    prefix: str

    @property
    def ids(self) -> list[str]:
        return [f"{self.prefix}-{state}" for state in ("completed", "failed", "runs")]


@pytest.fixture(name="group")
def _group(call: Functions) -> Group:
    group = Group(prefix=f"g{secrets.token_hex(6)}")
    names = ("Echo", "FailOrchEarly", "LongWait")
    for name, instance_id in zip(names, group.ids, strict=True):
        call("start_new", name, instance_id)
    for instance_id in group.ids[:2]:
        call.ended(instance_id)
    call.reached(group.ids[2], "Running")
    return group


@pytest.mark.parametrize(
    ("created_from", "created_to", "statuses", "found"),
    [
        (None, None, None, ["completed", "failed", "runs"]),
        (None, None, ["Completed"], ["completed"]),
        (None, None, ["Failed", "Running"], ["failed", "runs"]),
        (None, None, ["Suspended"], []),
        (LONG_AGO, LONG_AFTER, None, ["completed", "failed", "runs"]),
        (LONG_AGO, None, ["Completed"], ["completed"]),
        (LONG_AFTER, None, None, []),
        (None, LONG_AGO, None, []),
    ],
)
def test_get_status_by_finds_what_fits_all_filters(
    call: Functions,
    group: Group,
    created_from: str | None,
    created_to: str | None,
    statuses: list[str] | None,
    found: list[str],
) -> None:
    """Times, states, and the beginning of the id."""
    listed = call.more(
        "get_status_by", created_from, created_to, statuses, group.prefix
    )

    assert [f"{group.prefix}-{state}" for state in found] == listed


# raise_event


@pytest.mark.parametrize("data", [{"by": "me"}, [1], "yes", 0, False, None], ids=repr)
def test_raise_event_brings_its_data(call: Functions, data: Any) -> None:
    """As a text: the SDK makes JSON of it twice, and reads it once."""
    instance_id = call.start("Approval", 30)
    call.reached(instance_id, "Running")

    assert call("raise_event", instance_id, "Approval", data) is None

    assert {"approved": json.dumps(data)} == call.ended(instance_id)["output"]


def test_raise_event_may_name_the_hub_and_the_connection(call: Functions) -> None:
    """Those that the host works on."""
    instance_id = call.start("Approval", 30)
    hub = call.host.hub

    call("raise_event", instance_id, "Approval", 1, hub, "Storage")

    assert {"approved": "1"} == call.ended(instance_id)["output"]


def test_raise_event_to_an_unknown_instance(call: Functions) -> None:
    """The SDK's own text."""
    said = "No instance with ID never-was found."

    assert ("Exception", said) == call.error("raise_event", "never-was", "Approval", 1)


def test_raise_event_to_an_instance_that_has_ended(call: Functions) -> None:
    """The SDK's own text."""
    instance_id = call.start("Echo")
    call.ended(instance_id)
    said = f"Instance with ID {instance_id} is gone: either completed or failed"

    assert ("Exception", said) == call.error("raise_event", instance_id, "E", 1)


def test_raise_event_wants_a_name(call: Functions) -> None:
    """The SDK asks nobody."""
    said = "event_name must be a non-empty string."

    assert ("ValueError", said) == call.error("raise_event", "any", "", 1)


# terminate, suspend, resume


def test_terminate_ends_an_instance_with_the_reason(call: Functions) -> None:
    """The reason is its output, whatever characters it has."""
    instance_id = call.start("LongWait")
    reason = "enough & done: 100 % é/?#"

    assert call("terminate", instance_id, reason) is None

    status = call.ended(instance_id)
    assert ("Terminated", reason) == (status["runtime_status"], status["output"])


def test_an_instance_is_suspended_and_resumed(call: Functions) -> None:
    """What comes meanwhile waits; the reason is the output until it goes on."""
    instance_id = call.start("Approval", 30)
    call.reached(instance_id, "Running")

    assert call("suspend", instance_id, "lunch") is None
    status = call.reached(instance_id, "Suspended")
    call("raise_event", instance_id, "Approval", "late")
    assert call("resume", instance_id, "back") is None

    assert "lunch" == status["output"]
    assert {"approved": '"late"'} == call.ended(instance_id)["output"]


@pytest.mark.parametrize("operation", ["terminate", "suspend", "resume"])
def test_an_unknown_instance_is_refused(call: Functions, operation: str) -> None:
    """The SDK's own text, with quotes."""
    said = "No instance with ID 'never-was' found."

    assert ("Exception", said) == call.error(operation, "never-was", "why")


@pytest.mark.parametrize("operation", ["terminate", "suspend", "resume"])
def test_an_instance_that_has_ended_is_left_alone(
    call: Functions, operation: str
) -> None:
    """The SDK takes a 410 in silence."""
    instance_id = call.start("Echo", 1)
    before = call.ended(instance_id)

    assert call(operation, instance_id, "why") is None
    assert before == call.status(instance_id)


def test_resume_wants_a_suspended_instance(call: Functions) -> None:
    """Else the extension answers 500."""
    instance_id = call.start("LongWait")
    call.reached(instance_id, "Running")
    said = "The operation failed with an unexpected status code 500"

    assert ("Exception", said) == call.error("resume", instance_id, "why")


# rewind


def test_rewind_lets_a_failed_instance_run_again(call: Functions) -> None:
    """What had succeeded is not called again, what failed is."""
    instance_id = call.start("RewindMe")
    assert "Failed" == call.ended(instance_id)["runtime_status"]
    (call.healed / f"healed-{instance_id}").touch()

    assert call("rewind", instance_id, "healed") is None

    assert ["Hello one!", "healed"] == call.reached(instance_id, "Completed")["output"]


def test_rewind_of_an_unknown_instance(call: Functions) -> None:
    """The SDK's own text, without quotes."""
    said = "No instance with ID never-was found."

    assert ("Exception", said) == call.error("rewind", "never-was", "why")


def test_rewind_of_an_instance_that_has_not_failed(call: Functions) -> None:
    """The SDK's own text for what has completed."""
    instance_id = call.start("Echo")
    call.ended(instance_id)
    said = "The rewind operation is only supported on failed orchestration instances."

    assert ("Exception", said) == call.error("rewind", instance_id, "why")


def test_rewind_of_an_instance_that_runs(call: Functions) -> None:
    """The SDK passes on what the extension answered."""
    instance_id = call.start("LongWait")
    call.reached(instance_id, "Running")

    kind, text = call.error("rewind", instance_id, "why")

    assert "Exception" == kind
    assert text.startswith(
        "Received unexpected payload from the durable-extension: [500, {'Message':"
    )
    assert "only supported on failed orchestration instances." in text


# restart


def test_restart_under_a_new_id(call: Functions) -> None:
    """With the same input; the SDK returns the whole answer."""
    instance_id = call.start("Echo", {"a": 1})
    call.ended(instance_id)

    answer = call("restart", instance_id)

    assert instance_id != answer["id"]
    assert {"a": 1} == call.ended(answer["id"])["output"]


def test_restart_under_the_same_id(call: Functions) -> None:
    """The copy takes the place of the first."""
    instance_id = call.start("Types")
    first = call.ended(instance_id)

    answer = call("restart", instance_id, False)

    assert instance_id == answer["id"]
    assert first["output"] == call.ended(instance_id)["output"]


def test_restart_of_an_unknown_instance(call: Functions) -> None:
    """The extension answers 400, which the SDK does not expect."""
    said = "The operation failed with an unexpected status code 400"

    assert ("Exception", said) == call.error("restart", "never-was")


# purge


def test_purge_deletes_an_instance(call: Functions) -> None:
    """Once; then there is none."""
    instance_id = call.start("Echo")
    call.ended(instance_id)

    assert [1, 0] == [call.more("purge", instance_id) for _ in range(2)]
    assert not call.status(instance_id)["is_there"]


def test_purge_by_filter_deletes_what_fits(call: Functions, group: Group) -> None:
    """Only what has ended, and only of the states that are asked for."""
    deleted = call.more("purge_by", LONG_AGO, LONG_AFTER, ["Failed", "Running"])

    left = call.more("get_status_by", None, None, None, group.prefix)
    assert deleted >= 1
    assert [group.ids[0], group.ids[2]] == left


def test_purge_by_filter_that_fits_nothing(call: Functions) -> None:
    """A 404 counts as none."""
    assert 0 == call.more("purge_by", LONG_AFTER, None, None)


def test_purge_by_filter_wants_a_time(call: Functions) -> None:
    """The SDK asks nobody."""
    said = "created_time_from is required when purging instance history"

    assert ("ValueError", said) == call.error("purge_instance_history_by")


# Entities


def test_signals_reach_an_entity(call: Functions) -> None:
    """Its state is what they made of it."""
    for number in (5, 2):
        assert call("signal_entity", ["Counter", "sum"], "add", number) is None

    call.wait_for_entity("sum", 7)


def test_an_entity_that_never_was_does_not_exist(call: Functions) -> None:
    """A 404 is no exception."""
    assert {"exists": False, "state": None} == call(
        "read_entity_state", ["Counter", "never-was"]
    )


def test_a_deleted_entity_has_no_state(call: Functions) -> None:
    """Its row stays and is answered ``null``: the SDK takes it for one that exists."""
    call("signal_entity", ["Counter", "deleted"], "add", 5)
    call.wait_for_entity("deleted", 5)

    call("signal_entity", ["Counter", "deleted"], "delete")

    call.wait_for_entity("deleted", "")  # what the SDK makes of null


def test_a_deleted_entity_begins_anew(call: Functions) -> None:
    """The next operation finds no state."""
    for operation, number in (("add", 5), ("delete", None), ("add", 3)):
        call("signal_entity", ["Counter", "anew"], operation, number)

    call.wait_for_entity("anew", 3)


def test_an_operation_that_fails_leaves_the_state(call: Functions) -> None:
    """Nobody is told; the next one goes on from there."""
    for operation, number in (("add", 5), ("explode", 1), ("add", 2)):
        call("signal_entity", ["Counter", "failing"], operation, number)

    call.wait_for_entity("failing", 7)


def test_a_signal_to_an_unknown_entity_is_refused(call: Functions) -> None:
    """The extension answers 400; the SDK expects only 202."""
    said = "The operation failed with an unexpected status code 400"

    assert ("Exception", said) == call.error("signal_entity", ["Nope", "k"], "add", 1)


def test_the_state_of_an_unknown_entity_is_not_there(call: Functions) -> None:
    """Nobody asks whether there is such a function."""
    assert {"exists": False, "state": None} == call("read_entity_state", ["Nope", "k"])


# Responses


def test_wait_answers_with_the_output(call: Functions) -> None:
    """Once it is there: 200, as JSON."""
    answer = call.post("wait/HelloOrchestrator")

    assert (200, GREETINGS) == (answer.status, answer.json())
    assert "application/json" == answer.headers["Content-Type"]


def test_wait_answers_with_the_failure(call: Functions) -> None:
    """500, and the whole status."""
    answer = call.post("wait/FailOrchEarly")

    assert (500, "Failed") == (answer.status, answer.json()["runtimeStatus"])


def test_wait_gives_up(call: Functions) -> None:
    """202, and where to ask; the instance goes on."""
    answer = call.post("wait/LongWait?timeout=400")

    body = answer.json()
    assert 202 == answer.status
    assert body["statusQueryGetUri"] == answer.headers["Location"]
    assert "Running" == call.status(body["id"])["runtime_status"]


def test_wait_wants_a_timeout_longer_than_its_pauses(call: Functions) -> None:
    """The exception is the function's: 500 and no body, the text on the console."""
    answer = call.post("wait/LongWait?timeout=100")

    said = "Total timeout 100 (ms) should be bigger than retry timeout 300 (ms)"
    assert (500, "") == (answer.status, answer.text)
    call.host.wait_for_text(said)


def test_check_status_response(call: Functions) -> None:
    """202 with the eight URLs at the address that the caller used."""
    url = f"http://localhost:{call.host.port}"
    answer = ask(f"{url}/api/orchestrators/Echo?id=check-status", method="POST")

    body = answer.json()
    assert (202, "10") == (answer.status, answer.headers["Retry-After"])
    assert body["statusQueryGetUri"] == answer.headers["Location"]
    assert links(call.host, url, "check-status") == body


def test_management_payload(call: Functions) -> None:
    """The same links, at the host's own address."""
    url = f"http://localhost:{call.host.port}"

    assert links(call.host, url, "any id") == call.more("payload", "any id")


def links(host: Host, url: str, instance_id: str) -> dict[str, str]:
    base = f"{url}/runtime/webhooks/durabletask/instances/{instance_id}"
    query = f"taskHub={host.hub}&connection=Storage&code={host.code}"
    return {
        "id": instance_id,
        "statusQueryGetUri": f"{base}?{query}",
        "sendEventPostUri": f"{base}/raiseEvent/{{eventName}}?{query}",
        "terminatePostUri": f"{base}/terminate?reason={{text}}&{query}",
        "rewindPostUri": f"{base}/rewind?reason={{text}}&{query}",
        "purgeHistoryDeleteUri": f"{base}?{query}",
        "restartPostUri": f"{base}/restart?{query}",
        "suspendPostUri": f"{base}/suspend?reason={{text}}&{query}",
        "resumePostUri": f"{base}/resume?reason={{text}}&{query}",
    }


def test_the_binding_is_what_the_sdk_reads(call: Functions) -> None:
    """Names as in Azure; the SDK's own channel is on loopback and needs no key."""
    binding = ask(f"{call.host.url}/api/binding").json()

    assert (call.host.hub, None) == (binding["taskHubName"], binding["connectionName"])
    rpc = ask(f"{binding['rpcBaseUrl']}instances/never-was")
    assert (404, "") == (rpc.status, rpc.text)
    assert re.match(r"http://127\.0\.0\.1:\d+/.+/$", binding["rpcBaseUrl"])
