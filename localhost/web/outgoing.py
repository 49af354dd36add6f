"""``call_http``: the one activity that the host itself does, with aiohttp's client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from localhost.outcome import Outcome, Raised, Returned
from localhost.records import dumps

USER_AGENT = "Microsoft.Azure.WebJobs.Extensions.DurableTask/2.13.7"
LIMIT_S = 240.0
_INVALID_URI = (
    "An invalid request URI was provided. Either the request URI must be an absolute"
    " URI or BaseAddress must be set."
)
_NO_TOKEN = (
    "call_http was given a token_source, but there is no managed identity on this"
    " machine. Put an Authorization header into the request's headers instead when you"
    " run locally."
)
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


async def call_http(input_: str) -> Outcome:
    """Send a durable HTTP request (JSON text); any status is a success.

    What cannot be sent, or gets no answer, is ``Raised`` without a type: its message
    becomes the reason of the failure as it is.
    """
    request = json.loads(input_)
    if request.get("tokenSource"):
        return _failed(_NO_TOKEN)
    url = URL(request["uri"])
    if not url.is_absolute() or url.scheme not in ("http", "https"):
        return _failed(_INVALID_URI)
    try:
        return Returned(value=dumps(await _answer(request, url)))
    except asyncio.TimeoutError:
        return _failed(f"The request to {url} got no answer in time.")
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        return _failed(f"The request to {url} failed: {exc}")


async def _answer(request: Mapping[str, Any], url: URL) -> dict[str, Any]:
    content = request.get("content")
    headers = {"User-Agent": USER_AGENT, **_headers(request)}
    if content is not None and not any(h.lower() == "content-type" for h in headers):
        headers["Content-Type"] = "text/plain; charset=utf-8"
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT_S)) as session,
        session.request(
            request["method"],
            url,
            data=None if content is None else str(content).encode(),
            headers=headers,
        ) as answer,
    ):
        return {
            "statusCode": answer.status,
            "headers": _joined(answer),
            "content": await answer.text(errors="replace"),
        }


def _headers(request: Mapping[str, Any]) -> dict[str, str]:
    wire: Mapping[str, Any] = request.get("headers") or {}
    return {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in wire.items()
    }


def _joined(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return the headers: one value as a text, several as a list."""
    headers: dict[str, Any] = {}
    for name in answer.headers:
        if name.lower() in _CONTENT_HEADERS or name in headers:
            continue
        values = answer.headers.getall(name)
        headers[name] = values[0] if len(values) == 1 else values
    return headers


def _failed(message: str) -> Raised:
    return Raised(type_name="", message=message, traceback="")
