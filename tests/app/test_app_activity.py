"""The activity ``Hello``: a plain function, called as one."""

from __future__ import annotations

import pytest

from Hello import main


@pytest.mark.parametrize("name", ["Tokyo", "Zürich", "東京"])
def test_hello_greets_by_name(name: str) -> None:
    """The activity returns ``Hello <name>!``."""
    assert f"Hello {name}!" == main(name)
