"""Query parameters of a list: which instances are meant; what is absurd is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from dateutil import parser

from localhost.durable.client import Filter
from localhost.history import STATUS_NUMBERS, Status
from localhost.timestamps import from_datetime, padded

DEFAULT_PAGE_SIZE = 100
LARGEST_PAGE_SIZE = 1_000
_BY_NUMBER = {str(number): status for status, number in STATUS_NUMBERS.items()}


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
