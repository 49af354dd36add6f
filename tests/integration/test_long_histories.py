"""An instance with a history of 10,000 events: read, shown, killed, gone on with."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from azure.data.tables import TableServiceClient

from localhost.taskhub.storage import Storage
from localhost.taskhub.tables import LARGEST_TRANSACTION_ROWS, Operation, Table
from tests.acceptance.asking import ask, wait_for
from tests.acceptance.hosts import write_function
from tests.conftest import Emulator
from tests.integration.conftest import Judge
from tests.integration.hosted import (
    END_LIMIT_S,
    ORCHESTRATOR,
    Hosted,
    hosts_on,
    make_hub,
    row_of,
)

pytestmark = pytest.mark.timeout(60)

EXECUTION = "0123456789abcdef0123456789abcdef"
TASKS = 3_334
GATHERS = f"""made = yield context.task_all(
        [context.call_activity("Hello", str(n)) for n in range({TASKS})])
    first = yield context.wait_for_external_event("Go")
    said = yield context.call_activity("Hello", "Tokyo")
    second = yield context.wait_for_external_event("Go")
    return [len(made), made[0], made[-1], first, said, second]"""
GATHERED = [TASKS, "Hello 0!", f"Hello {TASKS - 1}!", 1, "Hello Tokyo!", 2]


def history_of_gathered(instance_id: str) -> list[dict[str, Any]]:
    """Return the rows of an instance whose 3,334 activities have all answered.

    They were scheduled in one turn, and answered two in a turn.
    """
    target = {"InstanceId": instance_id, "ExecutionId": EXECUTION}
    begun = {"EventType": "OrchestratorStarted"}
    ended = {"EventType": "OrchestratorCompleted"}
    start = {
        "EventType": "ExecutionStarted",
        "Name": "Gathers",
        "Version": "",
        "OrchestrationInstance": json.dumps(target),
    }
    task = {"EventType": "TaskScheduled", "Name": "Hello", "Version": ""}
    scheduled = [{**task, "EventId": n} for n in range(TASKS)]
    events: list[dict[str, Any]] = [begun, start, *scheduled, ended]
    for first in range(0, TASKS, 2):
        events += [begun, answer(first), answer(first + 1), ended]
    common = {
        "EventId": -1,
        "IsPlayed": True,
        "_Timestamp": "2026-11-22T04:28:42.5000000Z",
        "_Timestamp@odata.type": "Edm.DateTime",
        "ExecutionId": EXECUTION,
    }
    rows = [{"RowKey": f"{n:016X}", **common, **e} for n, e in enumerate(events)]
    sentinel = {"ExecutionId": EXECUTION, "IsCheckpointComplete": True}
    return [*rows, {"RowKey": "sentinel", **sentinel}]


def answer(task_id: int) -> dict[str, Any]:
    return {
        "EventType": "TaskCompleted",
        "TaskScheduledId": task_id,
        "Result": f'"Hello {task_id}!"',
    }


async def insert(emulator: Emulator, hub: str, instance_id: str) -> None:
    """Write the history of an instance, a hundred rows at a time."""
    async with Storage(emulator.account) as storage:
        table = Table(storage, f"{hub}History")
        operations = [
            Operation(
                method="POST",
                partition_key=instance_id,
                row_key=row.pop("RowKey"),
                columns=row,
            )
            for row in history_of_gathered(instance_id)
        ]
        await asyncio.gather(
            *(
                table.transaction(operations[n : n + LARGEST_TRANSACTION_ROWS])
                for n in range(0, len(operations), LARGEST_TRANSACTION_ROWS)
            )
        )


@pytest.fixture(scope="module", name="hub_name")
def _hub_name() -> str:
    """One hub for all: its history takes some time to write."""
    return f"LongHistories{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module", name="long_one")
def _long_one(
    emulator: Emulator, hub_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosted]:
    """A host on a hub with one instance, ``long``, that has 10,005 events behind it."""
    make_hub(emulator, hub_name)
    asyncio.run(insert(emulator, hub_name, "long"))
    row = {**row_of("long", EXECUTION, "Running"), "Name": "Gathers"}
    text = emulator.connection_string
    with TableServiceClient.from_connection_string(text) as tables:
        tables.get_table_client(f"{hub_name}Instances").create_entity(row)
    with hosts_on(tmp_path_factory.mktemp("long")) as hosts:
        app = hosts.copy_app()
        trigger = {"name": "context", "type": "orchestrationTrigger", "direction": "in"}
        write_function(app, "Gathers", ORCHESTRATOR.format(body=GATHERS), trigger)
        host = hosts.start(
            app,
            AzureWebJobsStorage=emulator.connection_string,
            AzureFunctionsJobHost__extensions__durableTask__hubName=hub_name,
        )
        yield Hosted(host=host, hosts=hosts, hub=hub_name)


def say_go(hosted: Hosted, instance_id: str, data: object) -> None:
    base = f"{hosted.host.url}/runtime/webhooks/durabletask/instances/{instance_id}"
    url = f"{base}/raiseEvent/Go?code={hosted.host.code}"
    assert 202 == ask(url, method="POST", body=data).status


def test_a_history_of_ten_thousand_events_is_read_and_shown(long_one: Hosted) -> None:
    """One page of a query holds a thousand."""
    url = f"{long_one.host.url}/runtime/webhooks/durabletask/instances/long"
    shown = ask(f"{url}?showHistory=true&code={long_one.host.code}").json()

    kinds = [event["EventType"] for event in shown["historyEvents"]]
    assert ["ExecutionStarted", *["TaskCompleted"] * TASKS] == kinds[: TASKS + 1]


def test_an_instance_with_a_long_history_goes_on_after_a_kill(
    long_one: Hosted, judge: Judge
) -> None:
    """The host that follows reads all of it again, and finds the turn in between."""
    say_go(long_one, "long", 1)
    wait_for(
        lambda: '"Hello Tokyo!"' in results_of(judge, after=10_000),
        "the activity after the event",
        limit_s=END_LIMIT_S,
    )
    long_one.host.kill()
    again = replace(long_one, host=long_one.hosts.restart(long_one.host))

    say_go(again, "long", 2)

    assert GATHERED == again.end_of("long")["output"]


def results_of(judge: Judge, *, after: int) -> list[str]:
    """The results in the rows of ``long`` from a place on."""
    rows = judge.tables.get_table_client(f"{judge.hub}History").query_entities(
        f"PartitionKey eq 'long' and RowKey ge '{after:016X}' and RowKey lt 'a'"
    )
    return [row["Result"] for row in rows if "Result" in row]
