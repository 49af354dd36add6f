"""Plays the recorded scenarios of the task hub and holds what was written to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.conformance.comparing import Words
from tests.conformance.differences import Difference, differences
from tests.conformance.running import Played
from tests.conformance.wire import Wire, Write
from tests.conformance.writes import Plain, compare, plain, recorded_writes

WAIT_LIMIT_S = 15.0
# A scenario is over when nothing has been written for this long.
QUIET_S = 0.15
POLL_S = 0.03
# How often a request is made again that came when its moment was over.
TRIES = 3
SUSPENDED = 19  # the type of the event
# What these wait for may come in one turn or in several.
AT_ONCE = ("02-fanout", "10-entityorch")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """How a scenario is played: an orchestrator is started, or a request sent.

    ``of`` names the scene whose instance the request is about; ``until`` is the
    status of the instance in which the recorded scenario ended.
    """

    start: str = ""
    request: str = ""
    of: str = ""
    method: str = "POST"
    input: Any = None
    until: str | None = "Completed"


SCENES = {
    "01-helloorchestrator": Scene(start="HelloOrchestrator"),
    "02-fanout": Scene(start="FanOut", input=3),
    "03-timer": Scene(start="Timer"),
    "04-suborch": Scene(start="SubOrch"),
    "05-suborchfail": Scene(start="SubOrchFail"),
    "06-retry": Scene(start="Retry"),
    "07-failactivity": Scene(start="FailActivity", until="Failed"),
    "08-failorch": Scene(start="FailOrch", until="Failed"),
    "09-eternal": Scene(start="Eternal", input=2),
    "10-entityorch": Scene(start="EntityOrch"),
    "11-customstatus": Scene(start="CustomStatus"),
    "12-largepayload": Scene(start="LargePayload", input=100_000),
    "13-largeoutput": Scene(start="LargeOutput", input=70_000),
    "14-anyof": Scene(start="AnyOf"),
    "15-callhttp": Scene(start="CallHttp", input="{url}/api/echo/x/3?q=1"),
    "16-approval": Scene(start="Approval", input=30, until="Running"),
    "17-raiseevent": Scene(
        of="16-approval",
        request="/raiseEvent/ApprovalEvent",
        input={"by": "me"},
        until="Running",
    ),
    "18-sleepy": Scene(start="Sleepy", input=6, until="Running"),
    "19-suspend": Scene(
        of="18-sleepy", request="/suspend?reason=hold", until="Suspended"
    ),
    "20-resume": Scene(of="18-sleepy", request="/resume?reason=go"),
    "21-longwait": Scene(start="LongWait", until="Running"),
    "22-terminate": Scene(
        of="21-longwait", request="/terminate?reason=enough", until="Terminated"
    ),
    "23-purge": Scene(of="21-longwait", request="", method="DELETE", until=None),
    "24-rewindme": Scene(start="RewindMe", until="Failed"),
    "25-rewind": Scene(
        of="24-rewindme", request="/rewind?reason=again", until="Failed"
    ),
    "26-restart": Scene(start="HelloOrchestrator"),
}


@dataclass(kw_only=True)
class StoragePlay:
    """One run over all scenarios, one after the other, on one task hub."""

    session: aiohttp.ClientSession
    played: Played
    wire: Wire
    instances: dict[str, str] = field(default_factory=dict)

    async def all(self) -> dict[str, list[Difference]]:
        """Play all scenarios and return the differences of each."""
        found = {}
        for name in SCENES:
            begin = len(self.wire.writes)
            found[name] = await self.scenario(name)
            if name == "19-suspend":
                for _ in range(TRIES):
                    if _first_event_type(self.wire.writes[begin:]) == SUSPENDED:
                        break
                    found["18-sleepy"] = await self.scenario("18-sleepy")
                    begin = len(self.wire.writes)
                    found[name] = await self.scenario(name)
        return found

    async def scenario(self, name: str) -> list[Difference]:
        """Play a scenario and return the differences of what was written meanwhile."""
        begin = len(self.wire.writes)
        scene = SCENES[name]
        turns = _turn_count(recorded_writes(name))
        self.instances[name] = instance_id = await self._send(scene)
        if name == "26-restart":
            await self._reach(scene.until, instance_id, begin=begin, turns=turns // 2)
            answer = await self.played.ask(
                self.session, "POST", f"/{instance_id}/restart"
            )
            instance_id = answer["id"]
        await self._reach(scene.until, instance_id, begin=begin, turns=turns)
        written = self.wire.writes[begin:]
        of_scene = [each for each in written if "Partitions" not in each.path]
        return differences(
            compare(
                _plain(recorded_writes(name), Words(), name),
                _plain(of_scene, self.played.words(), name),
            ),
            area="storage",
            scenario=name,
        )

    async def _send(self, scene: Scene) -> str:
        given = scene.input
        if isinstance(given, str):
            given = given.format(url=self.played.host.url)
        if not scene.start:
            instance_id = self.instances[scene.of]
            await self.played.ask(
                self.session, scene.method, f"/{instance_id}{scene.request}", given
            )
            return instance_id
        url = f"{self.played.host.url}/api/orchestrators/{scene.start}"
        async with self.session.post(url, json=given) as answer:
            return str((await answer.json())["id"])

    async def _reach(
        self, status: str | None, instance_id: str, *, begin: int, turns: int
    ) -> None:
        """Wait until the status is reached, the turns are written, and all is quiet."""
        end_s = time.monotonic() + WAIT_LIMIT_S
        while time.monotonic() < end_s:
            now = await self.played.ask(self.session, "GET", f"/{instance_id}") or {}
            has_turns = _turn_count(self.wire.writes[begin:]) >= turns
            is_quiet = time.monotonic() - self.wire.noted_at_s > QUIET_S
            if now.get("runtimeStatus") == status and has_turns and is_quiet:
                return
            await asyncio.sleep(POLL_S)


def _plain(writes: Sequence[Write], words: Words, name: str) -> list[Plain]:
    return [plain(each, words, is_in_order=name not in AT_ONCE) for each in writes]


def _first_event_type(writes: Sequence[Write]) -> int:
    message = next(each for each in writes if each.kind == "message")
    return int(message.content["TaskMessage"]["Event"]["EventType"])


def _turn_count(writes: Sequence[Write]) -> int:
    """Count transactions of the history: each writes the sentinel."""
    return sum("History" in each.path and "sentinel" in str(each) for each in writes)
