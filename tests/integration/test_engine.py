"""A host in this process runs an app on Azurite; clients and the SDKs look on."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.durable_functions.models.utils import http_utils

from localhost.durable.client import Client
from localhost.history import EventType
from localhost.host import run_host
from localhost.keys import webhook_key
from localhost.settings import read_settings
from localhost.taskhub.hub import TaskHub
from localhost.taskhub.queues import partition_of
from tests.conftest import Emulator
from tests.integration.conftest import (
    WAIT_LIMIT_S,
    Judge,
    Proxy,
    event,
    eventually,
    message,
    started,
    works_on,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:azure.functions df_loads was called without:DeprecationWarning"
)

REPOSITORY = Path(__file__).parents[2]
QUICKSTART = ("HelloOrchestrator", "Hello", "DurableFunctionsHttpStart")
RECORDED = REPOSITORY / "tests/data/http/basics.json"
ENDED = ("Completed", "Failed", "Terminated")
ORCHESTRATORS = {
    "Echoes": "return context.get_input()",
    "FailsInActivity": 'return (yield context.call_activity("Raises", "x"))',
    "CallsUnknown": 'return (yield context.call_activity("NoSuch", "x"))',
    "FailsItself": 'yield context.call_activity("Hello", "x")\n'
    '    raise ValueError("orchestrator says no")',
    "WaitsForGo": 'first = yield context.call_activity("Hello", "Tokyo")\n'
    '    data = yield context.wait_for_external_event("Go")\n'
    "    return [first, data]",
    "CallsSleeps": 'return (yield context.call_activity("Sleeps", "x"))',
    "FansOut": 'tasks = [context.call_activity("Hello", str(n)) for n in range(30)]\n'
    "    return (yield context.task_all(tasks))",
}
ORCHESTRATOR = """
import azure.durable_functions as df


def orchestrator_function(context):
    {body}
    yield


main = df.Orchestrator.create(orchestrator_function)
"""
SLEEPS = """
import time


def main(name: str) -> str:
    time.sleep(1)
    return name
"""
RAISES = """
def main(name: str) -> str:
    raise ValueError(f"boom: {name} é")
"""
Answer = tuple[int, Mapping[str, str], Any]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A host that runs, asked over HTTP as clients do."""

    origin: str
    code: str
    session: aiohttp.ClientSession

    async def ask(
        self, method: str, path: str, body: object = None, **query: str
    ) -> Answer:
        """Send a management request; returns status, headers and JSON body."""
        async with self.session.request(
            method,
            f"{self.origin}/runtime/webhooks/durabletask/{path}",
            params={"code": self.code, **query},
            data=io.BytesIO(json.dumps(body).encode()) if body is not None else None,
            headers={"Content-Type": "application/json"},
        ) as answer:
            text = await answer.text()
            return answer.status, answer.headers, json.loads(text) if text else None

    async def start(self, name: str, instance_id: str = "", body: object = None) -> str:
        """Start an instance and return its id."""
        path = f"orchestrators/{name}/{instance_id}".rstrip("/")
        status, _, answer = await self.ask("POST", path, body)
        assert 202 == status, answer
        return str(answer["id"])

    async def status(self, instance_id: str, **query: str) -> Any:
        """The body of an instance's status, None while there is none."""
        return (await self.ask("GET", f"instances/{instance_id}", **query))[2]

    async def wait(
        self, instance_id: str, until: Callable[[Any], bool] | None = None
    ) -> Any:
        """Wait until an instance has ended, or its status is as it is wanted."""
        end_s = time.monotonic() + WAIT_LIMIT_S
        while True:
            body = await self.status(instance_id)
            is_there = until(body) if until else body["runtimeStatus"] in ENDED
            if is_there:
                return body
            assert time.monotonic() < end_s, body
            await asyncio.sleep(0.01)

    async def run(self, name: str, body: object = None) -> Any:
        """Start an instance and wait for its end."""
        return await self.wait(await self.start(name, body=body))


Open = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def app(tmp_path: Path, hub_name: str) -> Path:
    """The quickstart's functions and some that fail or wait, on a hub of their own."""
    root = tmp_path / "app"
    for name in QUICKSTART:
        shutil.copytree(REPOSITORY / name, root / name)
    for name, body in ORCHESTRATORS.items():
        write(root, name, ORCHESTRATOR.format(body=body), "orchestrationTrigger")
    write(root, "Raises", RAISES, "activityTrigger")
    write(root, "Sleeps", SLEEPS, "activityTrigger")
    durable = {"durableTask": {"hubName": hub_name}}
    settings = {"version": "2.0", "extensions": durable}
    (root / "host.json").write_text(json.dumps(settings))
    return root


def write(root: Path, name: str, code: str, trigger: str) -> None:
    """Write one function."""
    folder = root / name
    folder.mkdir()
    (folder / "__init__.py").write_text(code, encoding="utf-8")
    argument = "context" if trigger == "orchestrationTrigger" else "name"
    binding = {"name": argument, "type": trigger, "direction": "in"}
    described = {"scriptFile": "__init__.py", "bindings": [binding]}
    (folder / "function.json").write_text(json.dumps(described))


@pytest.fixture
def open_engine(app: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens hosts on the app; on Azurite itself unless a connection is given."""

    @asynccontextmanager
    async def opened(connection: str = "") -> AsyncIterator[Engine]:
        environ = {
            "AzureWebJobsStorage": connection or emulator.connection_string,
            "FUNCTIONS_WORKER_RUNTIME": "python",
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        settings = read_settings(app, address="127.0.0.1", port=0, environ=environ)
        stop, lines = asyncio.Event(), list[str]()
        host = asyncio.create_task(run_host(settings, stop=stop, say=lines.append))
        try:
            origin = await eventually(lambda: host.done() or origin_in(lines))
            if host.done():
                host.result()
            async with aiohttp.ClientSession() as session:
                yield Engine(origin=origin, code=webhook_key(app), session=session)
        finally:
            await http_utils._close_session()
            stop.set()
            await host

    return opened


def origin_in(lines: list[str]) -> str:
    """Where the host says it listens, once it does."""
    found = re.search(r"http://localhost:(\d+)/api", "\n".join(lines))
    return f"http://127.0.0.1:{found[1]}" if found else ""


@pytest.fixture
async def engine(open_engine: Open) -> AsyncIterator[Engine]:
    """A host that is ready."""
    async with open_engine() as opened:
        yield opened


@pytest.fixture
def client(hub: TaskHub) -> Client:
    """Starts instances and raises events before any host runs."""
    return works_on(hub).client


def control_queue_of(judge: Judge, instance_id: str) -> str:
    return f"{judge.hub.lower()}-control-{partition_of(instance_id, 4):02}"


def types_in_history(judge: Judge, instance_id: str) -> list[str]:
    rows = judge.rows("History", instance_id)
    return [row["EventType"] for row in rows if "EventType" in row]


# How instances end


async def test_a_chain_completes(engine: Engine) -> None:
    """The whole way: start, three activities, output."""
    body = await engine.run("HelloOrchestrator")

    assert "Completed" == body["runtimeStatus"]
    assert ["Hello Tokyo!", "Hello Seattle!", "Hello London!"] == body["output"]


async def test_the_starter_starts_an_instance(engine: Engine) -> None:
    """Its answer leads to the status."""
    url = f"{engine.origin}/api/orchestrators/HelloOrchestrator"
    async with engine.session.post(url) as answer:
        links = await answer.json()
        assert 202 == answer.status

    await engine.wait(links["id"])
    async with engine.session.get(links["statusQueryGetUri"]) as answer:
        assert 200 == answer.status
        assert "Completed" == (await answer.json())["runtimeStatus"]


@pytest.mark.parametrize("size", [10, 60_000])
async def test_an_input_becomes_the_output(engine: Engine, size: int) -> None:
    """However large, and in any language."""
    body = await engine.run("Echoes", {"text": "日本\U0001f642" * size})

    assert {"text": "日本\U0001f642" * size} == body["output"]


async def test_activities_of_a_fan_out_answer_in_their_order(engine: Engine) -> None:
    """More of them than run at once."""
    body = await engine.run("FansOut")

    assert [f"Hello {number}!" for number in range(30)] == body["output"]


async def test_a_failed_activity_fails_its_orchestrator(engine: Engine) -> None:
    """The text names the functions and what was raised."""
    body = await engine.run("FailsInActivity")

    assert "Failed" == body["runtimeStatus"]
    assert body["output"].startswith(
        "Orchestrator function 'FailsInActivity' failed: Activity function 'Raises'"
        " failed:  ValueError: boom: x é \n "
        '{"$type":"System.Exception, System.Private.CoreLib"'
    )


async def test_a_fault_of_an_orchestrator_is_its_output(engine: Engine) -> None:
    """With the function's name before it."""
    body = await engine.run("FailsItself")

    assert (
        "Failed",
        "Orchestrator function 'FailsItself' failed: orchestrator says no",
    ) == (
        body["runtimeStatus"],
        body["output"],
    )


async def test_an_activity_that_does_not_exist_fails_the_instance(
    engine: Engine,
) -> None:
    """The text lists those that do."""
    body = await engine.run("CallsUnknown")

    assert "Failed" == body["runtimeStatus"]
    assert (
        "The function 'NoSuch' doesn't exist, is disabled, or is not an activity"
        " function. Additional info: The following are the known activity functions:"
        " 'Hello', 'Raises', 'Sleeps'."
    ) in body["output"]


async def test_an_orchestrator_that_does_not_exist_is_not_started(
    engine: Engine, judge: Judge
) -> None:
    """Nothing is left of it."""
    status, _, body = await engine.ask("POST", "orchestrators/NoSuch/abc")

    assert 400 == status
    assert "The function 'NoSuch' doesn't exist" in body["ExceptionMessage"]
    assert [] == judge.rows("Instances")


async def test_a_terminated_instance_ends_with_the_reason(engine: Engine) -> None:
    """It need not wait for anything any more."""
    instance_id = await engine.start("WaitsForGo")
    await engine.wait(instance_id, lambda body: body["runtimeStatus"] == "Running")

    path = f"instances/{instance_id}/terminate"
    status, _, _ = await engine.ask("POST", path, reason="enough")
    body = await engine.wait(instance_id)

    assert 202 == status
    assert ("Terminated", "enough") == (body["runtimeStatus"], body["output"])


async def test_an_event_reaches_the_instance_that_waits(engine: Engine) -> None:
    """Its data is what the orchestrator gets."""
    instance_id = await engine.start("WaitsForGo")
    await engine.wait(instance_id, lambda body: body["runtimeStatus"] == "Running")

    path = f"instances/{instance_id}/raiseEvent/Go"
    status, _, _ = await engine.ask("POST", path, {"a": ["日本"]})
    body = await engine.wait(instance_id)

    assert 202 == status
    assert ["Hello Tokyo!", {"a": ["日本"]}] == body["output"]


@pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning")
async def test_an_event_may_come_before_its_instance_runs(
    open_engine: Open, client: Client
) -> None:
    """Start and event lie in the queue when the host comes."""
    await client.start("WaitsForGo", "abc", None)
    await client.raise_event("abc", "Go", '"early"')

    async with open_engine() as engine:
        body = await engine.wait("abc")

    assert ["Hello Tokyo!", "early"] == body["output"]


# Messages that come twice, or from nowhere


async def test_an_answer_that_comes_twice_changes_nothing(
    engine: Engine, judge: Judge
) -> None:
    """It is dropped: the history has it already."""
    instance_id = await engine.start("WaitsForGo", "abc")
    await eventually(lambda: "TaskCompleted" in types_in_history(judge, "abc"))
    execution_id = judge.rows("History", "abc")[0]["ExecutionId"]
    again = event(EventType.TaskCompleted, TaskScheduledId=0, Result='"other"')
    text = message(again, "abc", execution_id=execution_id).to_json(
        activity_id="cb340ad9-7347-40c5-ab74-7f79193fc197", sequence_number=9
    )

    queue = control_queue_of(judge, "abc")
    judge.put(queue, base64.b64encode(text.encode()).decode())
    await eventually(lambda: judge.count(queue) == 0)
    await engine.ask("POST", "instances/abc/raiseEvent/Go", 1)
    body = await engine.wait(instance_id)

    assert ["Hello Tokyo!", 1] == body["output"]
    assert 1 == types_in_history(judge, "abc").count("TaskCompleted")


async def test_a_start_without_a_row_neither_runs_nor_delays(
    engine: Engine, judge: Judge
) -> None:
    """Its caller never got an answer; others share its queue."""
    queue = control_queue_of(judge, "abc")
    ghost = started("ghost", execution_id="e" * 32)
    text = message(ghost, "ghost", execution_id="e" * 32).to_json(
        activity_id="cb340ad9-7347-40c5-ab74-7f79193fc197", sequence_number=9
    )
    judge.put(queue, text)

    began_s = time.monotonic()
    await engine.start("HelloOrchestrator", "abc")
    body = await engine.wait("abc")

    assert "Completed" == body["runtimeStatus"]
    assert time.monotonic() - began_s < 2
    assert [] == judge.rows("History", "ghost")
    assert (404, None) == (await engine.ask("GET", "instances/ghost"))[::2]


async def test_a_message_that_is_none_delays_nobody(
    engine: Engine, judge: Judge
) -> None:
    """It stays in its queue and is tried again later."""
    queue = control_queue_of(judge, "abc")
    judge.put(queue, "no message")

    await engine.start("HelloOrchestrator", "abc")
    body = await engine.wait("abc")

    assert "Completed" == body["runtimeStatus"]
    await eventually(lambda: judge.count(queue) == 1)


async def test_an_event_for_nobody_is_dropped(engine: Engine, judge: Judge) -> None:
    """There is no such instance."""
    queue = control_queue_of(judge, "abc")
    text = message(event(EventType.EventRaised, Name="Go", Input="1"), "abc").to_json(
        activity_id="cb340ad9-7347-40c5-ab74-7f79193fc197", sequence_number=9
    )

    judge.put(queue, text)
    await eventually(lambda: judge.count(queue) == 0)

    assert [] == [*judge.rows("History"), *judge.rows("Instances")]


# What is left, and what is shown


async def test_no_message_is_left_of_what_has_ended(
    engine: Engine, judge: Judge
) -> None:
    """Each was deleted by who worked on it."""
    await asyncio.gather(*(engine.run("HelloOrchestrator") for _ in range(5)))

    low = judge.hub.lower()
    names = [each.name for each in judge.queues.list_queues(name_starts_with=low)]
    await eventually(lambda: sum(judge.count(name) for name in names) == 0)
    assert 5 == len(names)


async def test_a_purged_instance_is_gone(engine: Engine, judge: Judge) -> None:
    """A second purge finds none."""
    body = await engine.run("Echoes", "x" * 100_000)
    path = f"instances/{body['instanceId']}"

    first = await engine.ask("DELETE", path)
    second = await engine.ask("DELETE", path)

    assert (200, {"instancesDeleted": 1}) == first[::2]
    assert 404 == second[0]
    assert [] == [*judge.rows("History"), *judge.rows("Instances"), *judge.blob_names()]


async def test_an_id_may_be_used_again_after_its_end(
    engine: Engine, judge: Judge
) -> None:
    """The new execution replaces the old one, row by row."""
    await engine.wait(await engine.start("FansOut", "abc"))
    await engine.start("Echoes", "abc", body="1")
    body = await engine.wait("abc", lambda body: body["name"] == "Echoes")
    body = await engine.wait("abc")

    assert ("Completed", 1) == (body["runtimeStatus"], body["output"])
    body = await engine.status("abc", showHistory="true")
    assert ["ExecutionStarted", "ExecutionCompleted"] == [
        each["EventType"] for each in body["historyEvents"]
    ]


async def test_an_id_in_use_is_refused(engine: Engine) -> None:
    """The instance goes on undisturbed."""
    await engine.start("WaitsForGo", "abc")

    status, _, body = await engine.ask("POST", "orchestrators/Echoes/abc")

    assert 500 == status
    assert "already exists" in body["ExceptionMessage"]
    assert "WaitsForGo" == (await engine.status("abc"))["name"]


async def test_a_list_shows_what_its_filters_find(engine: Engine) -> None:
    """By status, by prefix, by time."""
    await engine.wait(await engine.start("Echoes", "done1"))
    await engine.wait(await engine.start("FailsItself", "failed1"))
    await engine.start("WaitsForGo", "waits1")

    async def ids(**query: str) -> list[str]:
        _, _, body = await engine.ask("GET", "instances", **query)
        return [each["instanceId"] for each in body]

    assert ["done1", "failed1", "waits1"] == await ids()
    assert ["done1", "failed1"] == await ids(runtimeStatus="Completed,Failed")
    assert ["waits1"] == await ids(instanceIdPrefix="wa")
    assert [] == await ids(createdTimeFrom="2999-01-01T00:00:00Z")
    assert [] == await ids(createdTimeTo="1999-01-01T00:00:00Z")


async def test_a_list_goes_on_by_its_token(engine: Engine) -> None:
    """The last page has none."""
    for number in range(5):
        await engine.start("WaitsForGo", f"i{number}")
    pages, token = [], ""
    while True:
        async with engine.session.get(
            f"{engine.origin}/runtime/webhooks/durabletask/instances",
            params={"code": engine.code, "top": "2"},
            headers={"x-ms-continuation-token": token} if token else {},
        ) as answer:
            pages.append([each["instanceId"] for each in await answer.json()])
            token = answer.headers.get("x-ms-continuation-token", "")
        if not token:
            break

    assert [["i0", "i1"], ["i2", "i3"], ["i4"]] == pages


@pytest.mark.parametrize(
    ("query", "left"),
    [({"runtimeStatus": "Completed"}, {"failed", "waits"}), ({}, set())],
)
async def test_instances_are_purged_by_filter(
    engine: Engine, query: Mapping[str, str], left: set[str]
) -> None:
    """Without a status everything of that time goes, what runs included."""
    await engine.wait(await engine.start("Echoes", "done"))
    await engine.wait(await engine.start("FailsItself", "failed"))
    await engine.start("WaitsForGo", "waits")

    since = "2000-01-01T00:00:00Z"
    answer = await engine.ask("DELETE", "instances", createdTimeFrom=since, **query)
    _, _, listed = await engine.ask("GET", "instances")

    assert (200, {"instancesDeleted": 3 - len(left)}) == answer[::2]
    assert left == {each["instanceId"] for each in listed}


# Against what was recorded of Azure's host


def recorded(step: str) -> Any:
    steps = json.loads(RECORDED.read_text(encoding="utf-8"))
    return next(each["body"] for each in steps if each["step"] == step)


def without_times(value: Any) -> Any:
    """Replace times and ids, which differ from run to run, by their form."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    if not isinstance(value, str):
        return value
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", value)
    return re.sub(r"^\d{4}-\d\d-\d\dT[\d:]{8}(\.\d+)?(Z|\+00:00)$", r"TIME\2", text)


def in_order(value: Any) -> str:
    return json.dumps(without_times(value), ensure_ascii=False)


@pytest.mark.parametrize(
    ("step", "query"),
    [
        ("status", {}),
        ("status showInput=false", {"showInput": "false"}),
        ("status showHistory", {"showHistory": "true"}),
        (
            "status showHistory+Output",
            {"showHistory": "true", "showHistoryOutput": "true"},
        ),
    ],
)
async def test_a_status_is_what_was_recorded(
    engine: Engine, step: str, query: Mapping[str, str]
) -> None:
    """Every property, in its order; times and ids by their form."""
    body = await engine.run("HelloOrchestrator")

    shown = await engine.status(body["instanceId"], **query)

    assert in_order(recorded(step)) == in_order(shown)


async def test_what_has_ended_refuses_as_recorded(engine: Engine) -> None:
    """Every operation that needs an instance that runs answers 410."""
    body = await engine.run("HelloOrchestrator")
    path = f"instances/{body['instanceId']}"
    answers = [
        await engine.ask("POST", f"{path}/raiseEvent/X", {"a": 1}),
        await engine.ask("POST", f"{path}/terminate", reason="why"),
        await engine.ask("POST", f"{path}/suspend", reason="why"),
        await engine.ask("POST", f"{path}/resume", reason="why"),
    ]

    assert [(410, None)] * 4 == [answer[::2] for answer in answers]


# Storage that fails, and hosts that come and go


@pytest.mark.parametrize(
    "lost",
    [
        "POST /{hub}Instances",
        "POST /{low}-control-",
        "POST /$batch",
        "MERGE /{hub}Instances",
        "DELETE /{low}-control-",
        "POST /{hub}Partitions",
        "PUT /{hub}Partitions",
        "PUT /{low}-control-",
        "POST /Tables",
    ],
)
async def test_an_instance_survives_an_answer_that_is_lost(
    open_engine: Open, proxy: Proxy, judge: Judge, lost: str
) -> None:
    """The storage did what was asked, but the host cannot know."""
    proxy.lost = [lost.format(hub=judge.hub, low=judge.hub.lower())]

    async with open_engine(proxy.connection_string) as engine:
        body = await engine.run("HelloOrchestrator")

    assert 1 == proxy.answers_lost
    assert "Completed" == body["runtimeStatus"]
    assert ["Hello Tokyo!", "Hello Seattle!", "Hello London!"] == body["output"]
    types = types_in_history(judge, body["instanceId"])
    assert 3 == types.count("TaskScheduled") == types.count("TaskCompleted")


@pytest.mark.parametrize("lost", ["POST /{low}-workitems/", "DELETE /{low}-workitems/"])
async def test_an_activity_survives_an_answer_that_is_lost(
    open_engine: Open, proxy: Proxy, judge: Judge, lost: str
) -> None:
    """One that takes so long that it gets a message of its own."""
    proxy.lost = [lost.format(low=judge.hub.lower())]

    async with open_engine(proxy.connection_string) as engine:
        body = await engine.run("CallsSleeps")
        await eventually(lambda: proxy.answers_lost == 1)

    assert "Completed" == body["runtimeStatus"]
    types = types_in_history(judge, body["instanceId"])
    assert types.count("TaskScheduled") == types.count("TaskCompleted")


async def test_an_instance_goes_on_in_the_next_host(
    open_engine: Open, judge: Judge
) -> None:
    """The first one stopped while it waited; the partitions are free at once."""
    async with open_engine() as engine:
        await engine.start("WaitsForGo", "abc")
        await eventually(lambda: "TaskCompleted" in types_in_history(judge, "abc"))

    async with open_engine() as engine:
        await engine.ask("POST", "instances/abc/raiseEvent/Go", 1)
        body = await engine.wait("abc")

    assert ["Hello Tokyo!", 1] == body["output"]


async def test_a_stopped_host_owns_nothing(open_engine: Open, judge: Judge) -> None:
    """And it leaves no message of ended instances behind."""
    async with open_engine() as engine:
        await engine.run("HelloOrchestrator")
        owners = {row.get("CurrentOwner") for row in judge.rows("Partitions")}
        assert None not in owners

    assert {None} == {row.get("CurrentOwner") for row in judge.rows("Partitions")}
    low = judge.hub.lower()
    names = [each.name for each in judge.queues.list_queues(name_starts_with=low)]
    assert 0 == sum(judge.count(name) for name in names)
