"""Random programs whose outcome does not depend on time, from a seed and a number.

What keeps them so: a ``task_any`` has one part that can win; at most one part of a
``task_all`` can fail, and then its siblings are short; events of one name are waited
for without a pause; nobody but the program sends to its entities.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.chaos.programs.tree import Node, Program

_MOST_FORKS = 4
_MOST_PARTS = 40
_MOST_DEPTH = 3
_TRIES = 3

# How often each kind of step comes, where it may.
_WEIGHTS = {
    "echo": 6, "guid": 1, "fail": 2, "flaky": 3, "retry": 3, "exhausted": 1,
    "timer": 2, "wait": 2, "waits": 1, "pause": 1, "entity": 3, "entity_fail": 1,
    "signal": 3, "status": 2, "sub": 4, "all": 4, "any": 3, "try": 4,
}  # fmt: skip
KINDS = (*_WEIGHTS, "seq", "hour", "never", "next", "read", "forever")
_FAILING = ("fail", "flaky", "exhausted", "entity_fail")
_FORKING = ("flaky", "retry")
_OPEN = ("wait", "waits", "pause")
_NESTING = ("sub", "all", "any", "try")


@dataclass(frozen=True, kw_only=True)
class Place:
    """What may stand at a place of a program."""

    depth: int = 0
    catches: bool = False  # a failure here is caught further up
    has_id: bool = True  # events can be sent to the instance
    is_tried: bool = False  # the instance may be executed several times
    is_root: bool = True
    is_again: bool = False
    rounds: int = 1  # how often the place is reached

    def inner(self, **changes: bool | int) -> Place:
        return replace(self, depth=self.depth + 1, **changes)  # type: ignore[arg-type]


class Generator:
    """Makes one program."""

    def __init__(self, seed: int, number: int, *, without: Sequence[str] = ()) -> None:
        self._chance = random.Random(f"{seed}/{number}")
        self._number = number
        self._without = set(without)
        self._fork_count = 0
        self._part_count = 0

    def program(self) -> Program:
        chance = self._chance
        kind = chance.choice(("plain", "plain", "plain", "rounds", "again", "ended"))
        if kind in self._without:
            kind = "plain"
        place = Place(catches=chance.random() < 0.1, is_again=kind == "again")
        program = Program(
            number=self._number,
            body=Node(do="seq"),
            signals=self._signal_count(),
            is_silent="silent" not in self._without and chance.random() < 0.1,
        )
        if kind == "rounds":
            rounds = chance.randint(2, 4)
            if chance.random() < 0.4 and "next" not in self._without:
                body = Node(do="seq", parts=(Node(do="next"), *self._at_once()))
            else:
                body = self._seq(replace(place, rounds=rounds, is_root=False))
            return replace(program, body=body, rounds=rounds)
        body = self._seq(place)
        if kind == "plain":
            body = self._with_early_events(body)
        if kind == "again":
            again = self._allowed(("start", "restart"))
            if again:
                body = _before(Node(do="entity"), _after(body, Node(do="read")))
                return replace(program, body=body, again=chance.choice(again))
        if kind == "ended":
            return replace(program, body=_after(body, Node(do="forever")))
        return replace(program, body=body)

    def _at_once(self) -> list[Node]:
        """Steps without a pause: events that come during one would be dropped."""
        kinds = self._allowed(("signal", "status"))
        count = self._chance.randint(0, 2) if kinds else 0
        return [Node(do=self._chance.choice(kinds)) for _ in range(count)]

    def _signal_count(self) -> int:
        if "signals" in self._without:
            return 0
        return self._chance.choice((0, 0, 0, 2, 4))

    def _with_early_events(self, body: Node) -> Node:
        """Let events of one name be sent before the first line has run, or not."""
        kinds = self._allowed(("wait", "waits"))
        if not kinds or "early" in self._without or self._chance.random() < 0.7:
            return body
        count = self._chance.randint(2, 4)
        kind = self._chance.choice(kinds)
        return _before(Node(do=kind, count=count, is_early=True), body)

    def _allowed(self, kinds: Sequence[str]) -> list[str]:
        return [kind for kind in kinds if kind not in self._without]

    def _seq(self, place: Place) -> Node:
        count = self._chance.randint(1 if place.depth else 2, 5 - min(place.depth, 3))
        return Node(do="seq", parts=tuple(self._step(place) for _ in range(count)))

    def _step(self, place: Place) -> Node:
        return self._node(self._pick(place, _WEIGHTS), place)

    def _pick(self, place: Place, kinds: Sequence[str] | dict[str, int]) -> str:
        possible = [kind for kind in kinds if self._is_possible(kind, place)]
        [kind] = self._chance.choices(
            possible or ["echo"],
            weights=[_WEIGHTS[each] for each in possible or ["echo"]],
        )
        return kind

    def _is_possible(self, kind: str, place: Place) -> bool:
        if kind in self._without:
            return False
        if kind in _FAILING and not place.catches:
            return False
        if kind in _FORKING and self._fork_count + place.rounds > _MOST_FORKS:
            return False
        if kind in _OPEN and not self._may_ask(place):
            return False
        if kind == "waits" and place.is_again:
            return False
        if kind == "signal" and place.is_tried:
            return False
        is_full = place.depth >= _MOST_DEPTH or self._part_count > _MOST_PARTS
        return not (kind in _NESTING and is_full)

    def _may_ask(self, place: Place) -> bool:
        if not place.has_id or place.is_tried:
            return False
        return place.is_root or not place.is_again

    def _node(self, kind: str, place: Place) -> Node:
        self._part_count += 1
        if kind in _FORKING:
            self._fork_count += place.rounds
        if kind in _NESTING:
            node: Node = getattr(self, f"_{kind}")(place)
            return node
        return self._leaf(kind, place)

    def _leaf(self, kind: str, place: Place) -> Node:
        chance = self._chance
        if kind == "echo":
            return Node(do=kind, ms=chance.choice((0, 0, 0, 20, 300, 1000)))
        if kind == "timer":
            return Node(do=kind, ms=chance.choice((0, 100, 500, 1500)))
        if kind in ("retry", "exhausted"):
            return Node(do=kind, count=chance.randint(2, 3))
        if kind == "wait":
            is_early = place.is_root and chance.random() < 0.3
            is_early = is_early and "early" not in self._without
            is_single = is_early or place.is_again
            count = 1 if is_single else chance.randint(1, 3)
            return Node(do=kind, count=count, is_early=is_early)
        if kind == "waits":
            return Node(do=kind, count=chance.randint(2, 3))
        if kind in ("entity", "signal"):
            return Node(do=kind, key=chance.choice(("own", "own", "shared")))
        return Node(do=kind)

    def _sub(self, place: Place) -> Node:
        chance = self._chance
        has_id = chance.random() < 0.5
        rounds = chance.choice((1, 1, 1, 2, 3))
        if "rounds" in self._without:
            rounds = 1
        inner = place.inner(
            has_id=has_id,
            is_root=False,
            rounds=place.rounds * rounds,
        )
        fits = self._fork_count + 2 * inner.rounds <= _MOST_FORKS
        if fits and rounds == 1 and "tries" not in self._without:
            if chance.random() < 0.4:
                return self._sub_with_retry(inner)
        return Node(do="sub", parts=(self._seq(inner),), rounds=rounds, has_id=has_id)

    def _sub_with_retry(self, inner: Place) -> Node:
        """A child that fails at first and is called again."""
        self._fork_count += inner.rounds
        body = self._seq(replace(inner, is_tried=True, catches=False))
        at = self._chance.randint(0, len(body.parts))
        parts = (*body.parts[:at], Node(do="flaky"), *body.parts[at:])
        return Node(
            do="sub",
            parts=(replace(body, parts=parts),),
            has_id=inner.has_id,
            count=_TRIES,
        )

    def _all(self, place: Place) -> Node:
        chance = self._chance
        count = chance.choice((2, 2, 3, 3, 4, 6))
        failing = [kind for kind in _FAILING if self._is_possible(kind, place)]
        if failing and chance.random() < 0.3:
            siblings = self._leaves(place, ("echo", "timer", "entity"), count - 1)
            siblings.append(self._node(self._pick(place, failing), place))
            chance.shuffle(siblings)
            return Node(do="all", parts=tuple(siblings))
        calm = replace(place, catches=False)
        kinds = ("echo", "echo", "retry", "timer", "wait", "entity", "sub")
        return Node(do="all", parts=tuple(self._leaves(calm, kinds, count)))

    def _any(self, place: Place) -> Node:
        calm = replace(place, catches=False)
        kinds = ("echo", "retry", "timer", "wait", "entity", "sub")
        [winner] = self._leaves(calm, kinds, 1)
        losers = self._chance.choice((("hour",), ("never",), ("hour", "never")))
        parts = [winner, *(Node(do=kind) for kind in losers)]
        self._chance.shuffle(parts)
        return Node(do="any", parts=tuple(parts))

    def _leaves(self, place: Place, kinds: Sequence[str], count: int) -> list[Node]:
        """Parts of a compound: each is one task, and waits for one event at most."""
        inner = place.inner()
        leaves = [self._node(self._pick(inner, kinds), inner) for _ in range(count)]
        return [
            replace(leaf, count=1) if leaf.do == "wait" else leaf for leaf in leaves
        ]

    def _try(self, place: Place) -> Node:
        caught = place.inner(catches=True)
        body = self._seq(caught)
        failing = [kind for kind in _FAILING if self._is_possible(kind, caught)]
        if failing and self._chance.random() < 0.8:
            # The kind that decides between two branches comes most often.
            weights = [4 if kind == "flaky" else 1 for kind in failing]
            [kind] = self._chance.choices(failing, weights=weights)
            at = self._chance.randint(0, len(body.parts))
            step = self._node(kind, caught)
            body = replace(body, parts=(*body.parts[:at], step, *body.parts[at:]))
        return Node(do="try", parts=(body, self._seq(place.inner())))


def _before(step: Node, body: Node) -> Node:
    return replace(body, parts=(step, *body.parts))


def _after(body: Node, step: Node) -> Node:
    return replace(body, parts=(*body.parts, step))


def generate(seed: int, number: int, *, without: Sequence[str] = ()) -> Program:
    """The program of a number; *without* names kinds of steps, or traits, to leave out.

    Traits are "rounds", "again" (of an id: "start", "restart"), "ended" (from outside),
    "signals" of a client, "early" events, "tries" of sub-orchestrations, "silent".
    """
    return Generator(seed, number, without=without).program()


def traits(program: Program) -> Iterator[str]:
    """The kinds of steps that a program has, and its traits."""
    yield from _traits(program.body)
    if program.rounds > 1:
        yield "rounds"
    if program.again:
        yield from ("again", program.again)
    if program.signals:
        yield "signals"
    if program.is_silent:
        yield "silent"


def _traits(node: Node) -> Iterator[str]:
    yield node.do
    if node.do == "forever":
        yield "ended"
    if node.do == "sub":
        yield "id" if node.has_id else "no id"
        if node.count > 1:
            yield "tries"
        if node.rounds > 1:
            yield "rounds"
    if node.is_early:
        yield "early"
    if node.count > 1 and node.do in ("wait", "waits"):
        yield "several"
    for part in node.parts:
        yield from _traits(part)
