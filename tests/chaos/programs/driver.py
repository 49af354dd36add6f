"""Plays a program on the hosts: start, events, suspend, restart; then looks at the end.

A request without an answer may have worked or not. A start is repeated while nobody
knows the instance; an event is repeated and noted; a signal of a client is not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.acceptance.asking import FINISHED
from tests.chaos.programs.oracle import Found, Played, fault_of
from tests.chaos.programs.tree import ASKS, Placed, Program, placed_nodes

REASON = "enough"
_POLL_S = (0.1, 0.2, 0.3, 0.5)
_NOT_SUSPENDED = ("Running", *FINISHED)
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


class Asked(Protocol):
    """Hosts that are asked; ``last_fault_at`` is as of ``time.monotonic``."""

    last_fault_at: float

    async def ask(
        self, path: str, method: str = "GET", body: Any = None
    ) -> tuple[int, Any]:
        """Status and JSON of an answer; status 0 when no whole answer came."""


@dataclass(kw_only=True)
class Driver:
    """One program under way; *limit_s* is how long it may take after the last fault."""

    program: Program
    scope: str
    fleet: Asked
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

    async def play(self) -> Verdict:
        """Play the program to its end and judge it."""
        try:
            await self._start()
            await self._send_signals()
            await self._raise_early_events()
            await self._follow()
            if self.program.again:
                await self._settle()
                await self._play_again()
            fault = await self._settle()
        except Hanging as error:
            return await self._verdict(f"hangs: {error}", is_hanging=True)
        return await self._verdict(fault)

    async def recheck(self) -> str:
        """Look again, much later: nothing may have been added."""
        try:
            return await self._fault()
        except Hanging as error:
            return f"hangs: {error}"

    async def _verdict(self, fault: str, *, is_hanging: bool = False) -> Verdict:
        return Verdict(
            program=self.program,
            scope=self.scope,
            fault=fault,
            is_hanging=is_hanging,
            history=await self._history() if fault else None,
        )

    async def _history(self) -> Any:
        path = f"/instances/{self.scope}?showHistory=true&showHistoryOutput=true"
        _, history = await self.fleet.ask(path)
        return history

    # What goes out

    async def _start(self) -> None:
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

        async def is_started() -> bool:
            if await self._status(self.scope) is not None:
                return True
            status, _ = await self.fleet.ask(path, "POST", given)
            return status in (202, 409)

        self._given = given
        await self._wait(is_started, "an answer to the start")

    async def _send_signals(self) -> None:
        key = f"{self.scope}-client"
        for number in range(1, self.program.signals + 1):
            # The worker decodes an operation's input twice.
            status, _ = await self.fleet.ask(
                f"/entities/Log/{key}?op=append", "POST", f'"{number}"'
            )
            self.played.signals.append(status == 202)

    async def _raise_early_events(self) -> None:
        for at in self._nodes:
            if at.node.is_early and at.scope == self.scope:
                await self._raise(self.scope, at.tag, at.node.count)
        if any(at.node.do == "next" for at in self._nodes):
            await self._raise(self.scope, f"{self.scope}_loop", self.program.rounds)

    async def _raise(self, instance_id: str, name: str, count: int) -> None:
        """Raise events with the numbers from 1 on, each when the last is answered."""
        path = f"/instances/{instance_id}/raiseEvent/{name}"
        for number in range(1, count + 1):

            async def is_sent(number: int = number) -> bool:
                status, _ = await self.fleet.ask(path, "POST", number)
                if status != 404:
                    self.played.sent[name, number] += 1
                return status in (202, 410)

            await self._wait(is_sent, f"an answer to event {number} of {name}")

    async def _order(self, what: str, wanted: Sequence[str]) -> None:
        """Ask for a change of state until the status shows it."""
        path = f"/instances/{what}"

        async def is_so() -> bool:
            instance_id = what.partition("/")[0]
            found = await self._status(instance_id) or {}
            if found.get("runtimeStatus") in wanted:
                return True
            await self.fleet.ask(path, "POST")
            return False

        await self._wait(is_so, f"the answer to {what}")

    # What is followed

    async def _follow(self) -> None:
        """Do what the instances ask for, until the root has ended."""
        await self._wait(self._is_over, "its end")

    async def _is_over(self) -> bool:
        for instance_id in self._instances:
            found = await self._status(instance_id)
            if found is None:
                continue
            if instance_id == self.scope and found["runtimeStatus"] in FINISHED:
                return True
            if found["runtimeStatus"] == "Suspended":
                # By a request that had no answer, and came late.
                await self._order(f"{instance_id}/resume?reason=go", _NOT_SUSPENDED)
            text = str(found.get("customStatus") or "")
            if found["runtimeStatus"] == "Running" and text.startswith("ask:"):
                await self._serve(instance_id, text[len("ask:") :].split(","))
        return False

    async def _serve(self, instance_id: str, tags: list[str]) -> None:
        for tag in tags:
            if tag in self._done:
                continue
            self._done.add(tag)
            at = self._asks[tag]
            if at.node.do == "forever":
                await self._order(
                    f"{instance_id}/terminate?reason={REASON}", ["Terminated"]
                )
            elif at.node.do == "pause":
                await self._pause(instance_id, at)
            else:
                await self._raise(instance_id, tag, at.node.count)

    async def _pause(self, instance_id: str, at: Placed) -> None:
        """Suspend, raise the event, resume: it must not go on before."""
        await self._order(
            f"{instance_id}/suspend?reason=wait", ["Suspended", *FINISHED]
        )
        await self._raise(instance_id, at.tag, 1)
        await self._order(f"{instance_id}/resume?reason=go", _NOT_SUSPENDED)

    async def _play_again(self) -> None:
        """Use the id again, and wait for the end of the second execution."""
        posts = await self._post_again()
        self.played.runs = (2, 1 + posts)
        self._done.clear()
        await self._raise_early_events()
        await self._follow()

    async def _post_again(self) -> int:
        """Start or restart the id once; how many requests may have done so."""
        path, body = f"/orchestrators/Interpret/{self.scope}", self._given
        if self.program.again == "restart":
            path = f"/instances/{self.scope}/restart?restartWithNewInstanceId=false"
        entries = len(await self._entries(self.scope))
        posts = 0

        async def has_begun() -> bool:
            nonlocal posts
            posts += 1
            status, _ = await self.fleet.ask(path, "POST", body)
            if status in (202, 409):
                return True
            until = time.monotonic() + _ARRIVAL_LIMIT_S
            while time.monotonic() < until:
                found = await self._status(self.scope)
                if found is not None and found["runtimeStatus"] not in FINISHED:
                    return True
                if len(await self._entries(self.scope)) > entries:
                    return True
                await asyncio.sleep(_POLL_S[-1])
            return False

        await self._wait(has_begun, "a second execution")
        return posts

    # What is found

    async def _settle(self) -> str:
        """Wait until all is right, or nothing is to be expected any more."""
        begin_at = time.monotonic()
        while True:
            fault = await self._fault()
            since_s = time.monotonic() - max(begin_at, self.fleet.last_fault_at)
            if not fault or since_s > _SETTLE_LIMIT_S:
                return fault
            await asyncio.sleep(_POLL_S[-1])

    async def _fault(self) -> str:
        found = await self._status(self.scope) or {}
        scopes = {at.scope for at in self._nodes}
        keys = sorted({*scopes, f"{self.scope}-shared", f"{self.scope}-client"})
        evidence = Found(
            status=str(found.get("runtimeStatus")),
            output=found.get("output"),
            custom_status=found.get("customStatus"),
            entities={key: await self._entries(key) for key in self._used(keys)},
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

    async def _entries(self, key: str) -> list[str]:
        entries: list[str] = []

        async def is_answered() -> bool:
            status, state = await self.fleet.ask(f"/entities/Log/{key}")
            entries[:] = state if status == 200 and isinstance(state, list) else []
            return status in (200, 404)

        await self._wait(is_answered, f"the state of {key}")
        return entries

    async def _status(self, instance_id: str) -> Any:
        """The status of an instance; None when nobody knows it, or none answers."""
        status, found = await self.fleet.ask(
            f"/instances/{instance_id}?showInput=false"
        )
        return found if status in (200, 202) else None

    async def _wait(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait for a condition; the limit counts from the last fault or progress."""
        begin_at = time.monotonic()
        count = 0
        while not await condition():
            since_s = time.monotonic() - max(begin_at, self.fleet.last_fault_at)
            if since_s > self.limit_s:
                raise Hanging(what)
            await asyncio.sleep(_POLL_S[min(count, len(_POLL_S) - 1)])
            count += 1
