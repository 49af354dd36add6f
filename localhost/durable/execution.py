"""Which execution it is, and what its app allows; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

from localhost.history import HistoryEvent

Kind = Literal["activity", "orchestrator", "entity"]


class RefusedError(Exception):
    """The program asks for what cannot be; the text becomes the instance's failure."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the app and its host.json allow.

    ``unknown`` returns None for a function that exists, else the text that says what
    there is instead.
    """

    unknown: Callable[[Kind, str], str | None]
    store_inputs: bool = False
    max_actions: int = 100_000


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Which execution it is: ids, name, and the instance it works for, if any."""

    instance_id: str
    execution_id: str
    name: str
    parent_id: str | None = None

    @classmethod
    def of(cls, started: HistoryEvent) -> Execution:
        """Read it from the event that started it."""
        target, parent = started["OrchestrationInstance"], started["ParentInstance"]
        return cls(
            instance_id=target["InstanceId"],
            execution_id=target["ExecutionId"],
            name=started["Name"],
            parent_id=parent and parent["OrchestrationInstance"]["InstanceId"],
        )

    def derived_id(self, number: int, use: str) -> str:
        """Return an id (32 hex digits) that this execution's action always gets.

        A turn that runs again after a crash sends the same ids, so that whoever got
        the first message knows the second.
        """
        place = f"{self.instance_id}|{self.execution_id}|{number}|{use}"
        return uuid5(NAMESPACE_URL, place).hex
