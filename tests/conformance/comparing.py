"""What counts as the same: values of two runs, made comparable and held together.

Ids, times, keys, ports and stack frames differ from run to run. Each is replaced by a
word for its kind, so that a time of another precision or a missing frame still shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CUT = "…"  # recordings end long texts with this and the number of characters
_CUT = re.compile(r'… ?(\(\d+ characters\))?"?$')
# What a cut may have torn apart is not compared.
LONGEST_WORD_CHARS = 80
HOST = re.compile(
    r"\b(?:127\.0\.0\.1|localhost):\d{2,5}\b(/devstoreaccount1|/testaccount)?"
)
_KINDS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<guid>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<hex>"),
    # A RowKey has as many digits, but begins with zeros.
    (re.compile(r"\b(?!0{8})[0-9a-f]{16}\b"), "<span>"),
    (re.compile(r"/message-<hex>-"), "/message-<id>-"),
    (re.compile(r"-[0-9A-F]{8}-(?=\w+\.json\.gz)"), "-<id>-"),
    (re.compile(r"\b0001-01-01T00:00:00Z?"), "<no time>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d(?:%3A|:)\d\d(?:%3A|:)\d\d\.\d+"), "<time.f>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d"), "<date>"),
    (re.compile(r"<object object at 0x[0-9a-f]+>"), "<object>"),
    (re.compile(r"(?:\r?\n)?   at [^\r\n\"\\]+(?:\\r)?(?:\\n)?"), "<.NET frame>"),
    (re.compile(r"(?:<\.NET frame>)+"), "<.NET frames>"),
    (
        re.compile(
            r'  File \\*"[^"]+?\\*", line \d+, in (?:.(?!  File ))*?(?:\\+n|\n)'
            r"(?=\\*\"|$|  File |[^ ])",
            re.S,
        ),
        "<frame>",
    ),
    (re.compile(r"(?:<frame>)+"), "<frames>"),
)


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


ABSENT = _Absent()
Unlike = tuple[str, Any, Any]  # place, expected, found


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words that stand for a run's own names: its instances, its key, its hub."""

    of: dict[str, str] = field(default_factory=dict)

    def plain(self, text: str) -> str:
        """Return a text in which what differs from run to run is a word of its kind."""
        for own in sorted(self.of, key=len, reverse=True):
            text = text.replace(own, self.of[own])
        text = HOST.sub("HOST", text)
        for pattern, word in _KINDS:
            text = pattern.sub(word, text)
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value with plain texts and keys."""
        if isinstance(value, str):
            cut = _CUT.search(value)
            if cut:
                return self.plain(value[: -LONGEST_WORD_CHARS - len(cut[0])]) + CUT
            return self.plain(value)
        if isinstance(value, Mapping):
            return {self.plain(key): self.value(each) for key, each in value.items()}
        if isinstance(value, Sequence):
            return [self.value(each) for each in value]
        return value


def unlike(expected: Any, found: Any, place: str = "") -> Iterator[Unlike]:
    """Yield place, expected and found wherever two plain values are not the same.

    The order of keys counts; a text that the recording cut is compared up to there.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        yield from _unlike_mappings(expected, found, place)
    elif _is_list(expected) and _is_list(found):
        yield from _unlike_lists(expected, found, place)
    elif not _is_same(expected, found):
        yield place, expected, found


def _unlike_mappings(
    expected: Mapping[str, Any], found: Mapping[str, Any], place: str
) -> Iterator[Unlike]:
    for key in [*expected, *(key for key in found if key not in expected)]:
        here = f"{place}.{key}" if place else key
        if key not in expected:
            yield here, ABSENT, found[key]
        elif key not in found:
            yield here, expected[key], ABSENT
        else:
            yield from unlike(expected[key], found[key], here)
    shared = [key for key in expected if key in found]
    ours = [key for key in found if key in expected]
    if shared != ours:
        yield f"{place} (order of keys)", shared, ours


def _unlike_lists(
    expected: Sequence[Any], found: Sequence[Any], place: str
) -> Iterator[Unlike]:
    if len(expected) != len(found):
        yield f"{place} (length)", len(expected), len(found)
    for index, (one, other) in enumerate(zip(expected, found, strict=False)):
        yield from unlike(one, other, f"{place}[{index}]")


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_same(expected: object, found: object) -> bool:
    if isinstance(expected, str) and expected.endswith(CUT) and isinstance(found, str):
        return found.startswith(expected[: -len(CUT)])
    return type(expected) is type(found) and expected == found
