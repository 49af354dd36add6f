"""A short campaign of faults: nothing is lost, nothing doubled."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localhost.azurite import AZURITE_SCRIPT
from tests.chaos.campaign import run
from tests.chaos.report import lines

SEED, KILLS = 5, 6


@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot freeze a process")
@pytest.mark.skipif(
    not AZURITE_SCRIPT.exists(),
    reason="Azurite is not installed: python3 dev.py install",
)
def test_nothing_is_lost_and_nothing_doubled(tmp_path: Path) -> None:
    """Six kills of the host, with its storage cut off, frozen and stopped between."""
    report = run(tmp_path, seed=SEED, kills=KILLS, say=lambda text: None)

    assert not report.fault_count, "\n".join(lines(report))
