"""Plays the recorded requests against a host and holds its answers to the recorded."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from tests.conformance.comparing import Words, unlike
from tests.conformance.differences import Difference, differences
from tests.conformance.recordings import Step, http_steps
from tests.conformance.running import Played, replaced

RECORDED_QUERY = "taskHub=PatternsHub&connection=Storage&code=KEY"
COMPARED_HEADERS = (
    "content-type",
    "location",
    "retry-after",
    "x-ms-continuation-token",
)
TOKEN = "x-ms-continuation-token"
FINAL = ("Completed", "Failed", "Terminated", "Canceled")
FUNCTIONS = "The following are the known orchestrator functions: "
WAIT_LIMIT_S = 15.0
POLL_S = 0.02
JSON_TYPE = "application/json"
# The tasks in these histories ran beside each other and end in any order.
AT_ONCE = ("history FanOut",)
# Requests whose body was sent as it is written here: it is no JSON, or was not said
# to be.
RAW_BODIES = {
    "event bad json": JSON_TYPE,
    "event wrong content type": "text/plain",
    "event null": JSON_TYPE,
    "start via webhook bad json": JSON_TYPE,
    "big body": JSON_TYPE,
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back; ``body`` is JSON, or text that is none."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(kw_only=True)
class Lists:
    """What one side's latest full list held: later answers depend on it."""

    failed: int = 0

    def note(self, body: Any) -> None:
        """Remember how many instances have failed."""
        self.failed = sum(each["runtimeStatus"] == "Failed" for each in body)


@dataclass(kw_only=True)
class HttpPlay:
    """One run over all scenarios: they share a task hub, as they did when recorded."""

    session: aiohttp.ClientSession
    played: Played
    ours: dict[str, str] = field(default_factory=dict)  # recorded id → our id
    words_recorded: Words = field(default_factory=Words)
    words_ours: Words = field(init=False)
    lists: tuple[Lists, Lists] = field(default_factory=lambda: (Lists(), Lists()))
    token: str = ""

    def __post_init__(self) -> None:
        self.words_ours = self.played.words()

    async def scenario(self, name: str) -> dict[str, list[Difference]]:
        """Play a scenario and return the differences of each step."""
        found = {}
        for number, step in enumerate(http_steps(name), 1):
            answer = await self._play(step)
            recorded = Answer(status=step.status, headers=step.headers, body=step.body)
            self._learn(recorded, answer)
            expected = self._plain(recorded, self.words_recorded, 0, step)
            actual = self._plain(answer, self.words_ours, 1, step)
            label = f"{number} {step.name}"
            found[label] = differences(
                unlike(expected, actual), area="http", scenario=name, step=label
            )
        return found

    async def _play(self, step: Step) -> Answer:
        """Send a request, again and again until the recorded status is reached."""
        if step.name == "start via webhook same id again":
            await self._wait_until_running("same-id")
        end_s = time.monotonic() + WAIT_LIMIT_S
        wanted = step.body.get("runtimeStatus") if _is_status(step) else None
        while True:
            answer = await self._send(step)
            if wanted is None or not isinstance(answer.body, Mapping):
                return answer
            status = answer.body.get("runtimeStatus")
            if status == wanted or status in FINAL or time.monotonic() > end_s:
                return answer
            await asyncio.sleep(POLL_S)

    async def _send(self, step: Step) -> Answer:
        code = "wrong" if step.name == "wrong code" else self.played.host.code
        names = {**self.ours, "PatternsHub": self.played.host.hub, "=KEY": f"={code}"}
        url = URL(self.played.host.url + replaced(step.path, names), encoded=True)
        body, headers = _content(step, self.played.host.url)
        if step.name == "next page":
            headers[TOKEN] = self.token
        elif step.name == "bad token":
            headers[TOKEN] = "nope"
        async with self.session.request(
            step.method, url, data=body, headers=headers, allow_redirects=False
        ) as response:
            text = await response.text()
            found = {name: response.headers[name] for name in response.headers}
        lowered = {name.lower(): value for name, value in found.items()}
        self.token = lowered.get(TOKEN, self.token)
        kept = {name: lowered[name] for name in COMPARED_HEADERS if name in lowered}
        return Answer(status=response.status, headers=kept, body=_parsed(text))

    async def _wait_until_running(self, instance_id: str) -> None:
        """Wait for what the next answer says of an instance."""
        path = f"/runtime/webhooks/durabletask/instances/{instance_id}?{RECORDED_QUERY}"
        await self._play(
            Step(
                name="",
                method="GET",
                path=path,
                request=None,
                status=202,
                headers={},
                body={"runtimeStatus": "Running"},
            )
        )

    def _learn(self, recorded: Answer, answer: Answer) -> None:
        """Take the new instance's two ids for one and the same."""
        one, other = _id(recorded.body), _id(answer.body)
        if one and other and one not in self.words_recorded.of:
            word = f"<instance {len(self.words_recorded.of) + 1}>"
            self.words_recorded.of[one] = self.words_ours.of[other] = word
            if one != other:
                self.ours[one] = other

    def _own(self, body: Any, words: Words, side: int, step: Step) -> Any:
        """Return what of an answer about all instances is about those of this play."""
        if isinstance(body, list):
            if "instanceIdPrefix" not in step.path:
                self.lists[side].note(body)
            known = [each for each in body if each["instanceId"] in words.of]
            return sorted(known, key=lambda each: words.of[each["instanceId"]])
        if isinstance(body, dict) and "instancesDeleted" in body:
            return {
                "are_all_failed_deleted": body["instancesDeleted"]
                == self.lists[side].failed
            }
        return body

    def _plain(self, answer: Answer, words: Words, side: int, step: Step) -> Any:
        body = answer.body
        if "/instances?" in step.path:
            body = self._own(body, words, side, step)
        if isinstance(body, dict) and "ExceptionMessage" in body:
            body = {**body, "ExceptionMessage": _in_order(body["ExceptionMessage"])}
        if step.name in AT_ONCE and isinstance(body, dict):
            events = sorted(body["historyEvents"], key=_result)
            body = {**body, "historyEvents": events}
        headers = dict(answer.headers)
        if TOKEN in headers:
            headers[TOKEN] = "<token>"
        return words.value(
            {
                "status": answer.status,
                "headers": dict(sorted(headers.items())),
                "body": body,
            }
        )


def _is_status(step: Step) -> bool:
    return isinstance(step.body, Mapping) and "runtimeStatus" in step.body


def _id(body: Any) -> str | None:
    found = body.get("id") if isinstance(body, Mapping) else None
    return found if isinstance(found, str) else None


def _content(step: Step, url: str) -> tuple[bytes | None, dict[str, str]]:
    """Return a request's body and headers."""
    if step.name in RAW_BODIES:
        return str(step.request).encode(), {"Content-Type": RAW_BODIES[step.name]}
    if step.request is None:
        return None, {}
    text = json.dumps(step.request).replace("http://127.0.0.1:7071", url)
    return text.encode(), {"Content-Type": JSON_TYPE}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _result(event: Mapping[str, Any]) -> tuple[bool, str]:
    """Return what to sort events by whose tasks ran at once: the others come first."""
    is_task = event["EventType"] == "TaskCompleted"
    return is_task, str(event.get("Result")) if is_task else ""


def _in_order(message: str) -> str:
    """Return a message whose list of functions, which has no order, is sorted."""
    head, found, names = message.partition(FUNCTIONS)
    return head + found + ", ".join(sorted(names.rstrip(".").split(", ")))
