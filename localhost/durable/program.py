"""An orchestrator's actions as a program of promises; pure.

The SDK returns every action of an execution in the order it was asked for. The program
asks for them one after the other and waits for each, as the extension does, so that
numbers come out as they stand in histories that the real host wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localhost.durable.actions import CREATE_TIMER, Action, action_of, shown
from localhost.durable.execution import Execution, Kind, RefusedError, Rules
from localhost.durable.promises import Promise, begin, first_of, resolved
from localhost.durable.replay import Replay, Scheduled
from localhost.durable.retries import RetryOptions, attempts
from localhost.durable.sdk import OrchestratorState
from localhost.history import EventType
from localhost.text import dumps
from localhost.timestamps import from_ticks, to_ticks

HTTP_ACTIVITY = "BuiltIn::HttpActivity"
_HTTP_REQUEST = (
    "Microsoft.Azure.WebJobs.Extensions.DurableTask.DurableHttpRequest,"
    " Microsoft.Azure.WebJobs.Extensions.DurableTask"
)
_ENTITY_REQUEST = (
    "Microsoft.Azure.WebJobs.Extensions.DurableTask.RequestMessage,"
    " Microsoft.Azure.WebJobs.Extensions.DurableTask"
)


@dataclass
class Program:
    """Runs the actions of a state on a replay.

    ``continued_input`` is set once the code continued as new. ``is_at_end`` is set
    once all that the code asked for has its answer.
    """

    execution: Execution
    state: OrchestratorState
    rules: Rules
    has_run: bool = False
    is_at_end: bool = False
    failure: str | None = None
    continued_input: str | None = None
    _replay: Replay = field(init=False, repr=False)
    _sent_at: dict[str, str] = field(default_factory=dict)

    async def run(self, replay: Replay) -> None:
        """Ask for every action in turn; end when the code has ended."""
        self._replay = replay
        try:
            await self._perform_all()
        except RefusedError as exc:
            self.failure = str(exc)
            self.has_run = True
            return
        self.is_at_end = True
        self.failure = self.state.error
        self.has_run = self.state.is_done or self.failure is not None

    async def _perform_all(self) -> None:
        actions = self.state.actions
        total = sum(len(part) for part in actions)
        if total > self.rules.max_actions:
            raise RefusedError(
                f"the orchestrator asked for {total} actions, more than"
                f" maxOrchestrationActions ({self.rules.max_actions}) allows"
            )
        if self.state.schema_version == 0:
            for part in actions:
                promises = [self._perform(action_of(wire)) for wire in part]
                if promises:
                    await first_of(promises)
            return
        if len(actions) != 1:
            raise RefusedError(
                f"With OOProc schema V{self.state.schema_version + 1}, expected actions"
                f" array to be of length 1 in outer layer but got size: {len(actions)}"
            )
        for wire in actions[0]:
            await self._perform(action_of(wire))

    def _perform(self, action: Action) -> Promise:
        """Ask for one action. Raises ``RefusedError``."""
        return _ACTIONS[action.kind](self, action)

    # Activities

    def _call_activity(self, action: Action) -> Promise:
        name = action.text("functionName")
        self._must_exist("activity", name)
        return self._schedule_activity(name, [action.value("input")])

    def _schedule_activity(self, name: str, arguments: list[Any]) -> Promise:
        input_ = dumps(arguments)
        fields = {"Name": name, "Version": ""}
        if self.rules.store_inputs:
            fields["Input"] = input_
        return self._replay.schedule(
            Scheduled(
                type=EventType.TaskScheduled,
                id=self._replay.number(),
                fields=fields,
                input=input_,
            )
        )

    def _call_activity_with_retry(self, action: Action) -> Promise:
        return self._retried(action, self._call_activity)

    def _call_http(self, action: Action) -> Promise:
        """Ask for a request; what is wrong with it is the answer's to say.

        The orchestrator can catch the failure of a request, but not that of an action.
        """
        request = action.part("httpRequest")
        return self._schedule_activity(
            HTTP_ACTIVITY,
            [
                {
                    "$type": _HTTP_REQUEST,
                    "method": request.value("method"),
                    "uri": request.value("uri"),
                    "headers": request.value("headers") or {},
                    "content": request.value("content"),
                    "tokenSource": request.value("tokenSource"),
                    "asynchronousPatternEnabled": bool(
                        request.value("asynchronousPatternEnabled")
                    ),
                    "retryOptions": request.value("retryOptions"),
                    "timeout": request.value("timeout"),
                }
            ],
        )

    # Sub-orchestrations

    def _call_sub_orchestrator(self, action: Action) -> Promise:
        name = action.text("functionName")
        self._must_exist("orchestrator", name)
        child_id = self._child_id(action)
        number = self._replay.number()
        input_ = dumps(action.value("input"))
        fields: dict[str, Any] = {
            "Name": name,
            "Version": "",
            "InstanceId": child_id or f"{self.execution.execution_id}:{number}",
            "ClientSpanId": self.execution.derived_id(number, "span")[:16],
        }
        if self.rules.store_inputs:
            fields["Input"] = input_
        return self._replay.schedule(
            Scheduled(
                type=EventType.SubOrchestrationInstanceCreated,
                id=number,
                fields=fields,
                input=input_,
            )
        )

    def _call_sub_orchestrator_with_retry(self, action: Action) -> Promise:
        return self._retried(action, self._call_sub_orchestrator)

    def _child_id(self, action: Action) -> str | None:
        """Return the id that the code chose for a child, None when it chose none."""
        if action.optional_text("instanceId") is None:
            return None
        child_id = action.identity("instanceId")
        taken = {self.execution.instance_id.casefold()}
        if self.execution.parent_id:
            taken.add(self.execution.parent_id.casefold())
        if child_id.startswith("@") or child_id.casefold() in taken:
            raise RefusedError(
                f"call_sub_orchestrator: '{child_id}' cannot be the instance id of a"
                " sub-orchestration: it must not begin with @ nor be the id of its"
                " parent. Give another id, or none."
            )
        return child_id

    # Timers, events, retries

    def _create_timer(self, action: Action) -> Promise:
        is_cancelled = action.flag("isCanceled")
        promise, number = self._timer(action.time("fireAt"))
        if is_cancelled:
            self._replay.forget(number)
        return promise

    def _timer(self, fire_at: str) -> tuple[Promise, int]:
        number = self._replay.number()
        timer = Scheduled(
            type=EventType.TimerCreated, id=number, fields={"FireAt": fire_at}
        )
        return self._replay.schedule(timer), number

    def _wait_for_event(self, action: Action) -> Promise:
        return self._replay.event_named(action.text("externalEventName"))

    def _retried(self, action: Action, call: Callable[[Action], Promise]) -> Promise:
        work = attempts(
            RetryOptions.of(action.part("retryOptions")),
            call=lambda: call(action),
            pause=lambda fire_at: self._timer(fire_at)[0],
            now=lambda: self._replay.now,
        )
        return begin(work)

    # Entities

    def _call_entity(self, action: Action) -> Promise:
        return self._ask_entity(action, is_signal=False)

    def _signal_entity(self, action: Action) -> Promise:
        return self._ask_entity(action, is_signal=True)

    def _ask_entity(self, action: Action, *, is_signal: bool) -> Promise:
        target, operation = self._entity_id(action), action.text("operation")
        number = self._replay.number()
        digits = self.execution.derived_id(number, "entity")
        request_id = "-".join(
            (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        )
        request: dict[str, Any] = {"$type": _ENTITY_REQUEST, "op": operation}
        if is_signal:
            request["signal"] = True
        request["input"] = dumps(action.value("input"))
        request["id"] = request_id
        request["parent"] = self.execution.instance_id
        request["parentExecution"] = self.execution.execution_id
        request["Timestamp"], request["Predecessor"] = self._times_for(target)
        planned = Scheduled(
            type=EventType.EventSent,
            id=number,
            fields={"InstanceId": target, "Name": "op", "Input": dumps(request)},
        )
        if is_signal:
            self._replay.send(planned)
            return resolved()
        return self._replay.ask(planned, request_id)

    def _entity_id(self, action: Action) -> str:
        target = action.identity("instanceId")
        name, has_key, _ = target[1:].partition("@")
        if not target.startswith("@") or not has_key:
            raise RefusedError(
                f"{action.place}: 'instanceId' is {shown(target)}; expected: @name@key."
                " Give the df.EntityId of an entity."
            )
        self._must_exist("entity", name)
        return target

    def _times_for(self, target: str) -> tuple[str, str]:
        """Return when a request is sent, and when the one before it was.

        The entity puts requests of one sender into this order; no two are the same.
        A time that was moved on has no ``Z``, as the extension writes it.
        """
        predecessor = self._sent_at.get(target)
        sent_at = self._replay.now
        if predecessor is not None and to_ticks(sent_at) <= to_ticks(predecessor):
            sent_at = from_ticks(to_ticks(predecessor) + 1).rstrip("Z")
        self._sent_at[target] = sent_at
        return sent_at, predecessor or "0001-01-01T00:00:00"

    # Compounds and the end

    def _all(self, action: Action) -> Promise:
        promises = [self._perform(inner) for inner in action.actions("compoundActions")]

        async def settled() -> None:
            for promise in promises:
                await promise

        return begin(settled())

    def _any(self, action: Action) -> Promise:
        """Wait for the first of some actions.

        A timer that was cancelled since is none of those that may have come first: it
        was not cancelled yet when the code waited.
        """
        inner = action.actions("compoundActions")
        promises = [self._perform(each) for each in inner]
        live = [
            promise
            for promise, each in zip(promises, inner, strict=True)
            if not _is_cancelled_timer(each)
        ]
        return begin(first_of(live or promises)) if promises else resolved()

    def _continue_as_new(self, action: Action) -> Promise:
        self.continued_input = dumps(action.value("input"))
        self._replay.continues = True
        return resolved()

    def _must_exist(self, kind: Kind, name: str) -> None:
        text = self.rules.unknown(kind, name)
        if text is not None:
            raise RefusedError(text)


def _is_cancelled_timer(action: Action) -> bool:
    return action.kind == CREATE_TIMER and action.flag("isCanceled")


_ACTIONS: Mapping[int, Callable[[Program, Action], Promise]] = {
    0: Program._call_activity,
    1: Program._call_activity_with_retry,
    2: Program._call_sub_orchestrator,
    3: Program._call_sub_orchestrator_with_retry,
    4: Program._continue_as_new,
    5: Program._create_timer,
    6: Program._wait_for_event,
    7: Program._call_entity,
    8: Program._call_http,
    9: Program._signal_entity,
    11: Program._any,
    12: Program._all,
}
