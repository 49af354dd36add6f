"""Functions in worker processes: what goes in and out, and what ends a process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from localhost.app import worker_process, workers
from localhost.app.manifest import read_app
from localhost.app.worker_process import Command
from localhost.app.workers import Options, Workers
from localhost.compat import timeout
from localhost.declared import Function, FunctionFault
from localhost.errors import CannotStartError
from localhost.outcome import HttpAnswer, HttpAsked, Outcome, Raised, Returned
from localhost.worker.invocation import Invocation

pytestmark = pytest.mark.timeout(60)

LIMIT_S = 30.0
ACTIVITY = {"name": "name", "type": "activityTrigger", "direction": "in"}
HTTP = {"name": "req", "type": "httpTrigger", "direction": "in"}
RETURN = {"name": "$return", "type": "http", "direction": "out"}

linux_only = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


class App:
    """An app in a folder of its own, and its workers."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.functions: dict[str, Function] = {}
        self._workers: Workers | None = None

    def write(self, path: str, code: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(code), encoding="utf-8")

    def add(self, name: str, code: str, *bindings: Mapping[str, Any]) -> None:
        """Write one function, an activity unless bindings are given."""
        self.write(f"{name}/__init__.py", code)
        described = {"bindings": list(bindings or (ACTIVITY,))}
        (self.root / name / "function.json").write_text(json.dumps(described))

    async def open(
        self,
        *,
        count: int = 1,
        threads: int = 8,
        python: str = sys.executable,
        arguments: tuple[str, ...] = (),
    ) -> tuple[FunctionFault, ...]:
        """Start the workers; the faults of what cannot be loaded."""
        app = read_app(self.root, environ={})
        assert () == app.faults
        self.functions = {each.name: each for each in app.functions}
        command = Command(
            python=python, arguments=arguments, folder=self.root, level=logging.INFO
        )
        options = Options(
            command=command, count=count, threads=threads, outside_threads=threads
        )
        self._workers = await Workers(app, options).__aenter__()
        async with timeout(LIMIT_S):
            return await self._workers.load()

    @property
    def workers(self) -> Workers:
        assert self._workers is not None
        return self._workers

    async def invoke(self, name: str, value: object = "x") -> Outcome:
        async with timeout(LIMIT_S):
            return await self.workers.invoke(
                self.functions[name], json.dumps(value), instance_id="abc"
            )

    async def value(self, name: str, value: object = "x") -> Any:
        """Call an activity that returns; its result."""
        outcome = await self.invoke(name, value)
        assert isinstance(outcome, Returned), outcome
        return None if outcome.value is None else json.loads(outcome.value)

    async def respond(self, name: str, body: bytes = b"") -> HttpAnswer | Raised:
        asked = HttpAsked(
            method="POST",
            url="http://localhost/api/x?a=1",
            headers={"x-one": "é"},
            params={"a": "1"},
            route_params={"r": "2"},
            body=body,
        )
        async with timeout(LIMIT_S):
            return await self.workers.respond(self.functions[name], asked, bindings={})

    async def close(self) -> None:
        if self._workers is not None:
            await self._workers.close(limit_s=1.0)


@pytest.fixture(name="app")
async def _app(tmp_path: Path) -> AsyncIterator[App]:
    app = App(tmp_path)
    app.add("Pid", "import os\ndef main(name): return os.getpid()")
    yield app
    await app.close()


async def until(is_true: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with timeout(LIMIT_S):
        while not is_true():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# What goes in and out


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_an_activity_runs_in_another_process(app: App, prefix: str) -> None:
    """In the app's folder, with what Python itself puts there and no more."""
    app.write("channel.py", "NAME = 'the user has it'")
    app.add(
        "Tell",
        f"""
        import os, sys
        import channel
        {prefix}def main(name):
            return [os.getpid(), os.getcwd(), sys.argv[1:], channel.NAME, name]
        """,
    )
    assert () == await app.open()

    pid, *rest = await app.value("Tell", "Tokyo é 😀")

    assert pid != os.getpid()
    assert [str(app.root), [], "the user has it", "Tokyo é 😀"] == rest


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_a_request_and_its_answer_travel(app: App, prefix: str) -> None:
    """Megabytes of them, and each header."""
    app.add(
        "Echo",
        f"""
        import azure.functions as func
        {prefix}def main(req):
            said = [req.method, req.url, req.headers["x-one"], req.params["a"],
                    req.route_params["r"]]
            answer = func.HttpResponse(req.get_body() * 2, status_code=201,
                                       headers={{"said": " ".join(said)}})
            answer.headers.add("Set-Cookie", "a=1")
            answer.headers.add("Set-Cookie", "b=2")
            return answer
        """,
        HTTP,
        RETURN,
    )
    await app.open()
    body = os.urandom(5_000_000)

    answer = await app.respond("Echo", body)

    assert isinstance(answer, HttpAnswer)
    assert (201, body * 2) == (answer.status, answer.body)
    said = ("said", "POST http://localhost/api/x?a=1 é 1 2")
    cookies = (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
    assert (said, *cookies) == answer.headers


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_a_fault_has_the_users_frames_only(app: App, prefix: str) -> None:
    """As if there were no worker."""
    app.add("Boom", f"{prefix}def main(name):\n    raise ValueError(name + '\\ud800')")
    await app.open()

    raised = await app.invoke("Boom", "é")

    assert isinstance(raised, Raised)
    assert ("ValueError", "é\ufffd") == (raised.type_name, raised.message)
    assert 1 == raised.traceback.count("  File ")


async def test_a_function_that_cannot_be_loaded_says_why(app: App) -> None:
    """The others run."""
    app.add("Broken", "import no_such_thing")

    (fault,) = await app.open()

    assert "No module named 'no_such_thing'" in fault.message
    assert isinstance(await app.invoke("Broken"), Raised)
    assert isinstance(await app.value("Pid"), int)


async def test_imports_run_on_the_main_thread_in_its_loop(app: App) -> None:
    """What a module does at its import in Azure, it does here."""
    app.add(
        "Imports",
        """
        import asyncio, signal, threading
        import aiohttp

        loop = asyncio.get_event_loop()
        running = asyncio.get_running_loop() is loop
        session = aiohttp.ClientSession()
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        thread = threading.current_thread() is threading.main_thread()

        async def main(name):
            same = asyncio.get_running_loop() is loop
            await session.close()
            return [running, thread, same]
        """,
    )

    assert () == await app.open()

    assert [True, True, True] == await app.value("Imports")


async def test_a_call_over_a_port_needs_the_secret(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where no socket is inherited."""
    monkeypatch.setattr(worker_process, "INHERITS_SOCKETS", False)
    app.add("Secret", "import os\ndef main(name): return 'SECRET' in str(os.environ)")

    assert () == await app.open()

    assert False is await app.value("Secret")


async def test_a_python_without_the_packages_is_explained(app: App) -> None:
    """The sentence says which Python, and what to do."""
    with pytest.raises(CannotStartError) as info:
        await app.open(arguments=("-S",))

    assert f"The app's Python {sys.executable} cannot run the app" in str(info.value)
    assert "No module named 'azure" in str(info.value)
    assert "-m pip install -r requirements.txt" in str(info.value)


async def test_a_python_that_is_not_there_is_explained(app: App) -> None:
    """So is a wrong path."""
    with pytest.raises(CannotStartError, match="cannot be started"):
        await app.open(python=str(app.root / "python"))


async def test_an_import_that_ends_the_process_is_explained(app: App) -> None:
    """Nobody waits for ever."""
    app.add("Exits", "import os\nos._exit(7)")

    with pytest.raises(CannotStartError, match=r"ended \(exit code 7\) while it imp"):
        await app.open()


# Threads and processes

OVERLAP = """
    import threading, time

    running, most, lock = 0, 0, threading.Lock()

    def main(name):
        global running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return most
    """


@pytest.mark.parametrize("threads", [1, 3])
async def test_no_more_calls_run_at_once_than_threads(app: App, threads: int) -> None:
    """All others wait, and none is forgotten."""
    app.add("Overlap", OVERLAP)
    await app.open(threads=threads)

    found = await asyncio.gather(*(app.value("Overlap") for _ in range(20)))

    assert threads == max(found)


async def test_a_cancelled_call_that_waits_never_begins(app: App) -> None:
    """Its place goes to the next."""
    app.add(
        "Slow",
        """
        import pathlib, time
        def main(name):
            pathlib.Path(name).touch()
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
        """,
    )
    await app.open(threads=1)
    calls = [asyncio.create_task(app.invoke("Slow", name)) for name in "abc"]
    await until((app.root / "a").exists)

    calls[1].cancel()
    await asyncio.wait([calls[1]])
    (app.root / "go").touch()
    await asyncio.gather(calls[0], calls[2])

    assert [True, False, True] == [(app.root / name).exists() for name in "abc"]


async def test_two_workers_share_the_calls(app: App) -> None:
    """Each call goes to the one that has less to do."""
    app.add(
        "Nap", "import os, time\ndef main(name):\n time.sleep(0.2)\n return os.getpid()"
    )
    await app.open(count=2)
    await until(lambda: len(app.workers._ready) == 2)

    pids = await asyncio.gather(*(app.value("Nap") for _ in range(4)))

    assert [2, 2] == [pids.count(pid) for pid in set(pids)]


# Death and life

EXITS_ONCE = """
    import os, pathlib, signal, time
    def main(name):
        marker = pathlib.Path("has-run")
        if not marker.exists():
            marker.touch()
            {end}
        return "ran again"
    """


@linux_only
@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("os._exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 9); time.sleep(9)", "ended by SIGKILL"),
        ("os.kill(os.getpid(), 11); time.sleep(9)", "ended by SIGSEGV"),
        ("os.fork() or os.execlp('sleep', 'sleep', '5'); os._exit(3)", "exit code 3"),
    ],
)
async def test_a_call_whose_worker_ends_is_called_again(
    app: App, caplog: pytest.LogCaptureFixture, end: str, how: str
) -> None:
    """One line says what ended, how, and what ran; another worker is there."""
    app.add("Once", EXITS_ONCE.format(end=end))
    await app.open()
    pid = await app.value("Pid")

    assert "ran again" == await app.value("Once")

    (line,) = [each for each in caplog.messages if "ended" in each]
    assert f"The worker process {pid} ended ({how}); running: Once (abc)." in line
    assert pid != await app.value("Pid")


@linux_only
async def test_a_fork_that_lives_on_does_not_hide_the_end(app: App) -> None:
    """It holds the channel open."""
    end = "pid = os.fork() or __import__('time').sleep(20)\n" + " " * 12 + "os._exit(3)"
    app.add("Once", EXITS_ONCE.format(end=end))
    await app.open()

    assert "ran again" == await app.value("Once")


async def test_who_ends_five_workers_fails_and_nobody_else(app: App) -> None:
    """Those that ran beside it are called again alone."""
    app.add("Kills", "import os\ndef main(name): os._exit(3)")
    app.add("Nap", "import time\ndef main(name):\n time.sleep(0.1)\n return name")
    await app.open()

    naps = [asyncio.create_task(app.value("Nap", number)) for number in range(6)]
    failed = await app.invoke("Kills")

    assert isinstance(failed, Raised)
    assert "its worker process ended each of the 5 times" in failed.message
    assert list(range(6)) == await asyncio.gather(*naps)


async def test_a_request_whose_worker_ends_fails_once(app: App) -> None:
    """A request is never made twice."""
    app.add(
        "Dies",
        "import os\ndef main(req):\n open('runs', 'a').write('x')\n os._exit(3)",
        HTTP,
        RETURN,
    )
    await app.open()

    answer = await app.respond("Dies")

    assert isinstance(answer, Raised)
    assert "x" == (app.root / "runs").read_text()
    assert isinstance(await app.value("Pid"), int)


@linux_only
async def test_a_worker_that_stands_still_is_replaced(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not answer pings; what it had to do is done by another."""
    monkeypatch.setattr(workers, "PING_S", 0.05)
    app.add(
        "Once",
        EXITS_ONCE.format(end="os.kill(os.getpid(), signal.SIGSTOP); time.sleep(9)"),
    )
    await app.open()

    assert "ran again" == await app.value("Once")

    assert [each for each in caplog.messages if "has not answered for" in each]


async def test_a_long_call_does_not_keep_a_worker_from_answering(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in all of its threads nor on its loop."""
    monkeypatch.setattr(workers, "PING_S", 0.02)
    code = "import os, time\n{}def main(name):\n time.sleep(0.5)\n return os.getpid()"
    app.add("Sync", code.format(""))
    app.add("Async", code.format("async "))
    await app.open(threads=2)
    calls = [app.value(name) for name in ("Sync", "Sync", "Sync", "Async")]

    assert 1 == len(set(await asyncio.gather(*calls)))


async def test_no_process_is_left(app: App) -> None:
    """Whatever of the user's code still runs."""
    app.add(
        "Stays",
        """
        import os, threading, time
        threading.Thread(target=time.sleep, args=(60,)).start()
        def main(name):
            open("pid", "w").write(str(os.getpid()))
            time.sleep(60)
        """,
    )
    await app.open()
    call = asyncio.create_task(app.invoke("Stays"))
    await until(lambda: (app.root / "pid").exists() and (app.root / "pid").read_text())
    pid = int((app.root / "pid").read_text())
    began_s = time.monotonic()

    await app.close()

    assert not is_alive(pid)
    assert time.monotonic() - began_s < LIMIT_S
    call.cancel()
    await asyncio.wait([call])


# Logs


@pytest.fixture(name="told")
def _told() -> Iterator[list[logging.LogRecord]]:
    """What workers have told the console."""
    told: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.__dict__.get("is_of_worker"):
                told.append(record)

    handler = Keep()
    logging.getLogger().addHandler(handler)
    yield told
    logging.getLogger().removeHandler(handler)


SET_UPS = {
    "nothing": "pass",
    "dictConfig": "logging.config.dictConfig({'version': 1})",
    "dictConfig with a handler": """logging.config.dictConfig({'version': 1,
        'handlers': {'h': {'class': 'logging.StreamHandler'}},
        'root': {'handlers': ['h'], 'level': 'INFO'}})""",
    "force": "logging.basicConfig(force=True, level='INFO', format='%(message)s')",
    "no handlers": "logging.getLogger().handlers.clear()",
}


@pytest.mark.parametrize("set_up", SET_UPS.values(), ids=SET_UPS)
async def test_what_is_logged_and_printed_comes_once_in_order(
    app: App, told: list[logging.LogRecord], set_up: str
) -> None:
    """With its call, from the threads that it started too."""
    app.add(
        "Talks",
        f"""
        import logging, logging.config, sys, threading
        {set_up}

        def in_thread():
            logging.warning("3 thread")
            print("4 thread")

        def main(name):
            print("1", "printed")
            logging.error("2 logged")
            thread = threading.Thread(target=in_thread)
            thread.start()
            thread.join()
            print("5 no line end", end="")
        """,
    )
    await app.open()

    await app.value("Talks")

    texts = [record.getMessage().rpartition(":")[2] for record in told]
    assert ["1 printed", "2 logged", "3 thread", "4 thread", "5 no line end"] == texts
    for record in told:
        call = record.__dict__["invocation"]
        assert isinstance(call, Invocation)
        assert ("Talks", "abc") == (call.function_name, call.instance_id)


async def test_disable_silences_the_user_alone(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """The line of the call, and the traceback, are the host's."""
    app.add(
        "Quiet",
        """
        import logging
        logging.disable(logging.CRITICAL)
        def main(name):
            logging.error("unheard")
            raise ValueError("heard")
        """,
    )
    await app.open()

    await app.invoke("Quiet")

    text = "\n".join(caplog.messages)
    assert "ValueError: heard" in text
    assert "unheard" not in text
    assert logging.root.manager.disable < logging.INFO


async def test_levels_and_exceptions_travel(
    app: App, told: list[logging.LogRecord]
) -> None:
    """A record has its level, its logger's name and its traceback."""
    app.add(
        "Talks",
        """
        import logging
        def main(name):
            try:
                {}["key"]
            except KeyError:
                logging.getLogger("my.own").exception("went %s", "wrong")
            logging.debug("too low")
        """,
    )
    await app.open()

    await app.value("Talks")

    (record,) = told
    assert ("my.own", logging.ERROR) == (record.name, record.levelno)
    assert record.getMessage().startswith("went wrong\nTraceback (most recent call")
    assert record.getMessage().endswith("KeyError: 'key'")


@linux_only
async def test_standard_output_is_all_that_a_library_may_want(
    app: App, told: list[logging.LogRecord]
) -> None:
    """Bytes, a file number, another encoding; forks print too."""
    app.add(
        "Prints",
        """
        import os, subprocess, sys

        def main(name):
            sys.stdout.reconfigure(encoding="utf-8")
            sys.stdout.buffer.write("bytes é\\n".encode())
            sys.stderr.write("error\\n")
            subprocess.run(["true"], stdout=sys.stdout, check=True)
            if pid := os.fork():
                os.waitpid(pid, 0)
            else:
                print("fork")
                os._exit(0)
            return [sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty()]
        """,
    )
    await app.open()

    assert [1, 2, False] == await app.value("Prints")

    assert ["bytes é", "error", "fork"] == [record.getMessage() for record in told]
