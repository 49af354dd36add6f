"""The patterns of a campaign: what is started, what is sent, what must come out.

Every event has a value of its own and every signal a digit of its own, so that an
output tells what was lost and what was doubled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.acceptance.asking import GREETINGS

SIGNAL = "signal"
ETERNAL_EVENTS = "EternalEvents"
# Signals add powers of this, so a digit of the sum counts how often one was applied.
SIGNAL_BASE = 4
# Sums stay below 2**53: JSON may pass through a double.
SIGNALS_PER_ENTITY = 24
_TYPES = [None, True, 0, 1.5, "", "5", "東京", [1, "a"], {"k": [None]}]


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """An orchestrator with its input, output, events, and number of children."""

    body: Any = None
    output: Any = None
    events: tuple[str, ...] = ()
    child_count: int = 0


# No timer that is cancelled: its message stays hidden until it would have fired, and
# could not be told from one that was forgotten.
PATTERNS = {
    "HelloOrchestrator": Pattern(output=GREETINGS),
    "FanOut": Pattern(body=20, output=sum(i * i for i in range(20))),
    "Timer": Pattern(output=True),
    "TimerPast": Pattern(output="done"),
    "ThreeEvents": Pattern(events=("E", "E", "F")),
    "SubOrch": Pattern(output=[GREETINGS, {"x": 1}], child_count=2),
    "ParallelSub": Pattern(output=[0, 1, 2, 3], child_count=4),
    "EntityOrch": Pattern(output=7),
    "Eternal": Pattern(output=3),
    ETERNAL_EVENTS: Pattern(events=("Item", "Item", "Item")),
    "Types": Pattern(output=_TYPES),
}


def is_right(
    name: str, output: Any, *, sent: Sequence[str], answered: Sequence[str]
) -> bool:
    """Whether this is the output of an instance to which those events were sent.

    An event whose sending was not answered may be in it or not, none may twice.
    """
    pattern = PATTERNS[name]
    if not pattern.events:
        return bool(output == pattern.output)
    values = output if isinstance(output, list) else []
    if len(values) != len(set(values)) or not set(values) <= set(sent):
        return False
    if name == ETERNAL_EVENTS or len(sent) == len(answered):
        return set(answered) <= set(values)
    return len(values) == len(pattern.events)


def times_applied(total: int, count: int) -> list[int]:
    """How often each of *count* signals is in an entity's sum."""
    return [total // SIGNAL_BASE**digit % SIGNAL_BASE for digit in range(count)]
