"""Any text and any number through every border of a host, on a real Azurite.

Each test sends many values of all of Unicode (and what JSON has no numbers for) through
one border. The instance ends, its status is JSON to the letter, the value comes back,
and afterwards an ordinary chain still completes on the same hub.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from localhost.text import well_formed
from tests.acceptance.asking import Answer, wait_for
from tests.acceptance.hosts import write_function
from tests.conftest import Emulator
from tests.integration.hosted import END_LIMIT_S, ORCHESTRATOR, Hosted, hosts_on

pytestmark = pytest.mark.timeout(60)

ODD = (
    *("\x00", "\x85", "\u2028", "\u2029", "\ufffe", "\U0010ffff", "\r\n", "]]>"),
    *("'", '"', "\\", "\ud800", "\udc00", "\udce9", "\ufeff", "é", "日本", "\x7f"),
    *(
        "\\ud83d\ude42",
        "%2F",
        "{}",
        "',RowKey='",
        "a b",
        "$OutOfProcData$",
        "\U0001f642",
    ),
)
characters = st.characters()  # no category is left out: surrogates are in
texts = st.lists(
    st.one_of(st.sampled_from(ODD), characters, st.text(characters, max_size=4)),
    max_size=5,
).map("".join)
values = st.recursive(
    st.one_of(texts, st.floats(), st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=6,
)
many_texts = st.lists(texts, min_size=8, max_size=12).map(lambda some: [*ODD, *some])
many_values = st.lists(values, min_size=8, max_size=12).map(
    lambda some: [*some, *ODD, float("nan"), [float("inf"), -float("inf")], 1e300]
)
few_texts = st.lists(texts, min_size=3, max_size=5)
often = settings(
    max_examples=2,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

# Inputs are JSON in a text: the user's code itself makes what JSON cannot carry.
ORCHESTRATORS = {
    "Returns": "return context.get_input()\n    yield",
    "Activities": """values = context.get_input()
    return (yield context.task_all([context.call_activity("Echo", v) for v in values]))
    """,
    "Children": """found = []
    for number, (text, value) in enumerate(context.get_input()):
        name = f"{context.instance_id}-{number}-{text}"
        found.append((yield context.call_sub_orchestrator("Returns", value, name)))
    return found""",
    "Faults": """found = []
    for text in context.get_input():
        yield context.call_activity("Logs", text)
        try:
            yield context.call_activity("Raises", text)
        except Exception as exc:
            found.append(str(exc))
        try:
            yield context.call_sub_orchestrator("Fails", text)
        except Exception as exc:
            found.append(str(exc))
    return found""",
    "Fails": "raise ValueError(context.get_input())\n    yield",
    "Statuses": """for value in context.get_input():
        context.set_custom_status([value])
        yield context.call_activity("Echo", 1)""",
    "Waits": "return (yield context.wait_for_external_event(context.get_input()))",
    "Names": """given = context.get_input()
    return (yield getattr(context, given[0])(given[1], given[2]))""",
    "Keeps": """found = []
    for key, value in context.get_input():
        keeper = df.EntityId("Keeper", "k" + key)
        found.append((yield context.call_entity(keeper, key, value)))
        try:
            yield context.call_entity(keeper, "raise", key)
        except Exception as exc:
            found.append(str(exc))
    return found""",
    "Asks": """found = []
    for asked in context.get_input():
        try:
            found.append((yield context.call_http("POST", **asked)))
        except Exception as exc:
            found.append("failed: " + str(exc))
    return found""",
    "Continues": """is_first, value = context.get_input()
    if is_first:
        context.continue_as_new([False, value])
    return value
    yield""",
}
ACTIVITIES = {
    "Echo": "def main(value):\n    return value\n",
    "Raises": "def main(value):\n    raise ValueError(value)\n",
    "Logs": "import logging\n\n\ndef main(value):\n"
    "    logging.warning('%s', value)\n    logging.warning(value)\n",
}
KEEPER = """
import azure.durable_functions as df


def entity_function(context):
    if context.operation_name == "raise":
        raise ValueError(context.get_input())
    context.set_state([context.operation_name, context.get_input()])
    context.set_result([context.entity_key, context.get_state()])


main = df.Entity.create(entity_function)
"""
SAYS = """
import json

import azure.functions as func


def main(req: func.HttpRequest):
    asked = json.loads(req.get_body() or "null")
    if asked is None:
        told = [req.params.get("q"), req.headers.get("x-who"), req.url]
        return func.HttpResponse(json.dumps(told))
    if "header" in asked:
        return func.HttpResponse("", headers={"X-Who": asked["header"]})
    return asked["text"]
"""
STARTS = """
import asyncio
import json

import azure.durable_functions as df
import azure.functions as func


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    asked = json.loads(req.get_body())
    id_ = await client.start_new("Waits", asked["id"], "Go")
    await client.raise_event(id_, "Go", asked["value"])
    status = await client.get_status(id_)
    while status.runtime_status.value not in ("Completed", "Failed"):
        await asyncio.sleep(0.01)
        status = await client.get_status(id_)
    return func.HttpResponse(json.dumps([id_, status.output]))
"""
numbers = itertools.count()


@pytest.fixture(scope="module", name="hosted")
def _hosted(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosted]:
    """One host for all: what one border does must not disturb the next either."""
    with hosts_on(tmp_path_factory.mktemp("text")) as hosts:
        app = hosts.copy_app()
        for name, body in ORCHESTRATORS.items():
            script = ORCHESTRATOR.format(body=body)
            write_function(app, name, script, trigger("context", "orchestration"))
        for name, script in ACTIVITIES.items():
            write_function(app, name, script, trigger("value", "activity"))
        write_function(app, "Keeper", KEEPER, trigger("context", "entity"))
        answers = {"name": "$return", "type": "http", "direction": "out"}
        asked = {**trigger("req", "http"), "authLevel": "anonymous"}
        starter = {"name": "starter", "type": "durableClient", "direction": "in"}
        write_function(app, "Says", SAYS, asked, answers)
        write_function(app, "Starts", STARTS, asked, answers, starter)
        host = hosts.start(app, AzureWebJobsStorage=emulator.connection_string)
        yield Hosted(host=host, hosts=hosts, hub=host.hub)


@pytest.fixture(autouse=True)
def _goes_on(hosted: Hosted) -> Iterator[None]:
    """Whatever a test has sent, the next instances run, and the console goes on."""
    yield
    one_of_each = {hosted.queue_of(id_): id_ for id_ in (new_id() for _ in range(32))}
    ids = one_of_each.values()
    for id_ in ids:
        hosted.start("HelloOrchestrator", id_)
    assert {"Completed"} == {hosted.end_of(id_)["runtimeStatus"] for id_ in ids}
    assert "--- Logging error ---" not in hosted.host.text()
    assert "Traceback" not in "\n".join(
        line for line in hosted.host.text().splitlines() if "boom" not in line
    )


def trigger(name: str, kind: str) -> dict[str, str]:
    return {"name": name, "type": f"{kind}Trigger", "direction": "in"}


def new_id() -> str:
    return f"t{next(numbers)}"


def strict(text: str) -> Any:
    """Read JSON; what other readers than Python's refuse is refused."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON: {text}")

    return json.loads(text, parse_constant=refuse)


def told(value: Any) -> Any:
    """A value as it comes back: no half of a pair, no number that is none."""
    match value:
        case str():
            return well_formed(value)
        case float() if value != value or value in (float("inf"), -float("inf")):
            return json.dumps(value)
        case list():
            return [told(item) for item in value]
        case dict():
            return {told(key): told(item) for key, item in value.items()}
    return value


def management(
    hosted: Hosted, method: str, path: str, body: bytes | None = None, query: str = ""
) -> Answer:
    """Send a management request with a raw body."""
    url = f"{hosted.host.url}/runtime/webhooks/durabletask/{path}"
    return raw(method, f"{url}?code={hosted.host.code}{query}", body)


def raw(method: str, url: str, body: bytes | None = None, **headers: str) -> Answer:
    """Send these bytes; header values are Latin-1."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=END_LIMIT_S)
    with closing(connection):
        connection.request(
            method,
            url.partition(parts.netloc)[2],
            body,
            {"Content-Type": "application/json", **headers},
        )
        answer = connection.getresponse()
        text = answer.read().decode()
        return Answer(status=answer.status, headers=answer.headers, text=text)


def start(hosted: Hosted, name: str, input_: object, id_: str = "") -> str:
    """Start an instance whose input is JSON in a text; return its id."""
    id_ = id_ or new_id()
    body = json.dumps(json.dumps(input_)).encode()
    answer = management(hosted, "POST", f"orchestrators/{name}/{quoted(id_)}", body)
    assert 202 == answer.status, answer.text
    return id_


def end(hosted: Hosted, id_: str) -> Any:
    """Wait for the end of an instance; its status is JSON."""

    def ended() -> Any:
        text = management(hosted, "GET", f"instances/{quoted(id_)}").text
        status = strict(text) if text else None
        is_over = status and status["runtimeStatus"] not in ("Pending", "Running")
        return status if is_over else None

    return wait_for(ended, f"the end of {id_!a}", limit_s=END_LIMIT_S)


def run(hosted: Hosted, name: str, input_: object) -> Any:
    """Run an instance to its end, which is a good one; return its output."""
    status = end(hosted, start(hosted, name, input_))
    assert "Completed" == status["runtimeStatus"], status
    return status["output"]


def quoted(text: str) -> str:
    return quote(text, safe="")


# Orchestrators


@often
@given(many_values)
def test_input_and_output(hosted: Hosted, values: list[Any]) -> None:
    """Of an instance that a client starts, in escapes or raw."""
    escaped = json.dumps({"a": values})
    raw = well_formed(json.dumps({"a": values}, ensure_ascii=False))
    for body in (escaped.encode(), raw.encode()):
        id_ = new_id()
        management(hosted, "POST", f"orchestrators/Returns/{id_}", body)
        status = end(hosted, id_)
        assert {"a": told(values)} == status["input"] == status["output"]
    assert told(values) == run(hosted, "Returns", values)


@often
@given(many_values)
def test_input_that_goes_on(hosted: Hosted, values: list[Any]) -> None:
    """Of an instance that continues as new."""
    assert told(values) == run(hosted, "Continues", [True, values])


@often
@given(many_values)
def test_custom_status(hosted: Hosted, values: list[Any]) -> None:
    """Each is written, the last one stays."""
    status = end(hosted, start(hosted, "Statuses", values))

    assert "Completed" == status["runtimeStatus"]
    assert [told(values[-1])] == status["customStatus"]


@often
@given(many_texts)
def test_exception(hosted: Hosted, texts: list[str]) -> None:
    """Of an orchestrator: the instance fails with it."""
    for id_, text in [(start(hosted, "Fails", text), text) for text in texts]:
        status = end(hosted, id_)
        assert "Failed" == status["runtimeStatus"]
        assert well_formed(text) in status["output"]


@often
@given(many_texts)
def test_instance_id(hosted: Hosted, texts: list[str]) -> None:
    """Of a client: refused with a sentence, or an instance that ends."""
    started = []
    for text in map(well_formed, texts):
        id_ = f"{new_id()}-{text}"
        path = f"orchestrators/Returns/{quoted(id_)}"
        answer = management(hosted, "POST", path, b"{}")
        assert answer.status in (202, 400), answer.text
        if answer.status == 202:
            started.append((id_, strict(answer.text)["statusQueryGetUri"]))
        else:
            assert "must not contain" in strict(answer.text)["ExceptionMessage"]
    for id_, link in started:
        assert {} == end(hosted, id_)["output"]
        assert id_.replace("/", "%2F") == strict(raw("GET", link).text)["instanceId"]


# Activities


@often
@given(many_values)
def test_activity(hosted: Hosted, values: list[Any]) -> None:
    """Its input and its result."""
    assert told(values) == run(hosted, "Activities", values)


@often
@given(many_texts)
def test_fault(hosted: Hosted, texts: list[str]) -> None:
    """Of an activity or a child, caught by the orchestrator; and the console."""
    found = run(hosted, "Faults", texts)

    for text, of_activity, of_child in zip(texts, found[::2], found[1::2], strict=True):
        assert well_formed(text) in of_activity
        assert well_formed(text) in of_child


# Children


@often
@given(st.lists(st.tuples(texts, values), min_size=3, max_size=5))
def test_child(hosted: Hosted, given_: list[tuple[str, Any]]) -> None:
    """Its id, its input and its result."""
    id_ = start(hosted, "Children", [list(each) for each in given_])

    assert [told(value) for _, value in given_] == end(hosted, id_)["output"]
    for number, (text, value) in enumerate(given_):
        child = well_formed(f"{id_}-{number}-{text}")
        if "/" not in child:
            assert told(value) == end(hosted, child)["output"]


# Names


@often
@given(st.lists(texts.filter(bool), min_size=3, max_size=5))
def test_name(hosted: Hosted, names: list[str]) -> None:
    """Of a function that there is not: the instance fails and names it."""
    kinds = ("call_activity", "call_sub_orchestrator")
    for name, kind in itertools.product(names, kinds):
        status = end(hosted, start(hosted, "Names", [kind, name, 1]))
        assert "Failed" == status["runtimeStatus"]
        assert f"'{well_formed(name)}' doesn't exist" in status["output"]


# Events


@often
@given(st.lists(st.tuples(texts, values), min_size=4, max_size=8))
def test_event(hosted: Hosted, given_: list[tuple[str, Any]]) -> None:
    """Its name and its data."""
    sent = []
    for text, value in given_:
        name = "e" + well_formed(text).replace("/", "")
        id_ = start(hosted, "Waits", name)
        path = f"instances/{id_}/raiseEvent/{quoted(name)}"
        body = json.dumps(value).encode()
        assert 202 == management(hosted, "POST", path, body).status
        sent.append((id_, value))
    for id_, value in sent:
        assert told(value) == end(hosted, id_)["output"]


@often
@given(few_texts)
def test_reason(hosted: Hosted, reasons: list[str]) -> None:
    """Of a suspension, a resumption and a termination."""
    for reason in map(well_formed, reasons):
        id_ = start(hosted, "Waits", "Go")
        for what in ("suspend", "resume", "terminate"):
            path, query = f"instances/{id_}/{what}", f"&reason={quoted(reason)}"
            status = management(hosted, "POST", path, b"", query).status
            assert status in (202, 500)  # 500: it has not begun yet
        assert "Terminated" == wait_until_terminated(hosted, id_)["runtimeStatus"]


def wait_until_terminated(hosted: Hosted, id_: str) -> Any:
    def ended() -> Any:
        status = strict(management(hosted, "GET", f"instances/{id_}").text)
        return status if status["runtimeStatus"] == "Terminated" else None

    return wait_for(ended, f"the end of {id_}", limit_s=END_LIMIT_S)


# Entities


@often
@given(st.lists(st.tuples(texts, values), min_size=3, max_size=5))
def test_entity(hosted: Hosted, given_: list[tuple[str, Any]]) -> None:
    """Its key, its operations, their input, result and fault, its state."""
    given_ = [(f"{new_id()}-{text}", value) for text, value in given_]
    found = run(hosted, "Keeps", [list(each) for each in given_])

    for (text, value), result, fault in zip(
        given_, found[::2], found[1::2], strict=True
    ):
        key = well_formed(text)
        assert [f"k{key}", [key, told(value)]] == result
        assert key in fault
        if "/" not in key:
            path = f"entities/keeper/{quoted('k' + key)}"
            assert [key, told(value)] == strict(management(hosted, "GET", path).text)
    assert strict(management(hosted, "GET", "entities", query="&fetchState=true").text)


@often
@given(st.lists(st.tuples(texts, values), min_size=3, max_size=5))
def test_signal(hosted: Hosted, given_: list[tuple[str, Any]]) -> None:
    """Of a client: the operation and its input."""
    for text, value in given_:
        operation = f"o{well_formed(text)}x"
        path = f"entities/keeper/{new_id()}"
        body = json.dumps(json.dumps(value)).encode()  # as the SDK's client sends it
        query = f"&op={quoted(operation)}"
        assert 202 == management(hosted, "POST", path, body, query).status

        def state(path: str = path) -> Any:
            return strict(management(hosted, "GET", path).text or "null")

        found = wait_for(state, f"the state of {path}", limit_s=END_LIMIT_S)
        assert [operation, told(value)] == found


# call_http


class Echo(BaseHTTPRequestHandler):
    """Answers a POST with its body, and with headers that its path names."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Who", unquote(self.path.partition("?")[2], "latin-1"))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module", name="echo")
def _echo() -> Iterator[str]:
    """A server that answers with what it is sent."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@often
@given(st.lists(texts, min_size=6, max_size=10))
def test_call_http(hosted: Hosted, echo: str, texts: list[str]) -> None:
    """The body comes back; address and headers fit into HTTP or are a fault."""
    texts = [*texts, *ODD]
    found = run(hosted, "Asks", [{"uri": echo, "content": f"b{t}"} for t in texts])
    bodies = [well_formed(json.loads(answer["content"])) for answer in found]
    assert [f"b{well_formed(text)}" for text in texts] == bodies  # the SDK writes JSON

    odd: list[dict[str, Any]] = [{"uri": echo + text} for text in texts]
    odd += [{"uri": echo, "headers": {"X-Text": text}} for text in texts]
    odd += [{"uri": echo, "headers": {f"X-{text}": "a"}} for text in texts]
    for answer in run(hosted, "Asks", odd):
        is_fault = isinstance(answer, str) and answer.startswith("failed: ")
        assert is_fault or answer["statusCode"] in (200, 400, 414, 501)


@often
@given(st.lists(st.text(st.characters(max_codepoint=255)), min_size=8, max_size=12))
def test_header_of_an_answer(hosted: Hosted, echo: str, texts: list[str]) -> None:
    """Bytes beyond ASCII are Latin-1, as .NET's client reads them."""
    drop = dict.fromkeys((*range(32), 127))
    texts = ["Andr\xe9", *(f"w{text.translate(drop).strip()}" for text in texts)]
    asked = [{"uri": f"{echo}?{quote(text, encoding='latin-1')}"} for text in texts]

    found = run(hosted, "Asks", asked)

    names = [answer["headers"]["X-Who"].strip() for answer in found]
    assert [text.strip() for text in texts] == names


# HTTP functions


@often
@given(many_texts)
def test_http_function(hosted: Hosted, texts: list[str]) -> None:
    """What it is asked and what it answers."""
    url = f"{hosted.host.url}/api/Says"
    for text in map(well_formed, texts):
        query = f"?q={quoted('q' + text)}"
        who = text.encode().decode("latin-1")
        who = "".join(char for char in who if char >= " " and char != "\x7f")
        answer = raw("GET", url + query, None, **{"X-Who": f"w{who}"})
        assert f"q{text}" == strict(answer.text)[0]
    for text in texts:
        body = json.dumps({"text": f"t{text}"}).encode()
        assert f"t{well_formed(text)}" == raw("POST", url, body).text
        body = json.dumps({"header": text}).encode()
        assert raw("POST", url, body).status in (200, 500)


def test_http_function_that_gives_json(hosted: Hosted) -> None:
    """A text that is JSON is written again, and stays JSON."""
    value = [float("nan"), "\ud800", 1e300, "\u2028"]
    body = json.dumps({"text": json.dumps(value)}).encode()

    answer = raw("POST", f"{hosted.host.url}/api/Says", body)

    assert told(value) == strict(answer.text)


@often
@given(st.lists(st.tuples(texts, values), min_size=3, max_size=5))
def test_client_of_the_sdk(hosted: Hosted, given_: list[tuple[str, Any]]) -> None:
    """Its start, its event and its status, over the channel of the SDK."""
    for text, value in given_:
        drop = dict.fromkeys((*range(32), *range(127, 160), *map(ord, "/\\#?%")))
        id_ = new_id() + well_formed(text).translate(drop)
        body = json.dumps({"id": id_, "value": [value]}).encode()

        answer = raw("POST", f"{hosted.host.url}/api/Starts", body)

        found_id, found = strict(answer.text)
        assert id_ == found_id
        # The SDK sends an event as JSON in a text, which stays as it is.
        assert told([value]) == told(json.loads(found))


def test_admin(hosted: Hosted) -> None:
    """What tools ask the host to run."""
    for value in ("\ud800", float("nan"), ["\u2028"]):
        url = f"{hosted.host.url}/admin/functions/Says"
        body = json.dumps({"input": json.dumps({"text": value})}).encode()
        assert 202 == raw("POST", url, body).status
        body = json.dumps({"input": value}).encode()
        assert 202 == raw("POST", url, body).status


# Large


@pytest.mark.parametrize("text", ["\u2028", "\ud800", "\x00", "\U0010ffff"])
def test_what_lies_in_a_blob(hosted: Hosted, text: str) -> None:
    """A value too large for a row, and the id of a child that has one."""
    value = text * 40_000
    assert [told(value)] == run(hosted, "Activities", [value])
    assert [told(value)] == run(hosted, "Children", [[text, value]])


def test_many_at_once(hosted: Hosted) -> None:
    """More than one transaction holds."""
    values = ["\u2028日本\U0001f642" * 2_500] * 60
    assert values == run(hosted, "Activities", values)
