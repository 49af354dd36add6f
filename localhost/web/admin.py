"""``/admin`` and the home page: what tools and people ask the host about itself.

It may import aiohttp's server, ``localhost.app`` and this room only. No key is
asked for.
"""

from __future__ import annotations

import html
import logging
import platform
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from aiohttp import web

from localhost.declared import RUN_HERE, Function, FunctionApp
from localhost.text import dumps, loads, well_formed
from localhost.web.requests import origin, raw_path
from localhost.web.routes import http_route, is_http, join_path
from localhost.web.templates import decode_segment, split_path

logger = logging.getLogger(__name__)

TITLE = "Your Azure Function App is up and running."


@dataclass(frozen=True, kw_only=True)
class HostIdentity:
    """What ``/admin/host/status`` tells of the host besides its state."""

    host_id: str
    version: str
    extension_bundle: Mapping[str, str] | None = None
    instance_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_at_s: float = field(default_factory=time.monotonic)


class Admin:
    """Answers ``/admin/…`` and ``/``; None for every other path.

    ``run`` is called with a function's name and the input's text; it serves the
    functions without an httpTrigger, ``run_http`` those that have one.
    """

    def __init__(
        self,
        app: FunctionApp,
        *,
        identity: HostIdentity,
        prefix: str,
        is_ready: Callable[[], bool],
        run: Callable[[str, str], Awaitable[None]],
        run_http: Callable[[Function, str], Awaitable[None]],
        is_homepage_disabled: bool = False,
    ) -> None:
        self._app = app
        self._identity = identity
        self._prefix = prefix.strip("/")
        self._is_ready = is_ready
        self._run = run
        self._run_http = run_http
        self._is_homepage_disabled = is_homepage_disabled

    async def handle(self, request: web.Request) -> web.StreamResponse | None:
        """Answer for ``/admin/…``; what is not there is a 404 without text."""
        segments = [decode_segment(raw) for raw in split_path(raw_path(request))]
        match [segment.lower() for segment in segments]:
            case ["admin", "host", "status"] if request.method == "GET":
                return _json(self._status())
            case ["admin", "host", "ping"] if request.method in ("GET", "POST"):
                return web.Response()
            case ["admin", "functions", *_]:
                return await self._functions(request, segments[2:])
            case ["admin", *_]:
                return web.Response(status=404)
        return None

    async def home(self, request: web.Request) -> web.StreamResponse | None:
        """The home page, for any method; 204 when it is switched off."""
        if raw_path(request) != "/":
            return None
        if self._is_homepage_disabled:
            return web.Response(status=204)
        page = well_formed(self._page()).encode()
        return web.Response(body=page, content_type="text/html")

    async def _functions(
        self, request: web.Request, segments: list[str]
    ) -> web.StreamResponse:
        match request.method, segments:
            case "GET", []:
                described = [self._describe(f, request) for f in self._app.functions]
                return _json(described)
            case "GET", [name] if function := self._find(name):
                return _json(self._describe(function, request))
            case "GET", [name, status] if status.lower() == "status":
                return self._function_status(name)
            case "POST", [name] if function := self._find(name):
                return await self._invoke(function, request)
        return web.Response(status=404)

    def _find(self, name: str) -> Function | None:
        named = {function.name.lower(): function for function in self._app.functions}
        return named.get(name.lower())

    def _status(self) -> dict[str, object]:
        identity = self._identity
        uptime_s = time.monotonic() - identity.started_at_s
        status: dict[str, object] = {
            "id": identity.host_id,
            "state": "Running" if self._is_ready() else "Starting",
            "version": identity.version,
            "versionDetails": identity.version,
            "platformVersion": "",
            "instanceId": identity.instance_id,
            "computerName": platform.node(),
            "processUptime": int(uptime_s * 1000),
            "functionAppContentEditingState": "NotAllowed",
        }
        if identity.extension_bundle:
            status["extensionBundle"] = dict(identity.extension_bundle)
        if self._app.faults:
            status["errors"] = [f"{f.name}: {f.message}" for f in self._app.faults]
        return status

    def _function_status(self, name: str) -> web.Response:
        errors = [f.message for f in self._app.faults if f.name.lower() == name.lower()]
        if errors:
            return _json({"errors": errors})
        return _json({}) if self._find(name) else web.Response(status=404)

    def _describe(self, function: Function, request: web.Request) -> dict[str, object]:
        base = f"{origin(request)}/admin"
        name = quote(function.name)
        route = join_path(origin(request), self._prefix, http_route(function)).lower()
        return {
            "name": function.name,
            "script_root_path_href": f"{base}/vfs/{name}/",
            "script_href": f"{base}/vfs/{name}/{quote(function.script.name)}",
            "config_href": f"{base}/vfs/{name}/function.json",
            "test_data_href": None,
            "href": f"{base}/functions/{name}",
            "invoke_url_template": route if is_http(function) else None,
            "language": "python",
            "config": function.config,
            "files": None,
            "test_data": None,
            "isDisabled": function.disabled,
            "isDirect": False,
            "isProxy": False,
        }

    async def _invoke(
        self, function: Function, request: web.Request
    ) -> web.StreamResponse:
        """Answer 202 at once, then run; what the function says is only logged."""
        try:
            text = _input(await request.read())
        except (ValueError, RecursionError):
            return web.Response(status=400)
        refusal = _refusal(function)
        if refusal is not None:
            logger.warning("%s", refusal)
            return web.Response(status=501, text=refusal)
        response = web.Response(status=202)
        # The connection is busy until the function ends: the client may not reuse it.
        response.force_close()
        await response.prepare(request)
        await response.write_eof()
        try:
            if is_http(function):
                await self._run_http(function, text)
            else:
                await self._run(function.name, text)
        except Exception:
            logger.exception("%s: the invocation over /admin failed", function.name)
        return response

    def _page(self) -> str:
        items = "".join(
            f"<li>{html.escape(function.name)} <small>{html.escape(where)}</small></li>"
            for function in self._app.functions
            for where in [
                join_path("", self._prefix, http_route(function))
                if is_http(function)
                else function.trigger.type
            ]
        )
        return (
            "<!DOCTYPE html>\n"
            f'<html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title></head>'
            f"<body><h1>{TITLE}</h1><p>It runs on this machine only. Its functions:</p>"
            f"<ul>{items}</ul></body></html>\n"
        )


def _refusal(function: Function) -> str | None:
    """Say why a function is not called by hand, if it is not."""
    if not function.is_run_here:
        return (
            f"{function.name} has a {function.trigger.type}, which is not run here;"
            f" expected: one of {', '.join(RUN_HERE)}. Run it with Core Tools, or give"
            " its code to a function with such a trigger."
        )
    if function.disabled:
        return (
            f"{function.name} is disabled and so not loaded here; expected: an enabled"
            " function. Take 'disabled' out of its function.json, or the setting"
            f" AzureWebJobs.{function.name}.Disabled away, and start again."
        )
    return None


def _input(body: bytes) -> str:
    """The text of ``{"input": …}``; raises ValueError for anything else."""
    sent = loads(body)
    if not isinstance(sent, dict):
        raise ValueError("the body is no JSON object")
    value = sent.get("input", "")
    return value if isinstance(value, str) else dumps(value)


def _json(content: object) -> web.Response:
    return web.Response(text=dumps(content), content_type="application/json")
