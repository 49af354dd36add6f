"""What the SDK does anew at every turn, and need do only once."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

# At 700 bytes each; more would slowly fill the memory of a host that has much to do.
MOST_TIMES = 4_096
MOST_CLASSES = 16
_MODELS = "azure.durable_functions.models"
_READER = f"{_MODELS}.history.HistoryEvent"
_EXECUTOR = f"{_MODELS}.TaskOrchestrationExecutor"
_WRITTEN = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d?)?Z", re.ASCII)

Parse = Callable[[str], datetime]


def take_shortcuts() -> None:
    """Let the SDK remember what is the same whenever it is asked for.

    A turn hands over the whole history: parsing its times was four fifths of a replay.
    And each turn makes a class of named tuples, which takes longer than a short replay.
    What the SDK gets is the same value, which nobody can change.
    """
    _replace(_READER, "dt_parse", lambda parse: _remembered(faster(parse), MOST_TIMES))
    _replace(_EXECUTOR, "namedtuple", made_once)


def _replace(module_name: str, name: str, better: Callable[[Any], Any]) -> None:
    """Replace a function that a module of the SDK has imported, if it has, once."""
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        return
    function = getattr(module, name, None)
    if function is not None and not hasattr(function, "cache_info"):
        vars(module)[name] = better(function)


def made_once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``make``, which makes a class that it has made before only once."""
    remembered = _remembered(make, MOST_CLASSES)

    @wraps(remembered)
    def made(*arguments: Any, **options: Any) -> Any:
        try:
            return remembered(*arguments, **options)
        except TypeError:  # a list cannot be remembered
            return make(*arguments, **options)

    vars(made)["cache_info"] = remembered.cache_info  # type: ignore[attr-defined]
    return made


def _remembered(function: Callable[..., Any], most: int) -> Callable[..., Any]:
    return lru_cache(maxsize=most)(function)


def faster(parse: Parse) -> Parse:
    """Return ``parse`` with a short way for times as histories have them."""
    utc = parse("2000-01-01T00:00:00Z").tzinfo

    def parsed(text: str) -> datetime:
        written = _WRITTEN.fullmatch(text)
        if written is None:
            return parse(text)
        seconds, fraction = written.groups(default="0")
        return datetime.fromisoformat(f"{seconds}.{fraction:0<6}").replace(tzinfo=utc)

    return parsed
