"""What the figures were measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

from localhost.azurite import AZURITE_SCRIPT
from localhost.node import find_node, node_of_wheel, version

ROOT = Path(__file__).parents[1]


def machine_facts() -> dict[str, str]:
    """Return name → fact, in the order in which they are printed."""
    node = find_node(os.environ, wheel=node_of_wheel())
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "load": _load(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "node": version(node).lstrip("v"),
        "azurite": azurite_version(),
        "commit": _commit(),
    }


def azurite_version() -> str:
    """The version that is installed for the host."""
    package = AZURITE_SCRIPT.parents[2] / "package.json"
    return str(json.loads(package.read_text(encoding="utf-8"))["version"])


def _processor() -> str:
    """The name that Linux has for it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or platform.machine()


def _load() -> str:
    """The load before the run: what else the machine does spoils figures."""
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return f"{os.getloadavg()[0]:.1f} processes in the minute before"


def _commit() -> str:
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    return f"{commit} with changes" if _git("status", "--porcelain") else commit


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
