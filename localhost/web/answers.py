"""Answers of the management API: JSON bodies, and which exception is which status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from localhost.errors import (
    ArgumentError,
    HostError,
    InstanceExistsError,
    InvalidStateError,
)
from localhost.text import TooDeepError, dumps, first_of, loads
from localhost.web import payloads

ARGUMENT = "One or more of the arguments submitted is incorrect"
# As deep as Newtonsoft.Json reads; more is also more than Python can do everywhere.
DEEPEST_JSON = 64
_TOO_DEEP = f"The reader's MaxDepth of {DEEPEST_JSON} has been exceeded."
FAULT = "Something went wrong while processing your request"


class BadJsonError(HostError):
    """The body of a request is not JSON."""


class BadTokenError(HostError):
    """An ``x-ms-continuation-token`` is none that a list has given."""


# Exception of ours → status, message and the name of the exception it is there.
_ERRORS: Mapping[type[Exception], tuple[int, str, str]] = {
    ArgumentError: (400, ARGUMENT, "System.ArgumentException"),
    InstanceExistsError: (
        500,
        FAULT,
        "DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException",
    ),
    InvalidStateError: (500, FAULT, "System.InvalidOperationException"),
    BadTokenError: (500, FAULT, "Newtonsoft.Json.JsonReaderException"),
    HostError: (500, FAULT, "System.InvalidOperationException"),
    asyncio.TimeoutError: (500, FAULT, "System.TimeoutException"),
}
_JSON_TYPE = "application/json; charset=utf-8"


def continued_after(request: web.Request) -> tuple[str, str] | None:
    """Return where the request's continuation token goes on. Raises BadTokenError."""
    token = request.headers.get("x-ms-continuation-token")
    try:
        return payloads.read_continuation_token(token) if token else None
    except ValueError as exc:
        raise BadTokenError(str(exc)) from exc


async def json_body(request: web.Request, *, is_required: bool = False) -> Any:
    """Return the body as JSON; an empty one is null unless it is required."""
    body = await request.read()
    if not body.strip() and not is_required:
        return None
    try:
        return parsed_json(body.decode("utf-8-sig"), is_first_enough=is_required)
    except ValueError as exc:
        raise BadJsonError(str(exc)) from exc


def parsed_json(text: str, *, is_first_enough: bool = False) -> Any:
    """Parse JSON, or only its first value. Raises ValueError, for depth too."""
    try:
        value = first_of(text.strip()) if is_first_enough else loads(text)
    except TooDeepError as exc:
        raise ValueError(_TOO_DEEP) from exc
    if text.count("[") + text.count("{") > DEEPEST_JSON and _is_too_deep(value):
        raise ValueError(_TOO_DEEP)
    return value


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [inner for outer in level for inner in _inside(outer)]
    return any(isinstance(item, dict | list) for item in level)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def json_answer(
    body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=dumps(body).encode(),
        headers={"Content-Type": _JSON_TYPE, **(headers or {})},
    )


def deleted(count: int) -> web.Response:
    if count == 0:
        return web.Response(status=404)
    return json_answer({"instancesDeleted": count})


def error_answer(exc: Exception) -> web.Response:
    if isinstance(exc, BadJsonError):
        body = payloads.error_payload(
            "Invalid JSON content",
            text=str(exc),
            type_="Newtonsoft.Json.JsonReaderException",
        )
        return json_answer(body, status=400)
    kind = next(kind for kind in _ERRORS if isinstance(exc, kind))
    status, message, type_ = _ERRORS[kind]
    text = str(exc) or "The storage did not answer in time."
    return json_answer(
        payloads.error_payload(message, text=text, type_=type_), status=status
    )
