"""A host as a process on the tests' Azurite, and what is put into its hub by hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from localhost.taskhub.queues import partition_of
from tests.acceptance.asking import FINISHED, Answer, ask, wait_for
from tests.acceptance.hosts import Hosts, write_function
from tests.acceptance.running_host import Host, Storage
from tests.conftest import Emulator
from tests.integration.conftest import PARTITIONS, Judge, clock, create, open_hub

ACTIVITY_ID = "cb340ad9-7347-40c5-ab74-7f79193fc197"
NEIGHBOUR_LIMIT_S = 2.0
END_LIMIT_S = 10.0
ORCHESTRATORS = {
    "WaitsForGo": 'first = yield context.call_activity("Hello", "Tokyo")\n'
    '    data = yield context.wait_for_external_event("Go")\n'
    "    return [first, data]",
    "GoThenHello": 'yield context.wait_for_external_event("Go")\n'
    '    return (yield context.call_activity("Hello", "Tokyo"))',
    "CallsChild": 'return (yield context.call_sub_orchestrator("HelloOrchestrator"))',
    "Echoes": "return context.get_input()\n    yield",
}
ORCHESTRATOR = """
import azure.durable_functions as df


def orchestrator_function(context):
    {body}


main = df.Orchestrator.create(orchestrator_function)
"""
COUNTER = """
import azure.durable_functions as df


def entity_function(context):
    context.set_state(context.get_state(lambda: 0) + context.get_input())


main = df.Entity.create(entity_function)
"""


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """A host that runs on a hub, asked by instance ids that the test chose."""

    host: Host
    hosts: Hosts
    hub: str

    def queue_of(self, instance_id: str) -> str:
        """The control queue that carries an instance's messages."""
        return f"{self.hub.lower()}-control-{partition_of(instance_id, PARTITIONS):02}"

    def ask(self, method: str, path: str) -> Answer:
        """Send a request of the management API."""
        url = f"{self.host.url}/runtime/webhooks/durabletask/{path}"
        mark = "&" if "?" in path else "?"
        return ask(f"{url}{mark}code={self.host.code}", method=method)

    def start(self, name: str, instance_id: str) -> None:
        """Start an instance under an id."""
        answer = self.ask("POST", f"orchestrators/{name}/{instance_id}")
        assert 202 == answer.status, answer.text

    def status(self, instance_id: str) -> Any:
        """The status of an instance, None when there is no such."""
        answer = self.ask("GET", f"instances/{instance_id}")
        return json.loads(answer.text) if answer.text else None

    def end_of(self, instance_id: str, limit_s: float = END_LIMIT_S) -> Any:
        """Wait until an instance has ended, and return its status."""

        def ended() -> Any:
            status = self.status(instance_id)
            return status if status and status["runtimeStatus"] in FINISHED else None

        return wait_for(ended, f"the end of {instance_id}", limit_s=limit_s)

    def start_waiting(self, judge: Judge, instance_id: str) -> str:
        """Start an instance that waits for an event; return its execution id."""
        self.start("WaitsForGo", instance_id)
        wait_for(
            lambda: "TaskCompleted" in types_in_history(judge, instance_id),
            f"{instance_id} to wait for its event",
            limit_s=END_LIMIT_S,
        )
        return str(judge.rows("History", instance_id)[-1]["ExecutionId"])

    def runs_a_neighbour_of(self, instance_id: str) -> bool:
        """Whether another instance of the same control queue completes in time."""
        queue = self.queue_of(instance_id)
        names = (f"neighbour-{time.monotonic_ns()}-{n}" for n in range(1000))
        neighbour = next(name for name in names if self.queue_of(name) == queue)
        began_s = time.monotonic()
        self.start("HelloOrchestrator", neighbour)
        status = self.end_of(neighbour)
        took_s = time.monotonic() - began_s
        return "Completed" == status["runtimeStatus"] and took_s < NEIGHBOUR_LIMIT_S


@contextmanager
def hosts_on(folder: Path) -> Iterator[Hosts]:
    """Start hosts; each is told by a variable which storage it has."""
    with Hosts(folder, Storage.on_free_ports()) as hosts:
        yield hosts


def start_on(
    hosts: Hosts, emulator: Emulator, hub: str, **orchestrators: str
) -> Hosted:
    """Start a host on a hub, with functions that wait and an entity that counts.

    ``orchestrators`` are the scripts of more functions, by name.
    """
    app = hosts.copy_app()
    for name, body in ORCHESTRATORS.items():
        write_function(app, name, ORCHESTRATOR.format(body=body), _trigger(name))
    for name, script in orchestrators.items():
        write_function(app, name, script, _trigger(name))
    write_function(app, "Counter", COUNTER, _trigger("Counter"))
    host = hosts.start(
        app,
        AzureWebJobsStorage=emulator.connection_string,
        AzureFunctionsJobHost__extensions__durableTask__hubName=hub,
    )
    return Hosted(host=host, hosts=hosts, hub=hub)


def _trigger(name: str) -> dict[str, str]:
    kind = "entityTrigger" if name == "Counter" else "orchestrationTrigger"
    return {"name": "context", "type": kind, "direction": "in"}


def make_hub(emulator: Emulator, name: str) -> None:
    """Make queues, tables and containers before any host comes."""

    async def made() -> None:
        async with open_hub(emulator.account, name) as hub:
            await create(hub)

    asyncio.run(made())


def types_in_history(judge: Judge, instance_id: str) -> list[str]:
    rows = judge.rows("History", instance_id)
    return [row["EventType"] for row in rows if "EventType" in row]


def envelope(
    event: Mapping[str, Any],
    instance_id: str,
    execution_id: str | None = None,
    **changes: Any,
) -> str:
    """Return a message as plain JSON with what is needed only."""
    kind = event.get("$type", "EventRaisedEvent")
    text = {
        "$type": "DurableTask.AzureStorage.MessageData",
        "ActivityId": ACTIVITY_ID,
        "TaskMessage": {
            "$type": "DurableTask.Core.TaskMessage",
            "Event": {
                "$type": f"DurableTask.Core.History.{kind}",
                "EventId": -1,
                "IsPlayed": False,
                "Timestamp": "2026-11-22T04:28:42.5Z",
                **event,
            },
            "OrchestrationInstance": {
                "InstanceId": instance_id,
                "ExecutionId": execution_id,
            },
        },
        "CompressedBlobName": None,
        "SequenceNumber": 1,
        "Sender": {"InstanceId": "", "ExecutionId": ""},
        **changes,
    }
    return json.dumps(text, separators=(",", ":"), ensure_ascii=False)


def go(instance_id: str, data: object = 1) -> str:
    """Return the message that raises the event ``Go``."""
    event = {"EventType": 15, "Name": "Go", "Input": json.dumps(data)}
    return envelope(event, instance_id)


def answer(
    instance_id: str, execution_id: str | None, task_id: int, *, at: str = ""
) -> str:
    """Return the message that answers an activity, which has ended just now."""
    event = {
        "EventType": 5,
        "TaskScheduledId": task_id,
        "Result": '"odd"',
        "Timestamp": at or clock.now(),
    }
    return envelope(event, instance_id, execution_id)


# Rows, as the extension writes them


def history_of_waiting(instance_id: str, execution_id: str) -> list[dict[str, Any]]:
    """Return the rows of an instance of ``WaitsForGo`` whose activity has answered."""
    target = {"InstanceId": instance_id, "ExecutionId": execution_id}
    start = {
        "EventType": "ExecutionStarted",
        "Name": "WaitsForGo",
        "Version": "",
        "Input": '"in"',
        "OrchestrationInstance": json.dumps(target),
    }
    task = {"EventType": "TaskScheduled", "Name": "Hello", "EventId": 0, "Version": ""}
    answer_ = {
        "EventType": "TaskCompleted",
        "TaskScheduledId": 0,
        "Result": '"Hello Tokyo!"',
    }
    begun, ended = (
        {"EventType": "OrchestratorStarted"},
        {"EventType": "OrchestratorCompleted"},
    )
    events: list[dict[str, Any]] = [begun, start, task, ended, begun, answer_, ended]
    keys = {"PartitionKey": instance_id, "ExecutionId": execution_id}
    at = datetime(2026, 11, 22, 4, 28, 42, 500_000, timezone.utc)
    rows = [
        {"RowKey": f"{n:016X}", "_Timestamp": at, "EventId": -1, "IsPlayed": True, **e}
        for n, e in enumerate(events)
    ]
    sentinel = {"RowKey": "sentinel", "IsCheckpointComplete": True}
    return [{**row, **keys} for row in (*rows, sentinel)]


def row_of(instance_id: str, execution_id: str, status: str) -> dict[str, Any]:
    """Return the row of an instance of ``WaitsForGo``."""
    return {
        "PartitionKey": instance_id,
        "RowKey": "",
        "Name": "WaitsForGo",
        "Version": "",
        "Input": '"in"',
        "CreatedTime": datetime(2026, 11, 22, 4, 28, 42, tzinfo=timezone.utc),
        "LastUpdatedTime": datetime(2026, 11, 22, 4, 28, 43, tzinfo=timezone.utc),
        "RuntimeStatus": status,
        "ExecutionId": execution_id,
        "Generation": 0,
    }
