"""Inline constraints of route templates: ``{id:int}``, ``{name:length(1,9)}``.

Pure and a leaf: imports nothing of ours. What a constraint accepts is what
.NET accepts with the invariant culture.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

Check: TypeAlias = Callable[[str], bool]
"""Asks whether the decoded value of a route parameter is allowed."""

_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*\Z")
_NUMBER = r"[0-9][0-9,]*\.?[0-9]*|\.[0-9]+"
_HEX_GROUPS = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DATE_FORMATS = (
    "%m-%d-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d %Y",
    "%B %d %Y",
    "%Y-%m",
    "%H:%M",
    "%H:%M:%S",
)


def constraint(name: str, argument: str | None) -> Check:
    """Make the check for ``name`` or ``name(argument)``.

    Raises ValueError for a name that does not exist and an argument that does
    not fit; its text says what is allowed.
    """
    if argument is None and name.lower() in _WITHOUT_ARGUMENT:
        return _WITHOUT_ARGUMENT[name.lower()]
    if argument is not None and name.lower() in _WITH_ARGUMENT:
        try:
            return _WITH_ARGUMENT[name.lower()](argument)
        except (ValueError, TypeError, re.error) as exc:
            raise ValueError(
                f"'{argument}' is no argument for the constraint '{name}'"
            ) from exc
    raise ValueError(
        f"there is no constraint '{name}{'(…)' if argument is not None else ''}'; "
        f"there are {', '.join(_WITHOUT_ARGUMENT)}, "
        f"{', '.join(f'{known}(…)' for known in _WITH_ARGUMENT)}"
    )


def _pattern(expression: str) -> Check:
    compiled = re.compile(expression, re.IGNORECASE)
    return lambda text: compiled.search(text) is not None


def _integer(low: int, high: int) -> Check:
    return lambda text: bool(_INTEGER.match(text)) and low <= int(text) <= high


def _length(shortest: int, longest: int | None = None) -> Check:
    limit = shortest if longest is None else longest
    return lambda text: shortest <= len(text) <= limit


def _integers(argument: str) -> list[int]:
    return [int(part) for part in argument.split(",")]


def _is_datetime(text: str) -> bool:
    stripped = text.strip()
    try:
        datetime.datetime.fromisoformat(re.sub(r"[Zz]\Z", "+00:00", stripped))
    except ValueError:
        return any(_is_date_like(stripped, form) for form in _DATE_FORMATS)
    return True


def _is_date_like(text: str, form: str) -> bool:
    try:
        datetime.datetime.strptime(text, form)
    except ValueError:
        return False
    return True


_FLOAT = _pattern(
    rf"^\s*([+-]?({_NUMBER})(e[+-]?[0-9]+)?|nan|[+-]?infinity|[+-]?∞)\s*\Z"
)

_WITHOUT_ARGUMENT: Mapping[str, Check] = {
    "int": _integer(_INT_MIN, _INT_MAX),
    "long": _integer(_LONG_MIN, _LONG_MAX),
    "bool": _pattern(r"^\s*(true|false)\s*\Z"),
    "alpha": _pattern(r"^[a-z]*\Z"),
    "guid": _pattern(
        rf"^\s*({_HEX_GROUPS}|\{{{_HEX_GROUPS}\}}|\({_HEX_GROUPS}\)|[0-9a-f]{{32}})\s*\Z"
    ),
    "decimal": _pattern(rf"^\s*[+-]?({_NUMBER})\s*[+-]?\s*\Z"),
    "double": _FLOAT,
    "float": _FLOAT,
    "datetime": _is_datetime,
    "required": lambda text: text != "",
}

_WITH_ARGUMENT: Mapping[str, Callable[[str], Check]] = {
    "length": lambda argument: _length(*_integers(argument)),
    "minlength": lambda argument: _length(int(argument), _INT_MAX),
    "maxlength": lambda argument: _length(0, int(argument)),
    "min": lambda argument: _integer(int(argument), _LONG_MAX),
    "max": lambda argument: _integer(_LONG_MIN, int(argument)),
    "range": lambda argument: _integer(*_integers(argument)),
    "regex": _pattern,
}
