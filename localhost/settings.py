"""host.json, local.settings.json and the environment as one frozen ``Settings``.

Every default is written once, in the dataclasses. The environment is passed in and
never changed: what must be added to it is ``Settings.environ``.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from localhost.account import StorageAccount, connection
from localhost.errors import CannotStartError
from localhost.jsonc import read_json
from localhost.leaves import (
    Leaf,
    Leaves,
    choice,
    leaves,
    text,
    truth,
    whole,
    without_none,
)
from localhost.localsettings import read_local_settings

__all__ = [
    "DurableSettings",
    "Settings",
    "StorageAccount",
    "WorkerSettings",
    "connection",
    "read_settings",
]

T = TypeVar("T")

HOST_FILE = "host.json"
HOSTNAME = "WEBSITE_HOSTNAME"
ALLOWED_HOSTS = "LOCALHOST_ALLOWED_HOSTS"
HISTORY_MB = "LOCALHOST_HISTORY_MB"
WORKER_COUNT = "FUNCTIONS_WORKER_PROCESS_COUNT"
THREAD_COUNT = "PYTHON_THREADPOOL_THREAD_COUNT"
_RUNTIME = "FUNCTIONS_WORKER_RUNTIME"
_NO_LIMIT = -1.0
_DURABLE = "extensions.durableTask"
_SECTIONS = (
    "extensions",
    "extensions.http",
    "extensions.http.customHeaders",
    _DURABLE,
    f"{_DURABLE}.storageProvider",
    f"{_DURABLE}.httpSettings",
    "logging",
    "logging.logLevel",
)
_LEVELS = ("Trace", "Debug", "Information", "Warning", "Error", "Critical", "None")
_HUB_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2,44}")
# Loopback as it is by default, and all addresses: both are reached by "localhost".
_LOCAL_ADDRESSES = ("127.0.0.1", "localhost", "0.0.0.0", "::")
_HOST_NAME = re.compile(
    r"\*|(?:\*?\.)?[\w-]+(?:\.[\w-]+)*\.?(?::\d+)?|\[[0-9a-f:.]+\](?::\d+)?|[0-9a-f:]+",
    re.ASCII | re.IGNORECASE,
)
_TIME_SPAN = re.compile(
    r"(?:(\d{1,7})\.)?([01]?\d|2[0-3]):([0-5]?\d)(?::([0-5]?\d(?:\.\d{1,7})?))?", re.A
)


def _ten_per_core() -> int:
    return 10 * (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class DurableSettings:
    """``extensions.durableTask`` of host.json, as far as this host acts on it."""

    hub_name: str = "TestHubName"
    partition_count: int = 4
    connection_name: str = "Storage"
    max_activities: int = field(default_factory=_ten_per_core)
    max_orchestrators: int = field(default_factory=_ten_per_core)
    max_entities: int = field(default_factory=_ten_per_core)
    max_entity_batch: int = 5000
    max_orchestration_actions: int = 100_000
    store_inputs: bool = False
    http_sleep_ms: int = 30_000
    overridable_states: Literal["NonRunningStates", "AnyState"] = "NonRunningStates"
    rpc_enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """Which Python runs the app's functions, with what arguments, how many times.

    A ``count`` of 0 runs them in this process. ``threads`` is how many synchronous
    functions run at once in each; None leaves it to the limits of host.json.
    """

    python: str = sys.executable
    arguments: tuple[str, ...] = ()
    count: int = 1
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that this host was told, checked; nobody below reads a file or environment.

    ``history_bytes`` bounds what stays in memory of histories, and of entities.
    ``functions`` holds the lower-case names of host.json's allow-list, ``None`` all.
    ``environ`` is what the process environment must hold in addition, ``notes`` what
    is to be said about local.settings.json.
    """

    app: Path
    address: str = "127.0.0.1"
    port: int = 7071
    durable: DurableSettings
    storage: StorageAccount
    worker: WorkerSettings = WorkerSettings()
    route_prefix: str = "api"
    log_levels: Mapping[str, str] = field(default_factory=dict)
    functions: frozenset[str] | None = None
    history_bytes: int = 64 * 1024 * 1024
    function_timeout_s: float | None = 1800.0
    custom_headers: Mapping[str, str] = field(default_factory=dict)
    homepage: bool = True
    cors_origins: tuple[str, ...] = ()
    cors_credentials: bool = False
    allowed_hosts: tuple[str, ...] = ()
    environ: Mapping[str, str]
    notes: tuple[str, ...] = ()


def read_settings(
    app: Path, *, address: str | None, port: int | None, environ: Mapping[str, str]
) -> Settings:
    """Read the app folder; *address* and *port* win over local.settings.json.

    Pass ``os.environ`` itself: on Windows, and only there, its names have no case.
    """
    app = app.resolve()
    host_file = _read_host_file(app)
    local = read_local_settings(app)
    given: dict[str, Any] = dict(local.host)
    given |= {"address": address} if address else {}
    given |= {"port": port} if port is not None else {}
    added, skipped = _additions(local.values, environ)
    added |= _own_variables(
        app, given.get("address", Settings.address), given.get("port", Settings.port)
    )
    merged = {**environ, **added}
    settings = {name.lower(): value for name, value in merged.items()}
    added[_RUNTIME] = _runtime(settings)
    found = leaves(host_file, place=str(app / HOST_FILE), environ=merged)
    found.require_sections(*_SECTIONS)
    durable = _durable(found, settings)
    return Settings(
        app=app,
        durable=durable,
        storage=connection(merged, durable.connection_name),
        worker=_worker(app, settings),
        allowed_hosts=_allowed_hosts(settings.get(ALLOWED_HOSTS.lower(), "")),
        history_bytes=_history_bytes(settings.get(HISTORY_MB.lower(), "")),
        homepage=settings.get("azurewebjobsdisablehomepage", "").lower() != "true",
        environ=added,
        notes=local.notes + skipped,
        **given,
        **_host_options(found),
    )


def _read_host_file(app: Path) -> dict[str, object]:
    path = app / HOST_FILE
    if not path.is_file():
        raise CannotStartError(
            f"{app} holds no {HOST_FILE}, so it is no Functions app. Start in the"
            " app's folder, or name it with --app FOLDER."
        )
    tree = read_json(path)
    if not isinstance(tree, dict):
        Leaf(place=str(path), name="", value=tree).wrong("an object: { … }")
    if tree.get("version") != "2.0":
        Leaf(place=f"{path}: version", name="version", value=tree.get("version")).wrong(
            'the string "2.0"'
        )
    return tree


def _additions(
    values: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is not set yet, and a note on each value that the environment overrides."""
    skipped = tuple(
        f"Skipping '{name}' from local settings as it's already defined in current"
        " environment variables."
        for name in values
        if environ.get(name)
    )
    return {n: v for n, v in values.items() if not environ.get(n)}, skipped


def authority(address: str, port: int) -> str:
    """Host and port by which this machine reaches what listens on an address."""
    if address in _LOCAL_ADDRESSES:
        return f"localhost:{port}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _own_variables(app: Path, address: str, port: int) -> dict[str, str]:
    return {
        HOSTNAME: authority(address, port),
        "AzureWebJobsScriptRoot": str(app),
        "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
    }


def _history_bytes(megabytes: str) -> int:
    """How much of histories, and of entities, stays in memory."""
    if not megabytes.strip():
        return Settings.history_bytes
    if not megabytes.strip().isdecimal():
        Leaf(place=f"Setting {HISTORY_MB}", name=HISTORY_MB, value=megabytes).wrong(
            "a whole number of megabytes, such as 64; 0 keeps nothing in memory"
        )
    return int(megabytes) * 1024 * 1024


def _allowed_hosts(listed: str) -> tuple[str, ...]:
    """Names, ``*.name`` (or ``.name``) for all that end so, ``*`` for any."""
    names = [name.strip() for name in listed.split(",") if name.strip()]
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            Leaf(
                place=f"Setting {ALLOWED_HOSTS}", name=ALLOWED_HOSTS, value=name
            ).wrong(
                "names of hosts without http://, separated by commas: box.example,"
                " *.example, or * for any"
            )
    return tuple(f"*{name}" if name.startswith(".") else name for name in names)


def _runtime(settings: Mapping[str, str]) -> str:
    runtime = settings.get(_RUNTIME.lower()) or "python"
    if runtime.lower() != "python":
        raise CannotStartError(
            f"Setting {_RUNTIME} is {runtime!r}; this host runs Python apps only."
            f' Write "{_RUNTIME}": "python" under "Values" in local.settings.json, or'
            " unset the environment variable."
        )
    return runtime


def _durable(found: Leaves, settings: Mapping[str, str]) -> DurableSettings:
    def read(path: str, check: Callable[[Leaf], T]) -> T | None:
        return found.read(f"{_DURABLE}.{path}", check)

    count = whole(1)
    read("storageProvider.type", choice("AzureStorage"))
    return DurableSettings(
        **without_none(
            hub_name=read("hubName", lambda leaf: _hub_name(leaf, settings))
            or _default_hub_name(settings.get("website_site_name", "")),
            partition_count=read("storageProvider.partitionCount", whole(1, 16)),
            connection_name=read("storageProvider.connectionName", text)
            or read("storageProvider.connectionStringName", text)
            or None,
            max_activities=read("maxConcurrentActivityFunctions", count),
            max_orchestrators=read("maxConcurrentOrchestratorFunctions", count),
            max_entities=read("maxConcurrentEntityFunctions", count),
            max_entity_batch=read("maxEntityOperationBatchSize", count),
            max_orchestration_actions=read("maxOrchestrationActions", count),
            store_inputs=read("storeInputsInOrchestrationHistory", truth),
            http_sleep_ms=read(
                "httpSettings.defaultAsyncRequestSleepTimeMilliseconds", count
            ),
            overridable_states=read(
                "overridableExistingInstanceStates",
                choice("NonRunningStates", "AnyState"),
            ),
            rpc_enabled=read("localRpcEndpointEnabled", truth),
        )
    )


def _hub_name(leaf: Leaf, settings: Mapping[str, str]) -> str:
    """A name as Azure Storage can hold it; ``%NAME%`` stands for that setting."""
    name = text(leaf)
    if len(name) > 2 and name.startswith("%") and name.endswith("%"):
        name = settings.get(name[1:-1].lower(), "")
        if not name:
            leaf.wrong("a name, or a %SETTING% that local.settings.json holds")
    if not _HUB_NAME.fullmatch(name):
        raise CannotStartError(
            f"{leaf.place}: Task hub name '{name}' should contain only alphanumeric"
            " characters, start with a letter, and have length between 3 and 45."
            " Choose another name."
        )
    return name


def _default_hub_name(site_name: str) -> str | None:
    """The site's name made fit for a hub name; ``None`` without a site."""
    if not site_name:
        return None
    name = re.sub(r"[^A-Za-z0-9]", "", site_name)
    if not name:
        return "DefaultTaskHub"
    name = f"t{name}" if name[0].isdigit() else name
    return name[:45] if len(name) >= 3 else f"{name}Hub"


def _worker(app: Path, settings: Mapping[str, str]) -> WorkerSettings:
    """Read what Azure's host and worker call these settings."""
    arguments = _of_worker(settings, "arguments")
    return WorkerSettings(
        python=_of_worker(settings, "defaultExecutablePath")
        or _python_of(app, settings),
        arguments=tuple(shlex.split(arguments, posix=os.name != "nt")),
        count=_workers(settings),
        threads=_count(settings, THREAD_COUNT, "1 to 1000", least=1, most=1_000),
    )


def _of_worker(settings: Mapping[str, str], name: str) -> str:
    for mark in ("__", ":"):
        value = settings.get(f"languageWorkers{mark}python{mark}{name}".lower(), "")
        if value.strip():
            return value.strip()
    return ""


def _python_of(app: Path, settings: Mapping[str, str]) -> str:
    """Return the app's own Python: of its .venv, of the active one, or this one."""
    for folder in (app / ".venv", Path(settings.get("virtual_env") or os.devnull)):
        for name in ("bin/python", "Scripts/python.exe"):
            if (folder / name).is_file():
                return str(folder / name)
    return sys.executable


def _workers(settings: Mapping[str, str]) -> int:
    expected = "1 to 10, or 0 to run functions in the host's own process"
    count = _count(settings, WORKER_COUNT, expected, least=0, most=10)
    return 1 if count is None else count


def _count(
    settings: Mapping[str, str], name: str, expected: str, *, least: int, most: int
) -> int | None:
    value = settings.get(name.lower(), "").strip()
    if not value:
        return None
    if not value.isdecimal() or not least <= int(value) <= most:
        Leaf(place=f"Setting {name}", name=name, value=value).wrong(expected)
    return int(value)


def _host_options(found: Leaves) -> dict[str, Any]:
    """The options of host.json outside of Durable, by the field they fill."""
    prefix = found.read("extensions.http.routePrefix", text)
    timeout_s = found.read("functionTimeout", _time_span_s)
    level = choice(*_LEVELS)
    options = without_none(
        route_prefix=None if prefix is None else prefix.strip("/"),
        log_levels={x.name: level(x) for x in found.under("logging.logLevel")},
        functions=_allow_list(found),
        custom_headers={
            x.name: text(x) for x in found.under("extensions.http.customHeaders")
        },
        function_timeout_s=timeout_s,
    )
    if timeout_s == _NO_LIMIT:
        options["function_timeout_s"] = None
    return options


def _allow_list(found: Leaves) -> frozenset[str] | None:
    """The lower-case names; no list, or an empty one, allows every function."""
    if leaf := found.by_path.get("functions"):
        leaf.wrong("an array of function names")
    listed = found.under("functions")
    return frozenset(text(leaf).lower() for leaf in listed) if listed else None


def _time_span_s(leaf: Leaf) -> float:
    """Seconds of ``hh:mm:ss`` or ``d.hh:mm:ss``, at least one; ``-1`` is no limit."""
    if leaf.value in (-1, "-1"):
        return _NO_LIMIT
    match = _TIME_SPAN.fullmatch(str(leaf.value))
    days, hours, minutes, seconds = match.groups("0") if match else "0000"
    total_s = (int(days) * 24 + int(hours)) * 3600 + int(minutes) * 60 + float(seconds)
    if total_s < 1:
        leaf.wrong('a time of at least one second, "hh:mm:ss" or "d.hh:mm:ss", or "-1"')
    return total_s
