"""A settings file as flat leaves, and the checks of a leaf; imports ``errors`` only.

The real host reads host.json so: a leaf's path is case-insensitive, and an environment
variable ``AzureFunctionsJobHost__<path with __>`` takes the place of the leaf.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from localhost.errors import CannotStartError

T = TypeVar("T")

_SHOWN_LENGTH = 80
INT32_MAX = 2**31 - 1
OVERRIDE_PREFIX = "AzureFunctionsJobHost:"
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One value with its origin: a key of a file, or an environment variable."""

    place: str
    name: str  # the last part of the path, as it was written
    value: object

    def wrong(self, expected: str) -> NoReturn:
        """Raise what to tell somebody whose value is not the one *expected*."""
        value = json.dumps(self.value, ensure_ascii=False)
        found = "missing" if self.value is None else value[:_SHOWN_LENGTH]
        raise CannotStartError(
            f"{self.place} is {found}; expected is {expected}. Correct it."
        )


@dataclass(frozen=True, kw_only=True)
class Leaves:
    """The leaves of one file by lower-case path; nulls count as absent."""

    by_path: Mapping[str, Leaf]

    def read(self, path: str, check: Callable[[Leaf], T]) -> T | None:
        """The checked value at a dotted *path*; ``None`` when there is no such leaf."""
        if below := next(iter(self.under(path)), None):
            below.wrong(f"a single value at {path}, with nothing below it")
        leaf = self.by_path.get(_key(path))
        return None if leaf is None else check(leaf)

    def under(self, path: str) -> list[Leaf]:
        """All leaves below a section, in the order in which they were written."""
        start = _key(path) + ":"
        return [leaf for key, leaf in self.by_path.items() if key.startswith(start)]

    def require_sections(self, *paths: str) -> None:
        """Raise when something else than an object stands where a section belongs."""
        for path in paths:
            for found in (_key(path), f"{_key(path)}:0"):
                if leaf := self.by_path.get(found):
                    leaf.wrong(f"an object at {path}: {{ … }}")


def leaves(tree: object, *, place: str, environ: Mapping[str, str]) -> Leaves:
    """Flatten *tree* and lay the overrides of the environment over it."""
    found = {
        ":".join(path).lower(): Leaf(
            place=f"{place}: {'.'.join(path)}", name=path[-1], value=value
        )
        for path, value in _walk(tree, ())
    }
    for variable, value in environ.items():
        path = variable.replace("__", ":")
        if value and path.lower().startswith(OVERRIDE_PREFIX.lower()):
            written = path[len(OVERRIDE_PREFIX) :]
            found[written.lower()] = Leaf(
                place=f"Setting {variable}", name=written.split(":")[-1], value=value
            )
    return Leaves(by_path=found)


def _walk(
    tree: object, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _walk(value, (*path, name))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _walk(value, (*path, str(index)))
    elif tree is not None and path:
        yield path, tree


def _key(path: str) -> str:
    return path.replace(".", ":").lower()


def text(leaf: Leaf) -> str:
    """A string."""
    if not isinstance(leaf.value, str):
        leaf.wrong("a string")
    return leaf.value


def truth(leaf: Leaf) -> bool:
    """``true`` or ``false``, as JSON or as text."""
    value = leaf.value.lower() if isinstance(leaf.value, str) else leaf.value
    if value is True or value == "true":
        return True
    if value is False or value == "false":
        return False
    leaf.wrong("true or false")


def whole(low: int, high: int = INT32_MAX) -> Callable[[Leaf], int]:
    """A whole number from *low* to *high*, as JSON or as text."""
    expected = f"a whole number from {low}"
    if high != INT32_MAX:
        expected += f" to {high}"

    def check(leaf: Leaf) -> int:
        value = leaf.value
        if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            leaf.wrong(expected)
        if not low <= value <= high:
            leaf.wrong(expected)
        return value

    return check


def choice(*allowed: str) -> Callable[[Leaf], str]:
    """One of *allowed*, whatever its case; the result is written as in *allowed*."""
    by_lower = {name.lower(): name for name in allowed}

    def check(leaf: Leaf) -> str:
        found = by_lower.get(text(leaf).lower())
        if found is None:
            leaf.wrong(f"one of {', '.join(allowed)}")
        return found

    return check


def without_none(**fields: object) -> dict[str, Any]:
    """The fields that were given: for the others a dataclass has its default."""
    return {name: value for name, value in fields.items() if value is not None}
