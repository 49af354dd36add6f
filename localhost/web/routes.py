"""Which function answers which method and path; pure.

``{prefix}/{route}`` is the address of an HTTP function; the prefix is taken off
before a path comes here. It may import ``localhost.app`` and this room only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from localhost.declared import Function, FunctionApp, FunctionFault
from localhost.web.templates import Route, split_path

__all__ = ["Route", "RouteTable", "http_lines", "http_route"]

RESERVED_PREFIXES = ("admin", "runtime")


@dataclass(frozen=True, kw_only=True)
class _Entry:
    function: Function
    route: Route
    methods: tuple[str, ...]

    def allows(self, method: str) -> bool:
        return not self.methods or method.upper() in self.methods


class RouteTable:
    """The routes of an app, in the order in which they are tried.

    Literals come first, then constrained parameters, parameters and those that
    take all; equals are tried in the order of their functions' names.
    """

    def __init__(
        self, entries: Iterable[_Entry], *, faults: Iterable[FunctionFault] = ()
    ) -> None:
        self._entries = sorted(
            entries, key=lambda entry: (entry.route.ranks, entry.function.name.upper())
        )
        self.faults = tuple(faults)

    @classmethod
    def from_functions(cls, functions: Iterable[Function]) -> RouteTable:
        """Read the routes; a function whose route cannot be becomes a fault.

        Functions that are disabled or have no httpTrigger are passed over.
        """
        read = [_read(f) for f in functions if is_http(f) and not f.disabled]
        return cls(
            [entry for entry in read if isinstance(entry, _Entry)],
            faults=[fault for fault in read if isinstance(fault, FunctionFault)],
        )

    @property
    def functions(self) -> list[Function]:
        """The functions that can be reached, by name."""
        reachable = [entry.function for entry in self._entries]
        return sorted(reachable, key=lambda function: function.name.upper())

    def find(self, method: str, path: str) -> tuple[Function, Mapping[str, str]] | None:
        """The function and its route values for a raw, percent-encoded path.

        A wrong method is as good as a wrong path; HEAD is not GET.
        """
        segments = split_path(path)
        for entry in self._entries:
            if not entry.allows(method):
                continue
            values = entry.route.match(segments)
            if values is not None:
                return entry.function, values
        return None


def is_http(function: Function) -> bool:
    return function.trigger.type == "httpTrigger"


def http_route(function: Function) -> str:
    """The trigger's ``route`` without slashes around it, else the function's name."""
    route = function.trigger.properties.get("route")
    trimmed = route.strip().strip("/") if isinstance(route, str) else ""
    return trimmed or function.name


def http_lines(
    app: FunctionApp, *, port: int, prefix: str, host: str = "localhost"
) -> list[str]:
    """The console's lines for the HTTP functions that are on and have a valid route."""
    table = RouteTable.from_functions(app.functions)
    return [
        _line(function, base=join_path(f"http://{host}:{port}", prefix))
        for function in table.functions
    ]


def join_path(base: str, *parts: str) -> str:
    """Join by single slashes; empty parts vanish."""
    return "/".join([base, *(part for part in parts if part)])


def _line(function: Function, *, base: str) -> str:
    methods = ",".join(_methods(function))
    brackets = f"[{methods}] " if methods else ""
    return f"\t{function.name}: {brackets}{join_path(base, http_route(function))}"


def _methods(function: Function) -> tuple[str, ...]:
    methods = function.trigger.properties.get("methods")
    if not isinstance(methods, list | tuple):
        return ()
    return tuple(str(method).upper() for method in methods)


def _read(function: Function) -> _Entry | FunctionFault:
    route = http_route(function)
    if route.lower().startswith(RESERVED_PREFIXES):
        return FunctionFault(
            name=function.name,
            message="The specified route conflicts with one or more built in routes.",
        )
    try:
        parsed = Route.from_template(route)
    except ValueError as exc:
        return FunctionFault(
            name=function.name,
            message=f"{function.name}/function.json: the route '{route}' is not valid: "
            f"{exc}.",
        )
    return _Entry(function=function, route=parsed, methods=_methods(function))
