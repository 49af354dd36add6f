"""Turns that the real host played: ours must add the same events and end alike.

A line of ``tests/data/turns`` is what an orchestrator function received and returned.
What a turn added is what the history of the next turn shows in its place.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import pytest
from azure.durable_functions import RetryOptions

from localhost.durable.execution import Kind, Rules
from localhost.durable.outbox import Sender
from localhost.durable.sdk import context_body, state_of
from localhost.durable.turn import Turn, decide
from localhost.history import SCHEDULES, EventType, HistoryEvent
from localhost.outcome import Outcome, Raised, Returned
from localhost.text import dumps
from localhost.web.payloads import leniently_parsed

FOLDER = Path(__file__).parents[1] / "data" / "turns"

# Where this host is meant to differ from what was recorded.
DIFFERENCES = {
    "UnknownActivity": (
        "the real host schedules nothing and the instance hangs for ever; here it"
        " fails with a text that names the functions there are"
    ),
    "UnknownSub": "as UnknownActivity",
}
# Turns whose events a client rewrote before the next turn: nothing to compare with.
REWOUND = {("RewindMe", 2)}

Orchestrator = Callable[[df.DurableOrchestrationContext], Generator[Any, Any, Any]]


# The recorder kept no states of turns that raised, and one state for all executions of
# a name whose ids begin alike: the SDK says again what these functions returned.


def _calls(name: str, input_: object = "x") -> Orchestrator:
    """Make an orchestrator of one activity."""

    def orchestrator(
        context: df.DurableOrchestrationContext,
    ) -> Generator[Any, Any, Any]:
        answer = yield context.call_activity(name, input_)
        return answer

    return orchestrator


def _retries(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    answer = yield context.call_activity_with_retry(
        "Flaky", RetryOptions(200, 2), "once more"
    )
    return answer


def _calls_child(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    yield context.call_sub_orchestrator("FailOrch")


def _two_steps(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    one = yield context.call_activity("Hello", "one")
    two = yield context.call_activity("FailUntilHealed", context.instance_id)
    return [one, two]


def _raises(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    yield context.call_activity("Hello", "x")
    raise ValueError("orchestrator says no")


def _raises_early(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    raise KeyError("early")
    yield


def _returns_object(
    context: df.DurableOrchestrationContext,
) -> Generator[Any, Any, Any]:
    yield context.call_activity("Hello", "x")
    return object()


def _counts(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    number = context.get_input() or 0
    yield context.call_activity("Hello", str(number))
    if number >= 3:
        return number
    context.continue_as_new(number + 1)


def _collects(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    items = context.get_input() or []
    item = yield context.wait_for_external_event("Item")
    if item == "end":
        return items
    context.continue_as_new([*items, item])


ORCHESTRATORS: Mapping[str, Orchestrator] = {
    "BadActivityOutput": _calls("ReturnsObject"),
    "BadOutput": _returns_object,
    "Eternal": _counts,
    "EternalEvents": _collects,
    "FailActivity": _calls("Boom", "kaboom é"),
    "FailOrch": _raises,
    "FailOrchEarly": _raises_early,
    "FlakySub": _calls("Flaky"),
    "RetryExhausted": _retries,
    "RewindMe": _two_steps,
    "SubOrchFailUncaught": _calls_child,
}


# The recordings


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One turn: the history that it began from, what came in, and the answer.

    ``added`` is what the next turn's history shows of it; empty in the last turn.
    """

    name: str
    number: int
    received: Mapping[str, Any]
    returned: Mapping[str, Any] | None
    past: tuple[HistoryEvent, ...]
    new: tuple[HistoryEvent, ...]
    added: tuple[HistoryEvent, ...] = ()

    @property
    def label(self) -> str:
        """Its name in the report of the tests."""
        target = self.started["OrchestrationInstance"]
        return f"{self.name}-{target['ExecutionId'][:6]}-{self.number}"

    @property
    def started(self) -> HistoryEvent:
        """The event that started the execution."""
        history = [*self.past, *self.new]
        return next(e for e in history if e.type is EventType.ExecutionStarted)

    def outcome(self) -> Outcome:
        """Return what the function returned, or raised."""
        if self.returned is not None:
            return Returned(value=dumps(self.returned))
        main = df.Orchestrator.create(ORCHESTRATORS[self.name])
        try:
            return Returned(value=main(json.dumps(self.received)))
        except Exception as exc:
            return Raised(
                type_name=type(exc).__name__, message=str(exc), traceback="frames"
            )

    def decided(self) -> Turn:
        """Let this host decide the turn."""
        target = self.started["OrchestrationInstance"]
        return decide(
            past=self.past,
            new=self.new,
            state=state_of(self.outcome()),
            rules=Rules(unknown=_unknown),
            sender=Sender(
                instance_id=target["InstanceId"],
                execution_id=target["ExecutionId"],
                episode=self.number + 1,
            ),
            now="2026-11-22T05:00:00Z",
        )


def _unknown(kind: Kind, name: str) -> str | None:
    return f"there is no {kind} {name}" if name == "Nope" else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file; states kept for another execution are left out."""
    text = path.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines() if line]
    kept_as = Counter(_place(line["received"]) for line in lines)
    for line in lines:
        if kept_as[_place(line["received"])] > 1 and path.stem in ORCHESTRATORS:
            line["returned"] = None
        yield line


def _place(received: Mapping[str, Any]) -> tuple[str, int]:
    """Return the name under which the recorder kept a state."""
    return received["instanceId"][:12], len(received["history"])


def _executions() -> Iterator[list[Recorded]]:
    """Yield the turns of each recorded execution in order."""
    for path in sorted(FOLDER.glob("*.jsonl")):
        by_execution = defaultdict(list)
        for line in _lines(path):
            history = [HistoryEvent.from_wire(e) for e in line["received"]["history"]]
            started = next(e for e in history if e.type is EventType.ExecutionStarted)
            target = started["OrchestrationInstance"]
            by_execution[target["ExecutionId"]].append((history, line))
        for turns in by_execution.values():
            turns.sort(key=lambda turn: len(turn[0]))
            yield list(_turns(path.stem, turns))


def _turns(
    name: str, turns: list[tuple[list[HistoryEvent], dict[str, Any]]]
) -> Iterator[Recorded]:
    begin = 0
    for number, (history, line) in enumerate(turns):
        following = turns[number + 1][0] if number + 1 < len(turns) else None
        end = None if following is None else _last_turn_begins(following)
        yield Recorded(
            name=name,
            number=number,
            received=line["received"],
            returned=line["returned"],
            past=tuple(history[:begin]),
            new=tuple(history[begin:]),
            added=tuple(following[begin:end]) if following else (),
        )
        begin = end or 0


def _last_turn_begins(history: list[HistoryEvent]) -> int:
    """Return the place of a history's last OrchestratorStarted."""
    places = range(len(history))
    return max(p for p in places if history[p].type is EventType.OrchestratorStarted)


EXECUTIONS = list(_executions())
TURNS = [turn for turns in EXECUTIONS for turn in turns]
OUTCOMES = {
    outcome["instanceId"]: outcome
    for outcome in json.loads((FOLDER / "outcomes.json").read_text(encoding="utf-8"))
}


def _comparable(event: HistoryEvent) -> dict[str, Any]:
    """Return an event as a function sees it, without what every run gives anew."""
    wire = replace(event, timestamp="").to_wire()
    if "ClientSpanId" in wire:
        assert len(wire["ClientSpanId"]) == 16
        wire["ClientSpanId"] = ""
    if event.type is EventType.EventSent:
        request = json.loads(wire["Input"])
        assert len(request["id"]) == 36
        wire["Input"] = request | {"id": ""}
    if event.type is EventType.ExecutionStarted:
        target = wire["OrchestrationInstance"]
        wire["OrchestrationInstance"] = target | {"ExecutionId": ""}
    return wire


def _param(turn: Recorded) -> Any:
    return pytest.param(turn, id=turn.label)


PAIRS = [t for t in TURNS if t.added and (t.name, t.number) not in REWOUND]
LAST = [turns[-1] for turns in EXECUTIONS]
ENDED = [
    turn
    for turn in LAST
    if turn.name not in DIFFERENCES and not turn.decided().continued
]
CONTINUED = [turn for turn in LAST if turn.decided().continued]


# The facts


def test_every_recording_is_read() -> None:
    """All files are there, and more than a hundred turns in them."""
    assert len(list(FOLDER.glob("*.jsonl"))) == len({turn.name for turn in TURNS}) == 38
    assert (133, 47, 85) == (len(TURNS), len(EXECUTIONS), len(PAIRS))


@pytest.mark.parametrize("turn", [_param(turn) for turn in TURNS])
def test_body_is_as_recorded(turn: Recorded) -> None:
    """A function receives the same text, member by member in the same order."""
    body = context_body(
        [dumps(event.to_wire()) for event in (*turn.past, *turn.new)],
        started=turn.started,
        instance_id=turn.received["instanceId"],
        http_sleep_ms=30_000,
    )

    assert dumps(turn.received) == body


@pytest.mark.parametrize("turn", [_param(turn) for turn in PAIRS])
def test_turn_adds_what_the_next_history_shows(turn: Recorded) -> None:
    """Kinds, numbers, names, fields and IsPlayed of a turn's rows are the same."""
    added = turn.decided().events

    assert [_comparable(e) for e in turn.added] == [_comparable(e) for e in added]


@pytest.mark.parametrize("turn", [_param(turn) for turn in PAIRS])
def test_what_came_in_keeps_its_time(turn: Recorded) -> None:
    """Code sees the same times in every replay: rows keep them to the tick."""
    came_in = [event.timestamp for event in turn.new]

    assert came_in == [e.timestamp for e in turn.decided().events[: len(came_in)]]


@pytest.mark.parametrize("turn", [_param(turn) for turn in PAIRS])
def test_turn_that_goes_on_is_not_finished(turn: Recorded) -> None:
    """An execution that had another turn is not over after this one."""
    assert turn.decided().finished is None


@pytest.mark.parametrize("turn", [_param(turn) for turn in ENDED])
def test_last_turn_finishes(turn: Recorded) -> None:
    """The last turn writes ExecutionCompleted under the next number, then ends."""
    *_, completed, end = turn.decided().events
    history = [*turn.past, *turn.new]
    numbers = [e.event_id for e in history if e.type in SCHEDULES]

    assert EventType.ExecutionCompleted is completed.type
    assert EventType.OrchestratorCompleted is end.type
    assert max(numbers, default=-1) + 1 == completed.event_id


@pytest.mark.parametrize(
    "turn",
    [_param(t) for t in ENDED if t.received["instanceId"] in OUTCOMES],
)
def test_instance_ends_as_clients_saw_it(turn: Recorded) -> None:
    """Status, output and custom status are those that the status showed."""
    outcome = OUTCOMES[turn.received["instanceId"]]
    decided = turn.decided()

    assert decided.finished is not None
    assert outcome["runtimeStatus"] == decided.finished.status.value
    assert outcome["output"] == leniently_parsed(decided.finished.result)
    assert outcome["customStatus"] == leniently_parsed(decided.custom_status)


@pytest.mark.parametrize("turn", [_param(turn) for turn in CONTINUED])
def test_continuation_is_the_next_history(turn: Recorded) -> None:
    """Continuing as new gives the history from which the next generation began."""
    instance_id = turn.received["instanceId"]
    continued = [_comparable(event) for event in turn.decided().continued]
    first_histories = [
        [_comparable(event) for event in turns[0].new]
        for turns in EXECUTIONS
        if turns[0].received["instanceId"] == instance_id
    ]

    assert continued in first_histories


def test_generations_are_continued_once_each() -> None:
    """Of a recorded eternal instance, each generation but the last continues."""
    continued = Counter(turn.name for turn in CONTINUED)

    assert {"Eternal": 3, "EternalEvents": 3} == continued


@pytest.mark.parametrize(
    "turn", [_param(turn) for turn in LAST if turn.name in DIFFERENCES]
)
def test_what_is_unknown_fails_the_instance(turn: Recorded) -> None:
    """A call of a function that is not there ends the instance with its name."""
    finished = turn.decided().finished

    assert finished is not None
    assert f"Orchestrator function '{turn.name}' failed: there is no" in str(
        finished.result
    )
