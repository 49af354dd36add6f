"""The HTTP starter with the SDK's real client, whose host is a server of the test."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator

import azure.functions as func
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.durable_functions.models.utils import http_utils

from DurableFunctionsHttpStart import main

# The SDK asks aiohttp for a clean-up that newer Pythons do not need.
pytestmark = pytest.mark.filterwarnings(
    "ignore:enable_cleanup_closed ignored:DeprecationWarning"
)

NOT_FOUND = (
    "The function 'Nope' doesn't exist, is disabled, or is not an orchestrator"
    " function. Additional info: The following are the known orchestrator"
    " functions: 'HelloOrchestrator'."
)
WEBHOOK = "http://localhost:7071/runtime/webhooks/durabletask"


class Host:
    """A host's start endpoint: keeps what it was sent, answers what it was told."""

    def __init__(self) -> None:
        self.status = 202
        self.answer: dict[str, str] = {"id": "abc"}
        self.requests: list[tuple[str, str, bytes]] = []
        self.binding = ""

    async def start(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path, await request.read()))
        return web.json_response(self.answer, status=self.status)


def binding(rpc_base_url: str) -> str:
    """What a host passes as ``starter``."""
    return json.dumps(
        {
            "taskHubName": "TestHubName",
            "creationUrls": {},
            "managementUrls": {
                "id": "INSTANCEID",
                "statusQueryGetUri": f"{WEBHOOK}/instances/INSTANCEID?code=k",
                "terminatePostUri": f"{WEBHOOK}/instances/INSTANCEID/terminate?code=k",
            },
            "rpcBaseUrl": rpc_base_url,
        }
    )


@pytest.fixture(name="host")
async def _host() -> AsyncIterator[Host]:
    host = Host()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", host.start)
    async with TestServer(app) as server:
        host.binding = binding(str(server.make_url("/durabletask/")))
        yield host
        # The SDK keeps one session for the process; it belongs to this test's loop.
        await http_utils._close_session()


def request(name: str, *, base_url: str = "http://localhost:7071") -> func.HttpRequest:
    """A POST as it reaches the starter."""
    return func.HttpRequest(
        method="POST",
        url=f"{base_url}/api/orchestrators/{name}",
        route_params={"functionName": name},
        body=b"",
    )


async def test_starter_starts_the_orchestrator_of_the_route(host: Host) -> None:
    """One start without an instance id and without an input is asked for."""
    await main(request("HelloOrchestrator"), host.binding)

    assert [("POST", "/durabletask/orchestrators/HelloOrchestrator", b"")] == (
        host.requests
    )


async def test_starter_answers_202_with_the_instance_s_urls(host: Host) -> None:
    """The body holds the id and the management URLs of the new instance."""
    response = await main(request("HelloOrchestrator"), host.binding)

    assert 202 == response.status_code
    assert {
        "id": "abc",
        "statusQueryGetUri": f"{WEBHOOK}/instances/abc?code=k",
        "terminatePostUri": f"{WEBHOOK}/instances/abc/terminate?code=k",
    } == json.loads(response.get_body())


async def test_starter_tells_where_and_when_to_poll(host: Host) -> None:
    """``Location`` is the status URL, ``Retry-After`` ten seconds."""
    response = await main(request("HelloOrchestrator"), host.binding)

    assert (f"{WEBHOOK}/instances/abc?code=k", "10") == (
        response.headers["Location"],
        response.headers["Retry-After"],
    )


async def test_urls_have_the_origin_that_the_caller_used(host: Host) -> None:
    """Who comes by another name or port gets URLs with that name and port."""
    asked = request("HelloOrchestrator", base_url="https://example.test:8443")

    response = await main(asked, host.binding)

    assert response.headers["Location"].startswith("https://example.test:8443/runtime/")


async def test_starter_logs_the_instance_id(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """The line of the quickstart appears once, at level INFO."""
    caplog.set_level(logging.INFO)

    await main(request("HelloOrchestrator"), host.binding)

    assert [("root", logging.INFO, "Started orchestration with ID = 'abc'.")] == [
        entry for entry in caplog.record_tuples if "orchestration" in entry[2]
    ]


async def test_unknown_orchestrator_is_404_with_the_host_s_sentence(host: Host) -> None:
    """A name that does not exist is the caller's mistake and says so."""
    host.status, host.answer = 400, {"ExceptionMessage": NOT_FOUND}

    response = await main(request("Nope"), host.binding)

    assert (404, NOT_FOUND) == (response.status_code, response.get_body().decode())


@pytest.mark.parametrize(
    ("status", "answer", "text"),
    [
        (400, {"ExceptionMessage": "Something else."}, "Something else."),
        (500, {"Message": "Storage is down."}, "Storage is down."),
    ],
)
async def test_any_other_exception_passes(
    host: Host, status: int, answer: dict[str, str], text: str
) -> None:
    """What is not a wrong name reaches the caller of the function as it was raised."""
    host.status, host.answer = status, answer

    with pytest.raises(Exception, match=text):
        await main(request("HelloOrchestrator"), host.binding)
