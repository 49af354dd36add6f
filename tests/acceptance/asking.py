"""Plain HTTP as curl speaks it, and waiting for a condition with a limit."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPResponse
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

ANSWER_LIMIT_S = 60.0
POLL_S = 0.02
FINISHED = ("Completed", "Failed", "Terminated")
GREETINGS = ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]

_JSON = {"Content-Type": "application/json"}
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_by_proxy = urllib.request.build_opener()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server answered, whatever the status."""

    status: int
    headers: Message
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


def ask(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Answer:
    """Send a request; *body* is sent as JSON, None is no body.

    A proxy is never asked for this machine.
    """
    is_local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    opener = _direct if is_local else _by_proxy
    data = None if body is None else json.dumps(body).encode()
    sent = {**({} if data is None else _JSON), **(headers or {})}
    request = urllib.request.Request(url, data, method=method, headers=sent)
    try:
        with opener.open(request, timeout=ANSWER_LIMIT_S) as answer:
            return _read(answer)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error)


def _read(answer: HTTPResponse | urllib.error.HTTPError) -> Answer:
    return Answer(
        status=answer.status or 0,
        headers=answer.headers,
        text=answer.read().decode(),
    )


def start_orchestrator(base_url: str, name: str = "HelloOrchestrator") -> Any:
    """Start an instance and return the body of the 202: its id and its URLs."""
    answer = ask(f"{base_url}/api/orchestrators/{name}", method="POST")
    assert 202 == answer.status, answer.text
    return answer.json()


def result_of(start: Any, *, limit_s: float = 15.0) -> Any:
    """Poll the ``statusQueryGetUri`` of a start until the instance has ended."""

    def ended() -> Any:
        status = ask(start["statusQueryGetUri"]).json()
        return status if status["runtimeStatus"] in FINISHED else None

    return wait_for(ended, f"the end of instance {start['id']}", limit_s=limit_s)


def wait_for(
    condition: Callable[[], T | None],
    what: str,
    *,
    limit_s: float,
    poll_s: float = POLL_S,
) -> T:
    """Return the first true value of *condition*; fail when the time is up."""
    until = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited {limit_s:g} s in vain for {what}")
        time.sleep(poll_s)
