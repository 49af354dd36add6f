"""A row says what its history says, also when a crash came between the two.

While an instance waits for an event, nothing but the look at its history can mend the
row; a client may be waiting for what the row says before it raises the event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from localhost.crashpoints import EXIT_CODE
from tests.acceptance.asking import FINISHED, ask, wait_for
from tests.acceptance.running_host import HUB_VARIABLE
from tests.chaos.crashing_host import CrashingHost
from tests.chaos.undone_app import make_app
from tests.conftest import Emulator

pytestmark = pytest.mark.timeout(120)

LIMIT_S = 20.0
POLL_S = 0.2
AT_ONCE = 5
_WEBHOOKS = "/runtime/webhooks/durabletask"


class Instance:
    """An instance on a host that ends; asked for over HTTP, under whichever host."""

    def __init__(self, host: CrashingHost, name: str) -> None:
        self._host = host
        self._name = name

    def start(self) -> None:
        self._post(f"orchestrators/{self._name}/{self._name}", None)

    def raise_event(self, event: str) -> None:
        self._post(f"instances/{self._name}/raiseEvent/{event}", "now")

    def tell(self, operation: str, reason: str) -> None:
        self._post(f"instances/{self._name}/{operation}", None, f"reason={reason}&")

    def status(self, suffix: str = "") -> Any:
        """What the status says now, None when there is no such instance."""
        host = self._host.watched()
        path = f"{_WEBHOOKS}/instances/{self._name}{suffix}"
        answer = ask(f"{host.url}{path}?code={host.code}")
        return json.loads(answer.text) if answer.text else None

    def wait_for(self, limit_s: float = LIMIT_S, **expected: Any) -> None:
        """Wait until the status says so."""
        self.wait_until(
            lambda: {key: self.status()[key] for key in expected} == expected,
            f"{self._name}: {expected}",
            limit_s,
        )

    def wait_until(
        self, holds: Callable[[], bool], what: str, limit_s: float = LIMIT_S
    ) -> None:
        def is_so() -> bool:
            try:
                return holds()
            except OSError:  # the host has ended over it
                return False

        wait_for(is_so, what, limit_s=limit_s, poll_s=POLL_S)

    def _post(self, path: str, body: Any, query: str = "") -> None:
        """Send a request; again when the host ended over it."""
        for _ in range(2):
            answer = self._host.post(
                f"{_WEBHOOKS}/{path}?{query}code={self._host.code}", body
            )
            if answer is not None:
                break
        assert answer is not None
        assert answer[0] in (202, 409), answer


def becomes_two(instance: Instance) -> None:
    """Its new custom status shows while it waits; then it ends."""
    instance.start()
    instance.wait_for(customStatus="two", runtimeStatus="Running")
    instance.raise_event("Go")
    instance.wait_for(runtimeStatus="Completed", output=None, customStatus="two")


def becomes_two_by_event(instance: Instance) -> None:
    instance.start()
    instance.wait_for(customStatus="one")
    instance.raise_event("Before")
    instance.wait_for(customStatus="two", runtimeStatus="Running")
    instance.raise_event("Go")
    instance.wait_for(runtimeStatus="Completed", output=None, customStatus="two")


def ends_with_its_child(instance: Instance) -> None:
    """The row of the child says how it ended, at the latest soon after its parent."""
    instance.start()
    instance.wait_for(runtimeStatus="Completed", output="Kid")
    instance.wait_until(
        lambda: instance.status("-kid")["runtimeStatus"] in FINISHED,
        "the end of the child",
    )
    child = instance.status("-kid")
    assert ("Completed", "Kid") == (child["runtimeStatus"], child["output"])


def gives_nothing(instance: Instance) -> None:
    """It is suspended and resumed with reasons, and returns None."""
    instance.start()
    instance.wait_for(customStatus="two")
    instance.tell("suspend", "why")
    instance.wait_for(runtimeStatus="Suspended")
    instance.tell("resume", "because")
    instance.wait_for(runtimeStatus="Running")
    instance.raise_event("Go")
    instance.wait_until(lambda: instance.status()["runtimeStatus"] in FINISHED, "end")
    assert instance.status()["output"] is None


# What is to happen, by the program and the place where the host ends.
CASES: Mapping[tuple[str, str], Callable[[Instance], None]] = {
    ("StatusByActivity", "after history#2"): becomes_two,
    ("StatusByEvent", "after history#2"): becomes_two_by_event,
    ("StatusByChild", "after history#3"): becomes_two,
    **{
        ("NamedChildFirst", f"after history#{number}"): ends_with_its_child
        for number in (1, 2, 3)
    },
    ("StatusByActivity", ""): gives_nothing,
    ("StatusByActivity", "after history#3"): gives_nothing,
    ("StatusByActivity", "after history#4"): gives_nothing,
    ("StatusByActivity", "after history#5"): gives_nothing,
}

# The fault that was found, if any, and how the first host has ended.
Plays = Mapping[tuple[str, str], Future[tuple[str, int | None]]]


@pytest.fixture(scope="module", name="plays")
def _plays(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plays]:
    folder = tmp_path_factory.mktemp("rows")
    app = make_app(folder)

    def play(number: int, name: str, at: str) -> tuple[str, int | None]:
        variables = {
            "AzureWebJobsStorage": emulator.connection_string,
            HUB_VARIABLE: f"Rows{number:02}",
        }
        host = _host_in(folder / str(number), variables, at, app)
        try:
            CASES[name, at](Instance(host, name))
        except AssertionError as fault:
            return str(fault), host.exit_code
        finally:
            host.end()
        return "", host.exit_code

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="rows") as pool:
        yield {
            case: pool.submit(play, number, *case) for number, case in enumerate(CASES)
        }


def _host_in(
    folder: Path, variables: Mapping[str, str], at: str, app: Path
) -> CrashingHost:
    folder.mkdir()
    return CrashingHost(folder, variables, at=at, app=app)


@pytest.mark.parametrize("case", CASES, ids=", ".join)
def test_the_row_says_what_the_history_says(
    plays: Plays, case: tuple[str, str]
) -> None:
    """Soon, and whether or not anything more comes for the instance."""
    fault, exit_code = plays[case].result()

    assert "" == fault
    assert (EXIT_CODE if case[1] else None) == exit_code
