"""The same chain of three on other libraries, each called in its own process.

``python -m benchmarks.peers NAME`` prints what it measured as JSON. Needs the standard
library and the peer itself only, so that the Python of any venv can run it.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

CHAINS, BURST, CONNECTIONS = 200, 500, 8
CITIES = ("Tokyo", "Seattle", "London")
OUTPUT = [f"Hello {city}!" for city in CITIES]

# Starts a chain; the function it returns waits for the chain's output.
Start = Callable[[], Callable[[], object]]


@contextmanager
def durabletask() -> Iterator[Start]:
    """The Durable Task SDK's worker and client, on its backend in memory."""
    client_module = import_module("durabletask.client")
    worker_module = import_module("durabletask.worker")
    testing = import_module("durabletask.testing")

    def hello(context: Any, city: str) -> str:
        return f"Hello {city}!"

    def chain(context: Any, _: Any) -> Any:
        greetings = []
        for city in CITIES:
            greeting = yield context.call_activity(hello, input=city)
            greetings.append(greeting)
        return greetings

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    backend = testing.create_test_backend(port=port)
    try:
        address = f"127.0.0.1:{port}"
        with worker_module.TaskHubGrpcWorker(host_address=address) as worker:
            worker.add_orchestrator(chain)
            worker.add_activity(hello)
            worker.start()
            client = client_module.TaskHubGrpcClient(host_address=address)

            def start() -> Callable[[], object]:
                instance_id = client.schedule_new_orchestration(chain)

                def output() -> object:
                    state = client.wait_for_orchestration_completion(instance_id)
                    return json.loads(state.serialized_output)

                return output

            yield start
    finally:
        backend.stop()


@contextmanager
def dbos() -> Iterator[Start]:
    """DBOS with its system database in a file of SQLite."""
    library = import_module("dbos").DBOS
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        library(
            config={
                "name": "chain",
                "system_database_url": f"sqlite:///{Path(folder) / 'dbos.sqlite'}",
                "run_admin_server": False,
                "log_level": "ERROR",
            }
        )

        @library.step()  # type: ignore[untyped-decorator]
        def hello(city: str) -> str:
            return f"Hello {city}!"

        @library.workflow()  # type: ignore[untyped-decorator]
        def chain() -> list[str]:
            return [hello(city) for city in CITIES]

        library.launch()
        try:

            def start() -> Callable[[], object]:
                get_result: Callable[[], object] = library.start_workflow(
                    chain
                ).get_result
                return get_result

            yield start
        finally:
            library.destroy()


PEERS = {"durabletask": durabletask, "dbos": dbos}


def measure(start: Start) -> dict[str, object]:
    """Run chains one at a time, then a burst over some threads."""
    times_ms = []
    for _ in range(CHAINS):
        began_s = time.perf_counter()
        _must_be_right(start()())
        times_ms.append((time.perf_counter() - began_s) * 1000)
    began_s = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        outputs = [future.result() for future in _each(threads, start)]
    for output in outputs:
        _must_be_right(output())
    return {
        "times_ms": times_ms,
        "burst_per_s": BURST / (time.perf_counter() - began_s),
    }


def _each(threads: ThreadPoolExecutor, start: Start) -> list[Any]:
    return [threads.submit(start) for _ in range(BURST)]


def _must_be_right(output: object) -> None:
    if output != OUTPUT:
        raise ValueError(f"expected is {OUTPUT}, found {output!r}")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with PEERS[sys.argv[1]]() as peer:
        print(json.dumps(measure(peer)))
