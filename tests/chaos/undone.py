"""Programs whose turns a crash undoes, played at a pass through a crash point."""

from __future__ import annotations

import base64
import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localhost.crashpoints import EXIT_CODE
from tests.acceptance.asking import FINISHED, wait_for
from tests.acceptance.hosts import running_azurite
from tests.acceptance.running_host import (
    HUB_VARIABLE,
    Host,
    Storage,
    copy_app,
    environment,
    free_ports,
)
from tests.chaos.crashing_host import CrashingHost
from tests.chaos.remains import message_counts
from tests.chaos.undone_app import make_app
from tests.chaos.undone_verdict import PROGRAMS, Program, Row, faults_of_program
from tests.integration.conftest import Judge, open_judge

END_LIMIT_S = 60.0
_SHARED_LIMIT_S = 60.0  # until two hosts have parted the control queues
_POLL_S = 0.7  # what the SDKs ask costs more than what the hosts do
_LOCKS_S = 7.0
_LATE_S = 4
WAYS: Mapping[str, Mapping[str, bool]] = {
    "one host": {},
    "one host, late messages": {"is_late": True},
    "two hosts": {"is_shared": True},
}
_AT_ONCE = 8
_HOME = "/runtime/webhooks/durabletask/orchestrators"


@dataclass(frozen=True, kw_only=True)
class Play:
    """Programs on one hub, whose host ends at the ``number``-th pass.

    With ``is_shared`` another host works on the same hub all the time. With ``is_late``
    what was sent to the programs comes some seconds after the rest: as if a host had
    taken it and stood still. Entities and children are asked first then, and answer.
    """

    programs: Sequence[Program]
    number: int
    is_shared: bool = False
    is_late: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a play; ``told`` is what its first host printed."""

    exit_code: int | None
    told: str
    faults: Sequence[str]


@dataclass(kw_only=True)
class Stage:
    """Where plays take place: an app and a storage that they share."""

    folder: Path
    connection_string: str
    app: Path = field(init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, init=False)

    def __post_init__(self) -> None:
        self.app = make_app(self.folder)

    def play(self, play: Play) -> Outcome:
        """Let a host end, another finish its work, and look at what is left."""
        number = next(self._numbers)
        folder, hub = self.folder / f"{number:04}", f"Undone{number:04}"
        folder.mkdir()
        variables = {"AzureWebJobsStorage": self.connection_string, HUB_VARIABLE: hub}
        at = f"any#{play.number}"
        with ExitStack() as stack:
            judge = stack.enter_context(open_judge(self.connection_string, hub))
            late = {each.id for each in play.programs} if play.is_late else set()
            host = CrashingHost(
                folder,
                variables,
                at=at,
                app=self.app,
                between=lambda: _make_late(judge, late),
            )
            stack.callback(host.end)
            host.watched()
            if play.is_shared:
                self._run_beside(host, judge, folder, stack)
            faults = list(_faults_of(play, host, judge))
        return Outcome(exit_code=host.exit_code, told=host.told(), faults=faults)

    def _run_beside(
        self, host: CrashingHost, judge: Judge, folder: Path, stack: ExitStack
    ) -> None:
        """Let another host work on the hub, and wait until both do."""
        [port] = free_ports(1)
        environ = environment(
            TMPDIR=str(host.scratch),
            AzureWebJobsStorage=self.connection_string,
            **{HUB_VARIABLE: judge.hub},
        )
        beside = Host(self.app, port=port, log=folder / "beside.log", environ=environ)
        stack.callback(beside.end)
        beside.wait_until_ready()

        def are_shared() -> bool:
            host.watched()
            owners = {row.get("CurrentOwner") for row in judge.rows("Partitions")}
            return host.has_ended or len(owners) > 1

        wait_for(are_shared, "two owners", limit_s=_SHARED_LIMIT_S, poll_s=_POLL_S)


def _make_late(judge: Judge, instance_ids: Collection[str]) -> None:
    """Hide what was sent to some instances for longer than everything else."""
    if not instance_ids:
        return
    listed = judge.queues.list_queues(name_starts_with=f"{judge.hub.lower()}-control")
    queues = [judge.queues.get_queue_client(queue) for queue in listed]

    def are_visible() -> bool:
        return all(
            len(queue.peek_messages(32)) == judge.count(str(queue.queue_name))
            for queue in queues
        )

    with suppress(AssertionError):  # a timer may be hidden for longer
        wait_for(are_visible, "all locks to end", limit_s=_LOCKS_S, poll_s=_POLL_S)
    for queue in queues:
        taken = list(queue.receive_messages(max_messages=32, visibility_timeout=30))
        for message in taken:
            is_late = _addressee(message.content) in instance_ids
            queue.update_message(message, visibility_timeout=_LATE_S if is_late else 0)


def _addressee(text: str) -> str:
    """The instance that a message is for; nothing when it is in a blob."""
    envelope: Any = json.loads(base64.b64decode(text))
    message = envelope["TaskMessage"] or {"OrchestrationInstance": {"InstanceId": ""}}
    return str(message["OrchestrationInstance"]["InstanceId"])


def _faults_of(play: Play, host: CrashingHost, judge: Judge) -> Iterator[str]:
    """Play, and say what is wrong in the end."""
    try:
        for place in range(max(program.starts for program in play.programs)):
            again = [each for each in play.programs if each.starts > place]
            before = {program.id: _execution_of(judge, program) for program in again}
            for program in again:
                _start(host, judge, program, before[program.id])
            _wait_for_end(host, judge, before)
    except AssertionError as error:
        yield str(error)
    else:
        yield from _faults_in_queues(host, judge)
    rows = {row["PartitionKey"]: row for row in judge.rows("Instances")}
    histories: dict[str, list[Row]] = {}
    for row in judge.rows("History"):
        histories.setdefault(row["PartitionKey"], []).append(row)
    for program in play.programs:
        for fault in faults_of_program(program, rows, histories):
            yield f"{program.id}: {fault}"
    if host.exit_code not in (None, EXIT_CODE):
        yield f"exit code {host.exit_code}"


def _execution_of(judge: Judge, program: Program) -> str | None:
    """The execution that the row of a program names; None: there is no row."""
    rows = judge.rows("Instances", program.id)
    return str(rows[0]["ExecutionId"]) if rows else None


def _start(
    host: CrashingHost, judge: Judge, program: Program, before: str | None
) -> None:
    """Start a program; ask again when no answer came and nothing was stored."""
    path = f"{_HOME}/{program.name}/{program.id}"
    answer = host.post(f"{path}?code={host.code}")
    if answer is None and _execution_of(judge, program) == before:
        answer = host.post(f"{path}?code={host.code}")
    assert answer is None or answer[0] == 202, f"{program.id}: {answer}"


def _wait_for_end(
    host: CrashingHost, judge: Judge, before: Mapping[str, str | None]
) -> None:
    """Wait until each program has ended under another execution than before."""

    def have_ended() -> bool:
        host.watched()
        rows = {row["PartitionKey"]: row for row in judge.rows("Instances")}
        return all(
            id_ in rows
            and rows[id_]["RuntimeStatus"] in FINISHED
            and rows[id_]["ExecutionId"] != execution
            for id_, execution in before.items()
        )

    what = f"the end of {', '.join(before)}"
    wait_for(have_ended, what, limit_s=END_LIMIT_S, poll_s=_POLL_S)


def _faults_in_queues(host: CrashingHost, judge: Judge) -> Iterator[str]:
    """Wait until no message is left; say which queues still hold some."""

    def are_empty() -> bool:
        host.watched()
        # Twice, because what goes from queue to queue may be missed.
        return not any(message_counts(judge).total() for _ in range(2))

    with suppress(AssertionError):
        wait_for(are_empty, "empty queues", limit_s=END_LIMIT_S, poll_s=_POLL_S)
    for queue, count in message_counts(judge).items():
        if count:
            yield f"{queue}: {count} messages left"


# A walk through all passes


def walk(folder: Path, *, step: int, say: Callable[[str], None]) -> int:
    """Play each program alone at every *step*-th pass; return how many were wrong.

    With one host at a time, with messages that come late, and beside another host.
    """
    storage = Storage.on_free_ports()
    wrong: Counter[str] = Counter()
    with (
        (folder / "ended.txt").open("w", encoding="utf-8") as ended,
        redirect_stdout(ended),
        running_azurite(storage, copy_app(folder / "azurite"), folder),
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        stage = Stage(folder=folder, connection_string=storage.connection_string)
        for way, program in itertools.product(WAYS, PROGRAMS):
            name = f"{program.id}, {way}"
            outcomes = _walk_program(stage, program, WAYS[way], step, pool)
            for number, outcome in outcomes.items():
                wrong[name] += bool(outcome.faults)
                for fault in outcome.faults:
                    say(f"FAULT: {name}, pass {number}: {fault}")
            say(f"{name}: {wrong[name]} of {len(outcomes)} plays wrong")
    return wrong.total()


def _walk_program(
    stage: Stage,
    program: Program,
    way: Mapping[str, bool],
    step: int,
    pool: ThreadPoolExecutor,
) -> Mapping[int, Outcome]:
    """Play a program at its passes until a host gets through it."""
    outcomes: dict[int, Outcome] = {}
    for first in itertools.count(1, _AT_ONCE * step):
        numbers = range(first, first + _AT_ONCE * step, step)
        plays = [Play(programs=[program], number=n, **way) for n in numbers]
        outcomes |= zip(numbers, pool.map(stage.play, plays), strict=True)
        if outcomes[numbers[-1]].exit_code is None:
            return outcomes
    raise AssertionError("numbers end")
