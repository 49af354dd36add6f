"""What /admin and the home page tell, and what /admin runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from localhost.app.manifest import read_app
from localhost.declared import Function, FunctionApp
from localhost.web.admin import TITLE, Admin, HostIdentity
from localhost.web.server import Server


@pytest.fixture(name="app")
def _app(tmp_path: Path) -> FunctionApp:
    """Functions of several kinds; Off is disabled."""
    for name, trigger in {
        "Hello": {"name": "name", "type": "activityTrigger"},
        "Start": {"name": "req", "type": "httpTrigger", "route": "Go/{x}"},
        "Broken": {"name": "x", "type": "noSuchTrigger"},
        "Off": {"name": "req", "type": "httpTrigger"},
        "Tick": {"name": "timer", "type": "timerTrigger", "schedule": "0 * * * * *"},
        "Pull": {"name": "msg", "type": "queueTrigger", "queueName": "q"},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("def main(): ...\n")
        bindings = [trigger | {"direction": "in"}]
        (folder / "function.json").write_text(json.dumps({"bindings": bindings}))
    return read_app(tmp_path, environ={"AzureWebJobs.Off.Disabled": "1"})


class Ran:
    """Notes what /admin asked to be run."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.has_run = asyncio.Event()

    async def run(self, name: str, text: str) -> None:
        self.calls.append((name, text))
        self.has_run.set()
        if text == "fail":
            raise RuntimeError("no such instance")

    async def run_http(self, function: Function, text: str) -> None:
        await self.run(f"http {function.name}", text)


@pytest.fixture(name="ran")
async def _ran() -> Ran:
    return Ran()


@pytest.fixture(name="admin_of")
def _admin_of(app: FunctionApp, ran: Ran) -> Callable[..., Admin]:
    def make(**options: Any) -> Admin:
        chosen: dict[str, Any] = {
            "identity": HostIdentity(host_id="h-1", version="4.0"),
            "prefix": "api",
            "is_ready": lambda: True,
            "run": ran.run,
            "run_http": ran.run_http,
        }
        return Admin(app, **(chosen | options))

    return make


class Client:
    """Speaks to a server that has an Admin and nothing else."""

    def __init__(self, session: ClientSession, base: str) -> None:
        self.base = base
        self._session = session

    async def ask(
        self, path: str, method: str = "GET", **options: Any
    ) -> tuple[int, str]:
        url = self.base + path
        async with self._session.request(method, url, **options) as response:
            return response.status, await response.text()

    async def told(self, path: str) -> Any:
        """The JSON of a 200."""
        status, text = await self.ask(path)
        assert status == 200
        return json.loads(text)


async def no_management(_: web.Request, __: str, ___: bool) -> web.Response:
    return web.Response(status=501)


@asynccontextmanager
async def serving(admin: Admin) -> AsyncIterator[Client]:
    server = Server(
        address="127.0.0.1",
        port=0,
        built_in=[admin.handle],
        management=no_management,
        functions=[admin.home],
    )
    async with server, ClientSession() as session:
        yield Client(session, f"http://127.0.0.1:{server.port}")


@pytest.mark.parametrize(
    ("is_ready", "state"), [(True, "Running"), (False, "Starting")]
)
async def test_status_tells_the_state(
    admin_of: Callable[..., Admin], is_ready: bool, state: str
) -> None:
    """The state is Running once the host is ready; a faulty function is an error."""
    async with serving(admin_of(is_ready=lambda: is_ready)) as client:
        told = await client.told("/admin/host/status")

    assert (state, "h-1", "4.0") == (told["state"], told["id"], told["version"])
    assert told["processUptime"] >= 0
    assert told["errors"][0].startswith("Broken: ")
    assert "extensionBundle" not in told


async def test_status_tells_the_bundle(admin_of: Callable[..., Admin]) -> None:
    """The extension bundle of host.json is shown when there is one."""
    bundle = {"id": "Bundle", "version": "[4.*, 5.0.0)"}
    identity = HostIdentity(host_id="h", version="4", extension_bundle=bundle)

    async with serving(admin_of(identity=identity)) as client:
        told = await client.told("/Admin/Host/Status")

    assert bundle == told["extensionBundle"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_ping(admin_of: Callable[..., Admin], method: str) -> None:
    """A ping is a 200 without a body."""
    async with serving(admin_of()) as client:
        assert (200, "") == await client.ask("/admin/host/ping", method)


async def test_functions_are_described(admin_of: Callable[..., Admin]) -> None:
    """Each function that was read has its addresses and its function.json."""
    async with serving(admin_of()) as client:
        told = await client.told("/admin/functions")
    by_name = {each["name"]: each for each in told}
    hello, start = by_name["Hello"], by_name["Start"]

    assert ("Hello", None, "activityTrigger") == (
        hello["name"],
        hello["invoke_url_template"],
        hello["config"]["bindings"][0]["type"],
    )
    assert f"{client.base}/api/go/{{x}}" == start["invoke_url_template"]
    assert f"{client.base}/admin/functions/Start" == start["href"]


async def test_function_is_found_in_either_case(admin_of: Callable[..., Admin]) -> None:
    """One function can be asked for by its name."""
    async with serving(admin_of()) as client:
        told = await client.told("/admin/functions/hello")

    assert "Hello" == told["name"]


async def test_function_status_tells_its_fault(admin_of: Callable[..., Admin]) -> None:
    """A function that works has nothing to tell, a faulty one its errors."""
    async with serving(admin_of()) as client:
        fine = await client.told("/admin/functions/Hello/status")
        faulty = await client.told("/admin/functions/Broken/status")

    assert {} == fine
    assert "noSuchTrigger" in faulty["errors"][0]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin"),
        ("GET", "/admin/nope"),
        ("DELETE", "/admin/host/status"),
        ("GET", "/admin/functions/nope"),
        ("GET", "/admin/functions/nope/status"),
        ("GET", "/admin/functions/Hello/nope"),
        ("POST", "/admin/functions/nope"),
        ("PUT", "/admin/functions/Hello"),
    ],
)
async def test_unknown_is_an_empty_404(
    admin_of: Callable[..., Admin], method: str, path: str
) -> None:
    """What /admin does not have is a 404 without text."""
    async with serving(admin_of()) as client:
        assert (404, "") == await client.ask(path, method, data=b"{}")


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ({"input": "Tokyo"}, ("Hello", "Tokyo")),
        ({"input": {"a": "é"}}, ("Hello", '{"a":"é"}')),
        ({}, ("Hello", "")),
    ],
)
async def test_invocation_gets_its_input(
    admin_of: Callable[..., Admin],
    ran: Ran,
    body: dict[str, object],
    call: tuple[str, str],
) -> None:
    """A function can be run by hand; 202 says no more than that it is asked for."""
    async with serving(admin_of()) as client:
        assert (202, "") == await client.ask(
            "/admin/functions/hello", "POST", json=body
        )
        await ran.has_run.wait()

    assert [call] == ran.calls


async def test_http_function_gets_its_input_as_body(
    admin_of: Callable[..., Admin], ran: Ran
) -> None:
    """An HTTP function is run by the triggers, not by the durable part."""
    async with serving(admin_of()) as client:
        await client.ask("/admin/functions/Start", "POST", json={"input": "x"})
        await ran.has_run.wait()

    assert [("http Start", "x")] == ran.calls


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_invocation_needs_a_json_object(
    admin_of: Callable[..., Admin], ran: Ran, body: bytes
) -> None:
    """Anything but a JSON object is a 400, and nothing runs."""
    async with serving(admin_of()) as client:
        assert (400, "") == await client.ask(
            "/admin/functions/Hello", "POST", data=body
        )

    assert [] == ran.calls


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Tick", "Tick has a timerTrigger, which is not run here"),
        ("Pull", "Pull has a queueTrigger, which is not run here"),
        ("Off", "Off is disabled"),
    ],
)
async def test_function_that_is_not_run_here_is_not_accepted(
    admin_of: Callable[..., Admin],
    ran: Ran,
    caplog: pytest.LogCaptureFixture,
    name: str,
    reason: str,
) -> None:
    """The answer says why, and so does the console."""
    async with serving(admin_of()) as client:
        body = {"input": "x"}
        status, text = await client.ask(f"/admin/functions/{name}", "POST", json=body)

    assert (501, []) == (status, ran.calls)
    assert reason in text
    assert reason in caplog.text


async def test_failed_invocation_is_logged(
    admin_of: Callable[..., Admin], caplog: pytest.LogCaptureFixture
) -> None:
    """After the 202 only the console can say that it went wrong."""
    async with serving(admin_of()) as client:
        body = {"input": "fail"}

        assert (202, "") == await client.ask(
            "/admin/functions/Hello", "POST", json=body
        )

    assert "Hello: the invocation over /admin failed" in caplog.text


async def test_home_page_lists_the_functions(admin_of: Callable[..., Admin]) -> None:
    """The page has the known title, and the functions with their addresses."""
    async with serving(admin_of()) as client:
        status, page = await client.ask("/")

    assert 200 == status
    assert f"<title>{TITLE}</title>" in page
    assert "<li>Start <small>/api/Go/{x}</small></li>" in page
    assert "<li>Hello <small>activityTrigger</small></li>" in page


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_home_page_can_be_switched_off(
    admin_of: Callable[..., Admin], method: str
) -> None:
    """Without a home page any method is a 204."""
    async with serving(admin_of(is_homepage_disabled=True)) as client:
        assert (204, "") == await client.ask("/", method)
