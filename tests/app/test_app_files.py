"""The files around the three functions say what the quickstart says."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = ["DurableFunctionsHttpStart", "Hello", "HelloOrchestrator"]


def load(name: str) -> Any:
    """A JSON file of the app, named from its root."""
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


def bindings(function: str) -> list[dict[str, Any]]:
    """The bindings of one function."""
    result: list[dict[str, Any]] = load(f"{function}/function.json")["bindings"]
    return result


@pytest.mark.parametrize("function", FUNCTIONS)
def test_parameters_are_the_bindings(function: str) -> None:
    """The worker passes each binding by its name; only ``$return`` is not passed."""
    names = {each["name"] for each in bindings(function)} - {"$return"}

    assert names == set(inspect.signature(import_module(function).main).parameters)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_script_file_is_there(function: str) -> None:
    """``scriptFile`` names a file in the function's own folder."""
    script = load(f"{function}/function.json")["scriptFile"]

    assert (ROOT / function / script).is_file()


def test_starter_is_anonymous_at_its_route() -> None:
    """GET and POST on ``orchestrators/{functionName}`` need no key."""
    trigger = bindings("DurableFunctionsHttpStart")[0]

    assert ("anonymous", "orchestrators/{functionName}", ["post", "get"]) == (
        trigger["authLevel"],
        trigger["route"],
        trigger["methods"],
    )


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        ("DurableFunctionsHttpStart", ["httpTrigger", "http", "durableClient"]),
        ("Hello", ["activityTrigger"]),
        ("HelloOrchestrator", ["orchestrationTrigger"]),
    ],
)
def test_bindings_are_of_these_kinds(function: str, kinds: list[str]) -> None:
    """Each function has the bindings of its template."""
    assert kinds == [each["type"] for each in bindings(function)]


def test_host_uses_the_extension_bundle_in_support() -> None:
    """Bundle 4 holds the Durable extension of today's host."""
    assert {
        "id": "Microsoft.Azure.Functions.ExtensionBundle",
        "version": "[4.*, 5.0.0)",
    } == load("host.json")["extensionBundle"]


def test_local_settings_name_the_emulator_and_no_account() -> None:
    """The settings are committed, so they hold nothing that must stay secret."""
    assert {
        "IsEncrypted": False,
        "Values": {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        },
    } == load("local.settings.json")


def test_requirements_are_the_two_packages_below_2() -> None:
    """The 2.x of azure-functions-durable would not load function.json apps."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()

    assert ["azure-functions", "azure-functions-durable>=1.7,<2"] == [
        line for line in lines if not line.startswith("#")
    ]
