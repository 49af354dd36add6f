"""Returns its tag after a pause, and notes that it has run."""

from __future__ import annotations

import os
import time
from typing import Any


def main(call: dict[str, Any]) -> str:
    tag = str(call["tag"])
    with open(os.path.join(os.environ["PROGRAMS_NOTES"], "runs"), "a") as runs:
        runs.write(f"{tag}\n")
    time.sleep(call.get("ms", 0) / 1000)
    return tag
