"""Faults of user code at work: what the instance says, and what the console says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.asking import result_of, start_orchestrator
from tests.acceptance.hosts import Hosts, write_function
from tests.acceptance.running_host import Host

pytestmark = pytest.mark.timeout(60)

ACTIVITY = {"name": "name", "type": "activityTrigger", "direction": "in"}
ORCHESTRATION = {"name": "context", "type": "orchestrationTrigger", "direction": "in"}
NO_JSON = "def main(name: str):\n    return {1, 2}\n"
RAISES = """
def main(name: str) -> str:
    return deeper(name)


def deeper(name: str) -> str:
    raise ValueError(f"no greeting for {name}")
"""
CALLS = """
import azure.durable_functions as df


def orchestrator_function(context):
    return (yield context.call_activity("{activity}", "Tokyo"))


main = df.Orchestrator.create(orchestrator_function)
"""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A host on which an instance failed, and that instance's status."""

    host: Host
    status: Any

    def console(self, function: str) -> str:
        """What the console says from the failure of *function* on."""
        words = (
            f"{self.status['instanceId']}: Executed 'Functions.{function}' (Failed, Id="
        )
        self.host.wait_for_text(words)
        return self.host.text().partition(words)[2]


@pytest.fixture(scope="module", name="host")
def _host(shared_hosts: Hosts) -> Host:
    app = shared_hosts.copy_app()
    write_function(app, "NoJson", NO_JSON, ACTIVITY)
    write_function(app, "Raises", RAISES, ACTIVITY)
    for activity in ("NoJson", "Raises", "NotThere"):
        script = CALLS.format(activity=activity)
        write_function(app, f"Calls{activity}", script, ORCHESTRATION)
    return shared_hosts.start(app)


def failure_of(host: Host, activity: str) -> Failure:
    status = result_of(start_orchestrator(host.url, f"Calls{activity}"))
    assert "Failed" == status["runtimeStatus"]
    return Failure(host=host, status=status)


def test_an_activity_that_does_not_exist_fails_the_instance(host: Host) -> None:
    """The status says which are known; the console too."""
    failure = failure_of(host, "NotThere")

    text = (
        "The function 'NotThere' doesn't exist, is disabled, or is not an activity"
        " function. Additional info: The following are the known activity functions:"
        " 'Hello', 'NoJson', 'Raises'."
    )
    assert text in failure.status["output"]
    host.wait_for_text(text, limit_s=2)


def test_a_result_that_is_not_json_fails_the_activity(host: Host) -> None:
    """The SDK says what it could not serialise."""
    failure = failure_of(host, "NoJson")

    text = "activity trigger output must be json serializable"
    assert "Activity function 'NoJson' failed: " in failure.status["output"]
    assert text in failure.status["output"]
    assert text in failure.console("NoJson")


def test_an_exception_of_an_activity_fails_the_instance(host: Host) -> None:
    """An orchestrator that does not catch it ends with its text."""
    failure = failure_of(host, "Raises")

    assert (
        "Activity function 'Raises' failed:  ValueError: no greeting for Tokyo"
    ) in failure.status["output"]


def test_the_console_shows_the_users_own_frames(host: Host) -> None:
    """From the function down to where it was raised, none of the host's."""
    script = host.app / "Raises" / "__init__.py"

    console = failure_of(host, "Raises").console("Raises")

    traceback = console.splitlines()[1:6]
    assert [
        "ValueError: no greeting for Tokyo",
        f'  File "{script}", line 3, in main',
        "    return deeper(name)",
    ] == traceback[:3]
    assert f'  File "{script}", line 7, in deeper' in traceback
    assert "localhost/app" not in console.partition("Executed")[0]
