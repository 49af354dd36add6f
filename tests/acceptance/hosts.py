"""Starts hosts for a test and ends them all; variants of the app they run on."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.acceptance.running_host import (
    HUB_VARIABLE,
    Host,
    Process,
    Storage,
    copy_app,
    environment,
    free_ports,
)

# An activity that writes down when it begins and ends, and waits for a file between.
GATED_ACTIVITY = """
import pathlib
import time

gate = pathlib.Path(__file__).parents[1] / "gate"


def main(name: str) -> str:
    note(f"{name} begins")
    while not (gate / "open").exists():
        time.sleep(0.01)
    note(f"{name} ends")
    return f"Hello {name}!"


def note(line: str) -> None:
    with open(gate / "runs", "a") as runs:
        runs.write(line + "\\n")
"""


class Hosts:
    """Starts hosts on copies of the app; each has a task hub of its own."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self._folder = folder
        self._storage = storage
        self._azurites = ExitStack()
        self._running = ExitStack()
        self._count = 0

    def __enter__(self) -> Hosts:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A host that is asked to end wants to tell its storage.
        with self._azurites:
            self._running.close()

    def copy_app(self) -> Path:
        """A fresh copy of the app, to be changed before a host starts on it."""
        return copy_app(self._next_folder())

    def start(self, app: Path | None = None, **options: Any) -> Host:
        """Start a host and wait until it is ready; for *options* see ``launch``."""
        host = self.launch(app, **options)
        host.wait_until_ready()
        return host

    def launch(
        self,
        app: Path | None = None,
        *,
        storage: Storage | None = None,
        port: int | None = None,
        **variables: str,
    ) -> Host:
        """Start a host and do not wait for it; *variables* go into its environment."""
        own = {
            "AzureWebJobsStorage": (storage or self._storage).connection_string,
            HUB_VARIABLE: f"Hub{secrets.token_hex(6)}",
        }
        return self._run(
            app or self.copy_app(),
            free_ports(1)[0] if port is None else port,
            environment(**{**own, **variables}),
        )

    def restart(self, ended: Host) -> Host:
        """Start a host in the place of one that ended, and wait until it is ready."""
        host = self._run(ended.app, ended.port, ended.environ)
        host.wait_until_ready()
        return host

    def azurite(self, storage: Storage, app: Path | None = None) -> Process:
        """Have ``azurite`` run for a test that ends it and starts it again."""
        return self._azurites.enter_context(
            running_azurite(storage, app or self.copy_app(), self._next_folder())
        )

    def _run(self, app: Path, port: int, environ: dict[str, str]) -> Host:
        log = self._next_folder() / "host.log"
        host = Host(app, port=port, log=log, environ=environ)
        self._running.callback(host.end)
        return host

    def _next_folder(self) -> Path:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder


@contextmanager
def running_azurite(storage: Storage, app: Path, folder: Path) -> Iterator[Process]:
    """Have the command ``azurite`` run; its log goes to *folder*."""
    process = Process(
        ["azurite", "--app", str(app)],
        log=folder / "azurite-command.log",
        environ=environment(AzureWebJobsStorage=storage.connection_string),
    )
    try:
        process.wait_for_text("Azurite is listening on ")
        yield process
    finally:
        process.end()


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The activity of an app: what it has run, and the file that it waits for."""

    folder: Path

    @classmethod
    def in_app(cls, app: Path) -> Gate:
        """Let the app's activity note its runs and wait."""
        (app / "Hello" / "__init__.py").write_text(GATED_ACTIVITY)
        gate = cls(folder=app / "gate")
        gate.folder.mkdir()
        return gate

    def runs(self) -> list[str]:
        try:
            return (self.folder / "runs").read_text().splitlines()
        except FileNotFoundError:
            return []

    def open(self) -> None:
        (self.folder / "open").touch()


def write_function(
    app: Path, name: str, script: str | None, *bindings: dict[str, Any], **config: Any
) -> None:
    """Add a function to a copy of the app; ``script`` None leaves its file out."""
    folder = app / name
    folder.mkdir(exist_ok=True)
    if script is not None:
        (folder / "__init__.py").write_text(script)
    settings = {"scriptFile": "__init__.py", "bindings": list(bindings), **config}
    (folder / "function.json").write_text(json.dumps(settings, indent=2))
