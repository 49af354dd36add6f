"""Which Node runs Azurite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localhost.errors import CannotStartError
from localhost.node import find_node, require_supported, version


def fake_node(folder: Path, says: str) -> Path:
    """An executable that answers with a version."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        path = folder / "node.bat"
        path.write_text(f"@echo {says}\n")
    else:
        path = folder / "node"
        path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


def test_the_node_that_is_named_is_taken(tmp_path: Path) -> None:
    """Whatever else there is."""
    named = fake_node(tmp_path / "named", "v1.0.0")
    other = fake_node(tmp_path / "other", "v20.0.0")

    found = find_node(
        {"LOCALHOST_NODE": str(named), "PATH": str(other.parent)}, wheel=other
    )

    assert named == found


def test_a_name_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    """Nothing else is taken in its place."""
    environ = {"LOCALHOST_NODE": str(tmp_path / "gone")}

    with pytest.raises(
        CannotStartError, match="Environment variable LOCALHOST_NODE is"
    ):
        find_node(environ, wheel=fake_node(tmp_path, "v20.0.0"))


def test_the_only_node_is_not_asked_for_its_version(tmp_path: Path) -> None:
    """That would cost time at every start; an old one is told if Azurite fails."""
    on_path = fake_node(tmp_path, "v1.0.0")

    assert on_path == find_node({"PATH": str(tmp_path)}, wheel=None)


@pytest.mark.parametrize(
    ("says", "is_taken"), [("v20.0.0", True), ("v24.1.2", True), ("v18.9.9", False)]
)
def test_the_node_on_the_path_is_taken_if_it_is_new_enough(
    tmp_path: Path, says: str, is_taken: bool
) -> None:
    """Else the one from PyPI."""
    on_path = fake_node(tmp_path / "bin", says)
    wheel = fake_node(tmp_path / "wheel", "v22.0.0")

    found = find_node({"PATH": str(on_path.parent)}, wheel=wheel)

    assert found == (on_path if is_taken else wheel)


def test_the_node_from_pypi_is_enough(tmp_path: Path) -> None:
    """There need be none on the PATH."""
    wheel = fake_node(tmp_path / "wheel", "v22.0.0")

    assert wheel == find_node({"PATH": str(tmp_path)}, wheel=wheel)


def test_without_any_node_the_command_is_told(tmp_path: Path) -> None:
    """It installs one."""
    with pytest.raises(CannotStartError, match=r"Node is missing.*dev\.py install"):
        find_node({"PATH": str(tmp_path)}, wheel=None)


def test_an_old_node_is_told_with_its_version(tmp_path: Path) -> None:
    """And what to do about it."""
    node = fake_node(tmp_path, "v18.1.0")

    with pytest.raises(CannotStartError, match=r"is v18\.1\.0; Azurite needs Node 20"):
        require_supported(node)


def test_what_is_no_node_is_told(tmp_path: Path) -> None:
    """A file that cannot be run has no version."""
    with pytest.raises(CannotStartError, match="is no Node that runs"):
        require_supported(tmp_path / "gone")


def test_the_version_is_what_node_prints(tmp_path: Path) -> None:
    """Without the line's end."""
    assert "v20.20.2" == version(fake_node(tmp_path, "v20.20.2"))
