"""``python -m tests.conformance``: a table of how near we are to the real host."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

OPTIONS = ("-q", "--no-header", "--tb=line", "-p", "no:xdist", "--conformance-table")

if __name__ == "__main__":
    sys.exit(pytest.main([*OPTIONS, str(Path(__file__).parent), *sys.argv[1:]]))
