"""How the programs of ``undone_app`` may end, held against what is stored; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.histories import faults_of_history

_RESULTS = {"A": "A", "B": "B", "Two": "two", "Flaky": "ok", "Kid": "Kid"}

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program, how its output may be, and how often it is started under one id.

    ``state`` is what its entity must hold: a number, or None for what the history
    says. ``forgets`` tells of one whose history does not hold all that it asked for.
    """

    name: str
    outputs: Sequence[Any] = ()
    starts: int = 1
    state: int | None = None
    forgets: bool = False

    @property
    def id(self) -> str:
        return self.name + (f"-{self.starts}-times" if self.starts > 1 else "")


PROGRAMS = [
    Program(name="RetryThenTwo", outputs=[["ok", "two"]]),
    Program(name="TryElse", outputs=["A", "B"]),
    Program(name="SignalEither", outputs=[1, 100]),
    Program(name="CallEither", outputs=[1, 100]),
    Program(name="ChildOrActivity", outputs=["A", "Kid"]),
    Program(name="Guid"),
    Program(name="EntityFirst", outputs=[1]),
    Program(name="ChildFirst", outputs=["Kid"]),
    Program(name="EntityAfterAgain", outputs=[11], state=11, forgets=True),
    Program(name="ChildAfterAgain", outputs=["Kid"]),
    Program(name="EntityFirst", outputs=[2], starts=2, state=2, forgets=True),
    Program(name="NamedChildFirst", outputs=["Kid"], starts=2),
    Program(name="RetriedChild", outputs=[2], state=2),
    Program(name="RetriedNamedChild", outputs=[2], state=2, forgets=True),
]


def faults_of_program(
    program: Program,
    rows: Mapping[str, Row],
    histories: Mapping[str, Sequence[Row]],
) -> Iterator[str]:
    """Say what is wrong with a program's end, given all rows of its hub."""
    row = rows.get(program.id, {})
    history = histories.get(program.id, [])
    state = (row.get("RuntimeStatus"), row.get("Output"))
    if state[0] != "Completed":
        yield f"{state}; expected: Completed"
        return
    output = json.loads(row.get("Output") or "null")
    if not _is_allowed(program, output):
        yield f"output {output!r}; expected one of {list(program.outputs)}"
    children = _created(histories, program)
    for instance_id in (program.id, *(set(children) & set(histories))):
        events = histories.get(instance_id, [])
        yield from faults_of_history(events, rows.get(instance_id, {}))
        yield from _faults_of_answers(events)
    yield from _faults_of_last(program, output, history)
    yield from _faults_of_entity(program, rows, histories, [program.id, *children])
    if not program.forgets:
        orphans = _orphans(program, rows, histories)
        yield from (f"{name} belongs to no stored turn" for name in orphans)


def _is_allowed(program: Program, output: Any) -> bool:
    if program.name == "Guid":
        return bool(output[0] == output[1])
    return output in program.outputs


def _current(history: Sequence[Row]) -> list[Row]:
    """The events of the current execution, in order."""
    [sentinel] = [row for row in history if row["RowKey"] == "sentinel"] or [{}]
    events = [row for row in history if row["RowKey"] != "sentinel"]
    current = [e for e in events if e["ExecutionId"] == sentinel.get("ExecutionId")]
    return sorted(current, key=lambda row: str(row["RowKey"]))


def _created(
    histories: Mapping[str, Sequence[Row]], program: Program
) -> dict[str, str]:
    """The names of the children of a program by their instance ids."""
    return {
        str(row["InstanceId"]): str(row["Name"])
        for row in _current(histories.get(program.id, []))
        if row["EventType"] == "SubOrchestrationInstanceCreated"
    }


def _faults_of_answers(history: Sequence[Row]) -> Iterator[str]:
    """Each answer is one of what was asked under its number."""
    asked = {row["EventId"]: row for row in _current(history)}
    kinds = ("TaskCompleted", "SubOrchestrationInstanceCompleted")
    for row in _current(history):
        if row["EventType"] not in kinds:
            continue
        name = asked[row["TaskScheduledId"]].get("Name", "")
        result = json.loads(row.get("Result") or "null")
        if name in _RESULTS and result != _RESULTS[name]:
            yield f"{name} answered {result!r}; expected {_RESULTS[name]!r}"


def _faults_of_last(
    program: Program, output: Any, history: Sequence[Row]
) -> Iterator[str]:
    """The output of a program that ends with an answer is that of its last request."""
    asked = [row for row in _current(history) if row.get("Name") in _RESULTS]
    if not isinstance(output, str) or not asked:
        return
    name = str(asked[-1]["Name"])
    if output != _RESULTS[name]:
        yield f"output {output!r}, but its history ends with {name}"


def _faults_of_entity(
    program: Program,
    rows: Mapping[str, Row],
    histories: Mapping[str, Sequence[Row]],
    senders: Sequence[str],
) -> Iterator[str]:
    """The entity holds what the stored turns have sent, each once."""
    entity = rows.get(f"@counter@{program.id}")
    stored = json.loads(entity["Input"]).get("state") if entity else None
    total = int(stored or 0)
    sent = [
        int(json.loads(json.loads(row["Input"])["input"]))
        for sender in senders
        for row in _current(histories.get(sender, []))
        if row["EventType"] == "EventSent"
    ]
    expected = sum(sent) if program.state is None else program.state
    if total != expected:
        yield f"its entity holds {total}; expected {expected}, its history sent {sent}"


def _orphans(
    program: Program,
    rows: Mapping[str, Row],
    histories: Mapping[str, Sequence[Row]],
) -> list[str]:
    """Children of the program that no stored turn has created."""
    return [
        name
        for name in set(rows) - set(_created(histories, program))
        if _parent_of(histories.get(name, [])) == program.id
    ]


def _parent_of(history: Sequence[Row]) -> str | None:
    """Who started an instance, by its history."""
    for row in _current(history):
        if row["EventType"] == "ExecutionStarted" and row.get("ParentInstance"):
            parent = json.loads(row["ParentInstance"])
            return str(parent["OrchestrationInstance"]["InstanceId"])
    return None
