"""An app, the editor's configurations, and sessions that are ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hosts import running_azurite
from tests.acceptance.running_host import (
    HUB_VARIABLE,
    ROOT,
    Storage,
    copy_app,
    free_ports,
)
from tests.debugging.dap import Editor, Message

LAUNCH = ROOT / ".vscode" / "launch.json"


def configuration(name: str) -> dict[str, Any]:
    """A configuration of ``.vscode/launch.json``, as an editor makes it whole."""
    every = json.loads(LAUNCH.read_text(encoding="utf-8"))["configurations"]
    [found] = [each for each in every if each["name"] == name]
    for key in ("preLaunchTask", "windows"):
        found.pop(key, None)
    text = json.dumps(found).replace("${workspaceFolder}", ROOT.as_posix())
    whole: dict[str, Any] = json.loads(text)
    return whole


class Desk:
    """An app on a task hub of its own, and editors that debug it."""

    def __init__(self, folder: Path, storage: Storage, stack: ExitStack) -> None:
        self.app = copy_app(folder)
        self.log = folder / "host.log"
        [self.port] = free_ports(1)
        self._stack = stack
        self.environ = {
            "LOCALHOST_APP": str(self.app),
            "LOCALHOST_PORT": str(self.port),
            "AzureWebJobsStorage": storage.connection_string,
            HUB_VARIABLE: f"Debug{self.port}",
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, function: str) -> Path:
        return self.app / function / "__init__.py"

    def line(self, function: str, words: str) -> int:
        """The number of the first line of a function's script with some words."""
        lines = self.script(function).read_text(encoding="utf-8").splitlines()
        return next(number for number, line in enumerate(lines, 1) if words in line)

    def at(
        self, function: str, words: str, **options: str
    ) -> dict[Path, list[Message]]:
        """A breakpoint, as ``breakpoints`` of ``Editor`` has it."""
        line = self.line(function, words)
        return {self.script(function): [{"line": line, **options}]}

    def open(
        self,
        config: dict[str, Any],
        breakpoints: dict[Path, list[Message]],
        exceptions: list[str] | None = None,
    ) -> Editor:
        """Press F5."""
        editor = Editor(
            config, breakpoints=breakpoints, exceptions=exceptions, log=self.log
        )
        self._stack.callback(editor.close)
        self._stack.callback(editor.end)
        return editor

    def launch(
        self,
        breakpoints: dict[Path, list[Message]],
        exceptions: list[str] | None = None,
    ) -> Editor:
        """Press F5 with the configuration of the local host."""
        config = {**configuration("Local host"), "env": self.environ}
        return self.open(config, breakpoints, exceptions)


@pytest.fixture(scope="session", name="storage")
def _storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """An Azurite that no host has started."""
    folder = tmp_path_factory.mktemp("storage")
    storage = Storage.on_free_ports()
    with running_azurite(storage, copy_app(folder), folder):
        yield storage


@pytest.fixture(name="desk")
def _desk(tmp_path: Path, storage: Storage) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, storage, stack)
