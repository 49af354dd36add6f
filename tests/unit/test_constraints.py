"""What the constraints of routes take, on every version of Python alike."""

from __future__ import annotations

import pytest

from localhost.web.constraints import constraint


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-22", "2026-1-2", "2026/01/02", "2026.01.02", "2026-11"),
        *("2026-11-22T04:28", "2026-11-22T04:28:42", "2026-11-22 04:28:42"),
        *("2026-11-22T04:28:42.5Z", "2026-11-22T04:28:42.1234567Z"),
        *(
            "2026-11-22T04:28:42z",
            "2026-11-22T04:28:42+02:00",
            "2026-11-22T04:28-05:30",
        ),
        *("2024-02-29", "11-22-2026", "1-2-2026 10:00", " 2026-11-22 "),
        *("22 Nov 2026", "22 November 2026", "Nov 22 2026", "november 22, 2026"),
        *("10:00", "10:00:30", "9:05", "10:00 PM", "12:00 am", "1:00PM"),
    ],
)
def test_datetime(text: str) -> None:
    """What .NET reads in its invariant culture."""
    assert constraint("datetime", None)(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "5", "20261122", "2026-W47-7", "2026W477", "2026-326", "2026"),
        *(
            "20261122T042842",
            "2026-11-22T04",
            "2026-11-22T0428",
            "2026-11-22T04:28:42,5",
        ),
        *("2026-13-01", "2026-02-30", "2025-02-29", "0000-01-01", "2026-11-22T24:00"),
        *("2026-11-22T04:60", "2026-11-22T04:28:60", "2026-11-22T04:28+25:00"),
        *("2026-11-22T04:28:42.", "2026-11-22TT04:28", "2026-11-22T", "T04:28"),
        *("22-11-2026", "22 Nox 2026", "31 Nov 2026", "13:00 PM", "0:00 PM"),
        *("\u0662\u0660\u0662\u0666-11-22", "2026-11-22x", "2026-11-22T04:28:42+0200"),
    ],
)
def test_no_datetime(text: str) -> None:
    """Short forms that only newer versions of Python read, and days that are none."""
    assert not constraint("datetime", None)(text)


@pytest.mark.parametrize("name", ["int", "long", "decimal", "double", "datetime"])
def test_number_of_any_length_is_decided(name: str) -> None:
    """Python refuses to read thousands of digits."""
    check = constraint(name, None)

    assert name in ("decimal", "double") or not check("9" * 10_000)
    assert name == "datetime" or check("0" * 10_000 + "1")
