"""What the host prints: log lines as people know them, and the list of functions.

A line of user code appears once, with its level; a system line from Warning on.
host.json's ``logging.logLevel`` changes that by category, as in Azure.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping

from localhost.declared import Function, FunctionApp, FunctionFault
from localhost.text import well_formed
from localhost.web.routes import http_lines, is_http
from localhost.worker.invocation import current_invocation

OFF = logging.CRITICAL + 10
LEVELS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": OFF,
}
INVOCATIONS = "localhost.invocations"
_GREY, _YELLOW, _RED, _PLAIN = "\x1b[90m", "\x1b[33m", "\x1b[31m", "\x1b[0m"


def set_up_logging(level: str, by_category: Mapping[str, str]) -> None:
    """Let everything that is logged go to standard output, once.

    ``level`` is the least level of users' and functions' lines, unless a category of
    ``by_category`` (host.json) says otherwise.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # which may know ASCII only
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter(has_colour=sys.stdout.isatty()))
    handler.addFilter(Levels(LEVELS[level], by_category))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    wanted = [level, *(each.lower() for each in by_category.values())]
    least = min(LEVELS[each] for each in wanted)
    root.setLevel(min(logging.INFO, least))  # handlers of the user's may want more
    logging.getLogger("localhost").setLevel(least)
    logging.captureWarnings(True)


class Levels:
    """Decides by category which records are shown; a filter for a handler."""

    def __init__(self, least: int, by_category: Mapping[str, str]) -> None:
        self._least = least
        self._by_category = {
            category.lower(): LEVELS[level.lower()]
            for category, level in by_category.items()
        }

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        return record.levelno >= self._least_of(category_of(record))

    def _least_of(self, category: str) -> int:
        """The longest configured category that begins this one decides."""
        parts = category.lower().split(".")
        for length in range(len(parts), 0, -1):
            level = self._by_category.get(".".join(parts[:length]))
            if level is not None:
                return level
        if category.startswith(("Function", "Localhost")):
            return self._by_category.get("default", self._least)
        return max(self._least, logging.WARNING)


def category_of(record: logging.LogRecord) -> str:
    """Return the category of a record, as Azure names it.

    What is logged during an invocation and not by the host or its libraries is the
    user's; outside of one (at import) too, unless a library says it.
    """
    known = record.__dict__
    invocation = known.get("invocation") or current_invocation.get()
    if record.name == INVOCATIONS:
        return f"Function.{getattr(record, 'function_name', '')}".rstrip(".")
    if record.name.startswith("localhost") and not known.get("is_of_worker"):
        return "Localhost"
    if record.name.split(".")[0] in _LIBRARIES:
        return f"Host.{record.name}"
    name = f".{invocation.function_name}" if invocation else ""
    return f"Function{name}.User"


_LIBRARIES = frozenset({"aiohttp", "asyncio", "azure", "concurrent", "py", "urllib3"})


class _Formatter(logging.Formatter):
    """``[2026-11-22T04:00:10.637Z] text``; coloured by level on a terminal."""

    def __init__(self, *, has_colour: bool) -> None:
        super().__init__()
        self._has_colour = has_colour

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        stamp = f"[{seconds}.{int(record.msecs):03}Z] "
        text = well_formed(super().format(record))
        if not self._has_colour:
            level = f"{record.levelname.title()}: "
            return stamp + (level if record.levelno >= logging.WARNING else "") + text
        colour = _YELLOW if record.levelno == logging.WARNING else ""
        colour = _RED if record.levelno >= logging.ERROR else colour
        return f"{_GREY}{stamp}{_PLAIN}{colour}{text}{_PLAIN if colour else ''}"


def function_lines(
    app: FunctionApp, faults: Iterable[FunctionFault], *, port: int, prefix: str
) -> Iterator[str]:
    """Yield the list that is printed once the app has loaded."""
    faults = {fault.name: fault for fault in (*app.faults, *faults)}.values()
    failed = {fault.name for fault in faults}
    running = [f for f in app.functions if not f.disabled and f.name not in failed]
    yield from ("", "Functions:", "")
    for line in http_lines(app, port=port, prefix=prefix):
        if line.strip().split(":")[0] not in failed:
            yield from (line, "")
    for function in running:
        if not is_http(function):
            yield from (f"\t{function.name}: {_trigger(function)}", "")
    for fault in faults:
        first, *more = fault.message.splitlines()
        yield f"\t{fault.name}: failed: {first}"
        yield from (f"\t    {line}" for line in more)
        yield ""
    for function in app.functions:
        if function.disabled:
            yield from (f"\tFunction {function.name} is disabled.", "")


def _trigger(function: Function) -> str:
    kind = function.trigger.type
    return kind if function.is_run_here else f"{kind} (not run here)"
