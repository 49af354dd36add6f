"""Fails the first time that it is called with a tag; a file remembers that.

A run whose answer a crash has lost counts as the first time too.
"""

from __future__ import annotations

import os
from contextlib import suppress


def main(call: str) -> str:
    folder = os.environ["PROGRAMS_NOTES"]
    with open(os.path.join(folder, "runs"), "a") as runs:
        runs.write(f"{call}\n")
    with suppress(FileExistsError):
        mark = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        os.close(os.open(os.path.join(folder, f"failed-{call}"), mark))
        raise RuntimeError(f"<<{call}>>")
    return call
