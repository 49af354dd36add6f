"""The app's Durable functions by their names."""

from __future__ import annotations

from typing import Literal

from localhost.declared import Function, FunctionApp

Kind = Literal["orchestration", "activity", "entity"]


class Catalog:
    """Finds the enabled functions of an app, also those that cannot be loaded."""

    def __init__(self, app: FunctionApp) -> None:
        self._by_durable_name: dict[tuple[str, str], Function] = {}
        for function in app.callable_functions:
            kind = function.trigger.type.removesuffix("Trigger")
            key = (kind, function.durable_name.lower())
            self._by_durable_name.setdefault(key, function)

    def find(self, kind: Kind, durable_name: str) -> Function | None:
        """Return the function of that name, ignoring case."""
        return self._by_durable_name.get((kind, durable_name.lower()))

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Return the Durable names of a kind, in order of name."""
        return tuple(
            function.durable_name
            for (its_kind, _), function in self._by_durable_name.items()
            if its_kind == kind
        )
