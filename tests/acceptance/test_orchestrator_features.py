"""What orchestrators can do, played on a host: timers, ends, children, HTTP."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import FINISHED, Answer, ask, wait_for
from tests.acceptance.hosts import Hosts, write_function
from tests.acceptance.running_host import Host, free_ports

pytestmark = pytest.mark.timeout(60)

ONE_AT_A_TIME = {
    "AzureFunctionsJobHost__extensions__durableTask__"
    "maxConcurrentOrchestratorFunctions": "1"
}
ORCHESTRATOR = """
import datetime
import pathlib
import time

import azure.durable_functions as df

APP = pathlib.Path(__file__).parents[1]


def orchestrate(context):
    asked = context.get_input()
    {body}
    yield


main = df.Orchestrator.create(orchestrate)
"""
ORCHESTRATORS = {
    "Sleeps": """wait = datetime.timedelta(days=asked)
    yield context.create_timer(context.current_utc_datetime + wait)""",
    "Waits": 'return (yield context.wait_for_external_event("Go"))',
    "WorksThenWaits": """yield context.call_activity("Gated", asked)
    first = yield context.wait_for_external_event("First")
    second = yield context.wait_for_external_event("Second")
    return [first, second]""",
    "Says": """context.set_custom_status("x" * asked)
    return "said" """,
    "Marks": """mark = str(context.new_guid())
    context.set_custom_status(mark)
    yield context.wait_for_external_event("Go")
    return [mark, str(context.new_guid())]""",
    "HoldsItsThread": """(APP / "held").touch()
    while not (APP / "open").exists():
        time.sleep(0.01)
    return "open" """,
    "HasChild": """options = df.RetryOptions(1, asked["tries"])
    child = (asked["child"], options, asked["input"], asked["id"])
    return (yield context.call_sub_orchestrator_with_retry(*child))""",
    "FailsTwice": """count = yield context.call_activity("Count", context.instance_id)
    if count < 3:
        raise ValueError(f"failed {count}")
    return [count, context.instance_id, context.parent_instance_id]""",
    "Catches": """try:
        yield context.call_sub_orchestrator("Fails", None, asked)
    except Exception as exc:
        return str(exc)""",
    "Fails": 'raise ValueError("no, é")',
    "Asks": 'return (yield context.call_http(*asked["args"], **asked["named"]))',
    "AsksWithToken": """source = df.ManagedIdentityTokenSource("https://vault.azure.net")
    return (yield context.call_http("GET", asked, token_source=source))""",
}
COUNT = """
import pathlib


def main(name: str) -> int:
    with (pathlib.Path(__file__).parents[1] / f"count-{name}").open("a+") as counted:
        counted.write(".")
        return counted.tell()
"""
GATED = """
import pathlib
import time


def main(name: str) -> None:
    while not (pathlib.Path(__file__).parents[1] / name).exists():
        time.sleep(0.01)
"""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An instance on a host, by the management API."""

    host: Host
    id: str

    @classmethod
    def start(
        cls, host: Host, name: str, input_: Any = None, id_: str | None = None
    ) -> Instance:
        """Start an instance, under an id that no other has if none is given."""
        started = cls(host=host, id=id_ or f"i{secrets.token_hex(8)}")
        url = started.url(f"orchestrators/{name}/{started.id}")
        answer = ask(url, method="POST", body=json.dumps(input_))  # as the SDK does
        assert 202 == answer.status, answer.text
        return started

    def url(self, path: str, query: str = "") -> str:
        base = f"{self.host.url}/runtime/webhooks/durabletask"
        return f"{base}/{path}?{query}&code={self.host.code}"

    def tell(self, what: str, query: str = "", body: Any = None) -> Answer:
        """Raise an event, terminate, suspend or resume."""
        url = self.url(f"instances/{self.id}/{what}", query)
        answer = ask(url, method="POST", body=body)
        assert 202 == answer.status, answer
        return answer

    def status(self, query: str = "") -> Any:
        return ask(self.url(f"instances/{self.id}", query)).json()

    def history(self) -> list[Any]:
        query = "showHistory=true&showHistoryOutput=true"
        events: list[Any] = self.status(query)["historyEvents"]
        return events

    def reached(self, *wanted: str) -> Any:
        def found() -> Any:
            status = self.status()
            return status if status["runtimeStatus"] in wanted else None

        return wait_for(found, f"{self.id} to be {wanted}", limit_s=15)

    def ended(self) -> Any:
        return self.reached(*FINISHED)

    def wait_for_event(self, kind: str) -> Any:
        """Wait until the history holds an event of some type and return it."""

        def found() -> Any:
            events = self.history() if self.reached("Running") else []
            return next((e for e in events if e["EventType"] == kind), None)

        return wait_for(found, f"a {kind} of {self.id}", limit_s=15)


def write_app(app: Path) -> Path:
    app.mkdir()
    (app / "host.json").write_text('{"version": "2.0"}')
    context = {"name": "context", "type": "orchestrationTrigger"}
    for name, body in ORCHESTRATORS.items():
        write_function(app, name, ORCHESTRATOR.format(body=body), context)
    activity = {"name": "name", "type": "activityTrigger"}
    write_function(app, "Count", COUNT, activity)
    write_function(app, "Gated", GATED, activity)
    return app


@pytest.fixture(scope="module", name="host")
def _host(shared_hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Host:
    app = write_app(tmp_path_factory.mktemp("features") / "app")
    return shared_hosts.start(app)


# Timers


@pytest.mark.parametrize(("days", "piece_days"), [(5, 5), (7, 3), (100, 3)])
def test_a_long_timer_is_cut_into_pieces(
    host: Host, days: int, piece_days: int
) -> None:
    """Beyond 6 days a piece is 3 days long; what is written is the first piece."""
    instance = Instance.start(host, "Sleeps", days)

    timer = instance.wait_for_event("TimerCreated")

    fires_in = time_of(timer["FireAt"]) - time_of(timer["Timestamp"])
    assert abs(fires_in - timedelta(days=piece_days)) < timedelta(seconds=5)
    assert 1 == sum(e["EventType"] == "TimerCreated" for e in instance.history())


def time_of(text: str) -> datetime:
    return datetime.strptime(text.rstrip("Z")[:19], "%Y-%m-%dT%H:%M:%S")


# Ends


def test_a_suspended_instance_is_terminated(host: Host) -> None:
    """It does not have to go on first."""
    instance = Instance.start(host, "Waits")
    instance.reached("Running")
    instance.tell("suspend", "reason=lunch")
    instance.reached("Suspended")

    instance.tell("terminate", "reason=gone")

    status = instance.ended()
    assert ("Terminated", "gone") == (status["runtimeStatus"], status["output"])


def test_an_event_for_a_suspended_instance_does_not_end_it(host: Host) -> None:
    """Not even when it is terminated afterwards."""
    instance = Instance.start(host, "Waits")
    instance.reached("Running")
    instance.tell("suspend")
    instance.reached("Suspended")

    instance.tell("raiseEvent/Go", body=1)
    instance.tell("terminate", "reason=gone")

    assert "gone" == instance.ended()["output"]


@pytest.fixture(scope="module", name="narrow_host")
def _narrow_host(shared_hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host that runs one orchestrator at a time."""
    app = write_app(tmp_path_factory.mktemp("narrow") / "app")
    return shared_hosts.start(app, **ONE_AT_A_TIME)


@contextmanager
def no_turn(host: Host) -> Iterator[None]:
    """Let no other instance have a turn until the end of the block."""
    held, gate = host.app / "held", host.app / "open"
    held.unlink(missing_ok=True)
    gate.unlink(missing_ok=True)
    holding = Instance.start(host, "HoldsItsThread")
    wait_for(held.exists, "an orchestrator that holds its thread", limit_s=10)
    try:
        yield
    finally:
        gate.touch()
    assert "open" == holding.ended()["output"]


def test_an_instance_is_terminated_before_its_first_turn(narrow_host: Host) -> None:
    """It ends with the reason, and was Pending until then."""
    with no_turn(narrow_host):
        instance = Instance.start(narrow_host, "Waits")
        assert "Pending" == instance.status()["runtimeStatus"]
        instance.tell("terminate", "reason=early")

    status = instance.ended()
    assert ("Terminated", "early") == (status["runtimeStatus"], status["output"])


def test_an_instance_is_suspended_before_its_first_turn(narrow_host: Host) -> None:
    """It goes on when it is resumed."""
    with no_turn(narrow_host):
        instance = Instance.start(narrow_host, "Waits")
        instance.tell("suspend")
        instance.tell("raiseEvent/Go", body="early")
    instance.reached("Suspended")

    instance.tell("resume")

    assert "early" == instance.ended()["output"]


# Events


def test_events_that_come_before_the_wait_are_kept(host: Host) -> None:
    """In any order of their names."""
    instance = Instance.start(host, "WorksThenWaits", "events-came")
    instance.wait_for_event("TaskScheduled")
    instance.tell("raiseEvent/Second", body=2)
    instance.tell("raiseEvent/First", body=1)
    instance.wait_for_event("EventRaised")

    (host.app / "events-came").touch()

    assert [1, 2] == instance.ended()["output"]


# Custom status, ids


def test_a_custom_status_of_16_kb_is_shown(host: Host) -> None:
    """Counted in UTF-16, with its quotes."""
    status = Instance.start(host, "Says", 8190).ended()

    assert ("said", "x" * 8190) == (status["output"], status["customStatus"])


def test_a_custom_status_over_16_kb_fails_the_instance(host: Host) -> None:
    """And the text says what may be, and what it was."""
    status = Instance.start(host, "Says", 9000).ended()

    assert "Failed" == status["runtimeStatus"]
    assert (
        "Orchestrator function 'Says' failed: The UTF-16 size of the JSON-serialized"
        " payload must not exceed 16 KB. The current payload is 17.58 KB."
        == status["output"]
    )


def test_a_new_guid_is_the_same_at_every_turn(host: Host) -> None:
    """And each call of a turn gives another one."""
    instance = Instance.start(host, "Marks")
    at_first = instance.reached("Running")["customStatus"]
    instance.tell("raiseEvent/Go", body=0)

    first, second = instance.ended()["output"]

    assert at_first == first != second


# Sub-orchestrations


def test_a_child_with_an_id_is_tried_again_under_it(host: Host) -> None:
    """Its last try is what remains of it."""
    child_id = f"child-{secrets.token_hex(4)}"
    asked = {"child": "FailsTwice", "tries": 3, "input": None, "id": child_id}
    parent = Instance.start(host, "HasChild", asked)

    output = parent.ended()["output"]

    assert [3, child_id, parent.id] == output
    child = Instance(host=host, id=child_id).status()
    assert ("Completed", output) == (child["runtimeStatus"], child["output"])


def test_a_child_that_fails_too_often_fails_its_parent(host: Host) -> None:
    """With the text of its last failure."""
    child_id = f"child-{secrets.token_hex(4)}"
    asked = {"child": "FailsTwice", "tries": 2, "input": None, "id": child_id}

    status = Instance.start(host, "HasChild", asked).ended()

    assert "Failed" == status["runtimeStatus"]
    assert "Orchestrator function 'FailsTwice' failed: failed 2" in status["output"]


def test_a_parent_catches_what_its_child_raised(host: Host) -> None:
    """The text says which function failed, and why."""
    output = Instance.start(host, "Catches", f"c-{secrets.token_hex(4)}").ended()

    said = "Orchestrator function 'Fails' failed: no, é"
    assert output["output"].startswith(f"{said} \n Message: no, é, StackTrace: ")


def test_a_child_cannot_have_its_parents_id(host: Host) -> None:
    """The instance fails and says so."""
    id_ = f"i{secrets.token_hex(8)}"

    status = Instance.start(host, "Catches", id_, id_).ended()

    assert "Failed" == status["runtimeStatus"]
    assert "cannot be the instance id of a sub-orchestration" in status["output"]


# call_http


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was asked; the first path segment is the status."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = {
            "method": self.command,
            "body": self.rfile.read(length).decode(),
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }
        body = json.dumps(asked).encode()
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Location", "/elsewhere")
        self.send_header("X-Two", "1")
        self.send_header("X-Two", "2")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module", name="server")
def _server() -> Iterator[str]:
    """A server on this machine; the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def asked_for(host: Host, *args: Any, **named: Any) -> Any:
    """Return the status of an instance that calls ``call_http`` with arguments."""
    return Instance.start(host, "Asks", {"args": args, "named": named}).ended()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_call_http_sends_headers_and_a_body(
    host: Host, server: str, method: str
) -> None:
    """The content as JSON; its type is the headers' to say."""
    headers = {"X-Own": "é".encode().hex(), "Content-Type": "application/json"}
    answer = asked_for(host, method, f"{server}/200", {"a": [1]}, headers)["output"]

    got = json.loads(answer["content"])
    assert 200 == answer["statusCode"]
    assert (method, '{"a": [1]}') == (got["method"], got["body"])
    assert headers["X-Own"] == got["headers"]["x-own"]
    assert "application/json" == got["headers"]["content-type"]


def test_call_http_sends_a_raw_text(host: Host, server: str) -> None:
    """As it is; without a type it is plain text."""
    args = ("POST", f"{server}/200", "tëxt")
    answer = asked_for(host, *args, is_raw_str=True)["output"]

    got = json.loads(answer["content"])
    assert "tëxt" == got["body"]
    assert "text/plain; charset=utf-8" == got["headers"]["content-type"]


def test_call_http_without_a_body_sends_none(host: Host, server: str) -> None:
    """The extension's user agent asks."""
    got = json.loads(asked_for(host, "GET", f"{server}/200")["output"]["content"])

    assert "" == got["body"]
    assert got["headers"]["user-agent"].startswith(
        "Microsoft.Azure.WebJobs.Extensions.DurableTask/"
    )


def test_call_http_gives_repeated_headers_as_a_list(host: Host, server: str) -> None:
    """Those of the content are not given at all."""
    headers = asked_for(host, "GET", f"{server}/200")["output"]["headers"]

    assert ["1", "2"] == headers["X-Two"]
    assert not {"content-type", "content-length"} & {name.lower() for name in headers}


@pytest.mark.parametrize("status", [202, 404, 503])
def test_call_http_takes_any_status(host: Host, server: str, status: int) -> None:
    """Also a 202 with a place to ask at: the SDK does not say that it be asked."""
    answer = asked_for(host, "GET", f"{server}/{status}")

    assert ("Completed", status) == (
        answer["runtimeStatus"],
        answer["output"]["statusCode"],
    )


def test_call_http_fails_when_nobody_answers(host: Host) -> None:
    """The text names the address."""
    (port,) = free_ports(1)

    status = asked_for(host, "GET", f"http://127.0.0.1:{port}/x")

    assert "Failed" == status["runtimeStatus"]
    said = (
        f"Orchestrator function 'Asks' failed: The request to http://127.0.0.1:{port}"
    )
    assert status["output"].startswith(said)


def test_call_http_wants_an_absolute_uri(host: Host) -> None:
    """The text is the extension's."""
    status = asked_for(host, "GET", "/relative")

    assert "Failed" == status["runtimeStatus"]
    assert "An invalid request URI was provided." in status["output"]


def test_call_http_has_no_tokens(host: Host, server: str) -> None:
    """The text says what to do instead."""
    status = Instance.start(host, "AsksWithToken", f"{server}/200").ended()

    assert "Failed" == status["runtimeStatus"]
    assert "there is no managed identity on this machine" in status["output"]
    assert "Put an Authorization header into the request's headers" in status["output"]
