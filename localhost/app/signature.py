"""Holds a function's Python parameters against the bindings of its function.json.

The texts are those of Azure's Python worker, so that a search finds them; what was
found and what to do follows. Imports azure.functions, ``errors`` and ``manifest``.
"""

from __future__ import annotations

import inspect
import logging
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import GenericAlias
from typing import Any

import azure.functions as func

from localhost.app.manifest import Binding, Function
from localhost.errors import HostError

_logger = logging.getLogger(__name__)


class FunctionLoadError(HostError):
    """cannot load the <name> function: <reason>"""

    def __init__(self, function: Function, reason: str) -> None:
        super().__init__(f"cannot load the {function.name} function: {reason}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What the code wants: each binding but ``$return`` has a parameter."""

    takes_context: bool
    annotations: Mapping[str, Any]


def converter_of(binding_type: str) -> Any:
    """azure.functions' own converter, or None: then the value is plain text."""
    registry = func.get_binding_registry()  # type: ignore[no-untyped-call]
    return registry.get(binding_type)


def read_signature(function: Function, code: Callable[..., Any]) -> Signature:
    """Check the parameters of *code*; ``FunctionLoadError`` says what does not fit."""
    parameters = _parameters(function, code)
    annotations = _annotations(function, code)
    bound = {each.name: each for each in function.bindings if each.name != "$return"}
    takes_context = "context" in parameters and "context" not in bound
    if takes_context:
        parameters.remove("context")
        _check_context(function, annotations)
    _check_names(function, parameters, bound)
    for name, binding in bound.items():
        if name in annotations:
            _check_annotation(function, binding, annotations[name])
    return Signature(takes_context=takes_context, annotations=annotations)


def is_out(annotation: object) -> bool:
    """Whether the annotation is ``func.Out`` or ``func.Out[...]``."""
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, func.Out)


def _parameters(function: Function, code: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(code).parameters)
    except (TypeError, ValueError) as exc:
        raise FunctionLoadError(
            function,
            f"{function.entry_point} has no readable signature ({exc}). Make it a"
            " function written in Python.",
        ) from exc


def _annotations(function: Function, code: Callable[..., Any]) -> dict[str, Any]:
    """The annotations as objects, as Azure's worker wants them; names must exist."""
    try:
        return typing.get_type_hints(code)
    except Exception as exc:
        raise FunctionLoadError(
            function,
            f"an annotation of {function.entry_point} cannot be resolved"
            f" ({type(exc).__name__}: {exc}). Import the name at run time, not only"
            " for type checkers.",
        ) from exc


def _check_context(function: Function, annotations: Mapping[str, Any]) -> None:
    annotation = annotations.get("context", func.Context)
    if getattr(annotation, "__name__", None) != "Context":
        raise FunctionLoadError(
            function,
            'the "context" parameter is expected to be of type'
            f" azure.functions.Context, got {annotation!r}",
        )


def _check_names(
    function: Function, parameters: Iterable[str], bound: Mapping[str, Binding]
) -> None:
    found = ", ".join(parameters)
    place = (
        f"{function.folder.name}/{function.script.name} has"
        f" {function.entry_point}({found}), function.json binds"
        f" ({', '.join(bound)}). Give both the same names."
    )
    for names, where in (
        (set(parameters) - set(bound), "in Python but not in function.json"),
        (set(bound) - set(parameters), "in function.json but not in Python"),
    ):
        if names:
            listed = ", ".join(repr(name) for name in sorted(names))
            raise FunctionLoadError(
                function,
                f"the following parameters are declared {where}: {{{listed}}}. {place}",
            )


def _check_annotation(function: Function, binding: Binding, annotation: Any) -> None:
    name = binding.name
    if binding.direction == "out" and not is_out(annotation):
        raise FunctionLoadError(
            function,
            f'binding {name} is declared to have the "out" direction, but its'
            " annotation in Python is not a subclass of azure.functions.Out",
        )
    if binding.direction == "in" and is_out(annotation):
        raise FunctionLoadError(
            function,
            f'binding {name} is declared to have the "in" direction in function.json,'
            " but its annotation is azure.functions.Out in Python",
        )
    if binding.direction == "out":
        return
    # list[int] counts as a class in Python 3.10, but not in later ones.
    if not isinstance(annotation, type) or isinstance(annotation, GenericAlias):
        _warn_of_annotation(function, name, annotation)
    elif not _is_allowed(binding, annotation):
        raise FunctionLoadError(
            function,
            f'type of {name} binding in function.json "{binding.type}" does not match'
            f' its Python annotation "{annotation.__name__}"',
        )


def _is_allowed(binding: Binding, annotation: type) -> bool:
    converter = converter_of(binding.type)
    if converter is None or (not binding.is_trigger and annotation in (str, bytes)):
        return annotation in (str, bytes)
    return bool(converter.check_input_type_annotation(annotation))


def _warn_of_annotation(function: Function, name: str, annotation: object) -> None:
    """Runs here, because nothing is converted by it; Azure refuses most of these."""
    is_typing_generic = isinstance(annotation, type(typing.List[int]))  # noqa: UP006
    if not is_typing_generic or not isinstance(typing.get_origin(annotation), type):
        _logger.warning(
            "%s: in Azure the parameter %s fails with 'binding %s has invalid non-type"
            " annotation %r'; annotate it with a plain class such as dict.",
            function.name,
            name,
            name,
            annotation,
        )
