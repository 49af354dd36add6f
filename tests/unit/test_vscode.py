"""``.vscode``: F5 works both ways, and every name that one file uses is in another."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dev import COMMANDS

FOLDER = Path(__file__).parents[2] / ".vscode"
SCHEMAS = {"launch.json": "0.2.0", "tasks.json": "2.0.0"}


def load(name: str) -> Any:
    """A file of ``.vscode``, which must be JSON without comments."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


CONFIGURATIONS = {each["name"]: each for each in load("launch.json")["configurations"]}
TASKS = {each["label"]: each for each in load("tasks.json")["tasks"]}


def programs() -> dict[str, Any]:
    """The tasks that call dev.py."""
    return {
        label: task
        for label, task in TASKS.items()
        if task.get("command", "").startswith("python3 dev.py")
    }


@pytest.mark.parametrize(("name", "version"), SCHEMAS.items())
def test_file_has_the_version_that_vs_code_reads(name: str, version: str) -> None:
    """VS Code and the Azure Functions extension refuse any other version."""
    assert version == load(name)["version"]


def test_there_are_two_ways_to_debug() -> None:
    """A fresh VS Code takes the first one, which needs nothing else."""
    assert ["Local host", "Attach to Python Functions"] == list(CONFIGURATIONS)


def test_attach_is_what_the_extension_writes() -> None:
    """Core Tools start the worker with debugpy on 9091; the debugger attaches."""
    assert {
        "name": "Attach to Python Functions",
        "type": "debugpy",
        "request": "attach",
        "connect": {"host": "localhost", "port": 9091},
        "preLaunchTask": "func: host start",
    } == CONFIGURATIONS["Attach to Python Functions"]


def test_local_host_needs_no_core_tools() -> None:
    """``python -m localhost start`` runs under the debugger, after the set-up."""
    configuration = CONFIGURATIONS["Local host"]

    assert ("debugpy", "launch", "localhost", ["start"], "install") == tuple(
        configuration[key]
        for key in ("type", "request", "module", "args", "preLaunchTask")
    )


def test_local_host_runs_on_the_venv_of_either_system() -> None:
    """The set-up makes ``.venv``, so VS Code cannot have chosen it before."""
    configuration = CONFIGURATIONS["Local host"]

    assert (
        "${workspaceFolder}/.venv/bin/python",
        "${workspaceFolder}/.venv/Scripts/python.exe",
    ) == (configuration["python"], configuration["windows"]["python"])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_pre_launch_task_exists(name: str) -> None:
    """A configuration starts a task of tasks.json."""
    assert CONFIGURATIONS[name]["preLaunchTask"] in TASKS


@pytest.mark.parametrize("label", TASKS)
def test_tasks_it_depends_on_exist(label: str) -> None:
    """``dependsOn`` names tasks of the same file."""
    assert set(TASKS[label].get("dependsOn", [])) <= set(TASKS)


def test_host_start_is_what_the_extension_writes() -> None:
    """The extension finds its own task by type and command."""
    task = TASKS["func: host start"]

    assert ("func", "host start", "$func-python-watch", True) == (
        task["type"],
        task["command"],
        task["problemMatcher"],
        task["isBackground"],
    )


def test_azurite_listens_before_core_tools_start() -> None:
    """Azurite is first: it makes ``.venv``, into which the next task installs."""
    task = TASKS["func: host start"]

    assert (["azurite", "pip install (functions)"], "sequence") == (
        task["dependsOn"],
        task["dependsOrder"],
    )


@pytest.mark.parametrize(
    ("system", "python"),
    [
        ("osx", "${config:azureFunctions.pythonVenv}/bin/python"),
        ("linux", "${config:azureFunctions.pythonVenv}/bin/python"),
        ("windows", "${config:azureFunctions.pythonVenv}\\Scripts\\python"),
    ],
)
def test_pip_installs_into_the_venv(system: str, python: str) -> None:
    """The app's requirements go where Core Tools look for them."""
    assert (
        f"{python} -m pip install -r requirements.txt"
        == (TASKS["pip install (functions)"][system]["command"])
    )


def test_azurite_stays_and_says_when_it_listens() -> None:
    """The task counts as begun at once and as ready at its one line."""
    task = TASKS["azurite"]
    background = task["problemMatcher"]["background"]

    assert task["isBackground"]
    assert background["activeOnStart"]
    assert re.search(
        background["endsPattern"],
        "Azurite is listening on 127.0.0.1:10000, 10001, 10002",
    )


def test_azurite_reports_no_problems() -> None:
    """VS Code wants a pattern beside ``background``; this one matches nothing."""
    pattern = TASKS["azurite"]["problemMatcher"]["pattern"]["regexp"]

    assert not any(re.search(pattern, line) for line in ("", "dev.py: a:1:2: fault"))


def test_every_command_of_dev_py_is_a_task() -> None:
    """What a terminal can do, *Run Task* can do, by the same name."""
    assert set(COMMANDS) == set(programs())


@pytest.mark.parametrize("label", programs())
def test_task_calls_dev_py_on_either_system(label: str) -> None:
    """Windows has no ``python3``; its launcher is ``py``."""
    task = TASKS[label]

    assert (f"python3 dev.py {label}", f"py dev.py {label}") == (
        task["command"],
        task["windows"]["command"],
    )


def test_settings_are_what_the_extension_writes() -> None:
    """With them the extension takes this folder for a function.json app of Python."""
    settings = load("settings.json")

    assert {
        "azureFunctions.deploySubpath": ".",
        "azureFunctions.scmDoBuildDuringDeployment": True,
        "azureFunctions.pythonVenv": ".venv",
        "azureFunctions.projectLanguage": "Python",
        "azureFunctions.projectRuntime": "~4",
        "debug.internalConsoleOptions": "neverOpen",
        "python.defaultInterpreterPath": "${workspaceFolder}/.venv",
    } == settings


def test_the_two_extensions_are_recommended() -> None:
    """Azure Functions and Python, by the names of the marketplace."""
    assert {"ms-azuretools.vscode-azurefunctions", "ms-python.python"} == set(
        load("extensions.json")["recommendations"]
    )
