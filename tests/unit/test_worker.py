"""Apps of the function.json model are imported, called and put away again."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import textwrap
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from localhost.app.catalog import Catalog
from localhost.app.in_process import InProcess
from localhost.app.manifest import read_app
from localhost.app.threads import HTTP_THREADS
from localhost.compat import timeout
from localhost.declared import Function, FunctionFault
from localhost.errors import HostError
from localhost.outcome import HttpAnswer, HttpAsked, Outcome, Raised, Returned

LIMIT_S = 10.0
ACTIVITY = {"name": "name", "type": "activityTrigger", "direction": "in"}
ORCHESTRATION = {"name": "context", "type": "orchestrationTrigger", "direction": "in"}
ENTITY = {"name": "context", "type": "entityTrigger", "direction": "in"}
HTTP = {"name": "req", "type": "httpTrigger", "direction": "in"}
RETURN = {"name": "$return", "type": "http", "direction": "out"}
CLIENT = {"name": "starter", "type": "durableClient", "direction": "in"}


class App:
    """An app in a folder of its own, and the worker that is opened on it."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.environ: dict[str, str] = {}
        self.functions: dict[str, Function] = {}
        self.worker: InProcess | None = None

    def write(self, path: str, code: str) -> None:
        """Write a Python file of the app."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(code), encoding="utf-8")

    def add(
        self, name: str, code: str, *bindings: Mapping[str, Any], **config: Any
    ) -> None:
        """Write one function, an activity unless bindings are given."""
        self.write(f"{name}/__init__.py", code)
        described = {"bindings": list(bindings or (ACTIVITY,)), **config}
        (self.root / name / "function.json").write_text(json.dumps(described))

    def load(self, threads: int = 2) -> tuple[FunctionFault, ...]:
        """Open the worker; the faults of what cannot be loaded."""
        app = read_app(self.root, environ=self.environ)
        assert () == app.faults
        self.functions = {each.name: each for each in app.functions}
        self.worker = InProcess(app, threads=threads)
        return self.worker.load_now()

    @property
    def opened(self) -> InProcess:
        if self.worker is None:
            assert () == self.load()
        assert self.worker is not None
        return self.worker

    async def invoke(self, name: str, trigger: str = '"x"', **options: Any) -> Outcome:
        """Call a durable function."""
        worker = self.opened
        options.setdefault("instance_id", "abc")
        return await worker.invoke(self.functions[name], trigger, **options)

    async def value(
        self, name: str, trigger: str = '"x"', **options: Any
    ) -> str | None:
        """Call a durable function that returns."""
        outcome = await self.invoke(name, trigger, **options)
        assert isinstance(outcome, Returned), outcome
        return outcome.value

    async def raised(self, name: str, trigger: str = '"x"') -> Raised:
        """Call a durable function that raises."""
        outcome = await self.invoke(name, trigger)
        assert isinstance(outcome, Raised), outcome
        return outcome

    async def respond(self, name: str, **bindings: str) -> HttpAnswer | Raised:
        """Call an HTTP function."""
        request = HttpAsked(
            method="POST",
            url="http://localhost/api/x",
            headers={},
            params={"who": "Tokyo"},
            route_params={},
            body=b'{"a": 1}',
        )
        worker = self.opened
        return await worker.respond(self.functions[name], request, bindings=bindings)

    async def body(self, name: str, **bindings: str) -> str:
        """Call an HTTP function that answers."""
        response = await self.respond(name, **bindings)
        assert isinstance(response, HttpAnswer), response
        return response.body.decode()

    async def close(self) -> None:
        if self.worker is not None:
            await self.worker.close(limit_s=LIMIT_S)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """An empty app; functions are added, the worker opens at the first call."""
    made = App(tmp_path)
    yield made
    await made.close()


async def test_an_activity_gets_its_input_decoded(app: App) -> None:
    """The parameter is the value, not its JSON."""
    app.add("Hello", "def main(name: str) -> str: return f'Hello {name}!'")

    assert '"Hello Tokyo!"' == await app.value("Hello", '"Tokyo"')


async def test_input_that_is_no_json_is_passed_as_it_is(app: App) -> None:
    """A hand-written message may hold plain text."""
    app.add("Echo", "def main(name): return name")

    assert '"Tok yo"' == await app.value("Echo", "Tok yo")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("None", None),
        ("True", "true"),
        ("1.5", "1.5"),
        ("''", '""'),
        ("'東京'", '"東京"'),
        ("[1, 'a']", '[1,"a"]'),
        ("{'a': {'b': None}}", '{"a":{"b":null}}'),
        ("'😀'", '"😀"'),
        (r"'\ud800'", '"\ufffd"'),
        (r"'\\ud800'", r'"\\ud800"'),
        (r"'\"\n'", r'"\"\n"'),
    ],
)
async def test_results_are_compact_json(
    app: App, expression: str, expected: str | None
) -> None:
    """As the real host writes them: no blanks, no escapes of letters."""
    app.add("Give", f"def main(name): return {expression}")

    assert expected == await app.value("Give")


async def test_a_result_that_is_no_json_is_the_functions_fault(app: App) -> None:
    """The text is azure.functions' own."""
    app.add("Give", "def main(name): return {1, 2}")

    raised = await app.raised("Give")

    assert (
        "ValueError",
        "activity trigger output must be json serializable ({1, 2})",
    ) == (
        raised.type_name,
        raised.message,
    )


async def test_an_object_of_the_users_class_travels(app: App) -> None:
    """to_json and from_json are found through the module's name in ``__app__``."""
    app.write(
        "shared/things.py",
        """
        class Thing:
            def __init__(self, n): self.n = n
            @staticmethod
            def to_json(thing): return thing.n
            @staticmethod
            def from_json(n): return Thing(n)
        """,
    )
    app.add(
        "Make",
        "from __app__.shared.things import Thing\ndef main(name): return Thing(5)",
    )

    text = await app.value("Make")

    assert (
        '{"__class__":"Thing","__module__":"__app__.shared.things","__data__":5}'
        == text
    )


async def test_an_async_activity_runs_on_the_loop(app: App) -> None:
    """A coroutine function sees the host's loop."""
    app.add(
        "Loop",
        """
        import asyncio
        async def main(name):
            await asyncio.sleep(0)
            return id(asyncio.get_running_loop())
        """,
    )

    assert str(id(asyncio.get_running_loop())) == await app.value("Loop")


async def test_a_sync_activity_runs_in_a_thread(app: App) -> None:
    """Blocking code does not stop the host."""
    app.add(
        "Thread",
        "import threading\ndef main(name): return threading.current_thread().name",
    )

    assert '"function-1"' == await app.value("Thread")


async def test_a_fault_has_the_users_frames_only(app: App) -> None:
    """The trace begins in the user's file and shows nothing of this host."""
    app.add(
        "Boom",
        """
        def check(name):
            raise ValueError("boom: " + name)

        def main(name):
            check(name)
        """,
    )

    raised = await app.raised("Boom", '"é"')

    assert ("ValueError", "boom: é") == (raised.type_name, raised.message)
    frames = re.findall(
        r'^  File "(.*)", line (\d+), in (\w+)$', raised.traceback, re.M
    )
    script = str(app.root / "Boom" / "__init__.py")
    assert [(script, "6", "main"), (script, "3", "check")] == frames


async def test_an_async_fault_has_the_users_frames_only(app: App) -> None:
    """The same for a coroutine."""
    app.add("Boom", "async def main(name): raise KeyError(name)")

    raised = await app.raised("Boom")

    assert ("KeyError", "'x'", 1) == (
        raised.type_name,
        raised.message,
        raised.traceback.count("  File "),
    )


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_exit_in_a_function_ends_the_function_only(app: App, prefix: str) -> None:
    """sys.exit() in user code is a fault like any other."""
    app.add("Exit", f"import sys\n{prefix}def main(name): sys.exit(3)")

    assert "SystemExit" == (await app.raised("Exit")).type_name


async def test_an_exception_that_cannot_be_printed(app: App) -> None:
    """A broken __str__ does not break the host."""
    app.add(
        "Bad",
        """
        class Bad(Exception):
            def __str__(self): raise RuntimeError
        def main(name): raise Bad
        """,
    )

    assert "<unprintable Bad object>" == (await app.raised("Bad")).message


def history(*events: dict[str, Any]) -> str:
    """What the Durable extension gives an orchestrator in its first turn."""
    moment = "2026-01-01T00:00:00.0000000Z"
    common = {"EventId": -1, "IsPlayed": False, "Timestamp": moment}
    started = {"EventType": 0, "Name": "Orch", "Version": "", "Input": "null", **common}
    return json.dumps(
        {
            "history": [{"EventType": 12, **common}, started, *events],
            "input": None,
            "instanceId": "abc",
            "isReplaying": False,
            "parentInstanceId": None,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
        }
    )


ORCHESTRATOR = """
    import azure.durable_functions as df

    def orchestrator(context: df.DurableOrchestrationContext):
        {body}
        yield context.call_activity("Hello", "Tokyo")

    main = df.Orchestrator.create(orchestrator)
    """


async def test_an_orchestrator_gives_its_state(app: App) -> None:
    """The SDK's orchestrator gets the body and returns its actions."""
    app.add("Orch", ORCHESTRATOR.format(body="pass"), ORCHESTRATION)

    state = json.loads(await app.value("Orch", history()) or "")

    assert (False, "Hello") == (state["isDone"], state["actions"][0][0]["functionName"])


async def test_an_orchestrators_fault_keeps_the_sdks_state(app: App) -> None:
    """The message has the state for the extension, the trace the user's line."""
    app.add("Orch", ORCHESTRATOR.format(body="raise KeyError('early')"), ORCHESTRATION)

    raised = await app.raised("Orch", history())

    text, _, state = raised.message.partition("\n\n$OutOfProcData$:")
    assert ("'early'", "'early'") == (text, json.loads(state)["error"])
    assert "raise KeyError('early')" in raised.traceback
    assert "azure" not in raised.traceback


async def test_an_orchestrator_without_create_is_explained(app: App) -> None:
    """A generator as entry point is the usual slip; the text says what is missing."""
    app.add("Orch", "def main(context): yield 1", ORCHESTRATION)

    raised = await app.raised("Orch", history())

    assert "the function returned generator" in raised.message
    assert "main = df.Orchestrator.create(<function>)" in raised.message


async def test_an_entity_gives_its_batch(app: App) -> None:
    """The SDK's entity gets the batch and returns the new state."""
    app.add(
        "Counter",
        """
        import azure.durable_functions as df

        def counter(context):
            context.set_state(context.get_state(lambda: 0) + context.get_input())

        main = df.Entity.create(counter)
        """,
        ENTITY,
    )
    operation = {"name": "add", "input": '"5"', "isSignal": True}
    batch = {
        "self": {"name": "counter", "key": "k"},
        "exists": False,
        "state": None,
        "batch": [operation],
    }

    result = json.loads(await app.value("Counter", json.dumps(batch)) or "")

    assert ("5", True) == (result["entityState"], result["entityExists"])


async def test_an_http_function_gets_request_and_client(app: App) -> None:
    """The starter of the quickstart: request in, client as text, response out."""
    app.add(
        "Start",
        """
        import azure.functions as func
        async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
            return func.HttpResponse(f"{req.params['who']} {req.get_json()} {starter}")
        """,
        HTTP,
        RETURN,
        CLIENT,
    )

    assert "Tokyo {'a': 1} {...}" == await app.body("Start", starter="{...}")


@pytest.mark.parametrize(
    ("client", "parameter", "expected"),
    [
        (CLIENT, "starter", "'text'"),
        (CLIENT, "starter: str", "'text'"),
        (CLIENT, "starter: bytes", "b'text'"),
        ({**CLIENT, "type": "orchestrationClient"}, "starter: str", "'text'"),
        ({**CLIENT, "type": "orchestrationClient"}, "starter", "'text'"),
        ({**CLIENT, "dataType": "string"}, "starter", "'text'"),
        ({**CLIENT, "dataType": "binary"}, "starter", "b'text'"),
    ],
)
async def test_the_client_is_text(
    app: App, client: dict[str, str], parameter: str, expected: str
) -> None:
    """Old name or new, annotated or not; bytes only where asked for."""
    app.add(
        "Start",
        f"def main(req, {parameter}): return repr(starter)",
        HTTP,
        RETURN,
        client,
    )

    assert expected == await app.body("Start", starter="text")


async def test_several_clients_and_a_client_in_an_activity(app: App) -> None:
    """Each durableClient gets its own value, wherever it is bound."""
    other = {**CLIENT, "name": "other"}
    code = "def main(name, starter, other): return [starter, other]"
    app.add("Act", code, ACTIVITY, CLIENT, other)

    assert '["a","b"]' == await app.value(
        "Act", bindings={"starter": "a", "other": "b"}
    )


async def test_a_named_output_is_the_response(app: App) -> None:
    """func.Out instead of $return."""
    app.add(
        "Named",
        """
        import azure.functions as func
        def main(req: func.HttpRequest, res: func.Out[func.HttpResponse]) -> None:
            res.set(func.HttpResponse("set", status_code=201))
        """,
        HTTP,
        {**RETURN, "name": "res"},
    )

    response = await app.respond("Named")

    assert isinstance(response, HttpAnswer)
    assert (201, b"set") == (response.status, response.body)


@pytest.mark.parametrize("bindings", [(HTTP,), (HTTP, {**RETURN, "name": "res"})])
async def test_no_answer_is_a_204(
    app: App, bindings: tuple[dict[str, str], ...]
) -> None:
    """A function without http output, or one that sets none, has succeeded."""
    parameters = ", ".join(each["name"] for each in bindings)
    app.add("Quiet", f"def main({parameters}): pass", *bindings)

    response = await app.respond("Quiet")

    assert isinstance(response, HttpAnswer)
    assert 204 == response.status


@pytest.mark.parametrize(
    ("bindings", "value", "expected"),
    [
        ((HTTP, RETURN), "None", 'for Python type "NoneType"'),
        ((HTTP, RETURN), "{}", 'for Python type "dict"'),
        ((HTTP,), "'x'", "without a $return bindingreturned a non-None value"),
    ],
)
async def test_a_value_that_is_no_response_is_a_fault(
    app: App, bindings: tuple[dict[str, str], ...], value: str, expected: str
) -> None:
    """As in Azure; the caller gets a 500."""
    app.add("Wrong", f"def main(req): return {value}", *bindings)

    raised = await app.respond("Wrong")

    assert isinstance(raised, Raised)
    assert expected in raised.message


async def test_context_tells_about_the_call(app: App) -> None:
    """func.Context is there for who asks for it."""
    app.add(
        "Tell",
        """
        import azure.functions as func
        def main(req: func.HttpRequest, context: func.Context) -> str:
            assert len(context.invocation_id) == 36
            assert context.retry_context.retry_count == 0
            assert context.trace_context.trace_parent.startswith("00-")
            context.thread_local_storage.invocation_id = context.invocation_id
            return f"{context.function_name} {context.function_directory}"
        """,
        HTTP,
        RETURN,
    )

    assert f"Tell {app.root / 'Tell'}" == await app.body("Tell")


async def test_one_line_for_a_call_that_succeeds(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """Instance, function, outcome, id and duration."""
    app.add("Hello", "def main(name): return name")
    caplog.set_level(logging.INFO, "localhost.invocations")

    await app.value("Hello")

    (record,) = caplog.records
    assert "INFO" == record.levelname
    assert re.fullmatch(
        r"abc: Executed 'Functions\.Hello' "
        r"\(Succeeded, Id=[0-9a-f-]{36}, Duration=\d+ms\)",
        record.getMessage(),
    )


async def test_a_fault_is_logged_with_the_users_trace(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """What was raised comes first, then the user's frames, then what caused it."""
    app.add(
        "Boom",
        """
        def main(req):
            try:
                {}["key"]
            except KeyError as exc:
                raise ValueError("boom") from exc
        """,
        HTTP,
        RETURN,
    )

    await app.respond("Boom")

    (record,) = caplog.records
    lines = record.getMessage().splitlines()
    assert "ERROR" == record.levelname
    assert lines[0].startswith("-: Executed 'Functions.Boom' (Failed, Id=")
    assert "ValueError: boom" == lines[1]
    assert lines[2].startswith(f'  File "{app.root / "Boom"}')
    assert "caused by KeyError: 'key'" in lines


async def test_the_sdks_state_is_not_logged(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """An orchestrator's fault reads like any other."""
    fault = "raise ValueError('Activity failed:  E: x \\n {\"$type\":1}')"
    app.add("Orch", ORCHESTRATOR.format(body=fault), ORCHESTRATION)

    await app.raised("Orch", history())

    lines = caplog.records[-1].getMessage().splitlines()
    assert "ValueError: Activity failed:  E: x" == lines[1]
    assert not [line for line in lines if "OutOfProcData" in line]


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_user_code_knows_its_invocation(app: App, prefix: str) -> None:
    """The console can tell which call a log record belongs to."""
    app.add(
        "Who",
        f"""
        from localhost.worker.invocation import current_invocation
        {prefix}def main(name):
            call = current_invocation.get()
            return [call.function_name, call.instance_id]
        """,
    )

    assert '["Who","abc"]' == await app.value("Who")


async def test_two_apps_one_after_the_other(tmp_path: Path) -> None:
    """A closed worker leaves no module and no path behind."""
    values = []
    before = (set(sys.modules), list(sys.path))
    for number in (1, 2):
        app = App(tmp_path / str(number))
        app.write("helper.py", f"NUMBER = {number}")
        app.write("space/inner.py", f"NUMBER = {number}")
        app.add(
            "Give",
            """
            import helper
            from space import inner
            def main(name): return [helper.NUMBER, inner.NUMBER]
            """,
        )
        values.append(await app.value("Give"))
        await app.close()

    assert ["[1,1]", "[2,2]"] == values
    assert before == (set(sys.modules), list(sys.path))


async def test_close_waits_for_async_functions_too(app: App) -> None:
    """A call that runs may come to its end."""
    app.add(
        "Slow",
        """
        import asyncio
        async def main(name):
            for _ in range(10):
                await asyncio.sleep(0)
            return name
        """,
    )
    call = asyncio.create_task(app.value("Slow"))
    await asyncio.sleep(0)

    await app.close()

    assert call.done()


async def test_a_function_that_is_not_loaded_is_not_called(app: App) -> None:
    """Calling a disabled function is a fault of this host, and says so."""
    app.add("Off", "raise RuntimeError('never imported')", disabled=True)

    with pytest.raises(
        HostError, match="The function Off was called but is not loaded"
    ):
        await app.invoke("Off")


async def test_a_missing_binding_value_is_told(app: App) -> None:
    """The caller forgot the client's text."""
    app.add("Act", "def main(name, starter): pass", ACTIVITY, CLIENT)

    with pytest.raises(HostError, match="without a value for its binding starter"):
        await app.invoke("Act")


async def test_finds_by_kind_and_durable_name(app: App) -> None:
    """Names ignore case; kinds are kept apart; disabled functions are not there."""
    app.add("Hello", "def main(name): pass")
    app.add("Gone", "def main(name): pass")
    app.add("Named", "def main(name): pass", {**ACTIVITY, "activity": "Other"})
    app.environ = {"AzureWebJobs.Gone.Disabled": "true"}
    find = Catalog(read_app(app.root, environ=app.environ)).find

    def name(function: Function | None) -> str | None:
        return function.name if function else None

    assert ["Hello", "Named", None, None, None] == [
        name(find("activity", "HELLO")),
        name(find("activity", "other")),
        name(find("activity", "Named")),
        name(find("orchestration", "Hello")),
        name(find("activity", "Gone")),
    ]


async def test_requests_never_take_the_threads_of_instances(app: App) -> None:
    """More HTTP functions that wait than there are threads leave activities alone.

    So do those that ``/admin/functions`` runs: nobody limits how many there are.
    """
    app.write(
        "waiting.py",
        """
        import threading

        answered = threading.Event()

        def wait():
            return str(answered.wait(10))
        """,
    )
    app.add(
        "Http", "import waiting\ndef main(req): return waiting.wait()", HTTP, RETURN
    )
    app.add("Waits", "import waiting\ndef main(name): return waiting.wait()")
    app.add("Answers", "import waiting\ndef main(name): waiting.answered.set()")
    assert () == app.load(threads=1)
    asked = [asyncio.create_task(app.body("Http")) for _ in range(3 * HTTP_THREADS)]
    run = [
        asyncio.create_task(app.value("Waits", instance_id="-", is_from_outside=True))
        for _ in range(2)
    ]
    await asyncio.sleep(0)

    await app.value("Answers")

    assert {"True"} == set(await asyncio.gather(*asked))
    assert {'"True"'} == set(await asyncio.gather(*run))


# Cancels

CANCELS = {
    "awaits a task that it cancelled": """
        helper = asyncio.create_task(asyncio.sleep(60))
        helper.cancel()
        await helper
    """,
    "cancels the task that it runs in": """
        asyncio.current_task().cancel()
        await asyncio.sleep(60)
    """,
    "raises it": """
        raise asyncio.CancelledError("no")
    """,
}


def cancelling(parameter: str, code: str) -> str:
    """Return the script of an async function with this body."""
    body = textwrap.indent(textwrap.dedent(code), "    ")
    return f"import asyncio\n\nasync def main({parameter}):{body}"


@pytest.mark.parametrize("code", CANCELS.values(), ids=CANCELS)
async def test_cancel_of_user_code_is_its_fault(app: App, code: str) -> None:
    """The call ends; it is not the host that was cancelled."""
    app.add("Gone", cancelling("name", code))

    async with timeout(LIMIT_S):
        raised = await app.raised("Gone")

    assert "CancelledError" == raised.type_name
    assert "Gone/__init__.py" in raised.traceback


@pytest.mark.parametrize("code", CANCELS.values(), ids=CANCELS)
async def test_cancel_of_an_http_function_is_its_fault(app: App, code: str) -> None:
    """So that its caller gets an answer."""
    app.add("Gone", cancelling("req", code), HTTP, RETURN)

    async with timeout(LIMIT_S):
        response = await app.respond("Gone")

    assert isinstance(response, Raised)


async def test_cancel_of_a_synchronous_function_is_its_fault(app: App) -> None:
    """A thread has no task to cancel."""
    code = "import asyncio\n\ndef main(name): raise asyncio.CancelledError"
    app.add("Gone", code)

    assert "CancelledError" == (await app.raised("Gone")).type_name


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "GeneratorExit", "SystemExit"])
@pytest.mark.parametrize("prefix", ["", "async "])
async def test_exception_beside_exception_is_a_fault(
    app: App, prefix: str, name: str
) -> None:
    """It ends the function, not the loop that it runs on."""
    app.add("Gone", f"{prefix}def main(name): raise {name}")

    assert name == (await app.raised("Gone")).type_name


async def test_cancel_by_the_host_cancels_the_function(app: App) -> None:
    """The code can clean up, then the cancel goes on."""
    app.add(
        "Waits",
        """
        import asyncio, pathlib

        done = pathlib.Path(__file__).with_name("done")

        async def main(name):
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                done.touch()
        """,
    )
    app.load()
    begun = asyncio.Event()
    vars(sys.modules["__app__.Waits"])["begun"] = begun
    call = asyncio.create_task(app.invoke("Waits"))
    async with timeout(LIMIT_S):
        await begun.wait()

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert (app.root / "Waits/done").exists()


@pytest.mark.parametrize("name", ["asyncio.CancelledError", "GeneratorExit"])
def test_module_that_raises_no_exception_is_a_fault(tmp_path: Path, name: str) -> None:
    """The others are loaded."""
    app = App(tmp_path)
    app.add("Gone", f"import asyncio\n\nraise {name}")

    (fault,) = app.load()

    assert name.split(".")[-1] in fault.message
