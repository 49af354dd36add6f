"""What an HTTP function returned, as one HttpResponse.

A returned ``str`` is read as the real host reads it: JSON with a ``body`` describes a
response, other JSON is written again, anything else goes out as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import azure.functions as func
from azure.functions.http import HttpResponseConverter

from localhost.text import dumps, loads, well_formed

_NO_CONTENT = 204
_INTEGER_DIGITS_LIMIT = 1e15  # .NET writes larger doubles with an exponent


def no_response() -> func.HttpResponse:
    """The answer of a function that succeeds without giving a response."""
    return func.HttpResponse(status_code=_NO_CONTENT)


def to_response(value: object) -> func.HttpResponse:
    """The response for what ``$return`` or an output named otherwise was given.

    Raises TypeError, as Azure's worker does, for anything but str or HttpResponse.
    """
    if isinstance(value, func.HttpResponse):
        return value
    if isinstance(value, str):
        return _from_text(value)
    raise TypeError(
        "unable to encode outgoing TypedData: unsupported type"
        f' "{HttpResponseConverter}" for Python type "{type(value).__name__}".'
        " Return an azure.functions.HttpResponse or a str."
    )


def _from_text(text: str) -> func.HttpResponse:
    try:
        value = loads(text)
    except ValueError:
        return func.HttpResponse(well_formed(text))
    if isinstance(value, dict):
        described = {key.lower(): item for key, item in value.items()}
        if "body" in described:
            return _from_description(described)
    return func.HttpResponse(_written_again(value))


def _from_description(described: Mapping[str, Any]) -> func.HttpResponse:
    headers = described.get("headers")
    named = headers if isinstance(headers, dict) else {}
    return func.HttpResponse(
        _written_again(described["body"]),
        status_code=_status(described.get("statuscode", described.get("status"))),
        headers={str(name): _written_again(value) for name, value in named.items()},
    )


def _status(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 200


def _written_again(value: object) -> str:
    """A JSON value as .NET's ToString writes it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value)) if abs(value) < _INTEGER_DIGITS_LIMIT else repr(value)
    if isinstance(value, (dict, list)):
        return dumps(value, indent=2)
    if isinstance(value, float) and not math.isfinite(value):
        return str(loads(dumps(value)))
    return str(value)
