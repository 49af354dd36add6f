"""``call_http``: the one activity that the host itself does, with aiohttp's client."""

from __future__ import annotations

import asyncio
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from localhost.outcome import Outcome, Raised, Returned
from localhost.text import dumps, loads

USER_AGENT = "Microsoft.Azure.WebJobs.Extensions.DurableTask/2.13.7"
LIMIT_S = 240.0
LARGEST_ANSWER_BYTES = 100_000_000  # it is held in memory some times over
_INVALID_URI = (
    "An invalid request URI was provided. Either the request URI must be an absolute"
    " URI or BaseAddress must be set."
)
_NO_TOKEN = (
    "call_http was given a token_source, but there is no managed identity on this"
    " machine. Put an Authorization header into the request's headers instead when you"
    " run locally."
)
_LONGEST_SHOWN_CHARS = 200
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_TIME_SPAN = re.compile(
    r"(?:([0-9]{1,8})\.)?([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2}(?:\.[0-9]{1,7})?))?"
)
# They follow from the content; a wrong one lets the server wait for more of it.
_HEADERS_OF_LENGTH = frozenset({"content-length", "transfer-encoding"})
# Headers of the content, which the answer that an orchestrator sees does not have.
_CONTENT_HEADERS = frozenset(
    {
        "allow",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
        "expires",
        "last-modified",
    }
)


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A request that can be sent."""

    method: str
    url: URL
    headers: Mapping[str, str]
    content: bytes | None
    limit_s: float

    @property
    def place(self) -> str:
        """The address as messages show it."""
        return _cut(str(self.url))


class _CannotError(Exception):
    """A request cannot be sent, or its answer not taken; the text says why."""


async def call_http(input_: str) -> Outcome:
    """Send a durable HTTP request (JSON text); any status is a success.

    What cannot be sent, or gets no answer, is ``Raised`` without a type: its message
    becomes the reason of the failure as it is. Nothing but a cancel is raised.
    """
    try:
        request = _request_of(loads(input_))
    except _CannotError as exc:
        return _failed(str(exc))
    except ValueError as exc:
        return _failed(f"call_http: the request cannot be read ({exc!r}).")
    return await _outcome(request)


async def _outcome(request: _Request) -> Outcome:
    try:
        return Returned(value=dumps(await _answer(request)))
    except asyncio.TimeoutError:
        return _failed(f"The request to {request.place} got no answer in time.")
    except _CannotError as exc:
        return _failed(str(exc))
    except (
        Exception
    ) as exc:  # of whichever library: the same request would give it again
        said = _cut(str(exc)) or type(exc).__name__
        return _failed(f"The request to {request.place} failed: {said}")


async def _answer(request: _Request) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=request.limit_s)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.request(
            request.method, request.url, data=request.content, headers=request.headers
        ) as answer,
    ):
        return {
            "statusCode": answer.status,
            "headers": _joined(answer),
            "content": await _text(answer, request.place),
        }


async def _text(answer: aiohttp.ClientResponse, place: str) -> str:
    """Return the body; a charset that Python does not know counts as UTF-8."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES:
            raise _CannotError(
                f"The answer of {place} is larger than {LARGEST_ANSWER_BYTES / 1e6:g}"
                " MB; expected: at most that. Ask for a part of it, or let an activity"
                " fetch it."
            )
    try:
        return body.decode(answer.charset or "utf-8", errors="replace")
    except (LookupError, ValueError):
        return body.decode(errors="replace")


# What is asked for


def _request_of(wire: object) -> _Request:
    """Read a request whose values may be of any JSON type. Raises ``_CannotError``."""
    if not isinstance(wire, Mapping):
        raise _CannotError(f"call_http: the request is {_shown(wire)}; expected: JSON.")
    if wire.get("tokenSource"):
        raise _CannotError(_NO_TOKEN)
    content = _content(wire.get("content"))
    headers = {"User-Agent": USER_AGENT, **_headers(wire.get("headers"))}
    if content is not None and not any(h.lower() == "content-type" for h in headers):
        headers["Content-Type"] = "text/plain; charset=utf-8"
    return _Request(
        method=_method(wire.get("method")),
        url=_url(wire.get("uri")),
        headers=headers,
        content=content,
        limit_s=_limit_s(wire.get("timeout")),
    )


def _url(uri: object) -> URL:
    if not isinstance(uri, str):
        raise _wrong("'uri'", uri, "a text, an absolute http or https URI")
    try:
        url = URL(uri.strip())
        is_whole = url.is_absolute() and url.scheme in ("http", "https")
    except Exception as exc:  # ValueError, UnicodeError, idna's own …
        raise _CannotError(
            f"call_http: 'uri' is {_shown(uri)} ({_cut(str(exc))}); expected: an"
            " absolute http or https URI."
        ) from exc
    if not is_whole:
        raise _CannotError(_INVALID_URI)
    return url


def _method(method: object) -> str:
    if not isinstance(method, str) or not _TOKEN.fullmatch(method):
        raise _wrong("'method'", method, "one word such as GET")
    return method


def _content(content: object) -> bytes | None:
    if content is None:
        return None
    text = content if isinstance(content, str) else dumps(content)
    return text.encode(errors="replace")


def _headers(wire: object) -> dict[str, str]:
    """Return the headers; the length of the content is not theirs to say."""
    if wire is None:
        return {}
    if not isinstance(wire, Mapping):
        raise _wrong("'headers'", wire, "an object of names and values")
    for name in wire:
        if not _TOKEN.fullmatch(name):
            raise _wrong("the name of a header", name, "one word such as X-Name")
    return {
        name: _header(name, value)
        for name, value in wire.items()
        if name.lower() not in _HEADERS_OF_LENGTH
    }


def _header(name: str, value: object) -> str:
    parts = value if isinstance(value, list) else [value]
    if all(isinstance(part, (str, int, float)) for part in parts):
        text = ",".join(str(part) for part in parts)
        if _HEADER_VALUE.fullmatch(text):
            return text
    raise _wrong(
        f"the header '{_cut(name)}'", value, "printable ASCII, or a list of it"
    )


def _limit_s(timeout: object) -> float:
    """Return how long the answer may take: a .NET time span, at most ours."""
    if timeout is None:
        return LIMIT_S
    match = _TIME_SPAN.fullmatch(timeout) if isinstance(timeout, str) else None
    parts = [float(part or 0) for part in match.groups()] if match else [0.0] * 4
    limit_s = float(sum(map(operator.mul, parts, (86_400, 3_600, 60, 1))))
    if limit_s <= 0:
        raise _wrong("'timeout'", timeout, "a time span above 0 such as 00:01:30")
    return min(limit_s, LIMIT_S)


def _wrong(what: str, found: object, expected: str) -> _CannotError:
    return _CannotError(
        f"call_http: {what} is {_shown(found)}; expected: {expected}. Mend this call in"
        " the orchestrator."
    )


def _shown(value: object) -> str:
    """Return a value as Python writes it, in ASCII."""
    return _cut(ascii(value))


def _cut(text: str) -> str:
    """Return the beginning of a text, of characters that UTF-8 has."""
    if len(text) > _LONGEST_SHOWN_CHARS:
        text = f"{text[:_LONGEST_SHOWN_CHARS]}… ({len(text)} characters)"
    return text.encode(errors="backslashreplace").decode()


# What is answered


def _joined(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return the headers: one value as a text, several as a list.

    Bytes beyond ASCII are Latin-1, as .NET's client reads them.
    """
    headers: dict[str, Any] = {}
    for name in answer.headers:
        if name.lower() in _CONTENT_HEADERS or name in headers:
            continue
        values = [
            value.encode("utf-8", "surrogateescape").decode("latin-1")
            for value in answer.headers.getall(name)
        ]
        headers[name] = values[0] if len(values) == 1 else values
    return headers


def _failed(message: str) -> Raised:
    return Raised(type_name="", message=message, traceback="")
