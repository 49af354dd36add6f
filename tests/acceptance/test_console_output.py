"""What the host prints, to the letter: the list, the invocations, the end."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.acceptance.asking import ask, result_of, start_orchestrator
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import Host

pytestmark = pytest.mark.timeout(60)
STAMP = re.compile(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] ")
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
INVOCATION = re.compile(
    rf"(?P<instance>\S+): Executed 'Functions\.(?P<function>\w+)'"
    rf" \((?P<outcome>\w+), Id={UUID}, Duration=\d+ms\)"
)


@dataclass(frozen=True, kw_only=True)
class Session:
    """A host that ran one instance, and what it had printed when it ended."""

    host: Host
    instance_id: str
    text: str
    code: int

    def log_lines(self) -> list[str]:
        """The lines with a time, without it."""
        return [
            line[match.end() :]
            for line in self.text.splitlines()
            if (match := STAMP.match(line))
        ]


@pytest.fixture(scope="module", name="session")
def _session(shared_hosts: Hosts) -> Session:
    host = shared_hosts.start()
    start = start_orchestrator(host.url)
    result_of(start)
    ask(start["statusQueryGetUri"].partition("&code=")[0])
    code = host.stop()
    return Session(host=host, instance_id=start["id"], text=host.text(), code=code)


def test_the_list_of_functions_is_that_of_core_tools(session: Session) -> None:
    """HTTP functions first, each with its methods and its URL."""
    url = f"http://localhost:{session.host.port}/api/orchestrators/{{functionName}}"
    expected = (
        "\n"
        "Functions:\n"
        "\n"
        f"\tDurableFunctionsHttpStart: [POST,GET] {url}\n"
        "\n"
        "\tHello: activityTrigger\n"
        "\n"
        "\tHelloOrchestrator: orchestrationTrigger\n"
        "\n"
    )

    before_first_line = STAMP.split(session.text[session.text.index("\nFunctions:") :])

    assert expected == before_first_line[0]


def test_it_says_that_the_worker_is_ready(session: Session) -> None:
    """People wait for this line."""
    assert 1 == session.log_lines().count("Worker process started and initialized.")


def test_each_invocation_has_one_line(session: Session) -> None:
    """Instance id, function, outcome and milliseconds; an HTTP function has no id."""
    found = [
        (match["instance"], match["function"], match["outcome"])
        for line in session.log_lines()
        if (match := INVOCATION.fullmatch(line))
    ]

    id_ = session.instance_id
    orchestrator = [(id_, "HelloOrchestrator", "Succeeded")]
    activity = [(id_, "Hello", "Succeeded")]
    starter = ("-", "DurableFunctionsHttpStart", "Succeeded")
    assert 1 == found.count(starter)
    found.remove(starter)
    assert orchestrator + (activity + orchestrator) * 3 == found


def test_the_end_of_an_instance_has_one_line(session: Session) -> None:
    """Invocations alone do not tell the last turn from the others."""
    line = f"{session.instance_id}: HelloOrchestrator Completed"

    assert 1 == session.log_lines().count(line)


def test_a_line_of_user_code_appears_once(session: Session) -> None:
    """With its time, and without the name of a logger."""
    line = f"Started orchestration with ID = '{session.instance_id}'."

    assert 1 == session.log_lines().count(line)
    assert 1 == session.text.count(line)


def test_a_401_says_why_and_what_to_do(session: Session) -> None:
    """A shell cuts an unquoted URL at its first ampersand."""
    path = f"/runtime/webhooks/durabletask/instances/{session.instance_id}"
    expected = (
        f"Warning: 401 for GET {path}: it has no 'code'. Take the whole URL of the"
        " answer to the start, in quotes: without them a shell cuts it at the first"
        " '&'."
    )

    assert [expected] == [line for line in session.log_lines() if ": 401 " in line]


def test_the_end_is_the_last_that_it_says(session: Session) -> None:
    """Nothing that was left open complains."""
    assert 0 == session.code
    assert "Stopping: what runs may take 30 s to end." == session.log_lines()[-1]
    assert session.text.endswith("may take 30 s to end.\n")
