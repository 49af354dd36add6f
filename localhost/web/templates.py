"""Route templates as ASP.NET Core reads them: ``orders/{id:int?}``.

Pure; of ours it imports only the constraints.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from urllib.parse import unquote_to_bytes

from localhost.web.constraints import Check, constraint

_TOKEN = re.compile(
    r"(?P<slash>/)"
    r"|(?P<literal>(?:\{\{|\}\}|[^{}/])+)"
    r"|\{(?P<parameter>(?:\{\{|\}\}|[^{}])*)\}"
)
_CONSTRAINT = re.compile(r":(?P<name>[^:(=]+)(?:\((?P<argument>.*?)\)(?=[:=]|\Z))?")
# The decoded path keeps %2F, so that a value never gains a slash.
_ESCAPES = re.compile(r"(?:%(?!2[Ff])[0-9A-Fa-f]{2})+")


class Rank(IntEnum):
    """How early a segment of a template is tried; the lower, the earlier."""

    LITERAL = 1
    CONSTRAINED = 2
    PARAMETER = 3
    CONSTRAINED_CATCH_ALL = 4
    CATCH_ALL = 5


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """``{name}``, ``{name?}``, ``{name=default}``, ``{*name}``, ``{name:int}``."""

    name: str
    checks: tuple[Check, ...] = ()
    default: str | None = None
    is_optional: bool = False
    is_catch_all: bool = False

    @classmethod
    def from_text(cls, text: str) -> Parameter:
        """Parse what stands between the braces; raises ValueError."""
        named = text.removeprefix("*").removeprefix("*")
        is_optional = named.endswith("?")
        named = named.removesuffix("?")
        name = re.split("[:=]", named, maxsplit=1)[0]
        if not name or re.search(r"[/{}?*()]", name):
            raise ValueError(f"'{{{text}}}' has no valid parameter name")
        checks, rest = _constraints(named[len(name) :])
        default = rest[1:] if rest.startswith("=") else None
        if is_optional and default is not None:
            raise ValueError(f"'{{{text}}}' cannot have a default and be optional")
        if is_optional and text.startswith("*"):
            raise ValueError(f"'{{{text}}}' takes all and cannot be optional")
        return cls(
            name=name,
            checks=checks,
            default=default,
            is_optional=is_optional,
            is_catch_all=text.startswith("*"),
        )

    def allows(self, value: str | None) -> bool:
        """Whether the constraints hold; ``None`` is a value that is not there."""
        if value is None:
            return self.is_optional or not self.checks
        return all(check(value) for check in self.checks)


def _constraints(text: str) -> tuple[tuple[Check, ...], str]:
    checks: list[Check] = []
    while found := _CONSTRAINT.match(text):
        checks.append(constraint(found["name"], found["argument"]))
        text = text[found.end() :]
    if text and not text.startswith("="):
        raise ValueError(f"'{text}' is neither a constraint nor a default")
    return tuple(checks), text


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What stands between two slashes of a template."""

    parts: tuple[str | Parameter, ...]
    patterns: tuple[re.Pattern[str], ...] = field(compare=False, repr=False)

    @classmethod
    def from_parts(cls, parts: Sequence[str | Parameter]) -> Segment:
        """Check that the parts may stand beside each other; raises ValueError."""
        _check_neighbours(parts)
        return cls(parts=tuple(parts), patterns=tuple(_patterns(parts)))

    @property
    def parameters(self) -> list[Parameter]:
        return [part for part in self.parts if isinstance(part, Parameter)]

    @property
    def only(self) -> Parameter | None:
        """The parameter, if the segment is nothing but one."""
        match self.parts:
            case (Parameter() as only,):
                return only
        return None

    @property
    def rank(self) -> Rank:
        if not self.parameters:
            return Rank.LITERAL
        only = self.only
        if only is None:
            return Rank.CONSTRAINED
        if only.is_catch_all:
            return Rank.CONSTRAINED_CATCH_ALL if only.checks else Rank.CATCH_ALL
        return Rank.CONSTRAINED if only.checks else Rank.PARAMETER

    def match(self, text: str) -> Mapping[str, str] | None:
        """The values in one decoded segment, or None when it does not fit."""
        names = [parameter.name for parameter in self.parameters]
        for pattern in self.patterns:
            if found := pattern.match(text):
                return dict(zip(names, found.groups(), strict=False))
        return None


def _check_neighbours(parts: Sequence[str | Parameter]) -> None:
    for part, following in itertools.pairwise(parts):
        if isinstance(part, Parameter) and isinstance(following, Parameter):
            raise ValueError(
                f"'{{{part.name}}}' and '{{{following.name}}}' need a text between them"
            )
        if isinstance(part, Parameter) and part.is_optional:
            raise ValueError(f"'{{{part.name}?}}' must be the end of its segment")
    if len(parts) == 1:
        return
    if any(isinstance(part, Parameter) and part.is_catch_all for part in parts):
        raise ValueError("a parameter that takes all must be alone in its segment")
    last = parts[-1]
    if isinstance(last, Parameter) and last.is_optional and parts[-2] != ".":
        raise ValueError(f"only a '.' may stand before '{{{last.name}?}}'")


def _patterns(parts: Sequence[str | Parameter]) -> Iterator[re.Pattern[str]]:
    """The whole segment and, when its end is optional, the segment without it."""
    body = "".join(
        re.escape(part) if isinstance(part, str) else "(.+)" for part in parts
    )
    yield re.compile(rf"{body}\Z", re.IGNORECASE | re.DOTALL)
    last = parts[-1]
    if len(parts) > 2 and isinstance(last, Parameter) and last.is_optional:
        short = body.removesuffix(r"\.(.+)")
        yield re.compile(rf"{short}(?<!\.)\Z", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Route:
    """A parsed template; letters match in either case."""

    template: str
    segments: tuple[Segment, ...]

    @classmethod
    def from_template(cls, template: str) -> Route:
        """Parse ``template``; raises ValueError with the reason."""
        trimmed = template.strip("/")
        segments = tuple(Segment.from_parts(parts) for parts in _split(trimmed))
        names = [p.name.lower() for s in segments for p in s.parameters]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"'{{{name}}}' stands in it twice")
        for segment in segments[:-1]:
            if segment.only and segment.only.is_catch_all:
                raise ValueError(f"'{{*{segment.only.name}}}' must be the last segment")
        return cls(template=trimmed, segments=segments)

    @property
    def ranks(self) -> tuple[Rank, ...]:
        """Sorts routes: literals first, then constrained, then any, then all."""
        return tuple(segment.rank for segment in self.segments)

    def match(self, path_segments: Sequence[str]) -> Mapping[str, str] | None:
        """The decoded values of a path given as raw segments, or None.

        An optional parameter that the path does not name is left out.
        """
        values = self._values([decode_segment(raw) for raw in path_segments])
        if values is None:
            return None
        parameters = [p for segment in self.segments for p in segment.parameters]
        is_allowed = all(p.allows(values.get(p.name)) for p in parameters)
        return values if is_allowed else None

    def _values(self, path: Sequence[str]) -> dict[str, str] | None:
        values: dict[str, str] = {}
        for at, segment in enumerate(self.segments):
            only = segment.only
            if only and only.is_catch_all:
                rest = "/".join(path[at:]) or only.default
                return values | ({} if rest is None else {only.name: rest})
            found = segment.match(path[at]) if at < len(path) else _absent(only)
            if found is None:
                return None
            values |= found
        return values if len(path) <= len(self.segments) else None


def _absent(only: Parameter | None) -> Mapping[str, str] | None:
    if only is None:
        return None
    if only.default is not None:
        return {only.name: only.default}
    return {} if only.is_optional else None


def _split(template: str) -> Iterator[list[str | Parameter]]:
    """The parts of each segment; raises ValueError when braces do not pair."""
    parts: list[str | Parameter] = []
    end = 0
    while found := _TOKEN.match(template, end):
        end = found.end()
        if found["slash"]:
            yield _not_empty(parts)
            parts = []
        elif found["literal"]:
            parts.append(_literal(found["literal"]))
        else:
            parts.append(Parameter.from_text(_unescape(found["parameter"])))
    if end < len(template):
        raise ValueError(f"the braces in '{template[end:]}' do not pair")
    if template:
        yield _not_empty(parts)


def _not_empty(parts: list[str | Parameter]) -> list[str | Parameter]:
    if not parts:
        raise ValueError("there is nothing between two of its slashes")
    return parts


def _literal(text: str) -> str:
    if "?" in text:
        raise ValueError(f"'?' is not allowed in '{text}'")
    return _unescape(text)


def _unescape(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


def split_path(path: str) -> list[str]:
    """Raw segments of a path; one slash at either end does not count."""
    trimmed = path.removeprefix("/").removesuffix("/")
    return trimmed.split("/") if trimmed else []


def decode_segment(raw: str) -> str:
    """Percent-decode; ``%2F`` and bytes that are no UTF-8 stay as they came."""
    return _ESCAPES.sub(_decode_run, raw)


def _decode_run(escapes: re.Match[str]) -> str:
    try:
        return unquote_to_bytes(escapes[0]).decode("utf-8")
    except UnicodeDecodeError:
        return escapes[0]
