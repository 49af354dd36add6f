"""The apps in ``examples``, played as docs/patterns.md says, with what it shows."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import Answer, ask, result_of, wait_for
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import ROOT, Host

EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/host.json"))
PAGE = (ROOT / "docs" / "patterns.md").read_text("utf-8")
DOCUMENTED_URL = "http://localhost:7071"

pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page says of one example: its code, commands and outputs in order."""

    code: list[str]
    commands: list[str]
    outputs: list[Any]
    text: str

    @classmethod
    def of(cls, example: str) -> Section:
        """Read the section that names the example's folder."""
        parts = PAGE.split("\n## ")[1:]
        (text,) = [part for part in parts if f"`examples/{example}`" in part]
        return cls(
            code=_blocks(text, "python"),
            commands="".join(_blocks(text, "sh")).splitlines(),
            outputs=[json.loads(block) for block in _blocks(text, "json")],
            text=text,
        )


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def curl(host: Host, command: str) -> Answer:
    """Do what a documented curl command does, at the port of *host*."""
    words = shlex.split(command)
    url = words[-1].replace(DOCUMENTED_URL, host.url)
    assert "curl" == words[0]
    if "-d" not in words:
        return ask(url)
    body = words[words.index("-d") + 1].encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, data=body, timeout=30) as answer:
        return Answer(
            status=answer.status, headers=answer.headers, text=answer.read().decode()
        )


def output_of(start: Answer) -> Any:
    """Wait for the end of an instance that was answered 202."""
    assert 202 == start.status, start.text
    return result_of(start.json())["output"]


@pytest.fixture(scope="module", name="host_of")
def _host_of(
    shared_hosts: Hosts, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Host]:
    """Gives the host of an example; each is started once, on a copy."""
    started: dict[str, Host] = {}

    def host_of(example: str) -> Host:
        if example not in started:
            app = tmp_path_factory.mktemp("examples") / example
            ignored = shutil.ignore_patterns(".*", "__pycache__")
            shutil.copytree(ROOT / "examples" / example, app, ignore=ignored)
            started[example] = shared_hosts.start(app)
        return started[example]

    return host_of


def test_function_chaining(host_of: Callable[[str], Host]) -> None:
    """Each step works on what the one before returned."""
    host, section = host_of("function_chaining"), Section.of("function_chaining")

    assert section.outputs == [output_of(curl(host, section.commands[0]))]


def test_a_chain_fails_with_its_step(host_of: Callable[[str], Host]) -> None:
    """An exception that nobody catches is the end of the instance."""
    host, section = host_of("function_chaining"), Section.of("function_chaining")

    status = result_of(curl(host, section.commands[1]).json())

    assert "Failed" == status["runtimeStatus"]
    assert "KeyError: 'sofa'" in status["output"]


def test_fan_out_fan_in(host_of: Callable[[str], Host]) -> None:
    """All results come together, in the order of the calls."""
    host, section = host_of("fan_out_fan_in"), Section.of("fan_out_fan_in")

    assert section.outputs == [output_of(curl(host, section.commands[0]))]


def test_async_http_api_answers_short_work_at_once(
    host_of: Callable[[str], Host],
) -> None:
    """The output is the body of the 200."""
    host, section = host_of("async_http_api"), Section.of("async_http_api")

    answer = curl(host, section.commands[0])

    assert 200 == answer.status
    assert _blocks(section.text, "text") == [answer.text + "\n"]


def test_async_http_api_says_where_to_ask(host_of: Callable[[str], Host]) -> None:
    """Work that takes longer than the wait is a 202, and goes on."""
    host, section = host_of("async_http_api"), Section.of("async_http_api")

    start = curl(host, section.commands[1])
    running = ask(start.headers["Location"])

    assert (202, "5") == (running.status, running.headers["Retry-After"])
    assert section.outputs == [output_of(start)]


def test_monitor_sees_the_file(host_of: Callable[[str], Host], tmp_path: Path) -> None:
    """It looks again until the file is there."""
    host, section = host_of("monitor"), Section.of("monitor")
    command, touch, _ = (c.replace("/tmp", str(tmp_path)) for c in section.commands)

    start = curl(host, command)
    looks_left = 60
    wait_for(
        lambda: json.loads(status_of(start)["input"])["looks"] < looks_left,
        "a second look",
        limit_s=10,
    )
    Path(shlex.split(touch)[1]).touch()

    assert section.outputs[0] == output_of(start)


def status_of(start: Answer) -> Any:
    return ask(start.json()["statusQueryGetUri"]).json()


def test_monitor_gives_up(host_of: Callable[[str], Host], tmp_path: Path) -> None:
    """It looks as often as it was told."""
    host, section = host_of("monitor"), Section.of("monitor")
    command = section.commands[2].replace("/tmp", str(tmp_path))

    assert section.outputs[1] == output_of(curl(host, command))


def test_human_interaction_with_an_answer(host_of: Callable[[str], Host]) -> None:
    """The event wins, and the cancelled timer does not hold the instance."""
    host, section = host_of("human_interaction"), Section.of("human_interaction")

    start = curl(host, section.commands[0])
    approval = curl(host, section.commands[1])

    assert 202 == approval.status
    assert section.outputs[0] == output_of(start)


def test_human_interaction_without_an_answer(host_of: Callable[[str], Host]) -> None:
    """The timer wins."""
    host, section = host_of("human_interaction"), Section.of("human_interaction")

    assert section.outputs[1] == output_of(curl(host, section.commands[2]))


def test_aggregator(host_of: Callable[[str], Host]) -> None:
    """All operations are applied, that with a false input too."""
    host, section = host_of("aggregator"), Section.of("aggregator")
    *signals, read = section.commands
    expected = section.outputs[0]

    answers = [curl(host, signal) for signal in signals]

    assert [202, 202, 202] == [answer.status for answer in answers]
    wait_for(
        lambda: (
            (answer := curl(host, read)).status == 200 and answer.json() == expected
        ),
        f"the readings {expected}",
        limit_s=10,
    )


def test_aggregator_by_the_management_api(host_of: Callable[[str], Host]) -> None:
    """An input that the client did not encode twice must come in quotes."""
    host = host_of("aggregator")
    entity = f"{host.url}/runtime/webhooks/durabletask/entities/Meter/garden"
    request = urllib.request.Request(
        f"{entity}?op=add&code={host.code}",
        data=json.dumps('{"value": 3}').encode(),
        headers={"Content-Type": "application/json"},
    )

    with urllib.request.urlopen(request, timeout=30) as answer:
        assert 202 == answer.status

    wait_for(lambda: ask(f"{entity}?code={host.code}").text == "[3]", "a 3", limit_s=10)


def test_sub_orchestrations(host_of: Callable[[str], Host]) -> None:
    """Each child does it the second time."""
    host, section = host_of("sub_orchestrations"), Section.of("sub_orchestrations")

    assert section.outputs == [output_of(curl(host, section.commands[0]))]
    assert "ConnectionError: north does not answer" in host.text()


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_page_shows_the_code_as_it_is(example: str) -> None:
    """Every block of Python stands in a file of the example, word for word."""
    scripts = (ROOT / "examples" / example).glob("*/__init__.py")
    code = "".join(script.read_text("utf-8") for script in scripts)

    shown = Section.of(example).code

    assert shown
    assert all(block in code for block in shown)


def test_each_example_needs_what_the_root_needs() -> None:
    """One requirements.txt, one local.settings.json for all."""
    for name in ("requirements.txt", "local.settings.json"):
        expected = (ROOT / name).read_text("utf-8")
        for example in EXAMPLES:
            assert expected == (ROOT / "examples" / example / name).read_text("utf-8")


def test_each_example_has_a_task_hub_of_its_own() -> None:
    """They may share a storage account."""
    hosts = [json.loads(f.read_text()) for f in ROOT.glob("examples/*/host.json")]
    hubs = {host["extensions"]["durableTask"]["hubName"] for host in hosts}

    assert len(EXAMPLES) == len(hubs)
