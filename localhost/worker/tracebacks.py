"""What a user's exception looks like: on the wire, and on the console.

Imports ``outcome`` and ``text`` only. Frames of this host and of the import machinery
are left out; what libraries do before the user's first frame, too.
"""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from localhost.outcome import Failure, Raised
from localhost.text import well_formed

# The SDK appends the orchestrator's whole state to the text of what it raises,
# and the host the .NET exception to the text of a failed activity.
_STATE_MARKER = "\n\n$OutOfProcData$:"
_DETAILS_MARKER = ' \n {"'
_HOST_FOLDER = str(Path(__file__).resolve().parent.parent) + os.sep
_IMPORTLIB = str(Path(importlib.__file__).resolve().parent) + os.sep
_CHAIN_LIMIT = 20


def failure_of(exc: BaseException, root: Path) -> Failure:
    """Describe *exc*, which came out of the app at *root*."""
    shown = _user_exception(exc)
    raised = Raised(
        type_name=well_formed(type(exc).__name__),
        message=well_formed(text_of(exc)),
        traceback=well_formed("".join(_frames(shown, root))),
    )
    return Failure(raised=raised, report=well_formed("\n".join(_report(shown, root))))


def text_of(exc: BaseException) -> str:
    """``str(exc)``, also when the user's own ``__str__`` fails."""
    try:
        return str(exc)
    except Exception:
        return f"<unprintable {type(exc).__name__} object>"


def _user_exception(exc: BaseException) -> BaseException:
    """The orchestrator's own exception, of which the SDK's is only the envelope."""
    cause = exc.__cause__
    return cause if cause is not None and _STATE_MARKER in text_of(exc) else exc


def _report(exc: BaseException, root: Path) -> Iterator[str]:
    current: BaseException | None = exc
    seen: set[int] = set()
    prefix = ""
    while current is not None and id(current) not in seen and len(seen) < _CHAIN_LIMIT:
        seen.add(id(current))
        yield prefix + _headline(current)
        yield from (frame.rstrip("\n") for frame in _frames(current, root))
        for inner in getattr(current, "exceptions", ()):  # an exception group's
            if isinstance(inner, BaseException):
                yield from (f"  | {line}" for line in _report(inner, root))
        prefix = "caused by "
        current = current.__cause__ or _context(current)


def _context(exc: BaseException) -> BaseException | None:
    return None if exc.__suppress_context__ else exc.__context__


def _headline(exc: BaseException) -> str:
    text = text_of(exc).partition(_STATE_MARKER)[0].partition(_DETAILS_MARKER)[0]
    name = type(exc).__name__
    return f"{name}: {text}" if text else name


def _frames(exc: BaseException, root: Path) -> list[str]:
    every = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if not _is_machinery(frame.filename)
    ]
    first = next(
        (at for at, frame in enumerate(every) if is_in_app(frame.filename, root)), 0
    )
    return traceback.format_list(every[first:]) + _syntax_error_place(exc)


def _syntax_error_place(exc: BaseException) -> list[str]:
    """A module that does not parse has no frame; its line is in the exception."""
    if not isinstance(exc, SyntaxError) or exc.filename is None:
        return []
    lines = traceback.format_exception_only(type(exc), exc)
    return ["".join(lines[:-1])]


def _is_machinery(filename: str) -> bool:
    machinery = ("<frozen importlib", "<frozen localhost", _IMPORTLIB, _HOST_FOLDER)
    return filename.startswith(machinery)


def is_in_app(filename: str, root: Path) -> bool:
    """Whether *filename* is the user's: under *root*, and not an installed package."""
    return filename.startswith(str(root) + os.sep) and (
        "site-packages" not in Path(filename).parts
    )
