"""A made-up app with all that a function.json app may have, played over HTTP."""

from __future__ import annotations

import json
import secrets
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.any_app import ORCHESTRATORS, OTHER_FUNCTIONS, write_any_app
from tests.acceptance.asking import Answer, ask, result_of, wait_for
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import HUB_VARIABLE, Host, Storage

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", name="hub")
def _hub() -> str:
    return f"Any{secrets.token_hex(6)}"


@pytest.fixture(scope="module", name="host")
def _host(
    shared_hosts: Hosts,
    storage: Storage,
    hub: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Host:
    settings = {
        "HubSetting": hub,
        "OldRoute": "old/{name}",
        "OwnStorage": storage.connection_string,
        "AzureWebJobs.OffBySetting.Disabled": "true",
        "IsWorkOff": "1",
    }
    app = write_any_app(tmp_path_factory.mktemp("any") / "app", settings)
    # An empty variable counts as none: the hub is the one of host.json.
    return shared_hosts.start(app, **{HUB_VARIABLE: ""})


def started(host: Host, path: str) -> Any:
    """Start an instance by one of the app's starters and return the body of the 202."""
    answer = ask(f"{host.url}/{path}", method="POST")
    assert 202 == answer.status, answer.text
    return answer.json()


def listed(host: Host) -> list[str]:
    """The lines of the list of functions."""
    return [line.strip() for line in host.text().splitlines() if line[:1] == "\t"]


# HTTP functions


def test_a_route_without_a_prefix(host: Host) -> None:
    """``routePrefix`` is empty, and the route the function's name."""
    answer = ask(f"{host.url}/Plain")

    assert (200, "plain") == (answer.status, answer.text)
    assert 404 == ask(f"{host.url}/api/Plain").status


@pytest.mark.parametrize("path", ["Plain", "Named", "start/Waits"])
def test_what_functions_answer_has_the_custom_headers(host: Host, path: str) -> None:
    """Those of host.json."""
    assert "any app" == ask(f"{host.url}/{path}").headers["X-Made-By"]


def test_a_named_output_is_the_answer(host: Host) -> None:
    """Set by ``func.Out``; ``context`` says who is called."""
    answer = ask(f"{host.url}/Named")

    name, folder, invocation_id = answer.json()
    assert 201 == answer.status
    assert ("Named", str(host.app / "Named")) == (name, folder)
    assert 36 == len(invocation_id)


def test_a_script_below_the_folder_and_its_entry_point(host: Host) -> None:
    """An asynchronous one, that imports shared modules by both of their names."""
    assert "Hello you!" == ask(f"{host.url}/Deep?name=you").text


def test_what_goes_to_another_output_is_not_written(host: Host) -> None:
    """The function works; the console says so when it loads."""
    said = (
        "Queued: what goes to the output binding 'message' of type queue is not"
        " written anywhere here; in Azure it is."
    )

    assert "set: for a queue" == ask(f"{host.url}/Queued").text
    assert said in host.text()


# What does not run


@pytest.mark.parametrize("name", ["Off", "OffBySetting"])
def test_a_disabled_function_has_no_route(host: Host, name: str) -> None:
    """By function.json or by a setting; the list says so."""
    assert 404 == ask(f"{host.url}/{name}").status
    assert f"Function {name} is disabled." in listed(host)


def test_a_disabled_activity_cannot_be_called(host: Host) -> None:
    """Its instance fails and says why."""
    status = result_of(started(host, "start/CallsOff"))

    assert "Failed" == status["runtimeStatus"]
    assert (
        "The function 'OffWork' doesn't exist, is disabled, or is not an activity"
        " function." in status["output"]
    )


def test_other_triggers_are_listed_as_not_run_here(host: Host) -> None:
    """They are not imported, and what they bind need not be there."""
    kinds = {"Nightly": "timerTrigger", "OnMessage": "queueTrigger"}

    for name, kind in kinds.items():
        assert f"{name}: {kind} (not run here)" in listed(host)


@pytest.mark.parametrize("name", [*OTHER_FUNCTIONS, "Off", "OffBySetting", "OffWork"])
def test_what_does_not_run_is_not_imported(host: Host, name: str) -> None:
    """Its code is nobody's business."""
    assert not (host.app / name / "was-imported").exists()


def test_nothing_has_failed_to_load(host: Host) -> None:
    """All else is there."""
    assert not [line for line in listed(host) if "failed" in line]
    assert {f"{name}: orchestrationTrigger" for name in ORCHESTRATORS} <= set(
        listed(host)
    )


# Starters and names


@pytest.mark.parametrize("route", ["start", "old"])
@pytest.mark.parametrize("name", ["Greets", "Renamed", "rENAMED"])
def test_an_orchestrator_is_started(host: Host, route: str, name: str) -> None:
    """By either starter, by the name that its binding gives or else its folder's."""
    status = result_of(started(host, f"{route}/{name}?input=you"))

    assert "HELLO YOU!" == status["output"]


def test_a_folder_is_no_name_when_the_binding_gives_one(host: Host) -> None:
    """The starter's exception is an empty 500."""
    assert 500 == ask(f"{host.url}/start/Other", method="POST").status
    host.wait_for_text("The function 'Other' doesn't exist")


def test_a_client_binding_names_hub_and_connection(host: Host, hub: str) -> None:
    """Settings in their place; the links lead there, and work."""
    start = started(host, "old/Greets?input=x")
    query = f"taskHub={hub}&connection=OwnStorage&code={host.code}"

    assert query == urlsplit(start["statusQueryGetUri"]).query
    assert "HELLO X!" == result_of(start)["output"]


def test_a_client_binding_without_names_uses_the_hosts_own(
    host: Host, hub: str
) -> None:
    """The hub of host.json, and the connection ``Storage``."""
    start = started(host, "start/Greets?input=x")
    query = f"taskHub={hub}&connection=Storage&code={host.code}"

    assert query == urlsplit(start["statusQueryGetUri"]).query


# Options of host.json


def test_activities_run_one_after_the_other(host: Host) -> None:
    """``maxConcurrentActivityFunctions`` is 1."""
    status = result_of(started(host, "start/FansOut"))

    assert [f"Hello n{number}!" for number in range(6)] == status["output"]
    notes = [line.split() for line in (host.app / "notes").read_text().splitlines()]
    begun, ended = notes[::2], notes[1::2]
    assert [(name, "begins") for name, _ in ended] == [tuple(note) for note in begun]
    assert {"ends"} == {what for _, what in ended}


def test_the_history_holds_the_inputs(host: Host) -> None:
    """``storeInputsInOrchestrationHistory`` is true."""
    start = started(host, "start/Greets?input=you")
    result_of(start)

    history = ask(f"{start['statusQueryGetUri']}&showHistory=true").json()

    inputs = [
        json.loads(event["Input"])
        for event in history["historyEvents"]
        if event["EventType"] == "TaskCompleted"
    ]
    assert [['"you"'], ['"Hello you!"']] == inputs


def test_a_start_replaces_an_instance_that_runs(host: Host) -> None:
    """``overridableExistingInstanceStates`` is ``AnyState``."""
    first = started(host, "start/Waits?id=replaced")
    wait_until_it_runs(first)

    second = started(host, "start/Greets?id=replaced&input=you")

    assert "HELLO YOU!" == result_of(second)["output"]
    assert 410 == raise_go(first).status


def test_an_instance_that_replaced_another_like_it_waits_anew(host: Host) -> None:
    """It gets the event, once."""
    first = started(host, "start/Waits?id=waits-anew")
    wait_until_it_runs(first)
    second = started(host, "start/Waits?id=waits-anew")
    wait_until_it_runs(second)

    assert 202 == raise_go(second).status

    assert "Completed" == result_of(second)["runtimeStatus"]


def wait_until_it_runs(start: Any) -> None:
    def runs() -> bool:
        status = ask(start["statusQueryGetUri"]).json()
        return bool(status["runtimeStatus"] == "Running")

    wait_for(runs, f"{start['id']} to run", limit_s=10)


def raise_go(start: Any) -> Answer:
    url = start["sendEventPostUri"].replace("{eventName}", "Go")
    return ask(url, method="POST", body={"go": 1})
