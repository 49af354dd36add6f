"""Reads what an orchestrator asked for, property by property; pure.

The values come from user code and may be of any JSON type. What has a plain text is
taken as that text, as the extension's JSON reader does (5 is "5", True is "True"); the
rest is refused with a sentence that names action, property, value and expectation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

from localhost.durable.execution import RefusedError
from localhost.timestamps import from_ticks, to_ticks

NAMES: Mapping[int, str] = {
    0: "call_activity",
    1: "call_activity_with_retry",
    2: "call_sub_orchestrator",
    3: "call_sub_orchestrator_with_retry",
    4: "continue_as_new",
    5: "create_timer",
    6: "wait_for_external_event",
    7: "call_entity",
    8: "call_http",
    9: "signal_entity",
    11: "task_any",
    12: "task_all",
}
CREATE_TIMER = 5
LARGEST_INTEGER = 2**31 - 1  # the extension keeps whole numbers in 32 bits
LONGEST_KEY_CHARS = 512  # of UTF-16: a key of the table service has at most 1 KiB
_ESCAPED_IN_KEYS = re.compile(r"[\^/\\#?\x00-\x1f\x7f-\x9f]")
_LONGEST_SHOWN_CHARS = 80
_FIRST_WITH_EXPONENT = 1e15  # .NET writes doubles from here on with one
_TIME = re.compile(
    r"(\d{1,4})(-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,7})?(?:Z|[+-]\d\d:\d\d)?)",
    re.ASCII,
)
_FIRST_TICKS = to_ticks("1601-01-01T00:00:00Z")  # the table service stores none before
_LAST_TICKS = to_ticks("9999-12-31T23:59:59.9999999Z")
_MOMENT = "a time such as 2026-11-22T04:28:42.705591Z, in the years 1601 to 9999"


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The properties of an object in an action; ``place`` says which object.

    Every reader raises ``RefusedError`` for a value that is not what it reads.
    """

    place: str
    values: Mapping[str, Any]

    def value(self, name: str) -> Any:
        """Return a value of any type; None when there is none."""
        return self.values.get(name)

    def text(self, name: str) -> str:
        """Return a text, or the text of a number or bool."""
        text = _text_of(self.values.get(name))
        if text is None:
            self._refuse(name, "a text")
        return text

    def optional_text(self, name: str) -> str | None:
        """Return a text; None when there is none or it is empty."""
        return None if self.value(name) is None else self.text(name) or None

    def identity(self, name: str) -> str:
        """Return a text that the storage can keep an instance under."""
        text = self.text(name)
        escapes = len(_ESCAPED_IN_KEYS.findall(text))
        length_chars = len(text.encode("utf-16-le")) // 2 + escapes
        if length_chars > LONGEST_KEY_CHARS:
            self._refuse(
                name,
                f"at most {LONGEST_KEY_CHARS} characters, of which it has"
                f" {length_chars} (each of ^ / \\ # ? counts twice)",
            )
        return text

    def time(self, name: str) -> str:
        """Return a timestamp."""
        value = self.values.get(name)
        match = _TIME.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            self._refuse(name, _MOMENT)
        text = match[1].zfill(4) + match[2]  # strftime does not fill up the year
        try:
            ticks = to_ticks(text)
        except ValueError:
            self._refuse(name, _MOMENT)
        if not _FIRST_TICKS <= ticks <= _LAST_TICKS:
            self._refuse(name, _MOMENT)
        return text if text.endswith("Z") else from_ticks(ticks)

    def flag(self, name: str) -> bool:
        """Return a bool; False when there is none."""
        value = self.values.get(name)
        if value is None or isinstance(value, (bool, int)):
            return bool(value)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        self._refuse(name, "true or false")

    def integer(self, name: str, *, least: int) -> int:
        """Return a whole number; 2.0 is one."""
        value = self.values.get(name)
        if not _is_number(value) or not least <= value or value != int(value):
            self._refuse(name, f"a whole number from {least} to {LARGEST_INTEGER}")
        return int(value)

    def number(self, name: str, *, default: float | None = None) -> float:
        """Return a number; ``default`` when there is none or it is 0."""
        value = self.values.get(name)
        if default is not None and value in (None, 0):
            return default
        if not _is_number(value):
            self._refuse(name, f"a number of at most {LARGEST_INTEGER}")
        return float(value)

    def part(self, name: str) -> Fields:
        """Return the object that stands under a name."""
        value = self.values.get(name)
        if not isinstance(value, Mapping):
            self._refuse(name, "an object")
        return Fields(place=f"{self.place}: {name}", values=value)

    def actions(self, name: str) -> list[Action]:
        """Return the actions that a list holds."""
        value = self.values.get(name)
        if not isinstance(value, (list, tuple)):
            self._refuse(name, "a list of actions")
        return [action_of(each, place=self.place) for each in value]

    def _refuse(self, name: str, expected: str) -> NoReturn:
        found = shown(self.values[name]) if name in self.values else "missing"
        raise RefusedError(
            f"{self.place}: '{name}' is {found}; expected: {expected}. Mend this call"
            " in the orchestrator."
        )


@dataclass(frozen=True, kw_only=True)
class Action(Fields):
    """One action of an orchestrator; ``kind`` is its number, see ``NAMES``."""

    kind: int


def action_of(wire: object, *, place: str = "the orchestrator") -> Action:
    """Return an action as it stands in a state. Raises ``RefusedError``."""
    if not isinstance(wire, Mapping):
        raise RefusedError(
            f"{place} asked for {shown(wire)}; expected: an action, which is an object"
            " with 'actionType'. Return what df.Orchestrator.create(...) makes."
        )
    kind = wire.get("actionType")
    if not isinstance(kind, int) or isinstance(kind, bool) or kind not in NAMES:
        raise RefusedError(
            f"{place} asked for an action of type {shown(kind)}, which is not known"
            f" here; expected: one of {', '.join(str(known) for known in NAMES)}."
            " Use a version of azure-functions-durable that requirements-dev.txt"
            " allows."
        )
    return Action(place=NAMES[kind], values=wire, kind=kind)


def shown(value: object) -> str:
    """Return a value as a message shows it: as Python writes it, and not long."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    if len(text) <= _LONGEST_SHOWN_CHARS:
        return text
    return f"{text[:_LONGEST_SHOWN_CHARS]}… ({len(text)} characters)"


def _is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number that 32 bits hold; NaN is none."""
    return isinstance(value, (int, float)) and abs(value) <= LARGEST_INTEGER


def _text_of(value: object) -> str | None:
    """Return the text of a plain value as .NET writes it; None for other values."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, float):
        return _text_of_float(value)
    return str(value) if isinstance(value, int) else None  # True is an int, "True"


def _text_of_float(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "-Infinity"[value > 0 :]
    is_short = abs(value) < _FIRST_WITH_EXPONENT
    return str(int(value)) if value == int(value) and is_short else repr(value).upper()
