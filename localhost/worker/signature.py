"""Holds a function's Python parameters against the bindings of its function.json.

The texts are those of Azure's Python worker, so that a search finds them; what was
found and what to do follows. Imports azure.functions, ``errors`` and ``manifest``.
"""

from __future__ import annotations

import collections.abc
import inspect
import logging
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import GenericAlias
from typing import Any, ClassVar, Generic, Union

import azure.functions as func

from localhost.declared import Binding, Function
from localhost.errors import HostError

_logger = logging.getLogger(__name__)

# What typing makes of List and of List[int]: the worker takes them for types, but not
# those of these origins.
_ALIASES = (type(typing.List), type(typing.List[int]))  # noqa: UP006
_NO_TYPES = (Union, tuple, ClassVar, collections.abc.Callable)


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
    _check_return(function, annotations)
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
    inner = _inner(function, name, annotation) if is_out(annotation) else annotation
    if not _is_type(inner):
        _warn_of_annotation(function, name, annotation)
    elif not _is_allowed(binding, inner):
        raise FunctionLoadError(
            function,
            f'type of {name} binding in function.json "{binding.type}" does not match'
            f' its Python annotation "{_name_of(inner)}"',
        )


def _inner(function: Function, name: str, annotation: Any) -> Any:
    """What stands in ``func.Out[...]``."""
    inner = typing.get_args(annotation)
    if len(inner) != 1:
        raise FunctionLoadError(
            function,
            f"binding {name} has invalid Out annotation {annotation!r}; expected:"
            " azure.functions.Out[...] with one type.",
        )
    return inner[0]


def _check_return(function: Function, annotations: Mapping[str, Any]) -> None:
    """Check what is annotated to come back, if a binding ``$return`` takes it."""
    taken_by = [each for each in function.bindings if each.name == "$return"]
    if not taken_by or "return" not in annotations:
        return
    annotation, binding = annotations["return"], taken_by[0]
    if is_out(annotation):
        reason = "return annotation should not be azure.functions.Out"
    elif not _is_class(annotation):
        reason = f"has invalid non-type return annotation {annotation!r}"
    elif not _is_allowed_out(binding, annotation):
        reason = (
            f'Python return annotation "{_name_of(annotation)}" does not match binding'
            f' type "{binding.type}"'
        )
    else:
        return
    wanted = "func.HttpResponse or -> str" if binding.type == "http" else "str"
    raise FunctionLoadError(
        function, f"{reason}. Annotate it with -> {wanted}, or not at all."
    )


def _is_class(annotation: object) -> bool:
    # list[int] counts as a class in Python 3.10, but not in later ones.
    return isinstance(annotation, type) and not isinstance(annotation, GenericAlias)


def _is_type(annotation: object) -> bool:
    """Whether Azure's worker takes it for a type, which a parameter must have."""
    if isinstance(annotation, _ALIASES):
        return typing.get_origin(annotation) not in _NO_TYPES
    return _is_class(annotation) or annotation is Generic


def _is_allowed(binding: Binding, annotation: Any) -> bool:
    if binding.direction == "out":
        return annotation in (str, bytes) or _is_allowed_out(binding, annotation)
    if not binding.is_trigger and annotation in (str, bytes):
        return True
    converter = converter_of(binding.type)
    plain = partial(_is_plain, of=(str, bytes))
    return _is_taken(
        getattr(converter, "check_input_type_annotation", plain), annotation
    )


def _is_allowed_out(binding: Binding, annotation: Any) -> bool:
    converter = converter_of(binding.type)
    plain = partial(_is_plain, of=(str, bytes, bytearray))
    return _is_taken(
        getattr(converter, "check_output_type_annotation", plain), annotation
    )


def _is_taken(check: Callable[[Any], object], annotation: Any) -> bool:
    try:
        return bool(check(annotation))
    except TypeError:  # typing.List is no class; the worker fails at it in this way
        return False


def _is_plain(annotation: type, *, of: tuple[type, ...]) -> bool:
    """What the worker takes for a binding of which it knows no more."""
    return issubclass(annotation, of)


def _name_of(annotation: object) -> str:
    return getattr(annotation, "__name__", None) or repr(annotation)


def _warn_of_annotation(function: Function, name: str, annotation: object) -> None:
    """Runs here, because nothing is converted by it; Azure refuses it."""
    _logger.warning(
        "%s: in Azure the parameter %s fails with 'binding %s has invalid non-type"
        " annotation %r'; annotate it with a plain class such as dict.",
        function.name,
        name,
        name,
        annotation,
    )
