"""Plays the recorded orchestrators and holds what their functions received.

The recorded app writes down each context body that an orchestrator function receives.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.conformance.comparing import Unlike, Words, unlike
from tests.conformance.differences import Difference, differences
from tests.conformance.recordings import DATA
from tests.conformance.running import Played

WAIT_LIMIT_S = 20.0
POLL_S = 0.05
TRIES = 3
AT_ONCE_COUNT = 8
FINAL = ("Completed", "Failed", "Terminated")

# What came in beside each other may be in one turn or in two: of these orchestrators
# only the events that they received are compared, not turn by turn.
AT_ONCE = ("FanOut", "ParallelSub", "ThreeEvents", "EternalEvents")
# These were recorded as children; the value is the orchestrator that calls them.
PARENTS = {"FailOrch": "SubOrchFail", "FlakySub": "SubOrchRetry"}
# Their requests are about an instance that has ended.
AFTER_THE_END = ("RewindMe", "HelloOrchestrator")
_MADE_ID = re.compile(r"[0-9a-f]{32}(:\d+)?")
_TURN_ENDS = (12, 13)  # OrchestratorStarted, OrchestratorCompleted


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request about the instance, sent when its function has been called so often."""

    path: str
    content: Any = None
    after_turns: int


REQUESTS: Mapping[str, Sequence[Request]] = {
    "Approval": (
        Request(path="raiseEvent/approval", content=True, after_turns=1),
        Request(path="terminate?reason=enough", after_turns=2),
    ),
    "ThreeEvents": (
        Request(path="raiseEvent/F", content=3, after_turns=1),
        Request(path="raiseEvent/E", content=1, after_turns=2),
        Request(path="raiseEvent/E", content="two", after_turns=2),
    ),
    "EternalEvents": tuple(
        Request(path="raiseEvent/Item", content=item, after_turns=1)
        for item in ("a", "b", "c", "end")
    ),
    "HelloOrchestrator": (
        Request(path="restart?restartWithNewInstanceId=false", after_turns=4),
    ),
    "LongWait": (Request(path="terminate?reason=x", after_turns=1),),
    "RewindMe": (Request(path="rewind?reason=fixed", after_turns=3),),
    "Sleepy": (
        Request(path="suspend?reason=hold", after_turns=1),
        Request(path="resume?reason=go", after_turns=3),
    ),
}

Body = dict[str, Any]


def recorded_turns() -> dict[str, list[Body]]:
    """The recorded context bodies by orchestrator."""
    return {
        path.stem: [json.loads(line)["received"] for line in _lines(path)]
        for path in sorted((DATA / "turns").glob("*.jsonl"))
    }


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True, kw_only=True)
class TurnsPlay:
    """One run of all orchestrators at once."""

    session: aiohttp.ClientSession
    played: Played

    async def all(self) -> dict[str, list[Difference]]:
        """Play every recorded orchestrator and return the differences of each."""
        recorded = recorded_turns()
        ids = await self._play_in_time("Sleepy", recorded["Sleepy"])
        roots = [name for name in recorded if name not in {*PARENTS, *ids}]
        slots = asyncio.Semaphore(AT_ONCE_COUNT)

        async def play(name: str) -> None:
            async with slots:
                ids[name] = await self._play(name, recorded[name])

        await asyncio.gather(*(play(name) for name in roots))
        found = {name: self._received(name, ids) for name in recorded}
        words = self.played.words()
        return {
            name: differences(
                _compare(name, recorded[name], found[name], words),
                area="turns",
                scenario=name,
            )
            for name in recorded
        }

    async def _play_in_time(self, name: str, bodies: Sequence[Body]) -> dict[str, str]:
        """Play an orchestrator whose second turn is a request that must not be late."""
        wanted = bodies[1]["history"][-1]
        for _ in range(TRIES):
            instance_id = await self._play(name, bodies)
            found = _turns(self._bodies(name, instance_id[:12]), Words())[1]
            if found["history"][-1]["EventType"] == wanted["EventType"]:
                break
        return {name: instance_id}

    async def _play(self, name: str, bodies: Sequence[Body]) -> str:
        """Start an orchestrator, send it what it was sent, and return its id."""
        url = f"{self.played.host.url}/api/orchestrators/{name}"
        recorded_id = bodies[0]["instanceId"]
        if not _MADE_ID.fullmatch(recorded_id):
            url += f"?id={recorded_id}"
        given = self._input(bodies)
        async with self.session.post(url, json=given) as answer:
            instance_id = str((await answer.json())["id"])
        for request in REQUESTS.get(name, ()):
            await self._wait_for_turns(name, instance_id, request.after_turns)
            if name in AFTER_THE_END:
                await self._wait_for_status(instance_id)
                (self.played.temp / f"healed-{instance_id}").touch()
            await self.played.ask(
                self.session, "POST", f"/{instance_id}/{request.path}", request.content
            )
        await self._wait_for_turns(name, instance_id, len(bodies))
        await self._wait_for_status(instance_id)
        return instance_id

    def _input(self, bodies: Sequence[Body]) -> Any:
        starts = [event for event in bodies[0]["history"] if event["EventType"] == 0]
        text = starts[0]["Input"]
        if text is None:
            return None
        given = json.loads(json.loads(text))
        if isinstance(given, str):
            return given.replace("http://127.0.0.1:7071", self.played.host.url)
        return given

    def _bodies(self, name: str, prefix: str = "") -> list[Body]:
        paths = sorted(self.played.turns.glob(f"{name}.{prefix}*.json"))
        texts = [path.read_text() for path in paths if ".out." not in path.name]
        return [json.loads(text) for text in texts]

    def _received(self, name: str, ids: Mapping[str, str]) -> list[Body]:
        """Return what our function received in the instances that were recorded."""
        if name not in PARENTS:
            return [b for b in self._bodies(name) if b["instanceId"] == ids[name]]
        parent = ids[PARENTS[name]]
        return [b for b in self._bodies(name) if b["parentInstanceId"] == parent]

    async def _wait_for_turns(self, name: str, instance_id: str, count: int) -> None:
        end_s = time.monotonic() + WAIT_LIMIT_S
        prefix = instance_id[:12]
        while name not in AT_ONCE and time.monotonic() < end_s:
            pattern = f"{name}.{prefix}.[0-9][0-9].*.json"
            if len(list(self.played.turns.glob(pattern))) >= count:
                return
            await asyncio.sleep(POLL_S)

    async def _wait_for_status(self, instance_id: str) -> None:
        end_s = time.monotonic() + WAIT_LIMIT_S
        while time.monotonic() < end_s:
            status = await self.played.ask(self.session, "GET", f"/{instance_id}")
            if status["runtimeStatus"] in FINAL:
                return
            await asyncio.sleep(POLL_S)


def _compare(
    name: str, expected: Sequence[Body], found: Sequence[Body], words: Words
) -> Iterator[Unlike]:
    if name in AT_ONCE:
        yield from unlike(_events(expected, Words()), _events(found, words), "received")
        return
    yield from unlike(_turns(expected, Words()), _turns(found, words), "turns")


def _turns(bodies: Sequence[Body], words: Words) -> list[Body]:
    """Return plain bodies in the order of turns; those of one turn by their content."""
    plain = [words.value(body) for body in bodies]
    return sorted(plain, key=lambda body: (len(body["history"]), json.dumps(body)))


def _events(bodies: Sequence[Body], words: Words) -> Body:
    """Return the events that were received in any turn, and what else was in a body."""
    events: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for body in (words.value(each) for each in bodies):
        for event in body.pop("history"):
            event.pop("IsPlayed")
            if event["EventType"] not in _TURN_ENDS:
                text = json.dumps(event)
                events[hashlib.sha1(text.encode()).hexdigest()] = event
        body.pop("isReplaying")
        others[json.dumps(body)] = body
    ordered = sorted(events.values(), key=json.dumps)
    return {"events": ordered, "bodies": sorted(others.values(), key=json.dumps)}
