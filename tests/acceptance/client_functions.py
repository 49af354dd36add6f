"""The app that tests call the client API with, and calls of its functions."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.asking import FINISHED, Answer, ask, wait_for
from tests.acceptance.hosts import write_function
from tests.acceptance.running_host import ROOT, Host

_RECORDED_APP = ROOT / "tests" / "data" / "conformance_app"
WAIT_LIMIT_S = 15.0
# What the app's ClientOp cannot do: arguments that are no JSON, results that are no
# coroutine, and a status as it is.
_MORE = """
import json
from datetime import datetime

import azure.durable_functions as df
import azure.functions as func


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    answer = await OPERATIONS[req.route_params["op"]](client, *req.get_json())
    return func.HttpResponse(json.dumps(answer), mimetype="application/json")


async def get_status(client, *arguments):
    status = await client.get_status(*arguments)
    return {
        "is_there": bool(status),
        "runtime_status": status.runtime_status and status.runtime_status.value,
        "output": status.output,
        "input": status.input_,
        "custom_status": status.custom_status,
        "history": status.history,
        "history_events": getattr(status, "historyEvents", None),
    }


async def get_status_by(client, created_from, created_to, statuses, prefix):
    found = filters(created_from, created_to, statuses)
    listed = await client.get_status_by(*found, prefix)
    return sorted(status.instance_id for status in listed)


async def purge_by(client, created_from, created_to, statuses):
    found = filters(created_from, created_to, statuses)
    return (await client.purge_instance_history_by(*found)).instances_deleted


async def purge(client, instance_id):
    return (await client.purge_instance_history(instance_id)).instances_deleted


async def payload(client, instance_id):
    return client.create_http_management_payload(instance_id)


def filters(created_from, created_to, statuses):
    return (
        created_from and datetime.fromisoformat(created_from),
        created_to and datetime.fromisoformat(created_to),
        statuses and [df.OrchestrationRuntimeStatus(status) for status in statuses],
    )


OPERATIONS = {
    function.__name__: function
    for function in (get_status, get_status_by, purge_by, purge, payload)
}
"""
_REQUEST = {"name": "req", "type": "httpTrigger", "authLevel": "anonymous"}
_RESPONSE = {"name": "$return", "type": "http", "direction": "out"}
_CLIENT = {"name": "starter", "type": "durableClient"}


def copy_recorded_app(folder: Path) -> Path:
    """Copy the app that the real host was recorded with, and add ClientMore."""
    app = folder / "app"
    shutil.copytree(_RECORDED_APP, app, ignore=shutil.ignore_patterns("__pycache__"))
    trigger = {**_REQUEST, "route": "more/{op}", "methods": ["post"]}
    write_function(app, "ClientMore", _MORE, trigger, _RESPONSE, _CLIENT)
    return app


@dataclass(frozen=True, kw_only=True)
class Functions:
    """The client functions of the app on a host that runs.

    ``healed`` is where the app looks for the files that heal its RewindMe.
    """

    host: Host
    healed: Path

    def __call__(self, operation: str, *arguments: Any) -> Any:
        """Call a method of the client and return what it returned."""
        answer = self._op(operation, arguments)
        assert "ok" in answer, answer
        return answer["ok"]

    def error(self, operation: str, *arguments: Any) -> tuple[str, str]:
        """Call a method of the client and return type and text of its exception."""
        answer = self._op(operation, arguments)
        assert "error" in answer, answer
        return answer["error"], answer["text"]

    def more(self, operation: str, *arguments: Any) -> Any:
        """Call a function of the test's own."""
        answer = self.post(f"more/{operation}", list(arguments))
        assert 200 == answer.status
        return answer.json()

    def post(self, path: str, body: Any = None) -> Answer:
        """Call a function of the app by its route."""
        return ask(f"{self.host.url}/api/{path}", method="POST", body=body)

    def _op(self, operation: str, arguments: tuple[Any, ...]) -> Any:
        answer = self.post(f"client/{operation}", list(arguments))
        assert 200 == answer.status, answer
        return answer.json()

    def start(self, name: str, input_: Any = None) -> str:
        """Start an instance under an id that no other has; return the id."""
        instance_id: str = self("start_new", name, f"i{secrets.token_hex(8)}", input_)
        return instance_id

    def status(self, instance_id: str, *flags: bool) -> Any:
        """Ask for a status: show_history, show_history_output, show_input."""
        return self.more("get_status", instance_id, *flags)

    def ended(self, instance_id: str) -> Any:
        """Wait until an instance has ended and return its status."""
        return self.reached(instance_id, *FINISHED)

    def reached(self, instance_id: str, *wanted: str) -> Any:
        """Wait until an instance has one of some states and return its status."""

        def found() -> Any:
            status = self.status(instance_id)
            return status if status["runtime_status"] in wanted else None

        return wait_for(found, f"{instance_id} to be {wanted}", limit_s=WAIT_LIMIT_S)

    def wait_for_entity(self, key: str, state: Any) -> None:
        """Wait until the entity of a key has a state."""

        def has_it() -> bool:
            found: Mapping[str, Any] = self("read_entity_state", ["Counter", key])
            return found == {"exists": True, "state": state}

        wait_for(has_it, f"entity {key} to hold {state}", limit_s=WAIT_LIMIT_S)
