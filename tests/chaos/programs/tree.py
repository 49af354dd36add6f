"""A program: a tree of calls that an orchestrator interprets; to JSON and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

# What waits until the driver has raised an event, or ended the instance.
ASKS = ("wait", "waits", "pause", "forever")


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step: ``do`` names it, see ``tests/data/programs_app/Interpret``.

    ``count`` is the number of events, or of tries; ``ms`` how long it takes; ``key``
    whose entity is meant; ``has_id`` whether a sub-orchestration is given an id;
    ``is_early`` whether events are raised at once instead of when they are asked for.
    """

    do: str
    parts: tuple[Node, ...] = ()
    count: int = 1
    ms: int = 0
    rounds: int = 1
    key: str = "own"
    has_id: bool = False
    is_early: bool = False

    def to_json(self) -> dict[str, Any]:
        """Leave out what is as usual."""
        found: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        if self.parts:
            found["parts"] = [part.to_json() for part in self.parts]
        return found

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Node:
        parts = tuple(map(cls.from_json, value.get("parts", ())))
        return cls(**{**value, "parts": parts})


@dataclass(frozen=True, kw_only=True)
class Program:
    """A tree with what happens around it.

    ``again`` says how the id is used a second time: by "start", by "restart", or not.
    ``signals`` is how many signals a client sends to an entity of the program;
    ``is_silent`` whether the orchestrator returns nothing.
    """

    number: int
    body: Node
    rounds: int = 1
    again: str = ""
    signals: int = 0
    is_silent: bool = False

    def to_json(self) -> dict[str, Any]:
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**plain, "body": self.body.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Program:
        return cls(**{**value, "body": Node.from_json(value["body"])})


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A node where it stands: in the instance of a scope, at a place of its tree."""

    node: Node
    scope: str
    place: str
    is_reached: bool  # by an id that is known

    @property
    def tag(self) -> str:
        return f"{self.scope}_{self.place}"


def placed_nodes(program: Program, scope: str) -> Iterator[Placed]:
    """All nodes of a program with the tags that they get when it runs as *scope*."""
    for number in range(program.rounds):
        yield from _below(
            Placed(node=program.body, scope=scope, place=f"r{number}", is_reached=True)
        )


def _below(at: Placed) -> Iterator[Placed]:
    yield at
    if at.node.do != "sub":
        for number, part in enumerate(at.node.parts):
            place = f"{at.place}.{number}"
            yield from _below(
                Placed(node=part, scope=at.scope, place=place, is_reached=at.is_reached)
            )
        return
    for number in range(at.node.rounds):
        yield from _below(
            Placed(
                node=at.node.parts[0],
                scope=f"{at.scope}-{at.place}",
                place=f"r{number}",
                is_reached=at.node.has_id,
            )
        )
