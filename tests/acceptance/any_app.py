"""A made-up app with all that function.json, host.json and settings may say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.acceptance.hosts import write_function

HOST_JSON = """{
  // Comments and trailing commas are fine.
  "version": "2.0",
  "extensions": {
    "http": {
      "routePrefix": "",
      "customHeaders": { "X-Made-By": "any app" }, /* on every answer */
    },
    "durableTask": {
      "hubName": "%HubSetting%",
      "maxConcurrentActivityFunctions": 1,
      "storeInputsInOrchestrationHistory": true,
      "overridableExistingInstanceStates": "AnyState",
    },
  },
}
"""
WORDS = 'GREETING = "Hello"\n'
PLAIN = """
import azure.functions as func


def main(req):
    return func.HttpResponse("plain")
"""
NAMED = """
import json

import azure.functions as func


def main(
    req: func.HttpRequest, response: func.Out[func.HttpResponse], context: func.Context
) -> None:
    known = [context.function_name, context.function_directory, context.invocation_id]
    response.set(func.HttpResponse(json.dumps(known), status_code=201))
"""
DEEP = """
import azure.functions as func

from __app__.shared import words
from shared.words import GREETING


async def greet(req: func.HttpRequest) -> func.HttpResponse:
    assert words.GREETING is GREETING
    return func.HttpResponse(f"{GREETING} {req.params['name']}!")


def main():
    raise AssertionError("the entry point is another")
"""
QUEUED = """
import azure.functions as func


def main(req: func.HttpRequest, message: func.Out[str]) -> func.HttpResponse:
    message.set("for a queue")
    return func.HttpResponse(f"set: {message.get()}")
"""
STARTER = """
import azure.durable_functions as df
import azure.functions as func


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    instance_id = await client.start_new(
        req.route_params["name"], req.params.get("id"), req.params.get("input")
    )
    return client.create_check_status_response(req, instance_id)
"""
OFF = """
import pathlib

pathlib.Path(__file__).with_name("was-imported").touch()
raise RuntimeError("nobody should import this")
"""
WORK = """
import pathlib
import time

from shared.words import GREETING

NOTES = pathlib.Path(__file__).parents[1] / "notes"


def main(name: str) -> str:
    note(f"{name} begins")
    time.sleep(0.03)
    note(f"{name} ends")
    return f"{GREETING} {name}!"


def note(line: str) -> None:
    with NOTES.open("a") as notes:
        notes.write(line + "\\n")
"""
SHOUT = """
async def main(text: str) -> str:
    return text.upper()
"""
ORCHESTRATOR = """
import azure.durable_functions as df


def orchestrate(context):
    {body}


main = df.Orchestrator.create(orchestrate)
"""
ORCHESTRATORS = {
    "Greets": """greeting = yield context.call_activity("Work", context.get_input())
    return (yield context.call_activity("Loud", greeting))""",
    "FansOut": """tasks = [context.call_activity("Work", f"n{n}") for n in range(6)]
    return (yield context.task_all(tasks))""",
    "Waits": """return (yield context.wait_for_external_event("Go"))""",
    "CallsOff": """return (yield context.call_activity("OffWork", "x"))""",
}
REQUEST = {"name": "req", "type": "httpTrigger", "authLevel": "anonymous"}
RESPONSE = {"name": "$return", "type": "http", "direction": "out"}
CONTEXT = {"name": "context", "type": "orchestrationTrigger", "direction": "in"}
OTHER_FUNCTIONS = {
    "Nightly": [{"name": "timer", "type": "timerTrigger", "schedule": "0 0 2 * * *"}],
    "OnMessage": [{"name": "message", "type": "queueTrigger", "queueName": "%NoSuch%"}],
}


def write_any_app(app: Path, settings: Mapping[str, str]) -> Path:
    """Write the app with some settings of its own and return its folder."""
    app.mkdir(parents=True)
    (app / "host.json").write_text(HOST_JSON)
    local = {"IsEncrypted": False, "Values": dict(settings)}
    (app / "local.settings.json").write_text(json.dumps(local))
    (app / "shared").mkdir()
    (app / "shared" / "words.py").write_text(WORDS)
    _write_http_functions(app)
    _write_starters(app)
    _write_durable_functions(app)
    for name, bindings in OTHER_FUNCTIONS.items():
        write_function(app, name, OFF, *bindings)
    return app


def _write_http_functions(app: Path) -> None:
    write_function(app, "Plain", PLAIN, REQUEST, RESPONSE)
    named = {**RESPONSE, "name": "response"}
    write_function(app, "Named", NAMED, {**REQUEST, "dataType": "binary"}, named)
    deep: dict[str, Any] = {"scriptFile": "code/inner/deep.py", "entryPoint": "greet"}
    write_function(app, "Deep", None, REQUEST, RESPONSE, **deep)
    (app / "Deep" / "code" / "inner").mkdir(parents=True)
    (app / "Deep" / "code" / "inner" / "deep.py").write_text(DEEP)
    queue = {"name": "message", "type": "queue", "queueName": "q", "direction": "out"}
    write_function(app, "Queued", QUEUED, REQUEST, RESPONSE, queue)
    write_function(app, "Off", OFF, REQUEST, RESPONSE, disabled=True)
    write_function(app, "OffBySetting", OFF, REQUEST, RESPONSE)


def _write_starters(app: Path) -> None:
    client = {"name": "starter", "type": "durableClient", "direction": "in"}
    route = {**REQUEST, "route": "start/{name}"}
    write_function(app, "Starter", STARTER, route, RESPONSE, client)
    route = {**REQUEST, "route": "%OldRoute%"}
    old = {
        "name": "starter",
        "type": "orchestrationClient",
        "taskHub": "%HubSetting%",
        "connectionName": "OwnStorage",
        "dataType": "string",
    }
    write_function(app, "OldStarter", STARTER, route, RESPONSE, old)


def _write_durable_functions(app: Path) -> None:
    for name, body in ORCHESTRATORS.items():
        write_function(app, name, ORCHESTRATOR.format(body=body), CONTEXT)
    renamed = ORCHESTRATOR.format(body=ORCHESTRATORS["Greets"])
    write_function(app, "Other", renamed, {**CONTEXT, "orchestration": "Renamed"})
    work = {"name": "name", "type": "activityTrigger", "dataType": "string"}
    write_function(app, "Work", WORK, work)
    loud = {"name": "text", "type": "activityTrigger", "activity": "Loud"}
    write_function(app, "Shout", SHOUT, loud)
    write_function(app, "OffWork", OFF, work, disabled="IsWorkOff")
