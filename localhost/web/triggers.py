"""Functions with an httpTrigger: request to worker, worker's answer to response.

It may import aiohttp's server, ``localhost.app`` and this room only.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping

from aiohttp import HttpVersion11, web

from localhost.app.port import Callers
from localhost.declared import DURABLE_CLIENTS, Binding, Function
from localhost.outcome import HttpAnswer, HttpAsked
from localhost.text import well_formed
from localhost.web.requests import (
    joined_headers,
    origin,
    path_below,
    query_parameters,
    raw_path,
    raw_target,
)
from localhost.web.routes import RouteTable, http_route, join_path

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 104_857_600

# The server writes these itself, from the body that it really sends.
_FRAMING_HEADERS = ("content-length", "transfer-encoding")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NOT_IN_HEADERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class HttpTriggers:
    """Answers for the functions of a route table.

    ``prefix`` is host.json's ``routePrefix``; ``client_binding`` makes the text
    that a durableClient parameter receives; ``custom_headers`` are added to every
    answer of a function that does not set them itself.
    """

    def __init__(
        self,
        callers: Callers,
        table: RouteTable,
        *,
        prefix: str,
        client_binding: Callable[[Binding], str],
        custom_headers: Mapping[str, str],
    ) -> None:
        self._callers = callers
        self._table = table
        self._prefix = prefix.strip("/")
        self._client_binding = client_binding
        self._custom_headers = custom_headers

    async def handle(self, request: web.Request) -> web.StreamResponse | None:
        """Call the function of the request's route; None when there is no route."""
        path = path_below(raw_path(request), join_path("", self._prefix))
        found = None if path is None else self._table.find(request.method, f"/{path}")
        if found is None:
            return None
        function, route_values = found
        asked = await _to_function_request(request, route_values)
        response = await self._respond(function, asked)
        for name, value in self._custom_headers.items():
            response.headers.setdefault(name, value)
        if response.body and request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        return response

    async def run(self, function: Function, body: str) -> None:
        """Call an HTTP function outside its route, with ``body`` as POST body."""
        address = join_path("http://localhost", self._prefix, http_route(function))
        asked = HttpAsked(
            method="POST",
            url=address,
            headers={},
            params={},
            route_params={},
            body=body.encode(),
        )
        await self._respond(function, asked)

    async def _respond(self, function: Function, asked: HttpAsked) -> web.Response:
        answer = await self._callers.respond(
            function, asked, bindings=self._bindings(function)
        )
        if not isinstance(answer, HttpAnswer):
            # What the function raised has been logged.
            return web.Response(status=500)
        for fault in _header_faults(answer):
            log.error("Function '%s': %s", function.name, fault)
            return web.Response(status=500)
        return _to_response(answer)

    def _bindings(self, function: Function) -> Mapping[str, str]:
        return {
            binding.name: self._client_binding(binding)
            for binding in function.bindings
            if binding.type in DURABLE_CLIENTS
        }


async def _to_function_request(
    request: web.Request, route_values: Mapping[str, str]
) -> HttpAsked:
    return HttpAsked(
        method=request.method,
        url=origin(request) + raw_target(request),
        headers=joined_headers(request),
        params=query_parameters(request),
        route_params=route_values,
        body=await _body(request),
    )


async def _body(request: web.Request) -> bytes:
    """The body that Content-Length announces; a chunked one is not read.

    Raises HTTPRequestEntityTooLarge before reading what is too long.
    """
    length_bytes = request.content_length or 0
    if length_bytes > BODY_LIMIT_BYTES:
        raise web.HTTPRequestEntityTooLarge(
            max_size=BODY_LIMIT_BYTES, actual_size=length_bytes
        )
    return await request.read() if length_bytes else b""


def _header_faults(answer: HttpAnswer) -> Iterator[str]:
    """Say which headers of an answer HTTP cannot carry."""
    for name, value in answer.headers:
        if not _TOKEN.fullmatch(name):
            yield (
                f"its answer has a header of the name {name!r}; expected: letters,"
                " digits and the marks of a token, no space. Name it otherwise."
            )
        elif _NOT_IN_HEADERS.search(str(value)):
            yield (
                f"its answer has a header {name} with the value {str(value)!r};"
                " expected: no line end or other control character. Encode the value,"
                " for example with urllib.parse.quote."
            )


def _to_response(answer: HttpAnswer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body)
    for name, value in answer.headers:
        if name.lower() == "set-cookie":
            response.headers.add(name, well_formed(str(value)))
        elif name.lower() not in _FRAMING_HEADERS:
            response.headers[name] = well_formed(str(value))
    response.headers.setdefault("Content-Type", _content_type(answer))
    return response


def _content_type(answer: HttpAnswer) -> str:
    is_text = answer.mimetype.startswith("text/")
    return (
        f"{answer.mimetype}; charset={answer.charset}" if is_text else answer.mimetype
    )
