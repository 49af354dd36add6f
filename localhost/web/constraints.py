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
# No number of more digits is in any range, and Python reads only so many.
_INTEGER = re.compile(r"\s*[+-]?0*([0-9]{1,19})\s*\Z")
_NUMBER = r"[0-9][0-9,]*\.?[0-9]*|\.[0-9]+"
_HEX_GROUPS = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# Python's own readers of times differ from version to version, and read month names
# in the language of the machine.
_LARGEST_ZONE_H = 14
_MONTHS = {
    name[:length]: number
    for number, name in enumerate(
        "january february march april may june july august september october november"
        " december".split(),
        start=1,
    )
    for length in (3, len(name))
}
_DATE = "|".join(
    (
        r"(?P<y1>[0-9]{4})(?P<sep1>[-/.])(?P<m1>[0-9]{1,2})(?P=sep1)(?P<d1>[0-9]{1,2})",
        r"(?P<y2>[0-9]{4})-(?P<m2>[0-9]{1,2})",
        r"(?P<m3>[0-9]{1,2})(?P<sep3>[-/.])(?P<d3>[0-9]{1,2})(?P=sep3)(?P<y3>[0-9]{4})",
        r"(?P<d4>[0-9]{1,2}) +(?P<m4>[a-z]+),? +(?P<y4>[0-9]{4})",
        r"(?P<m5>[a-z]+) +(?P<d5>[0-9]{1,2}),? +(?P<y5>[0-9]{4})",
    )
)
_TIME = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.[0-9]+)?)?"
    r"(?: *(?P<half>[ap]m))?(?: *(?:z|[+-](?P<zone>[0-9]{1,2}):(?P<part>[0-9]{2})))?"
)
_DATE_TIME = re.compile(
    rf"\s*(?:(?:{_DATE})(?:(?:t| +){_TIME})?|{re.sub('<', '<only_', _TIME)})\s*\Z",
    re.IGNORECASE,
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
    def is_between(text: str) -> bool:
        match = _INTEGER.match(text)
        if match is None:
            return False
        return low <= int(match[1]) * (-1 if "-" in text else 1) <= high

    return is_between


def _length(shortest: int, longest: int | None = None) -> Check:
    limit = shortest if longest is None else longest
    return lambda text: shortest <= len(text) <= limit


def _integers(argument: str) -> list[int]:
    return [int(part) for part in argument.split(",")]


def _is_datetime(text: str) -> bool:
    match = _DATE_TIME.match(text)
    if match is None:
        return False
    found = {
        name.removeprefix("only_"): value
        for name, value in match.groupdict().items()
        if value is not None
    }
    return _is_day(found) and _is_time(found)


def _is_day(found: Mapping[str, str]) -> bool:
    """Whether there is such a day, if one is named."""
    dates = {name[0]: found[name] for name in found if name[:-1] in ("y", "m", "d")}
    if not dates:
        return True
    month = dates["m"]
    number = int(month) if month.isdecimal() else _MONTHS.get(month.lower(), 0)
    try:
        datetime.date(int(dates["y"]), number, int(dates.get("d", 1)))
    except ValueError:
        return False
    return True


def _is_time(found: Mapping[str, str]) -> bool:
    hour = int(found.get("hour", 1))
    hours = range(1, 13) if "half" in found else range(24)
    is_zone = int(found.get("zone", 0)) <= _LARGEST_ZONE_H
    parts = (int(found.get(name, 0)) for name in ("minute", "second", "part"))
    return hour in hours and is_zone and all(part < 60 for part in parts)


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
