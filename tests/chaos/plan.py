"""What a campaign does, derived from its seed: orders, faults, and when.

A plan holds pauses and lengths; where in a turn a fault strikes is up to the machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from tests.chaos.patterns import PATTERNS, SIGNAL

LONGEST_FREEZE_S = 3.0
LONGEST_CUT_S = 1.0
LONGEST_STOP_S = 1.0
LONGEST_WITHOUT_S = 1.0
_KINDS = (*PATTERNS, SIGNAL, SIGNAL)


class Fault(Enum):
    """What may happen in a round beside the kill of the host, which ends each."""

    NONE = "nothing but the kill"
    CUT = "connections to Azurite cut by a proxy"
    FREEZE = "Azurite frozen (SIGSTOP), then continued"
    STOP = "Azurite stopped (SIGTERM), restarted on its folder"
    WORKER = "worker process killed (SIGKILL), replaced by the host"


LONGEST_S = {
    Fault.NONE: 0.0,
    Fault.CUT: LONGEST_CUT_S,
    Fault.FREEZE: LONGEST_FREEZE_S,
    Fault.STOP: LONGEST_STOP_S,
    Fault.WORKER: LONGEST_WITHOUT_S,
}


@dataclass(frozen=True, kw_only=True)
class Round:
    """Orders during ``pause_s``; then a fault of ``fault_s``; a kill of the host.

    The kill comes ``kill_s`` after the begin of the fault: before its end or later.
    """

    orders: tuple[str, ...]
    pause_s: float
    fault: Fault
    fault_s: float
    kill_s: float


def rounds(seed: int, kills: int) -> Iterator[Round]:
    """The rounds of a campaign, one for each kill."""
    chance = random.Random(seed)
    for _ in range(kills):
        orders = tuple(chance.choices(_KINDS, k=chance.randint(4, 16)))
        fault = chance.choices([*Fault], weights=(5, 2, 2, 1, 3))[0]
        fault_s = chance.uniform(0.0, LONGEST_S[fault])
        yield Round(
            orders=orders,
            pause_s=chance.uniform(0.0, chance.choice((0.5, 1.0, 2.0))),
            fault=fault,
            fault_s=fault_s,
            kill_s=chance.uniform(0.0, 2 * fault_s),
        )
