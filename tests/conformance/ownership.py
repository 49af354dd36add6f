"""What a host writes when it starts, renews its partitions and stops."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.conformance.comparing import Words
from tests.conformance.differences import Difference, differences
from tests.conformance.wire import Write
from tests.conformance.writes import Plain, compare, plain, recorded_writes

# The recordings with a table of partitions are of another hub.
_RECORDED_WORDS = Words(of={"TestHubName": "PatternsHub", "testhubname": "patternshub"})
_INSTANCE = re.compile(r"History|Instances|-largemessages")


def differences_of_life(
    started: Sequence[Write],
    renewed: Sequence[Write],
    stopped: Sequence[Write],
    words: Words,
) -> dict[str, list[Difference]]:
    """Return the differences in what was written at the start, later and at the end."""
    # Partitions are renewed until the very moment in which the host stops.
    stopped = [each for each in stopped if not _is_renewal(each)]
    phases = {
        "00-host-start": started,
        "29-host-stopping-sigterm": stopped,
        "40-partitions-table-host-start": started,
        "41-partitions-table-renewal": renewed,
        "42-partitions-table-host-stopping-sigterm": stopped,
    }
    return {
        name: differences(
            compare(
                _life(recorded_writes(name), _RECORDED_WORDS), _life(writes, words)
            ),
            area="storage",
            scenario=name,
        )
        for name, writes in phases.items()
    }


def _is_renewal(write: Write) -> bool:
    row = write.content
    return "CurrentOwner" in row and not row.get("IsDraining")


def _life(writes: Sequence[Write], words: Words) -> list[Plain]:
    """Return each kind of write once, without those of instances."""
    found: list[Plain] = []
    for write in writes:
        if write.kind == "message" or _INSTANCE.search(write.path):
            continue
        each = plain(write, words)
        if each not in found:
            found.append(each)
    return found
