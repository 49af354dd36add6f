"""The Durable HTTP API and the client's rpc endpoint → ``durable.client``.

Both serve the same paths; only the public one asks for the key. Statuses, headers and
bodies are those of the Durable extension 2.13.7.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from aiohttp import web

from localhost.compat import timeout
from localhost.durable.client import Client, Verdict
from localhost.errors import (
    ArgumentError,
    HostError,
)
from localhost.history import Status
from localhost.text import dumps
from localhost.web import payloads
from localhost.web.admission import Admission
from localhost.web.answers import (
    continued_after,
    deleted,
    error_answer,
    json_answer,
    json_body,
)
from localhost.web.entities import EntityCalls
from localhost.web.queries import filter_of, is_true, number_of, query_of
from localhost.web.requests import raw_target

log = logging.getLogger(__name__)

ANSWER_LIMIT_S = 100.0  # a client has given up by then
# Between two looks at an instance, however small ``pollingInterval`` is: a hundred who
# wait make a thousand looks a second, which is bearable.
SHORTEST_POLL_S = 0.1
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "OPTIONS"})  # others: 404
_VERDICTS = {Verdict.ACCEPTED: 202, Verdict.UNKNOWN: 404, Verdict.GONE: 410}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request: its query (names lower-cased), and where links lead."""

    request: web.Request
    origin: str
    query: Mapping[str, str] = field(default_factory=dict)


Handle = Callable[["Management", Call, list[str]], Awaitable[web.Response]]


class Management:
    """Answers management requests.

    ``links_query`` is the query that links carry; ``admission`` says who may ask by
    the public address.
    """

    def __init__(
        self,
        client: Client,
        *,
        admission: Admission,
        links_query: str,
    ) -> None:
        self._client = client
        self._admission = admission
        self._links_query = links_query
        self._entities = EntityCalls(client)

    async def handle(
        self, request: web.Request, path: str, by_rpc: bool
    ) -> web.Response:
        """Answer a request; ``path`` is percent-encoded, below the API's base."""
        if not by_rpc and request.method not in _METHODS:
            return web.Response(status=404)
        query = query_of(raw_target(request).partition("?")[2])
        if not by_rpc and not self._admission.is_allowed(request, query):
            return web.Response(status=401)
        segments = [_decoded(part) for part in path.strip("/").split("/")]
        handle = _route(request.method, segments)
        if handle is None:
            return web.Response(status=404)
        call = Call(
            request=request, origin=f"{request.scheme}://{request.host}", query=query
        )
        try:
            self._admission.must_lead_here(query)
            async with timeout(_limit_s(query)):
                return await handle(self, call, segments)
        except (HostError, asyncio.TimeoutError) as exc:
            return error_answer(exc)

    # Orchestrators

    async def _start(self, call: Call, segments: list[str]) -> web.Response:
        name, instance_id = segments[1], segments[2] if len(segments) > 2 else None
        input_ = await json_body(call.request)
        new_id = await self._client.start(
            name, instance_id, None if input_ is None else dumps(input_)
        )
        return await self._started(call, new_id)

    async def _started(self, call: Call, instance_id: str) -> web.Response:
        """Answer a start: with the output if the caller waits for it, else 202."""
        limit_s = number_of(call.query.get("timeout"))
        interval_s = number_of(call.query.get("pollinginterval"))
        if limit_s is not None and interval_s is not None:
            output = await self._wait(call.request, instance_id, limit_s, interval_s)
            if output is not None:
                return output
        body = payloads.start_payload(call.origin, instance_id, self._links_query)
        headers = {"Location": body["statusQueryGetUri"], "Retry-After": "10"}
        return json_answer(body, status=202, headers=headers)

    async def _wait(
        self,
        request: web.Request,
        instance_id: str,
        limit_s: float,
        interval_s: float,
    ) -> web.Response | None:
        """Wait for an end; None at the limit. ConnectionError when the client left."""
        if interval_s > limit_s:
            raise ArgumentError(
                f"Total timeout {limit_s:g} should be bigger than retry timeout"
                f" {interval_s:g}"
            )
        interval_s = max(interval_s, SHORTEST_POLL_S)
        end_s = time.monotonic() + limit_s
        while True:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("nobody waits for the answer any more")
            instance = await self._client.status(instance_id)
            if instance is not None and instance.status is Status.COMPLETED:
                return json_answer(payloads.leniently_parsed(instance.output))
            if instance is not None and instance.status.is_terminal:
                return json_answer(payloads.status_payload(instance))
            if time.monotonic() + interval_s > end_s:
                return None
            await asyncio.sleep(interval_s)

    # Instances

    async def _list(self, call: Call, segments: list[str]) -> web.Response:
        after = continued_after(call.request)
        show_input = is_true(call.query, "showinput", default=True)
        wanted = filter_of(call.query, after=after)
        page = await self._client.list(wanted, with_input=show_input)
        body = [
            payloads.status_payload(instance, show_input=show_input)
            for instance in page.instances
        ]
        headers = {}
        if page.next is not None:
            headers["x-ms-continuation-token"] = payloads.continuation_token(page.next)
        return json_answer(body, headers=headers)

    async def _status(self, call: Call, segments: list[str]) -> web.Response:
        show_input = is_true(call.query, "showinput", default=True)
        instance = await self._client.status(segments[1], with_input=show_input)
        if instance is None:
            return web.Response(status=404)
        history = None
        if is_true(call.query, "showhistory") and instance.status is not Status.PENDING:
            history = payloads.history_payload(
                await self._client.history(segments[1]),
                show_input=show_input,
                show_output=is_true(call.query, "showhistoryoutput"),
            )
        body = payloads.status_payload(instance, show_input=show_input, history=history)
        if not instance.status.is_terminal:
            location = f"{call.origin}{raw_target(call.request)}"
            headers = {"Location": location, "Retry-After": "5"}
            return json_answer(body, status=202, headers=headers)
        fails = is_true(call.query, "returninternalservererroronfailure")
        status = 500 if fails and instance.status is Status.FAILED else 200
        return json_answer(body, status=status)

    async def _purge(self, call: Call, segments: list[str]) -> web.Response:
        return deleted(await self._client.purge(segments[1]))

    async def _purge_all(self, call: Call, segments: list[str]) -> web.Response:
        wanted = filter_of(call.query)
        if wanted.created_from is None:
            text = "Please provide value for 'createdTimeFrom' parameter."
            return json_answer(text, status=400)
        return deleted(await self._client.purge_all(wanted))

    async def _raise_event(self, call: Call, segments: list[str]) -> web.Response:
        verdict = await self._client.verdict(segments[1])
        if verdict is not Verdict.ACCEPTED:
            return web.Response(status=_VERDICTS[verdict])
        if call.request.content_type.lower() != "application/json" or (
            "Content-Type" not in call.request.headers
        ):
            text = "Only application/json request content is supported"
            return json_answer(payloads.error_payload(text), status=400)
        data = await json_body(call.request, is_required=True)
        verdict = await self._client.raise_event(segments[1], segments[3], dumps(data))
        return web.Response(status=_VERDICTS[verdict])

    async def _terminate(self, call: Call, segments: list[str]) -> web.Response:
        reason = call.query.get("reason")
        verdict = await self._client.terminate(segments[1], reason)
        return web.Response(status=_VERDICTS[verdict])

    async def _suspend(self, call: Call, segments: list[str]) -> web.Response:
        reason = call.query.get("reason")
        verdict = await self._client.suspend(segments[1], reason)
        return web.Response(status=_VERDICTS[verdict])

    async def _resume(self, call: Call, segments: list[str]) -> web.Response:
        reason = call.query.get("reason")
        verdict = await self._client.resume(segments[1], reason)
        return web.Response(status=_VERDICTS[verdict])

    async def _rewind(self, call: Call, segments: list[str]) -> web.Response:
        reason = call.query.get("reason")
        verdict = await self._client.rewind(segments[1], reason)
        return web.Response(status=_VERDICTS[verdict])

    async def _restart(self, call: Call, segments: list[str]) -> web.Response:
        with_new_id = is_true(call.query, "restartwithnewinstanceid", default=True)
        try:
            new_id = await self._client.restart(segments[1], with_new_id=with_new_id)
        except ArgumentError as exc:
            text = "InstanceId does not match a valid orchestration instance."
            body = payloads.error_payload(
                text, text=str(exc), type_="System.ArgumentException"
            )
            return json_answer(body, status=400)
        return await self._started(call, new_id)

    async def _entity(self, call: Call, segments: list[str]) -> web.Response:
        return await self._entities.handle(call.request, call.query, segments[1:])

    async def _make_primary(self, call: Call, segments: list[str]) -> web.Response:
        return web.Response(status=200)


_OPERATIONS: Mapping[str, Handle] = {
    "terminate": Management._terminate,
    "rewind": Management._rewind,
    "suspend": Management._suspend,
    "resume": Management._resume,
    "restart": Management._restart,
}


def _route(method: str, segments: list[str]) -> Handle | None:
    """Find who answers; None is a 404, for a wrong method too."""
    if not all(segments[1:]):
        return None
    head, count = segments[0].lower(), len(segments)
    if head == "orchestrators" and count in (2, 3):
        return Management._start if method == "POST" else None
    if head == "entities" and count <= 3:
        return Management._entity
    if head == "instances":
        return _instances_route(method, segments)
    return Management._make_primary if head == "makeprimary" and count == 1 else None


def _instances_route(method: str, segments: list[str]) -> Handle | None:
    count = len(segments)
    if count == 1:
        return {"GET": Management._list, "DELETE": Management._purge_all}.get(method)
    if count == 2:
        return {"GET": Management._status, "DELETE": Management._purge}.get(method)
    if method != "POST":
        return None
    if count == 3:
        return _OPERATIONS.get(segments[2].lower())
    is_event = count == 4 and segments[2].lower() == "raiseevent"
    return Management._raise_event if is_event else None


def _decoded(segment: str) -> str:
    """Decode a path segment, except for an encoded slash, which stays as it is."""
    return "%2F".join(unquote(part) for part in re.split("%2[Ff]", segment))


def _limit_s(query: Mapping[str, str]) -> float:
    """Return how long an answer may take: waiting for an output may take longer."""
    return ANSWER_LIMIT_S + (number_of(query.get("timeout")) or 0.0)
