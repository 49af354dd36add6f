"""Whatever an orchestrator asks for, its instance ends: played on a host."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.asking import ask
from tests.acceptance.hosts import Hosts, write_function
from tests.acceptance.running_host import Host
from tests.acceptance.test_orchestrator_features import ORCHESTRATOR, Instance

pytestmark = pytest.mark.timeout(60)

ORCHESTRATORS = {
    "Asks": """call = getattr(context, asked["call"])
    return (yield call(*asked["args"]))""",
    "Catches": """try:
        yield context.call_http("GET", asked)
    except Exception as exc:
        return f"caught {exc}" """,
    "Wakes": """utc = datetime.timezone.utc
    yield context.create_timer(datetime.datetime(*asked, tzinfo=utc))
    return "awake" """,
    "Kid": "return context.instance_id",
}
CANCELLED = """
import asyncio


async def main({parameter}):
    helper = asyncio.create_task(asyncio.sleep(60))
    helper.cancel()
    await helper
"""


@pytest.fixture(scope="module", name="host")
def _host(shared_hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Host:
    app = tmp_path_factory.mktemp("odd") / "app"
    app.mkdir()
    (app / "host.json").write_text('{"version": "2.0"}')
    context = {"name": "context", "type": "orchestrationTrigger"}
    for name, body in ORCHESTRATORS.items():
        write_function(app, name, ORCHESTRATOR.format(body=body), context)
    activity = {"name": "name", "type": "activityTrigger"}
    write_function(app, "Gone", CANCELLED.format(parameter="name"), activity)
    http = {"name": "req", "type": "httpTrigger", "authLevel": "anonymous"}
    out = {"name": "$return", "type": "http", "direction": "out"}
    write_function(app, "Drops", CANCELLED.format(parameter="req"), http, out)
    return shared_hosts.start(app)


def asked(host: Host, call: str, *args: Any) -> Any:
    """Return the status of an instance that makes one call."""
    return Instance.start(host, "Asks", {"call": call, "args": args}).ended()


@pytest.mark.parametrize(
    ("given", "id_"),
    [(5, "5"), (True, "True"), (1.5, "1.5"), ("k" * 512, "k" * 512), ("/" * 256,) * 2],
    ids=["5", "True", "1.5", "long", "escaped"],
)
def test_child_has_the_text_that_was_given_as_its_id(
    host: Host, given: Any, id_: str
) -> None:
    """Also one as long as the storage can keep."""
    status = asked(host, "call_sub_orchestrator", "Kid", None, given)

    assert ("Completed", id_) == (status["runtimeStatus"], status["output"])


@pytest.mark.parametrize(
    ("call", "args", "text"),
    [
        ("call_sub_orchestrator", ["Kid", None, ["a"]], "'instanceId' is ['a']"),
        ("call_sub_orchestrator", ["Kid", None, "k" * 513], "at most 512 characters"),
        ("call_activity", [5, 1], "The function '5' doesn't exist"),
        ("call_activity", [["a"], 1], "'functionName' is ['a']; expected: a text"),
        ("wait_for_external_event", [[1]], "'externalEventName' is [1]"),
    ],
    ids=str,
)
def test_what_cannot_be_fails(
    host: Host, call: str, args: list[Any], text: str
) -> None:
    """The sentence is the output."""
    status = asked(host, call, *args)

    assert "Failed" == status["runtimeStatus"]
    assert text in status["output"]


@pytest.mark.parametrize(
    ("date", "outcome"),
    [([1601, 1, 1], "Completed"), ([1, 1, 1], "Failed"), ([1600, 12, 31], "Failed")],
)
def test_timer_of_long_ago_ends(host: Host, date: list[int], outcome: str) -> None:
    """It is due at once, or the storage could not keep it."""
    instance = Instance.start(host, "Wakes", date)

    status = instance.ended()

    assert outcome == status["runtimeStatus"], status["output"]


@pytest.mark.parametrize(
    "uri",
    [None, 5, "http://127.0.0.1:99999/", "http://[bad", "ftp://x/", "http://a b/"],
)
def test_request_that_cannot_be_is_caught(host: Host, uri: Any) -> None:
    """By the orchestrator's own except."""
    status = Instance.start(host, "Catches", uri).ended()

    assert "Completed" == status["runtimeStatus"]
    assert status["output"].startswith("caught ")


def test_activity_that_is_cancelled_by_its_own_code_fails(host: Host) -> None:
    """Its place is free again."""
    status = asked(host, "call_activity", "Gone", 1)

    assert "Failed" == status["runtimeStatus"]
    assert "CancelledError" in status["output"]


def test_http_function_that_is_cancelled_by_its_own_code_answers(host: Host) -> None:
    """With a 500, as for any fault."""
    assert 500 == ask(f"{host.url}/api/Drops").status
