"""Who may import whom: the rooms of the host and the arrows between them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "localhost"
ROOMS = ("app", "delivery", "durable", "taskhub", "web", "worker")

# What each room, or module beside the rooms, may import of ours. A room may always
# import itself; a room's name allows all of it, a module's name only that module.
ALLOWED = {
    # leaves
    "errors": (),
    "compat": (),
    "crashpoints": (),
    "declared": (),
    "outcome": (),
    "text": (),
    "timestamps": (),
    # records
    "history": ("errors",),
    "records": ("errors", "history", "text"),
    # settings
    "account": ("errors",),
    "jsonc": ("errors",),
    "leaves": ("errors",),
    "localsettings": ("errors", "jsonc", "leaves"),
    "settings": ("account", "errors", "jsonc", "leaves", "localsettings"),
    # Azurite
    "node": ("errors",),
    "processes": ("errors",),
    "keys": ("errors", "processes"),
    "azurite_users": ("errors", "processes"),
    "azurite_process": ("azurite_users", "compat", "errors", "node", "processes"),
    "azurite": ("azurite_process", "azurite_users", "errors", "node"),
    # rooms
    "worker": ("declared", "errors", "outcome", "text"),
    "app": ("declared", "errors", "jsonc", "outcome", "text", "worker"),
    "taskhub": (
        *("compat", "crashpoints", "errors", "history", "records", "text"),
        "timestamps",
    ),
    "delivery": (
        *("compat", "crashpoints", "errors", "history", "records", "timestamps"),
        *("taskhub.due", "taskhub.port"),
    ),
    "durable": (
        *("compat", "crashpoints", "errors", "history", "outcome", "records"),
        *("text", "timestamps", "delivery", "taskhub.port"),
    ),
    "web": (
        *("compat", "declared", "errors", "history", "outcome", "records", "text"),
        *("app.port", "durable.client", "timestamps"),
    ),
    # the wiring
    "functions": (
        *("app.catalog", "app.port", "durable.execution", "durable.program"),
        *("declared", "errors", "outcome"),
    ),
    "console": ("declared", "text", "web.routes", "worker.invocation"),
    "front": (
        *("app.port", "durable.client", "web"),
        *("declared", "errors", "functions", "keys", "settings"),
    ),
    "parts": (
        *("delivery", "durable", "taskhub.hub", "taskhub.port"),
        *("compat", "functions", "records", "settings", "timestamps"),
    ),
    "host": (
        *("app", "taskhub.hub", "web"),
        *(
            "azurite",
            "compat",
            "console",
            "declared",
            "errors",
            "front",
            "functions",
            "parts",
        ),
        *("settings", "timestamps"),
    ),
    "cli": ("console", "errors", "host", "settings"),
    "__main__": ("cli",),
    "__init__": (),
}

# Which modules may import what others have written.
THIRD_PARTY = {
    "aiohttp.web": ("web",),
    "aiohttp.http": ("web.listener",),
    "aiohttp.http_exceptions": ("web.listener",),
    "aiohttp.typedefs": ("web.listener",),
    "aiohttp.HttpVersion11": ("web.triggers",),
    "aiohttp": ("web.outgoing",),  # the client
    "yarl": ("web.outgoing",),
    "httptools": ("taskhub.connections",),
    "azure.functions": ("worker",),
    "dateutil": ("web.queries",),
    "async_timeout": ("compat",),
    "taskgroup": ("compat",),
}


def _name(path: Path) -> str:
    """Return a module's name below the package: ``taskhub.hub``."""
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


MODULES = {_name(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}


@cache
def parsed(path: Path) -> ast.Module:
    """Return a file as a tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Yield full names that a file imports, those inside functions too."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name: str) -> str:
    """Return our module that holds a full name: ``localhost.a.b.C`` → ``a.b``."""
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


def ours(path: Path) -> set[str]:
    """Return our modules that a file imports."""
    names = (name for name in imported(path) if name.split(".")[0] == PACKAGE)
    return {module_of(name) for name in names} - {"", *ROOMS}


def theirs(path: Path) -> set[str]:
    """Return names of third parties that a file imports."""
    known = {PACKAGE, *sys.stdlib_module_names}
    return {name for name in imported(path) if name.split(".")[0] not in known}


def room_of(module: str) -> str:
    """Return the room that a module is in, or itself when it is in none."""
    return module.split(".")[0]


def is_in(module: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of some places, or in a room that is."""
    return module in places or room_of(module) in places


def foreign(module: str) -> set[str]:
    """Return what a module imports of ours that it may not."""
    room = room_of(module)
    allowed = (*ALLOWED.get(room, ()), *((room,) if room in ROOMS else ()))
    return {name for name in ours(MODULES[module]) if not is_in(name, allowed)}


def test_every_module_has_its_place() -> None:
    """A new room or module beside the rooms needs a line in the table."""
    assert {room_of(module) for module in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_what_it_may(module: str) -> None:
    """There is no arrow but those of the table."""
    assert set() == foreign(module)


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_its_packages(module: str) -> None:
    """Each package is spoken to in one place."""
    for name in theirs(MODULES[module]):
        package = max((p for p in THIRD_PARTY if _begins(name, p)), key=len, default="")
        assert package, f"{module} imports {name}, of which the table says nothing"
        assert is_in(module, THIRD_PARTY[package]), f"{module} imports {name}"


def _begins(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def test_the_port_of_the_hub_is_made_of_words_alone() -> None:
    """Whoever asks for a hub needs nothing of how it is kept."""
    assert {"errors", "history", "records"} == ours(MODULES["taskhub.port"])


def test_only_the_command_line_imports_the_host() -> None:
    """``host`` knows every part, so no part may know it."""
    importers = {module for module, path in MODULES.items() if "host" in ours(path)}

    assert {"cli"} == importers


def test_the_host_needs_nothing_of_azure() -> None:
    """The app's Python may be another one: what belongs to it is loaded there."""
    code = "import sys, localhost.cli; print([m for m in sys.modules if 'azure' in m])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)

    assert "[]" == ran.stdout.decode().strip()


def test_there_is_no_cycle() -> None:
    """Modules can be put into an order in which each imports only earlier ones."""
    left = {module: ours(path) - {module} for module, path in MODULES.items()}
    while left:
        free = {module for module, needs in left.items() if not needs & left.keys()}
        assert free, f"these modules import each other: {sorted(left)}"
        left = {module: left[module] for module in left.keys() - free}


@pytest.mark.parametrize("module", MODULES)
def test_only_the_worker_imports_by_name(module: str) -> None:
    """Modules that are imported by name are the user's."""
    nodes = list(ast.walk(parsed(MODULES[module])))
    called = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    called |= {node.id for node in nodes if isinstance(node, ast.Name)}

    assert room_of(module) == "worker" or not {"import_module", "__import__"} & called


def test_app_knows_nothing_of_the_host() -> None:
    """The functions run in Azure as they are."""
    functions = [path.parent for path in ROOT.glob("*/function.json")]
    files = [file for folder in functions for file in folder.rglob("*.py")]

    assert len(files) >= 3
    for file in files:
        assert PACKAGE not in {name.split(".")[0] for name in imported(file)}
