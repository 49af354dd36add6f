"""Those who use the host meanwhile: they start, signal, raise events, and take notes.

What is answered is noted as answered; a request that breaks off may have worked or not.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from tests.chaos.ground import Ground
from tests.chaos.patterns import (
    PATTERNS,
    SIGNAL,
    SIGNAL_BASE,
    SIGNALS_PER_ENTITY,
)
from tests.chaos.plan import Fault

_USERS = 6
_ANSWER_LIMIT_S = 30.0
_UP_LIMIT_S = 120.0
_EVENT_TRIES = 30
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def post(url: str, body: Any = None) -> tuple[int, str]:
    """Send JSON; status and text, or status 0 when no whole answer came."""
    data = b"" if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, method="POST", headers=headers)
    try:
        with _direct.open(request, timeout=_ANSWER_LIMIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error, suppress(OSError, HTTPException):
            return error.code, error.read().decode()
    except (OSError, HTTPException) as error:
        return 0, str(error)
    return 0, ""


@dataclass(kw_only=True)
class Order:
    """An instance that somebody asked for, and the events that went to it."""

    instance_id: str
    name: str
    is_answered: bool = False
    sent: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Tally:
    """An entity and, for each signal to it, whether it was answered."""

    key: str
    is_answered: list[bool] = field(default_factory=list)


@dataclass(kw_only=True)
class Notes:
    """Everything that was asked for; ``oddities`` are answers that nobody expects."""

    orders: list[Order] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)


class Users:
    """Some threads that ask the host of *ground*; ``notes`` may be read at the end."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.notes = Notes()
        self._ground = ground
        self._seed = seed
        self._pool = ThreadPoolExecutor(_USERS, thread_name_prefix="user")
        self._pending: list[Future[None]] = []
        self._lock = threading.Lock()

    def order(self, name: str) -> None:
        """Have an orchestrator started, or an entity signalled, by one of the users."""
        if name == SIGNAL:
            self._pending.append(self._pool.submit(self._signal, *self._next_digit()))
            return
        instance_id = f"c{self._seed}-{len(self.notes.orders):05}"
        order = Order(instance_id=instance_id, name=name)
        self.notes.orders.append(order)
        self._pending.append(self._pool.submit(self._start, order))

    def wait(self) -> None:
        """Wait until every order is answered or given up."""
        for pending in self._pending:
            pending.result()
        self._pending.clear()

    def close(self) -> None:
        """Let go of what has not begun."""
        self._pool.shutdown(cancel_futures=True)

    def raise_missing_events(self, order: Order) -> None:
        """Raise events until as many were answered as the pattern waits for."""
        events = PATTERNS[order.name].events
        for name in events[len(order.answered) :]:
            self._raise_event(order, name)

    def raise_event(self, order: Order, name: str, value: str) -> int:
        """Raise one event once; 202 is the answer that counts."""
        host = self._ground.host
        instance = f"{host.url}/runtime/webhooks/durabletask/instances"
        address = f"{instance}/{quote(order.instance_id)}/raiseEvent/{name}"
        status, text = self._ask(f"{address}?code={host.code}", value)
        # 410: it has ended, with an event whose answer was lost.
        if status not in (0, 202, 410):
            self._note(f"{order.instance_id}: event {name}: {status} {text[:200]}")
        return status

    def _raise_event(self, order: Order, name: str) -> None:
        for _ in range(_EVENT_TRIES):
            value = f"{order.instance_id}/{len(order.sent)}"
            order.sent.append(value)
            status = self.raise_event(order, name, value)
            if status == 202:
                order.answered.append(value)
            if status:
                return

    def _start(self, order: Order) -> None:
        address = f"/api/orchestrators/{order.name}?id={order.instance_id}"
        body = PATTERNS[order.name].body
        status, text = self._ask(self._ground.host.url + address, body)
        order.is_answered = status == 202
        if status not in (0, 202):
            self._note(f"{order.instance_id}: start: {status} {text[:200]}")
        if order.is_answered:
            self.raise_missing_events(order)

    def _next_digit(self) -> tuple[Tally, int]:
        tallies = self.notes.tallies
        if not tallies or len(tallies[-1].is_answered) == SIGNALS_PER_ENTITY:
            tallies.append(Tally(key=f"tally-{self._seed}-{len(tallies)}"))
        tallies[-1].is_answered.append(False)
        return tallies[-1], len(tallies[-1].is_answered) - 1

    def _signal(self, tally: Tally, digit: int) -> None:
        entity = ["Counter", tally.key]
        address = f"{self._ground.host.url}/api/client/signal_entity"
        status, text = self._ask(address, [entity, "add", SIGNAL_BASE**digit])
        tally.is_answered[digit] = status == 200 and '"ok"' in text
        if status not in (0, 200):
            self._note(f"{tally.key}: signal {digit}: {status} {text[:200]}")

    def _ask(self, url: str, body: Any) -> tuple[int, str]:
        self._ground.is_up.wait(_UP_LIMIT_S)
        status, text = post(url, body)
        if (status, text) == (500, "") and self._ground.faults[Fault.WORKER]:
            return 0, "its function ended with the worker"
        return status, text

    def _note(self, oddity: str) -> None:
        with self._lock:
            self.notes.oddities.append(oddity)
