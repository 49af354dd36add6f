"""The recordings of the real host in ``tests/data``, as the suite reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"
APP = DATA / "conformance_app"
# In the order in which they were recorded, on one task hub.
HTTP_SCENARIOS = (
    "basics",
    "patterns",
    "custom_status",
    "functions_http",
    "events",
    "unknown",
    "listing",
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request and its answer; ``body`` is JSON, or text that is none."""

    name: str
    method: str
    path: str
    request: Any
    status: int
    headers: dict[str, str]
    body: Any


def http_steps(scenario: str) -> list[Step]:
    """The steps of a scenario over HTTP, in order."""
    text = (DATA / "http" / f"{scenario}.json").read_text(encoding="utf-8")
    return [_step(each) for each in json.loads(text)]


def _step(recorded: dict[str, Any]) -> Step:
    return Step(name=recorded.pop("step"), **recorded)
