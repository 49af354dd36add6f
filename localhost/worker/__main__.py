"""Started by its path, so that the app's Python needs nothing of ours.

usage: python …/worker (fd N | tcp PORT) LEVEL

Standard input is a pipe that the host holds: when it closes, the host is gone, and so
is this process, whatever the user's code does. ``fd`` is an inherited socket, ``tcp`` a
port on 127.0.0.1 to which the secret in the environment variable
LOCALHOST_WORKER_SECRET is sent first. ``LEVEL`` is the least level of log records that
are sent.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

SECRET = "LOCALHOST_WORKER_SECRET"


class _Loader(SourceFileLoader):
    """Names our code as Python names its frozen modules: debuggers step over those."""

    def get_code(self, fullname: str) -> CodeType | None:
        code = super().get_code(fullname)
        return None if code is None else _named(code, f"<frozen {fullname}>")


def _named(code: CodeType, name: str) -> CodeType:
    consts = tuple(
        _named(each, name) if isinstance(each, CodeType) else each
        for each in code.co_consts
    )
    return code.replace(co_filename=name, co_consts=consts)


class _Finder:
    """Finds our modules where ``PathFinder`` does."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("localhost."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


def _make_importable() -> None:
    """Make our package importable, and nothing that lies beside it or in it."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [each for each in sys.path if os.path.abspath(each or ".") != here]
    spec = ModuleSpec("localhost", None, is_package=True)
    spec.submodule_search_locations = [os.path.dirname(here)]
    sys.modules["localhost"] = importlib.util.module_from_spec(spec)
    sys.meta_path.insert(0, _Finder)


def _connected(how: str, where: int) -> socket.socket:
    secret = os.environ.pop(SECRET, "")
    if how == "fd":
        return socket.socket(fileno=where)
    connection = socket.create_connection(("127.0.0.1", where))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(secret.encode())
    return connection


def _end_with_host() -> None:
    """End this process at once when the host is gone, also amid a breakpoint."""
    held = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        while os.read(held, 1):
            pass
        os._exit(1)

    thread = threading.Thread(target=watch, name="host", daemon=True)
    for mark in ("pydev_do_not_trace", "is_pydev_daemon_thread"):
        setattr(thread, mark, True)  # a debugger does not stop it
    thread.start()


def _run(connection: socket.socket, level: int) -> None:
    _make_importable()
    from localhost.worker.channel import Channel, encoded

    try:
        from localhost.worker.server import main
    except ImportError as exc:  # azure.functions, or what it needs
        Channel(connection).send({"k": "cannot"}, encoded(str(exc)))
        sys.exit(1)
    main(connection, level=level)


if __name__ == "__main__":
    how, where, level = sys.argv[-3:]
    sys.argv[1:] = []
    _end_with_host()
    _run(_connected(how, int(where)), int(level))
