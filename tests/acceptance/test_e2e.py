"""The quickstart over HTTP, against any host: ours, ``func start``, or Azure.

``--base-url URL`` (or BASE_URL) names a host that runs already; then none is started.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.asking import GREETINGS, ask, result_of, start_orchestrator
from tests.acceptance.conftest import given_base_url
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import ROOT

TAKES_BASE_URL = True
FAR_LIMIT_S = 60.0  # an app in Azure may have to wake up
RECORDED = json.loads((ROOT / "tests/data/http/basics.json").read_text("utf-8"))
RECORDED_START, RECORDED_STATUS = RECORDED[0]["body"], RECORDED[1]["body"]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", name="base_url")
def _base_url(request: pytest.FixtureRequest) -> str:
    given = given_base_url(request.config)
    if given:
        return given
    hosts: Hosts = request.getfixturevalue("shared_hosts")
    return hosts.start().url


@pytest.fixture(scope="module", name="start")
def _start(base_url: str) -> Any:
    """The body of the answer to a start."""
    return start_orchestrator(base_url)


@pytest.fixture(scope="module", name="status")
def _status(start: Any) -> Any:
    """The status of that instance when it has ended."""
    return result_of(start, limit_s=FAR_LIMIT_S)


def test_the_host_says_that_it_runs(base_url: str) -> None:
    """Tools wait for this; Azure wants its master key for it."""
    answer = ask(f"{base_url}/admin/host/status")

    if answer.status == 401:
        pytest.skip("this host wants its master key for /admin")
    assert "Running" == answer.json()["state"]


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_start_is_answered_202_with_where_and_when_to_look(
    base_url: str, method: str
) -> None:
    """POST and GET both start an instance."""
    answer = ask(f"{base_url}/api/orchestrators/HelloOrchestrator", method=method)

    assert 202 == answer.status
    assert answer.json()["statusQueryGetUri"] == answer.headers["Location"]
    assert "10" == answer.headers["Retry-After"]
    assert GREETINGS == result_of(answer.json(), limit_s=FAR_LIMIT_S)["output"]


def test_a_start_is_answered_with_id_and_eight_urls(start: Any) -> None:
    """Their names and order are those of the recording."""
    assert list(RECORDED_START) == list(start)


def test_each_url_leads_to_the_instance_and_carries_the_query(
    base_url: str, start: Any
) -> None:
    """Path for path as recorded; scheme and host are those that were asked."""
    recorded_id = RECORDED_START["id"]
    for name, recorded in RECORDED_START.items():
        if name != "id":
            url, expected = urlsplit(start[name]), urlsplit(recorded)
            assert urlsplit(base_url).netloc == url.netloc
            assert expected.path.replace(recorded_id, start["id"]) == url.path
            assert names_of(expected.query) <= names_of(url.query)


def names_of(query: str) -> set[str]:
    return {part.partition("=")[0] for part in query.split("&")}


def test_the_instance_completes_with_three_greetings(status: Any) -> None:
    """Tokyo, Seattle, London, in the order of the code."""
    assert "Completed" == status["runtimeStatus"]
    assert GREETINGS == status["output"]


def test_the_status_has_the_recorded_entries_in_order(start: Any, status: Any) -> None:
    """All but the times and the id are even the same values."""
    varying = {"instanceId", "createdTime", "lastUpdatedTime"}

    assert list(RECORDED_STATUS) == list(status)
    assert start["id"] == status["instanceId"]
    assert without(RECORDED_STATUS, varying) == without(status, varying)


def without(entries: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if name not in names}


def test_an_orchestrator_that_does_not_exist_is_told_by_its_name(base_url: str) -> None:
    """404 with the text; extensions 3.x answer 202 and fail the instance with it."""
    answer = ask(f"{base_url}/api/orchestrators/NotThere", method="POST")

    if answer.status == 202:
        failed = result_of(answer.json(), limit_s=FAR_LIMIT_S)
        assert "Failed" == failed["runtimeStatus"]
        text = str(failed["output"])
    else:
        assert 404 == answer.status
        text = answer.text
    assert "The function 'NotThere' doesn't exist, is disabled, or is not an" in text
    assert "'HelloOrchestrator'" in text
