"""Times as Durable writes them; a leaf that imports nothing of ours.

A timestamp is UTC text with up to seven fraction digits, trailing zeros cut off, and a
``Z``: ``2026-11-22T04:28:42.705591Z``. History keeps it as text because user code sees
it (``current_utc_datetime``, ``new_guid``) and a replay must get the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import lru_cache

TICKS_PER_S = 10_000_000
MOST_SECONDS = 1_024  # most times of a moment share their second
SLOWED_BY = 100  # more than clocks drift, less than anybody notices
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MIN = datetime.min.replace(tzinfo=timezone.utc)
_MAX = datetime.max.replace(tzinfo=timezone.utc)


class SteadyTime:
    """The machine's time, except that it never goes back; in 100 ns ticks since 1970.

    A step forward is followed at once: a machine that slept wakes with it. After a step
    back the time goes on where it was, 1 % slower than the machine's until that has
    caught up: what was to wait for ten seconds waits for ten seconds, and two clocks
    that drift apart by less are the same.
    """

    def __init__(
        self,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._last_ns = 0
        self._looked_at_ns = monotonic_ns()

    def ticks(self) -> int:
        """Return the current time."""
        now_ns = self._monotonic_ns()
        passed_ns = now_ns - self._looked_at_ns
        slowed_ns = self._last_ns + passed_ns - passed_ns // SLOWED_BY
        self._last_ns, self._looked_at_ns = max(self._wall_ns(), slowed_ns), now_ns
        return self._last_ns // 100


_steady = SteadyTime()


def steady_ticks() -> int:
    """Return the time of this process, see ``SteadyTime``."""
    return _steady.ticks()


class Clock:
    """Hands out the current time; never the same tick twice.

    Two events raised one after the other thereby differ even when their name and
    data are the same, so that a message that comes twice is known as one.
    """

    def __init__(self) -> None:
        self._last_ticks = 0

    def now(self) -> str:
        """Return the current time as a timestamp."""
        self._last_ticks = max(steady_ticks(), self._last_ticks + 1)
        return from_ticks(self._last_ticks)


def from_ticks(ticks: int) -> str:
    """Return the timestamp of a number of 100 ns ticks since 1970."""
    seconds, fraction = divmod(ticks, TICKS_PER_S)
    return trimmed(f"{_text_of(seconds)}.{fraction:07}Z")


def to_ticks(text: str) -> int:
    """Return 100 ns ticks since 1970; a text without offset counts as UTC.

    Raises ``ValueError`` when the text is no ISO time.
    """
    seconds, fraction, offset = _split(text)
    whole = _moment_of(seconds) - _EPOCH - offset
    ticks = (whole.days * 86_400 + whole.seconds) * TICKS_PER_S
    return ticks + int(fraction.ljust(7, "0")[:7] or 0)


def from_datetime(moment: datetime) -> str:
    """Return the timestamp of an aware datetime."""
    text = moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return trimmed(text.rjust(26, "0") + "Z")


def to_datetime(text: str) -> datetime:
    """Return an aware datetime (UTC, microseconds); times out of range are cut."""
    ticks = to_ticks(text)
    try:
        return _EPOCH + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return _MAX if ticks > 0 else _MIN


def plus_ms(text: str, ms: float) -> str:
    """Return the timestamp ``ms`` milliseconds later, exact to the tick."""
    return from_ticks(to_ticks(text) + round(ms * 10_000))


def trimmed(text: str) -> str:
    """Cut the trailing zeros of a timestamp's fraction: ``….5000000Z`` → ``….5Z``."""
    if "." not in text:
        return text
    return text.rstrip("Z").rstrip("0").rstrip(".") + "Z"


def padded(text: str) -> str:
    """Return the form of the table service: always seven fraction digits."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return f"{seconds}.{fraction:0<7}Z"


def whole_seconds(text: str) -> str:
    """Return the form of a status: seconds, cut off, and a ``Z``."""
    return text[:19] + "Z"


@lru_cache(maxsize=MOST_SECONDS)
def _text_of(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


@lru_cache(maxsize=MOST_SECONDS)
def _moment_of(seconds: str) -> datetime:
    moment = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S")
    return moment.replace(tzinfo=timezone.utc)


def _split(text: str) -> tuple[str, str, timedelta]:
    """Split an ISO time into seconds, fraction digits and offset from UTC."""
    rest, offset = text[19:], timedelta()
    if rest.endswith(("Z", "z")):
        rest = rest[:-1]
    elif len(rest) >= 6 and rest[-3] == ":" and rest[-6] in "+-":
        hours, minutes = int(rest[-5:-3]), int(rest[-2:])
        offset = timedelta(hours=hours, minutes=minutes)
        if rest[-6] == "-":
            offset = -offset
        rest = rest[:-6]
    if rest and (rest[0] != "." or not rest[1:].isdigit()):
        raise ValueError(f"not an ISO time: {text!r}")
    return text[:19], rest[1:], offset
