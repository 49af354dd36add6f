"""Does what a program says; ``tests/chaos/programs/oracle.py`` says what comes of it.

A program is a tree of JSON objects: ``do`` names what is done, ``parts`` are in it.
The tag of a call names the instance and the place in its tree, so that an answer that
goes to another call is seen at once.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

Node = dict[str, Any]
Steps = Generator[Any, Any, Any]

_TAG = re.compile(r"<<(.*?)>>")
_HOUR_S = 3600
_RETRY_MS = 100


def orchestrator_function(context: df.DurableOrchestrationContext) -> Steps:
    given: Any = context.get_input()
    place = f"r{given['round']}"
    value = yield from Interpreter(context, given).run(given["body"], place)
    values = [*given["values"], value]
    following = given["round"] + 1
    if following < given["rounds"]:
        context.continue_as_new({**given, "round": following, "values": values})
        return None
    return None if given.get("is_silent") else values


class Interpreter:
    """Runs the nodes of one instance."""

    def __init__(
        self, context: df.DurableOrchestrationContext, given: dict[str, Any]
    ) -> None:
        self._context = context
        self._given = given
        self._scope = given["scope"]

    def run(self, node: Node, place: str) -> Steps:
        """Do what a node says and return its value."""
        special = getattr(self, f"do_{node['do']}", None)
        if special is not None:
            return (yield from special(node, place))
        self._ask([(node, place)])
        return self._value(node, place, (yield self._task(node, place)))

    # What has parts

    def do_seq(self, node: Node, place: str) -> Steps:
        values = []
        for number, part in enumerate(node["parts"]):
            values.append((yield from self.run(part, f"{place}.{number}")))
        return values

    def do_try(self, node: Node, place: str) -> Steps:
        body, handler = node["parts"]
        try:
            return ["ok", (yield from self.run(body, f"{place}.0"))]
        except Exception as error:
            found = _TAG.search(str(error))
            if found is None:
                raise
        return ["caught", found[1], (yield from self.run(handler, f"{place}.1"))]

    def do_all(self, node: Node, place: str) -> Steps:
        parts = [(part, f"{place}.{n}") for n, part in enumerate(node["parts"])]
        tasks = [self._task(*part) for part in parts]
        self._ask(parts)
        results = yield self._context.task_all(tasks)
        return [
            self._value(*part, result)
            for part, result in zip(parts, results, strict=True)
        ]

    def do_any(self, node: Node, place: str) -> Steps:
        parts = [(part, f"{place}.{n}") for n, part in enumerate(node["parts"])]
        tasks = [self._task(*part) for part in parts]
        self._ask(parts)
        winner = yield self._context.task_any(tasks)
        for (part, _), task in zip(parts, tasks, strict=True):
            if part["do"] == "hour" and task is not winner:
                task.cancel()
        number = next(n for n, task in enumerate(tasks) if task is winner)
        return ["won", number, self._value(*parts[number], winner.result)]

    # What is more than one task, or none

    def do_guid(self, node: Node, place: str) -> Steps:
        mark = f"{self._tag(place)}!{self._context.new_guid()}"
        answer = yield self._context.call_activity("Echo", {"tag": mark})
        return "own" if answer == mark else [mark, answer]

    def do_signal(self, node: Node, place: str) -> Steps:
        self._context.signal_entity(self._entity(node), "append", self._tag(place))
        return None
        yield

    def do_status(self, node: Node, place: str) -> Steps:
        self._context.set_custom_status(self._tag(place))
        return None
        yield

    def do_wait(self, node: Node, place: str) -> Steps:
        """Take events of one name, one after the other, until the last has come."""
        name = self._tag(place)
        got: list[int] = []
        self._ask([(node, place)])
        while not got or got[-1] < node.get("count", 1):
            got.append((yield self._context.wait_for_external_event(name)))
        return {"events": name, "got": got}

    def do_waits(self, node: Node, place: str) -> Steps:
        """Wait for events of one name all at once."""
        name, count = self._tag(place), node.get("count", 1)
        self._ask([(node, place)])
        waits = [self._context.wait_for_external_event(name) for _ in range(count)]
        got = yield self._context.task_all(waits)
        return {"events": name, "got": got, "at": "once"}

    def do_next(self, node: Node, place: str) -> Steps:
        """Take the event of this round; all rounds have one name."""
        name = f"{self._scope}_loop"
        got: list[int] = []
        while not got or got[-1] <= self._given["round"]:
            got.append((yield self._context.wait_for_external_event(name)))
        return {"events": name, "got": got}

    # What is one task

    def _task(self, node: Node, place: str) -> Any:
        """Call what a node names."""
        context, do, tag = self._context, node["do"], self._tag(place)
        if do == "echo":
            return context.call_activity("Echo", {"tag": tag, "ms": node.get("ms", 0)})
        if do in ("fail", "flaky"):
            return context.call_activity(do.capitalize(), tag)
        if do in ("retry", "exhausted"):
            name = "Flaky" if do == "retry" else "Fail"
            return context.call_activity_with_retry(name, self._retries(node), tag)
        if do in ("timer", "hour"):
            pause = timedelta(seconds=_HOUR_S, milliseconds=node.get("ms", 0))
            if do == "timer":
                pause = timedelta(milliseconds=node.get("ms", 0))
            return context.create_timer(context.current_utc_datetime + pause)
        if do in ("entity", "entity_fail", "read"):
            name = {"entity": "append", "read": "read"}.get(do, "fail")
            return context.call_entity(self._entity(node), name, tag)
        if do == "sub":
            return self._sub(node, place)
        return context.wait_for_external_event(tag)  # wait, pause, never, forever

    def _sub(self, node: Node, place: str) -> Any:
        scope = f"{self._scope}-{place}"
        given = {
            "scope": scope,
            "shared": self._given["shared"],
            "body": node["parts"][0],
            "rounds": node.get("rounds", 1),
            "round": 0,
            "values": [],
        }
        instance_id = scope if node.get("has_id") else None
        if node.get("count", 1) == 1:
            return self._context.call_sub_orchestrator("Interpret", given, instance_id)
        return self._context.call_sub_orchestrator_with_retry(
            "Interpret", self._retries(node), given, instance_id
        )

    def _retries(self, node: Node) -> df.RetryOptions:
        return df.RetryOptions(_RETRY_MS, node["count"])

    def _value(self, node: Node, place: str, result: Any) -> Any:
        """What a task's result stands for; that of an event says whose it is."""
        if node["do"] in ("timer", "hour"):
            return self._tag(place)
        if node["do"] in ("wait", "pause"):
            return {"events": self._tag(place), "got": [result]}
        return result

    def _ask(self, parts: list[tuple[Node, str]]) -> None:
        """Ask for what comes from outside: the custom status names it."""
        wanted = [
            self._tag(place)
            for node, place in parts
            if node["do"] in ("wait", "waits", "pause", "forever")
            and not node.get("is_early")
        ]
        if wanted:
            self._context.set_custom_status("ask:" + ",".join(wanted))

    def _entity(self, node: Node) -> df.EntityId:
        key = self._scope if node.get("key", "own") == "own" else self._given["shared"]
        return df.EntityId("Log", key)

    def _tag(self, place: str) -> str:
        return f"{self._scope}_{place}"


main = df.Orchestrator.create(orchestrator_function)
