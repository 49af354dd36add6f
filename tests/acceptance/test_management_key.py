"""The key of the management API: asked for, accepted in two places, kept."""

from __future__ import annotations

import pytest

from tests.acceptance.asking import ask, result_of, start_orchestrator
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import Host

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", name="host")
def _host(shared_hosts: Hosts) -> Host:
    return shared_hosts.start()


@pytest.fixture(scope="module", name="url")
def _url(host: Host) -> str:
    """The status of a finished instance, without its code."""
    start = start_orchestrator(host.url)
    result_of(start)
    url: str = start["statusQueryGetUri"]
    assert url.endswith(f"&code={host.code}")
    return url.removesuffix(f"&code={host.code}")


def test_without_code_nothing_is_told(url: str) -> None:
    """The answer has no text, as recorded."""
    answer = ask(url)

    assert (401, "") == (answer.status, answer.text)


def test_a_wrong_code_is_told_on_the_console(host: Host, url: str) -> None:
    """It may be that of another app."""
    assert 401 == ask(f"{url}&code=wrong").status

    host.wait_for_text(": its 'code' is not this host's. Take the whole URL")


def test_the_key_may_come_as_a_header(host: Host, url: str) -> None:
    """As Azure takes it."""
    answer = ask(url, headers={"x-functions-key": host.code})

    assert 200 == answer.status


@pytest.mark.parametrize("path", ["/", "/admin/host/ping", "/admin/functions"])
def test_nobody_else_asks_for_a_key(host: Host, path: str) -> None:
    """As under Core Tools."""
    assert 200 == ask(host.url + path).status


def test_a_url_outlives_a_restart(hosts: Hosts) -> None:
    """What was copied before works after."""
    host = hosts.start()
    start = start_orchestrator(host.url)
    result_of(start)
    host.stop()

    hosts.restart(host)

    assert "Completed" == ask(start["statusQueryGetUri"]).json()["runtimeStatus"]
