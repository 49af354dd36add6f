"""Entities in the management API: list, get, signal, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from localhost.durable.client import Client, EntityState
from localhost.errors import ArgumentError
from localhost.text import dumps
from localhost.web import payloads
from localhost.web.answers import continued_after, json_answer, parsed_json
from localhost.web.queries import filter_of, is_true


class EntityCalls:
    """Answers requests below ``entities``; what has no route is a 404."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def handle(
        self, request: web.Request, query: Mapping[str, str], segments: list[str]
    ) -> web.Response:
        """Answer a request; ``segments`` are name and key, as far as they are there."""
        name = segments[0] if segments else ""
        key = segments[1] if len(segments) > 1 else ""
        try:
            if request.method == "GET" and len(segments) < 2:
                return await self._list(request, query, name)
            if request.method == "GET":
                return await self._get(name, "" if key == "$" else key)
            if request.method == "POST":
                text = await _input(request)
                operation = query.get("op", "")
                await self._client.signal_entity(name, key, operation, text)
                return web.Response(status=202)
            if request.method == "DELETE":
                await self._client.signal_entity(name, key, "delete", None)
                return web.Response(status=202)
        except ArgumentError as exc:
            return json_answer(payloads.error_payload(str(exc)), status=400)
        return web.Response(status=404)

    async def _get(self, name: str, key: str) -> web.Response:
        found = await self._client.entity(name, key)
        if found is None:
            return web.Response(status=404)
        return json_answer(found.state)

    async def _list(
        self, request: web.Request, query: Mapping[str, str], name: str
    ) -> web.Response:
        wanted = filter_of(
            {
                "createdtimefrom": query.get("lastoperationtimefrom", ""),
                "createdtimeto": query.get("lastoperationtimeto", ""),
                "instanceidprefix": f"@{name.lower()}@" if name else "@",
                "top": query.get("top", ""),
            },
            after=continued_after(request),
        )
        entities, after = await self._client.entities(wanted)
        shows_state = is_true(query, "fetchstate")
        headers = {}
        if after is not None:
            headers["x-ms-continuation-token"] = payloads.continuation_token(after)
        body = [_payload(entity, shows_state=shows_state) for entity in entities]
        return json_answer(body, headers=headers)


def _payload(entity: EntityState, *, shows_state: bool) -> dict[str, Any]:
    return {
        "entityId": {"name": entity.name, "key": entity.key},
        "lastOperationTime": entity.updated_at,
        "state": entity.state if shows_state else None,
    }


async def _input(request: web.Request) -> str | None:
    """Return an operation's input as JSON text; a body that is not JSON is a text."""
    body = await request.read()
    if not body:
        return None
    if request.content_type.lower() != "application/json":
        return dumps(body.decode("utf-8", "replace"))
    try:
        return dumps(parsed_json(body.decode("utf-8-sig")))
    except ValueError as exc:
        raise ArgumentError(f"Could not parse JSON content: {exc}") from exc
