"""Plays a program on the hosts: start, events, suspend, restart; then looks at the end.

A request without an answer may have worked or not. A start is repeated while nobody
knows the instance; an event is repeated and noted; a signal of a client is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.asking import FINISHED
from tests.chaos.programs.fleet import Fleet
from tests.chaos.programs.oracle import Found, Played, fault_of
from tests.chaos.programs.tree import ASKS, Placed, Program, placed_nodes

REASON = "enough"
_POLL_S = (0.1, 0.2, 0.3, 0.5)
_SETTLE_LIMIT_S = 15.0
_ARRIVAL_LIMIT_S = 8.0  # a message of a killed host is hidden for some seconds


class Hanging(Exception):
    """Nothing has come for too long."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a program; *fault* is empty when all is right."""

    program: Program
    scope: str
    fault: str = ""
    is_hanging: bool = False
    history: Any = None


@dataclass(kw_only=True)
class Driver:
    """One program under way; *limit_s* is how long it may take after the last fault."""

    program: Program
    scope: str
    fleet: Fleet
    limit_s: float
    is_quiet: bool
    played: Played = field(default_factory=Played)

    def __post_init__(self) -> None:
        self._nodes = [*placed_nodes(self.program, self.scope)]
        self._asks = {at.tag: at for at in self._nodes if at.node.do in ASKS}
        asked = {at.scope for at in self._asks.values() if at.is_reached}
        self._instances = sorted({self.scope, *asked})
        self._done: set[str] = set()
        self._begin_at = time.monotonic()
        self._poll_count = 0

    def play(self) -> Verdict:
        """Play the program to its end and judge it."""
        try:
            self._start()
            self._send_signals()
            self._raise_early_events()
            self._follow()
            if self.program.again:
                self._settle()
                self._play_again()
            fault = self._settle()
        except Hanging as error:
            return self._verdict(f"hangs: {error}", is_hanging=True)
        return self._verdict(fault)

    def recheck(self) -> str:
        """Look again, much later: nothing may have been added."""
        try:
            return self._fault()
        except Hanging as error:
            return f"hangs: {error}"

    def _verdict(self, fault: str, *, is_hanging: bool = False) -> Verdict:
        return Verdict(
            program=self.program,
            scope=self.scope,
            fault=fault,
            is_hanging=is_hanging,
            history=self._history() if fault else None,
        )

    def _history(self) -> Any:
        path = f"/instances/{self.scope}?showHistory=true&showHistoryOutput=true"
        return self.fleet.ask(path)[1]

    # What goes out

    def _start(self) -> None:
        program = self.program
        given = {
            "scope": self.scope,
            "shared": f"{self.scope}-shared",
            "body": program.body.to_json(),
            "rounds": program.rounds,
            "round": 0,
            "values": [],
            "is_silent": program.is_silent,
        }
        path = f"/orchestrators/Interpret/{self.scope}"

        def is_started() -> bool:
            if self._status(self.scope) is not None:
                return True
            status, _ = self.fleet.ask(path, "POST", given)
            return status in (202, 409)

        self._given = given
        self._wait(is_started, "an answer to the start")

    def _send_signals(self) -> None:
        key = f"{self.scope}-client"
        for number in range(1, self.program.signals + 1):
            # The worker decodes an operation's input twice.
            status, _ = self.fleet.ask(
                f"/entities/Log/{key}?op=append", "POST", f'"{number}"'
            )
            self.played.signals.append(status == 202)

    def _raise_early_events(self) -> None:
        for at in self._nodes:
            if at.node.is_early and at.scope == self.scope:
                self._raise(self.scope, at.tag, at.node.count)
        if any(at.node.do == "next" for at in self._nodes):
            self._raise(self.scope, f"{self.scope}_loop", self.program.rounds)

    def _raise(self, instance_id: str, name: str, count: int) -> None:
        """Raise events with the numbers from 1 on, each when the last is answered."""
        path = f"/instances/{instance_id}/raiseEvent/{name}"
        for number in range(1, count + 1):

            def is_sent(number: int = number) -> bool:
                status, _ = self.fleet.ask(path, "POST", number)
                if status != 404:
                    self.played.sent[name, number] += 1
                return status in (202, 410)

            self._wait(is_sent, f"an answer to event {number} of {name}")

    def _order(self, what: str, wanted: Sequence[str]) -> None:
        """Ask for a change of state until the status shows it."""
        path = f"/instances/{what}"

        def is_so() -> bool:
            instance_id = what.partition("/")[0]
            found = self._status(instance_id) or {}
            if found.get("runtimeStatus") in wanted:
                return True
            self.fleet.ask(path, "POST")
            return False

        self._wait(is_so, f"the answer to {what}")

    # What is followed

    def _follow(self) -> None:
        """Do what the instances ask for, until the root has ended."""
        self._wait(self._is_over, "its end")

    def _is_over(self) -> bool:
        for instance_id in self._instances:
            found = self._status(instance_id)
            if found is None:
                continue
            if instance_id == self.scope and found["runtimeStatus"] in FINISHED:
                return True
            text = str(found.get("customStatus") or "")
            if found["runtimeStatus"] == "Running" and text.startswith("ask:"):
                self._serve(instance_id, text[len("ask:") :].split(","))
        return False

    def _serve(self, instance_id: str, tags: list[str]) -> None:
        for tag in tags:
            if tag in self._done:
                continue
            self._done.add(tag)
            at = self._asks[tag]
            if at.node.do == "forever":
                self._order(f"{instance_id}/terminate?reason={REASON}", ["Terminated"])
            elif at.node.do == "pause":
                self._pause(instance_id, at)
            else:
                self._raise(instance_id, tag, at.node.count)

    def _pause(self, instance_id: str, at: Placed) -> None:
        """Suspend, raise the event, resume: it must not go on before."""
        ended = ["Running", *FINISHED]
        self._order(f"{instance_id}/suspend?reason=wait", ["Suspended", *FINISHED])
        self._raise(instance_id, at.tag, 1)
        self._order(f"{instance_id}/resume?reason=go", ended)

    def _play_again(self) -> None:
        """Use the id again, and wait for the end of the second execution."""
        posts = self._post_again()
        self.played.runs = (2, 1 + posts)
        self._done.clear()
        self._raise_early_events()
        self._follow()

    def _post_again(self) -> int:
        """Start or restart the id once; how many requests may have done so."""
        path, body = f"/orchestrators/Interpret/{self.scope}", self._given
        if self.program.again == "restart":
            path = f"/instances/{self.scope}/restart?restartWithNewInstanceId=false"
        entries = len(self._entries(self.scope))
        posts = 0

        def has_begun() -> bool:
            nonlocal posts
            posts += 1
            status, _ = self.fleet.ask(path, "POST", body)
            if status in (202, 409):
                return True
            until = time.monotonic() + _ARRIVAL_LIMIT_S
            while time.monotonic() < until:
                found = self._status(self.scope)
                if found is not None and found["runtimeStatus"] not in FINISHED:
                    return True
                if len(self._entries(self.scope)) > entries:
                    return True
                time.sleep(_POLL_S[-1])
            return False

        self._wait(has_begun, "a second execution")
        return posts

    # What is found

    def _settle(self) -> str:
        """Wait until all is right, or nothing is to be expected any more."""
        begin_at = time.monotonic()
        while True:
            fault = self._fault()
            since_s = time.monotonic() - max(begin_at, self.fleet.last_fault_at)
            if not fault or since_s > _SETTLE_LIMIT_S:
                return fault
            time.sleep(_POLL_S[-1])

    def _fault(self) -> str:
        found = self._status(self.scope) or {}
        scopes = {at.scope for at in self._nodes}
        keys = sorted({*scopes, f"{self.scope}-shared", f"{self.scope}-client"})
        evidence = Found(
            status=str(found.get("runtimeStatus")),
            output=found.get("output"),
            custom_status=found.get("customStatus"),
            entities={key: self._entries(key) for key in self._used(keys)},
        )
        return fault_of(
            self.program, self.scope, evidence, self.played, is_quiet=self.is_quiet
        )

    def _used(self, keys: Iterable[str]) -> list[str]:
        """The keys of entities that the program can send to."""
        used = {f"{self.scope}-client"} if self.program.signals else set()
        for at in self._nodes:
            if at.node.do in ("entity", "signal"):
                is_own = at.node.key == "own"
                used.add(at.scope if is_own else f"{self.scope}-shared")
        return [key for key in keys if key in used]

    def _entries(self, key: str) -> list[str]:
        entries: list[str] = []

        def is_answered() -> bool:
            status, state = self.fleet.ask(f"/entities/Log/{key}")
            entries[:] = state if status == 200 and isinstance(state, list) else []
            return status in (200, 404)

        self._wait(is_answered, f"the state of {key}")
        return entries

    def _status(self, instance_id: str) -> Any:
        """The status of an instance; None when nobody knows it, or none answers."""
        status, found = self.fleet.ask(f"/instances/{instance_id}?showInput=false")
        return found if status in (200, 202) else None

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; the limit counts from the last fault or progress."""
        begin_at = time.monotonic()
        count = 0
        while not condition():
            since_s = time.monotonic() - max(begin_at, self.fleet.last_fault_at)
            if since_s > self.limit_s:
                raise Hanging(what)
            time.sleep(_POLL_S[min(count, len(_POLL_S) - 1)])
            count += 1
