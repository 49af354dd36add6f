"""What may come of a program, computed without a host.

An activity that fails the first time may, after a crash, have failed unseen: both ways
are allowed then, but output, entities and status must agree on one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.chaos.programs.tree import ASKS, Node, Program

_MOST_OUTCOMES = 4_096


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One way in which a program may go.

    ``entities`` are the entries of each key, in the order of each sender;
    ``custom_status`` is None when it is open; ``runs`` counts calls of activities.
    """

    status: str
    output: Any
    entities: Mapping[str, Mapping[str, Sequence[str]]]
    custom_status: str | None
    runs: Counter[str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found when a program had ended."""

    status: str
    output: Any
    custom_status: Any
    entities: Mapping[str, Sequence[str]]


@dataclass(kw_only=True)
class Played:
    """What the outside did: how often each event was sent, which signals were answered.

    ``runs`` are how many executions of the id there may have been.
    """

    sent: Counter[tuple[str, int]] = field(default_factory=Counter)
    signals: list[bool] = field(default_factory=list)
    runs: tuple[int, int] = (1, 1)

    def repeated(self) -> set[str]:
        """The names of events that may have come twice."""
        return {name for (name, _), count in self.sent.items() if count > 1}


class Failure(Exception):
    """A tag that is in an exception."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


class Terminated(Exception):
    """The instance was ended from outside."""


class Choices:
    """The ways at forks: those of *given* first, then the first way of each."""

    def __init__(self, given: Sequence[bool], *, is_quiet: bool) -> None:
        self.taken: list[bool] = []
        self._given = given
        self._is_quiet = is_quiet

    def fails(self) -> bool:
        """Whether an activity that has not been seen to fail is seen to do so now."""
        if self._is_quiet:
            return True
        number = len(self.taken)
        self.taken.append(self._given[number] if number < len(self._given) else True)
        return self.taken[-1]


class Run:
    """One way of a program: what it leaves behind while it is interpreted."""

    def __init__(self, scope: str, choices: Choices) -> None:
        self.scope = scope
        self.shared = f"{scope}-shared"
        self.entities: dict[str, dict[str, list[str]]] = {}
        self.runs: Counter[str] = Counter()
        self.choices = choices
        self._has_failed: set[str] = set()
        self._senders: Counter[str] = Counter()

    def is_failing(self, tag: str) -> bool:
        self.runs[tag] += 1
        if tag in self._has_failed:
            return False
        self._has_failed.add(tag)
        return self.choices.fails()

    def add(self, key: str, sender: str, entry: str) -> None:
        self.entities.setdefault(key, {}).setdefault(sender, []).append(entry)

    def sender(self, scope: str, *, has_id: bool) -> str:
        """Who sends to entities: an id, or else another instance each time."""
        self._senders[scope] += 1
        return scope if has_id else f"{scope}#{self._senders[scope]}"


@dataclass(kw_only=True)
class Instance:
    """An instance within a run; mirrors ``tests/data/programs_app/Interpret``."""

    within: Run
    scope: str
    sender: str
    custom_status: str | None = None
    round: int = 0

    def execute(self, body: Node, rounds: int) -> list[Any]:
        values = []
        for number in range(rounds):
            self.round, self.custom_status = number, None
            values.append(self.run(body, f"r{number}"))
        return values

    def run(self, node: Node, place: str) -> Any:
        special = getattr(self, f"do_{node.do}", self.leaf)
        return special(node, place)

    def do_seq(self, node: Node, place: str) -> Any:
        return [self.run(part, f"{place}.{n}") for n, part in enumerate(node.parts)]

    def do_try(self, node: Node, place: str) -> Any:
        body, handler = node.parts
        try:
            return ["ok", self.run(body, f"{place}.0")]
        except Failure as error:
            return ["caught", error.tag, self.run(handler, f"{place}.1")]

    def do_all(self, node: Node, place: str) -> Any:
        self.ask(node.parts, place)
        results = [
            self.result_or_failure(part, f"{place}.{number}")
            for number, part in enumerate(node.parts)
        ]
        for result in results:
            if isinstance(result, Failure):
                raise result
        return results

    def result_or_failure(self, node: Node, place: str) -> Any:
        try:
            return self.run_quietly(node, place)
        except Failure as error:
            return error

    def do_any(self, node: Node, place: str) -> Any:
        self.ask(node.parts, place)
        [won] = [n for n, part in enumerate(node.parts) if part.do not in LOSERS]
        return ["won", won, self.run_quietly(node.parts[won], f"{place}.{won}")]

    def do_signal(self, node: Node, place: str) -> None:
        self.within.add(self.key(node), self.sender, self.tag(place))

    def do_status(self, node: Node, place: str) -> None:
        self.custom_status = self.tag(place)

    def run_quietly(self, node: Node, place: str) -> Any:
        """Run a part of a compound, whose own custom status names what it waits for."""
        before = self.custom_status
        value = self.run(node, place)
        self.custom_status = before
        return value

    def leaf(self, node: Node, place: str) -> Any:
        self.ask((node,), place, is_alone=True)
        tag, do = self.tag(place), node.do
        if do in ("wait", "waits", "pause"):
            got = list(range(1, node.count + 1))
            if do == "waits":  # the SDK serves the last that was opened first
                return {"events": tag, "got": got[::-1], "at": "once"}
            return {"events": tag, "got": got}
        if do == "next":
            return {"events": f"{self.scope}_loop", "got": [self.round + 1]}
        if do == "forever":
            raise Terminated
        if do in ("entity", "read"):
            return self.entity(node, tag)
        if do == "sub":
            return self.sub(node, place)
        return self.activity(node, tag)

    def activity(self, node: Node, tag: str) -> str:
        """Call an activity, if the node does; a timer has a tag all the same."""
        within = self.within
        if node.do == "guid":
            within.runs[tag] += 1
            return "own"
        if node.do == "echo":
            within.runs[tag] += 1
        elif node.do in ("fail", "exhausted"):
            within.runs[tag] += node.count
            raise Failure(tag)
        elif node.do == "entity_fail" or (
            node.do == "flaky" and within.is_failing(tag)
        ):
            raise Failure(tag)
        elif node.do == "retry" and within.is_failing(tag):
            within.runs[tag] += 1
        return tag

    def entity(self, node: Node, tag: str) -> Any:
        key = self.key(node)
        if node.do == "read":
            return [
                each for of in self.within.entities.get(key, {}).values() for each in of
            ]
        self.within.add(key, self.sender, tag)
        return tag

    def sub(self, node: Node, place: str) -> Any:
        scope = f"{self.scope}-{place}"
        for attempt in range(1, node.count + 1):
            sender = self.within.sender(scope, has_id=node.has_id)
            child = Instance(within=self.within, scope=scope, sender=sender)
            try:
                return child.execute(node.parts[0], node.rounds)
            except Failure:
                if attempt == node.count:
                    raise
        raise AssertionError("a sub-orchestration without a try")

    def ask(self, parts: Sequence[Node], place: str, *, is_alone: bool = False) -> None:
        wanted = [
            self.tag(place if is_alone else f"{place}.{number}")
            for number, part in enumerate(parts)
            if part.do in ASKS and not part.is_early
        ]
        if wanted:
            self.custom_status = "ask:" + ",".join(wanted)

    def key(self, node: Node) -> str:
        return self.scope if node.key == "own" else self.within.shared

    def tag(self, place: str) -> str:
        return f"{self.scope}_{place}"


LOSERS = ("hour", "never")


def outcomes(
    program: Program, scope: str, *, times: int = 1, is_quiet: bool
) -> Iterator[Outcome]:
    """Every way in which a program may go that is executed *times* times."""
    given: list[bool] = []
    for _ in range(_MOST_OUTCOMES):
        choices = Choices(given, is_quiet=is_quiet)
        yield _outcome(program, Run(scope, choices), times)
        given = choices.taken
        while given and not given[-1]:
            given.pop()
        if not given:
            return
        given[-1] = False
    raise AssertionError(f"{scope}: more than {_MOST_OUTCOMES} ways")


def _outcome(program: Program, run: Run, times: int) -> Outcome:
    status, custom_status = "", None
    output: Any = None
    for _ in range(times):
        root = Instance(within=run, scope=run.scope, sender=run.scope)
        try:
            output = root.execute(program.body, program.rounds)
            output = None if program.is_silent else output
            status, custom_status = "Completed", root.custom_status
        except Failure as error:
            status, output, custom_status = "Failed", error.tag, None
        except Terminated:
            status, output, custom_status = "Terminated", "enough", None
    return Outcome(
        status=status,
        output=output,
        entities=run.entities,
        custom_status=custom_status,
        runs=run.runs,
    )


def fault_of(
    program: Program, scope: str, found: Found, played: Played, *, is_quiet: bool
) -> str:
    """Why this cannot have come of a program; empty when it can."""
    least, most = played.runs
    allowed = [
        outcome
        for times in range(least, most + 1)
        for outcome in outcomes(program, scope, times=times, is_quiet=is_quiet)
    ]
    faults = [_difference(outcome, found, played, scope) for outcome in allowed]
    if "" in faults:
        return ""
    # Agreeing in more things comes later in the alphabet of differences.
    return max(faults, key=_nearness)


_ORDER = ("status", "output", "custom status", "entity")


def _nearness(fault: str) -> int:
    return next(n for n, what in enumerate(_ORDER) if fault.startswith(what))


def _difference(outcome: Outcome, found: Found, played: Played, scope: str) -> str:
    if found.status != outcome.status:
        return f"status: expected {outcome.status}, found {found.status}"
    expected = outcome.output
    output = _without_repeats(found.output, played.repeated())
    if outcome.status == "Failed":
        is_right = f"<<{expected}>>" in str(output)
    else:
        is_right = output == expected
    if not is_right:
        return f"output: expected {expected!r}, found {found.output!r}"
    status = outcome.custom_status
    if status is not None and found.custom_status != status:
        return f"custom status: expected {status!r}, found {found.custom_status!r}"
    for key in {*outcome.entities, *found.entities} - {f"{scope}-client"}:
        senders = outcome.entities.get(key, {})
        entries = found.entities.get(key, ())
        if not is_merge(entries, [*senders.values()]):
            return f"entity {key}: expected {dict(senders)}, found {list(entries)}"
    return _fault_of_signals(found.entities.get(f"{scope}-client", ()), played.signals)


def _fault_of_signals(entries: Sequence[str], answered: Sequence[bool]) -> str:
    """Signals of a client: in order, none twice, and all that were answered."""
    numbers = [int(entry) for entry in entries]
    wanted = {number for number, is_answered in enumerate(answered, 1) if is_answered}
    if numbers != sorted(set(numbers)) or not wanted <= set(numbers):
        return f"entity of the client: signals {numbers}, answered {sorted(wanted)}"
    return ""


def _without_repeats(value: Any, repeated: set[str]) -> Any:
    """Leave out that an event came twice if it may have been sent twice."""
    if isinstance(value, list):
        return [_without_repeats(each, repeated) for each in value]
    if isinstance(value, dict) and value.get("events") in repeated:
        got = value["got"]
        if value["events"].endswith("_loop"):
            return {**value, "got": got[-1:]}
        if "at" in value:
            return {**value, "got": list(range(len(got), 0, -1))}
        return {**value, "got": [*dict.fromkeys(got)]}
    return value


def is_merge(entries: Sequence[str], senders: Sequence[Sequence[str]]) -> bool:
    """Whether the senders' entries, each in order, make up all entries."""
    if len(entries) != sum(map(len, senders)):
        return False

    @cache
    def fits(taken: tuple[int, ...]) -> bool:
        done = sum(taken)
        return done == len(entries) or any(
            at < len(sender)
            and sender[at] == entries[done]
            and fits((*taken[:number], at + 1, *taken[number + 1 :]))
            for number, (sender, at) in enumerate(zip(senders, taken, strict=True))
        )

    return fits((0,) * len(senders))
