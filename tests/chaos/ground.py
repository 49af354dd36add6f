"""What a campaign hurts: a host, the proxy before its storage, and an Azurite."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path

import psutil

from tests.acceptance.hosts import running_azurite
from tests.acceptance.running_host import (
    HUB_VARIABLE,
    ROOT,
    Host,
    Process,
    Storage,
    azurite_pid,
    copy_app,
    environment,
    free_ports,
)
from tests.chaos.plan import Fault
from tests.chaos.proxy import CuttingProxy, running_proxy

HUB = "ChaosHub"
_PUT_OFF = re.compile(
    r"(\S+): put off for \S+ s a message of (\S+) \(try \d+\):"
    r" a start without its row"
)
_APP = ROOT / "tests" / "data" / "conformance_app"


class Ground:
    """A host on a hub of its own; ``is_up`` is set while it should answer.

    *storage* is Azurite itself, *front* the way to it through the proxy. The logs of
    all hosts stay in *folder*.
    """

    def __init__(
        self, folder: Path, *, storage: Storage, front: Storage, proxy: CuttingProxy
    ) -> None:
        self.storage = storage
        self.is_up = threading.Event()
        self.faults: Counter[Fault] = Counter()
        self.kill_count = 0
        self._folder = folder
        self._front = front
        self._proxy = proxy
        self._azurites = ExitStack()
        self._azurite_app = copy_app(folder / "azurite")
        self._azurite = self._run_azurite()
        self._app = folder / "app"
        shutil.copytree(_APP, self._app)
        [self._port] = free_ports(1)
        self.host = self._run_host()
        self._healing: dict[Fault, Callable[[], None]] = {
            Fault.NONE: lambda: None,
            Fault.CUT: proxy.mend,
            Fault.FREEZE: lambda: self._signal_azurite("SIGCONT"),
            Fault.STOP: self._restart_azurite,
            Fault.WORKER: lambda: None,  # the host heals it
        }

    def hurt(self, fault: Fault) -> None:
        """Begin a fault of the storage, or of the worker."""
        self.faults[fault] += 1
        if fault is Fault.CUT:
            self._proxy.cut()
        elif fault is Fault.FREEZE:
            self._signal_azurite("SIGSTOP")
        elif fault is Fault.STOP:
            assert self._azurite.stop() == 0, self._azurite.text()
        elif fault is Fault.WORKER:
            self._kill_worker()

    def heal(self, fault: Fault) -> None:
        """End a fault."""
        self._healing[fault]()

    def _kill_worker(self) -> None:
        for child in psutil.Process(self.host.pid).children():
            with suppress(psutil.Error):
                if any("worker" in word for word in child.cmdline()):
                    child.kill()

    def kill_host(self) -> None:
        """SIGKILL the host, only it, and start the next one in its place."""
        assert self.host.is_alive, f"the host ended:\n{self.host.text()}"
        # Before the kill: what is under way breaks off, what follows waits.
        self.is_up.clear()
        self.host.kill()
        self.kill_count += 1
        self.host = self._run_host()

    def wait_until_up(self) -> None:
        """Wait until the host is ready; those who wait for ``is_up`` go on."""
        self.host.wait_until_ready()
        self.is_up.set()

    def starts_put_off(self) -> set[tuple[str, str]]:
        """Queue and instance of each start without a row that a host told of."""
        logs = self._folder.glob("host-*.log")
        texts = (log.read_text(encoding="utf-8", errors="replace") for log in logs)
        return {
            (queue, instance_id)
            for text in texts
            for instance_id, queue in _PUT_OFF.findall(text)
        }

    def stop_host(self) -> int:
        """End the host as Ctrl-C does and return its exit code."""
        self.is_up.clear()
        return self.host.stop()

    def close(self) -> None:
        """End what still runs, whatever happened."""
        self._proxy.mend()
        self._signal_azurite("SIGCONT")
        self.is_up.set()
        with self._azurites:
            self.host.end()

    def _run_host(self) -> Host:
        variables = {
            "AzureWebJobsStorage": self._front.connection_string,
            HUB_VARIABLE: HUB,
        }
        log = self._folder / f"host-{self.kill_count:03}.log"
        environ = environment(**variables)
        return Host(self._app, port=self._port, log=log, environ=environ)

    def _run_azurite(self) -> Process:
        context = running_azurite(self.storage, self._azurite_app, self._folder)
        return self._azurites.enter_context(context)

    def _restart_azurite(self) -> None:
        self._azurite = self._run_azurite()

    def _signal_azurite(self, name: str) -> None:
        pid = azurite_pid(self._azurite_app)
        if pid and sys.platform != "win32":
            os.kill(pid, signal.Signals[name])


@contextmanager
def open_ground(folder: Path) -> Iterator[Ground]:
    """Have Azurite, proxy and host run; what they print at the end goes to a file."""
    ports = free_ports(6)
    storage = Storage(ports=(ports[0], ports[1], ports[2]))
    front = Storage(ports=(ports[3], ports[4], ports[5]))
    between = dict(zip(front.ports, storage.ports, strict=True))
    with ExitStack() as stack:
        ended = stack.enter_context((folder / "ended.txt").open("w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(ended))
        proxy = stack.enter_context(running_proxy(between))
        ground = Ground(folder, storage=storage, front=front, proxy=proxy)
        stack.callback(ground.close)
        ground.wait_until_up()
        yield ground
