"""What an app declares: functions and their bindings; a leaf.

The host reads it from files, the worker process gets it over its channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

RUN_HERE = ("httpTrigger", "orchestrationTrigger", "activityTrigger", "entityTrigger")
DURABLE_CLIENTS = ("durableClient", "orchestrationClient")
_DURABLE_NAME_KEYS = {
    "orchestrationTrigger": "orchestration",
    "activityTrigger": "activity",
    "entityTrigger": "entityName",
}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One binding; ``type`` is spelt as Azure spells it, whatever the file has.

    ``properties`` are the others of its entry; in those that its type has,
    ``%Setting%`` is already replaced.
    """

    name: str
    type: str
    direction: Literal["in", "out"]
    properties: Mapping[str, object]

    @property
    def is_trigger(self) -> bool:
        return self.direction == "in" and self.type.endswith("Trigger")


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function whose declaration keeps every rule: it has one trigger."""

    name: str
    folder: Path
    script: Path
    entry_point: str
    bindings: tuple[Binding, ...]
    disabled: bool
    config: Mapping[str, object]

    @property
    def trigger(self) -> Binding:
        return next(binding for binding in self.bindings if binding.is_trigger)

    @property
    def durable_name(self) -> str:
        """The name orchestrations call it by; names ignore case."""
        key = _DURABLE_NAME_KEYS.get(self.trigger.type, "")
        return str(self.trigger.properties.get(key) or self.name)

    @property
    def is_run_here(self) -> bool:
        """False for timers, queues, blobs …: listed, but never called."""
        return self.trigger.type in RUN_HERE

    def to_wire(self) -> dict[str, Any]:
        """Return what a worker process needs of it, as JSON has it."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "script": str(self.script),
            "entryPoint": self.entry_point,
            "bindings": [
                [each.name, each.type, each.direction, dict(each.properties)]
                for each in self.bindings
            ],
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> Function:
        """Return the function that ``to_wire`` told of."""
        return cls(
            name=wire["name"],
            folder=Path(wire["folder"]),
            script=Path(wire["script"]),
            entry_point=wire["entryPoint"],
            bindings=tuple(
                Binding(name=name, type=kind, direction=direction, properties=rest)
                for name, kind, direction, rest in wire["bindings"]
            ),
            disabled=False,
            config={},
        )


@dataclass(frozen=True, kw_only=True)
class FunctionFault:
    """A function that cannot run, and why; the others are not disturbed."""

    name: str
    message: str


@dataclass(frozen=True, kw_only=True)
class FunctionApp:
    """What the app's folders declare, in the order that decides between routes."""

    root: Path
    functions: tuple[Function, ...]
    faults: tuple[FunctionFault, ...]

    @property
    def callable_functions(self) -> tuple[Function, ...]:
        """The functions that can be called here."""
        return tuple(f for f in self.functions if f.is_run_here and not f.disabled)
