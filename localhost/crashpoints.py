"""Named places at which a test may let the process end, as a kill would end it there.

Only tests set the variable. Its value is a name, or a name and which pass through the
place is meant: ``after history`` or ``after history#3``. ``any#7`` is the seventh pass
through any of them.
"""

from __future__ import annotations

import os
import sys
from collections import Counter

VARIABLE = "LOCALHOST_CRASH_AT"
EXIT_CODE = 86

_name, _, _number = os.environ.get(VARIABLE, "").partition("#")
_passes: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """End the process here and now if a test has asked for it; else do nothing."""
    if not _name:
        return
    _passes[name] += 1
    _passes["any"] += 1
    if _name in (name, "any") and _passes[_name] == int(_number or 1):
        sys.stderr.write(f"crash point: {name}\n")
        sys.stderr.flush()
        os._exit(EXIT_CODE)
