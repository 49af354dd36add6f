"""The one rule for text, and the one writer and reader of JSON; a leaf.

Whatever comes from users' code, from clients or from other servers is text of Unicode
from here on: half a surrogate pair is U+FFFD, as .NET's UTF-8 makes it. JSON is what
Newtonsoft.Json writes: other readers than Python's take it, and no line ends in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any


class TooDeepError(ValueError):
    """A JSON text is nested deeper than Python reads."""


_HALVES = re.compile("[\ud800-\udfff]")
_DECODER = json.JSONDecoder()
_COMPACT: Any = {"separators": (",", ":")}
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def well_formed(text: str) -> str:
    """Return a text in which a half of a surrogate pair without the other is U+FFFD."""
    if text.isascii() or not _HALVES.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return compact JSON with raw non-ASCII, as Durable writes it.

    U+0085, U+2028 and U+2029 are escaped; a number that is none is the text ``NaN``,
    ``Infinity`` or ``-Infinity``.
    """
    try:
        text = _dumped(value, indent)
    except ValueError:  # JSON has no such number, or the value holds itself
        value = json.loads(json.dumps(value), parse_constant=str)
        text = _dumped(value, indent)
    if text.isascii():
        return text
    for char, escape in _LINE_ENDS.items():
        text = text.replace(char, escape)
    return well_formed(text)


def ascii_dumps(value: Any) -> str:
    """Return the JSON of ``dumps`` with all of non-ASCII escaped: the same value."""
    text = dumps(value)
    return text if text.isascii() else json.dumps(json.loads(text), **_COMPACT)


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text, with well-formed texts in it.

    Raises ``ValueError``, and its kind ``TooDeepError``.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig", "replace")
    return _read(json.loads, text)


def first_of(text: str) -> Any:
    """Return the first value of a JSON text, whatever follows; see ``loads``."""
    return _read(lambda whole: _DECODER.raw_decode(whole)[0], text)


def _read(read: Callable[[str], Any], text: str) -> Any:
    try:
        value = read(well_formed(text))
        if "\\ud" not in text and "\\uD" not in text:
            return value
        written = json.dumps(value, ensure_ascii=False)
        whole = well_formed(written)
        return value if whole is written else json.loads(whole)
    except RecursionError as exc:
        raise TooDeepError("the JSON is nested too deep to be read") from exc


def _dumped(value: Any, indent: int | None) -> str:
    separators = (",", ":") if indent is None else None
    return json.dumps(
        value,
        ensure_ascii=False,
        allow_nan=False,
        indent=indent,
        separators=separators,
    )
