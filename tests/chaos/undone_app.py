"""An app of small programs whose next turn may go another way than an undone one.

``Flaky`` fails the first time that an instance calls it. A crash that undoes a turn
lets it run again, and so lets the program go on differently.
"""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.hosts import write_function

HOST_JSON = '{"version": "2.0"}'
_HEAD = """
import azure.durable_functions as df


def orchestrator_function(context):
    me = context.instance_id
    entity = df.EntityId("Counter", me)
    retries = df.RetryOptions(100, 3)
    {body}


main = df.Orchestrator.create(orchestrator_function)
"""
_CHILD_OF_ENTITY = """
import azure.durable_functions as df


def orchestrator_function(context):
    entity = df.EntityId("Counter", context.get_input())
    count = yield context.call_entity(entity, "add", 1)
    if count == 1:
        raise ValueError("the first try")
    return count


main = df.Orchestrator.create(orchestrator_function)
"""
_COUNTER = """
import azure.durable_functions as df


def entity_function(context):
    total = context.get_state(lambda: 0) + context.get_input()
    context.set_state(total)
    context.set_result(total)


main = df.Entity.create(entity_function)
"""
_FLAKY = """
import pathlib
import tempfile


def main(name: str) -> str:
    marker = pathlib.Path(tempfile.gettempdir()) / f"flaky-{name}"
    if not marker.exists():
        marker.touch()
        raise ValueError("the first time")
    return "ok"
"""
_ACTIVITIES = {
    "A": 'def main(name: str) -> str:\n    return "A"\n',
    "B": 'def main(name: str) -> str:\n    return "B"\n',
    "Two": 'def main(name: str) -> str:\n    return "two"\n',
    "Identity": "def main(name: str) -> str:\n    return name\n",
    "Flaky": _FLAKY,
}
PROGRAMS = {
    "RetryThenTwo": """
        first = yield context.call_activity_with_retry("Flaky", retries, me)
        return [first, (yield context.call_activity("Two", ""))]""",
    "TryElse": """
        try:
            yield context.call_activity("Flaky", me)
            return (yield context.call_activity("B", ""))
        except Exception:
            return (yield context.call_activity("A", ""))""",
    "SignalEither": """
        try:
            yield context.call_activity("Flaky", me)
            amount = 1
        except Exception:
            amount = 100
        context.signal_entity(entity, "add", amount)
        return amount""",
    "CallEither": """
        try:
            yield context.call_activity("Flaky", me)
            amount = 1
        except Exception:
            amount = 100
        return (yield context.call_entity(entity, "add", amount))""",
    "ChildOrActivity": """
        try:
            yield context.call_activity("Flaky", me)
            return (yield context.call_sub_orchestrator("Kid"))
        except Exception:
            return (yield context.call_activity("A", ""))""",
    "Guid": """
        yield context.call_activity("Two", "")
        guid = str(context.new_guid())
        return [guid, (yield context.call_activity("Identity", guid))]""",
    "EntityFirst": """
        return (yield context.call_entity(entity, "add", 1))""",
    "ChildFirst": """
        return (yield context.call_sub_orchestrator("Kid"))""",
    "NamedChildFirst": """
        return (yield context.call_sub_orchestrator("Kid", None, me + "-kid"))""",
    "EntityAfterAgain": """
        if context.get_input():
            return (yield context.call_entity(entity, "add", 10))
        yield context.call_entity(entity, "add", 1)
        context.continue_as_new(1)""",
    "ChildAfterAgain": """
        if context.get_input():
            return (yield context.call_sub_orchestrator("Kid"))
        yield context.call_activity("A", "")
        context.continue_as_new(1)""",
    "RetriedChild": """
        return (yield context.call_sub_orchestrator_with_retry(
            "FailsFirst", retries, me))""",
    "RetriedNamedChild": """
        return (yield context.call_sub_orchestrator_with_retry(
            "FailsFirst", retries, me, me + "-kid"))""",
    "StatusByActivity": """
        context.set_custom_status("one")
        yield context.call_activity("A", "")
        context.set_custom_status("two")
        yield context.wait_for_external_event("Go")""",
    "StatusByEvent": """
        context.set_custom_status("one")
        yield context.wait_for_external_event("Before")
        context.set_custom_status("two")
        yield context.wait_for_external_event("Go")""",
    "StatusByChild": """
        context.set_custom_status("one")
        yield context.call_sub_orchestrator("Kid", None, me + "-kid")
        context.set_custom_status("two")
        yield context.wait_for_external_event("Go")""",
    "Kid": """
        return "Kid"
        yield""",
}


def make_app(folder: Path) -> Path:
    """Write the app; hosts of many task hubs may share it."""
    app = folder / "app"
    app.mkdir()
    (app / "host.json").write_text(HOST_JSON)
    orchestrators = {
        name: _HEAD.replace(
            "    {body}", body.replace("\n        ", "\n    ").strip("\n")
        )
        for name, body in PROGRAMS.items()
    }
    for name, script in {**orchestrators, "FailsFirst": _CHILD_OF_ENTITY}.items():
        write_function(app, name, script, _trigger("orchestrationTrigger"))
    write_function(app, "Counter", _COUNTER, _trigger("entityTrigger"))
    for name, script in _ACTIVITIES.items():
        write_function(app, name, script, _trigger("activityTrigger", "name"))
    return app


def _trigger(kind: str, name: str = "context") -> dict[str, str]:
    return {"name": name, "type": kind, "direction": "in"}
