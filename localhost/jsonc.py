"""Reads the JSON files of a Functions app; imports nothing of ours but ``errors``.

They are JSON as the real host reads it: ``//`` and ``/* */`` comments and commas
after the last entry are allowed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from localhost.errors import CannotStartError

if TYPE_CHECKING:
    from pathlib import Path

# A string comes first in both, so that what looks like a comment in it is left alone.
_STRING = r'"(?:[^"\\\n]|\\.)*"?'
_COMMENTS = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMAS = re.compile(rf"{_STRING}|,(?=\s*[}}\]])")
_FOUND_LENGTH = 30


def read_json(path: Path) -> object:
    """The value in the file; ``CannotStartError`` names file, line and column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as exc:
        raise CannotStartError(
            f"{path} does not exist; a JSON file is expected."
        ) from exc
    except UnicodeDecodeError as exc:
        raise CannotStartError(
            f"{path} is not UTF-8 (byte {exc.start}: {exc.reason}). Save it as UTF-8."
        ) from exc
    except OSError as exc:
        raise CannotStartError(
            f"{path} cannot be read: {exc.strerror}. Expected is a JSON file that"
            " you may read."
        ) from exc
    return parse_json(text, place=str(path))


def parse_json(text: str, *, place: str) -> object:
    """The value of *text*; faults are told with *place*, line and column."""
    plain = _LAST_COMMAS.sub(_without_comma, _COMMENTS.sub(_blank, text))
    try:
        value: object = json.loads(plain)
    except json.JSONDecodeError as exc:
        raise CannotStartError(
            f"{place}, line {exc.lineno}, column {exc.colno}: not JSON:"
            f" {exc.msg[:1].lower()}{exc.msg[1:]}, found {_found(text, exc.pos)}."
            " Correct the file at that place."
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise CannotStartError(
            f"{place} cannot be read as JSON: {exc}. Correct the file."
        ) from exc
    return value


def _blank(match: re.Match[str]) -> str:
    """A comment as blanks: whatever follows keeps its line and column."""
    token = match[0]
    return token if token.startswith('"') else re.sub(r"[^\r\n]", " ", token)


def _without_comma(match: re.Match[str]) -> str:
    if match[0] != ",":
        return match[0]
    before = match.string[: match.start()].rstrip()
    return "," if before.endswith(("[", "{", ",", ":")) else " "


def _found(text: str, position: int) -> str:
    rest = text[position:].lstrip()
    if not rest:
        return "the end of the file"
    line = rest.splitlines()[0]
    return repr(line if len(line) <= _FOUND_LENGTH else line[:_FOUND_LENGTH] + "…")
