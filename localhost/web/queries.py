"""Query parameters of the management API; what is absurd counts as not there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from urllib.parse import unquote_plus

from dateutil import parser

from localhost.durable.client import Filter
from localhost.history import STATUS_NUMBERS, Status
from localhost.timestamps import from_datetime, padded

DEFAULT_PAGE_SIZE = 100
LARGEST_PAGE_SIZE = 1_000
_BY_NUMBER = {str(number): status for status, number in STATUS_NUMBERS.items()}


def query_of(raw: str) -> dict[str, str]:
    """Read a query: names lower-cased, values trimmed, repeated ones joined by commas.

    A part without ``=`` has no name and is left out.
    """
    query: dict[str, str] = {}
    for part in raw.split("&"):
        name, is_named, value = part.partition("=")
        if not is_named:
            continue
        key = unquote_plus(name).strip().lower()
        value = unquote_plus(value).strip()
        query[key] = f"{query[key]},{value}" if key in query else value
    return query


def filter_of(
    query: Mapping[str, str], *, after: tuple[str, str] | None = None
) -> Filter:
    """Return the filter of a query; what cannot be read counts as not there."""
    return Filter(
        created_from=_time(query.get("createdtimefrom")),
        created_to=_time(query.get("createdtimeto")),
        statuses=_statuses(query.get("runtimestatus", "")),
        prefix=query.get("instanceidprefix") or None,
        page_size=_page_size(query.get("top")),
        after=after,
    )


def is_true(query: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    """Return a flag of a query: ``true`` or ``false`` in any case, else the default."""
    return {"true": True, "false": False}.get(query.get(name, "").lower(), default)


def _time(text: str | None) -> str | None:
    """Return a time of the query as the table service compares it; UTC by default."""
    if not text:
        return None
    today = datetime.now(timezone.utc).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    try:
        moment = parser.parse(text, default=today)
        return padded(from_datetime(moment))
    except (ValueError, OverflowError, TypeError):
        return None


def _statuses(text: str) -> frozenset[Status]:
    names = {status.value: status for status in Status} | _BY_NUMBER
    wanted = (part.strip() for part in text.split(","))
    return frozenset(names[name] for name in wanted if name in names)


def _page_size(text: str | None) -> int:
    try:
        number = int(text or "")
    except ValueError:
        return DEFAULT_PAGE_SIZE
    return min(number, LARGEST_PAGE_SIZE) if number > 0 else DEFAULT_PAGE_SIZE


def number_of(text: str | None) -> float | None:
    """Return a number of a query that is not absurd, None for any other text."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None
