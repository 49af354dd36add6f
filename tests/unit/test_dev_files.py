"""The files around ``dev.py`` that must agree with it and with each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import dev

ROOT = Path(__file__).parents[2]
LOCK_FILE = (ROOT / dev.NPM_LOCK).read_text(encoding="utf-8")
PACKAGES: dict[str, dict[str, Any]] = json.loads(LOCK_FILE)["packages"]


def test_the_lock_file_names_no_registry() -> None:
    """Each machine gets the packages from the registry that it is set to."""
    assert re.findall(r'"resolved"|\S+\.tgz\S*', LOCK_FILE) == []


def test_the_lock_file_has_a_hash_for_each_package() -> None:
    """Whatever registry serves a package, its content is known."""
    assert [
        name for name, entry in PACKAGES.items() if name and "integrity" not in entry
    ] == []


def test_azurite_is_pinned() -> None:
    """Azurite is of the one minor version that the host is tried on."""
    assert PACKAGES["node_modules/azurite"]["version"].startswith("3.35.")


@pytest.mark.parametrize("command", ["test", "check"])
@pytest.mark.parametrize(
    ("file", "python"),
    [(".ci/run", "python3"), (".github/workflows/ci.yml", "python")],
)
def test_the_checks_of_a_change_are_the_readmes_commands(
    file: str, python: str, command: str
) -> None:
    """What a new user types is what every change is checked by."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()

    ends = f"{python} dev.py {command}"
    assert [line for line in lines if line in (ends, f"      - run: {ends}")]


def test_make_has_the_commands() -> None:
    """The Makefile's targets are the commands of dev.py."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    [targets] = re.findall(r"^(start .*):$", text, re.MULTILINE)

    assert sorted(targets.split()) == sorted(dev.COMMANDS)
