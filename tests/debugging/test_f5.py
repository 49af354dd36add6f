"""F5 with the very values of ``.vscode/launch.json``, spoken to debugpy."""

from __future__ import annotations

import queue
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.asking import GREETINGS, ask, start_orchestrator
from tests.acceptance.running_host import Host, environment, free_ports
from tests.debugging.conftest import Desk, configuration
from tests.debugging.dap import Editor, Stop, until

pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.skipif(sys.platform == "win32", reason="the paths are those of POSIX"),
]

RETURN, FIRST_CALL = "return", "call_activity"


def ready(desk: Desk) -> None:
    """Wait until the host runs."""

    def is_running() -> bool:
        with suppress(OSError):
            answer = ask(f"{desk.url}/admin/host/status")
            return answer.status == 200 and answer.json()["state"] == "Running"
        return False

    until(is_running, "host")


def status_of(start: Any) -> Any:
    return ask(start["statusQueryGetUri"]).json()


def completed(start: Any) -> Any:
    """Wait until an instance is Completed; its output."""

    def output() -> Any:
        status = status_of(start)
        return status["output"] if status["runtimeStatus"] == "Completed" else None

    return until(output, "output")


def all_stops(
    editor: Editor, start: Any, how: str = "continue"
) -> list[tuple[str, int]]:
    """Go on at every stop until an instance is Completed; where it stopped."""
    places: list[tuple[str, int]] = []

    def is_completed() -> bool:
        with suppress(queue.Empty):
            stop = editor.stop(limit_s=0.2)
            places.append(stop.place)
            stop.go_on(how)
            return False
        return bool(status_of(start)["runtimeStatus"] == "Completed")

    until(is_completed, "end of the instance", limit_s=60)
    return places


def test_breakpoints_are_hit_as_often_as_functions_are_called(desk: Desk) -> None:
    """In the worker: the host goes on."""
    hello, first = (
        desk.line("Hello", RETURN),
        desk.line("HelloOrchestrator", FIRST_CALL),
    )
    editor = desk.launch(
        {**desk.at("Hello", RETURN), **desk.at("HelloOrchestrator", FIRST_CALL)}
    )
    ready(desk)
    start = start_orchestrator(desk.url)

    places = all_stops(editor, start)

    assert 3 == places.count(("Hello/__init__.py", hello))
    assert 4 == places.count(("HelloOrchestrator/__init__.py", first))
    assert 7 == len(places)
    assert GREETINGS == status_of(start)["output"]


@pytest.mark.parametrize("stop_s", [8, 40])
def test_a_long_stop_does_no_work_twice(desk: Desk, stop_s: int) -> None:
    """The host answers polls and starts meanwhile, and nothing is stopped at twice."""
    script = desk.script("Hello")
    code = script.read_text(encoding="utf-8")
    code = code.replace(
        "    return ", "    open('runs', 'a').write(name + '\\n')\n    return ", 1
    )
    script.write_text(code, encoding="utf-8")
    editor = desk.launch(desk.at("Hello", RETURN, condition="name == 'Seattle'"))
    ready(desk)
    start = start_orchestrator(desk.url)
    stop = editor.stop()

    ends_s = time.monotonic() + stop_s
    while time.monotonic() < ends_s:
        assert status_of(start)["runtimeStatus"] == "Running"
        time.sleep(0.5)
    stop.go_on()

    assert GREETINGS == completed(start)
    assert not editor.has_stopped
    runs = (desk.app / "runs").read_text().split()
    assert ["Tokyo", "Seattle", "London"] == runs


def stopped_in_hello(desk: Desk) -> tuple[Editor, Stop, Any]:
    """Press F5, start an instance; where it stops first."""
    editor = desk.launch(desk.at("Hello", RETURN))
    ready(desk)
    start = start_orchestrator(desk.url)
    return editor, editor.stop(), start


def test_frames_and_variables_are_the_users(desk: Desk) -> None:
    """No frame of ours is among them."""
    _, stop, _ = stopped_in_hello(desk)

    assert ["main"] == [frame["name"] for frame in stop.frames()]
    assert "'Tokyo'" == stop.evaluate("name")
    assert "'Tokyo'" == stop.evaluate("name", "hover")
    assert "'Tokyo!'" == stop.evaluate("name + '!'", "watch")


@pytest.mark.parametrize("how", ["next", "stepIn", "stepOut"])
def test_steps_never_enter_a_frame_of_ours(desk: Desk, how: str) -> None:
    """From the end of a function they lead to the user's next one, or nowhere."""
    editor, stop, start = stopped_in_hello(desk)
    users = {"Hello/__init__.py", "HelloOrchestrator/__init__.py"}

    places = [stop.place]
    stop.go_on(how)
    places += all_stops(editor, start, how)

    assert users >= {place for place, _ in places}
    assert 3 == places.count(("Hello/__init__.py", desk.line("Hello", RETURN)))
    assert GREETINGS == status_of(start)["output"]


def test_hit_counts_and_logpoints(desk: Desk) -> None:
    """One stops at the second call only, the other one never."""
    hello = desk.at("Hello", RETURN, hitCondition="2")
    other = desk.at("HelloOrchestrator", FIRST_CALL, logMessage="turn of {context}")
    editor = desk.launch({**hello, **other})
    ready(desk)
    start = start_orchestrator(desk.url)

    stop = editor.stop()

    assert "'Seattle'" == stop.evaluate("name")
    stop.go_on()
    assert GREETINGS == completed(start)
    assert not editor.has_stopped
    until(lambda: "".join(editor.output).count("turn of") == 4, "four log messages")


@pytest.mark.parametrize("filters", [["raised"], ["userUnhandled"]])
def test_exceptions_stop_at_the_users_line_alone(
    desk: Desk, filters: list[str]
) -> None:
    """Not in the host, which raises many that are none of the user's business."""
    script = desk.script("Hello")
    script.write_text(
        "def main(name: str) -> str:\n"
        "    if name == 'Seattle':\n"
        "        raise ValueError(name)\n"
        "    return f'Hello {name}!'\n"
    )
    editor = desk.launch({}, filters)
    ready(desk)
    start = start_orchestrator(desk.url)

    stop = editor.stop()

    assert ("exception", ("Hello/__init__.py", 3)) == (stop.reason, stop.place)
    stop.go_on()
    places = []
    end_s = time.monotonic() + 3
    while time.monotonic() < end_s:
        with suppress(queue.Empty):
            stop = editor.stop(limit_s=0.2)
            places.append(stop.place[0])
            stop.go_on()
    assert {"HelloOrchestrator/__init__.py"} >= set(places)
    until(lambda: status_of(start)["runtimeStatus"] == "Failed", "end of the instance")


def test_shift_f5_ends_all_and_f5_starts_again(desk: Desk) -> None:
    """Also at a breakpoint; the port is free at once, and the instance goes on."""
    editor, stop, _ = stopped_in_hello(desk)
    worker = int(stop.evaluate("__import__('os').getpid()"))
    host = int(stop.evaluate("__import__('os').getppid()"))

    editor.end()

    until(lambda: not psutil.pid_exists(host), "end of the host")
    until(lambda: not psutil.pid_exists(worker), "end of the worker")
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", desk.port))
    again = desk.launch(desk.at("Hello", RETURN))
    ready(desk)
    assert ("Hello/__init__.py", desk.line("Hello", RETURN)) == again.stop().place


def test_attach_to_a_host_that_runs(desk: Desk, tmp_path: Path) -> None:
    """As the Azure Functions extension has it: the worker listens for a debugger."""
    [port] = free_ports(1)
    arguments = f"-m debugpy --listen 127.0.0.1:{port}"
    environ = environment(**desk.environ, languageWorkers__python__arguments=arguments)
    host = Host(
        desk.app, port=desk.port, log=tmp_path / "attached.log", environ=environ
    )
    try:
        host.wait_until_ready()
        config = configuration("Attach to Python Functions")
        config["connect"]["port"] = port
        editor = desk.open(config, desk.at("Hello", RETURN), ["userUnhandled"])
        start = start_orchestrator(desk.url)

        for expected in ("Tokyo", "Seattle", "London"):
            stop = editor.stop()
            assert ["main"] == [frame["name"] for frame in stop.frames()]
            assert f"'{expected}'" == stop.evaluate("name")
            assert status_of(start)["runtimeStatus"] == "Running"
            stop.go_on("stepOut")

        assert GREETINGS == completed(start)
    finally:
        host.end()
