"""What the host prints: which lines, in which form, and the list of functions."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localhost.app.manifest import read_app
from localhost.console import (
    INVOCATIONS,
    Levels,
    category_of,
    function_lines,
    set_up_logging,
)
from localhost.declared import FunctionApp, FunctionFault
from localhost.worker.invocation import Invocation, current_invocation

Log = Callable[..., str]


def record_of(name: str, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    """Return a record as a logger of that name makes it."""
    record = logging.LogRecord(name, level, __file__, 1, "text", (), None)
    record.__dict__.update(extra)
    return record


@pytest.fixture(name="during_hello")
def _during_hello() -> Iterator[None]:
    """Whatever happens in the test happens during a call of the function Hello."""
    invocation = Invocation(function_name="Hello", instance_id="i1", invocation_id="v1")
    token = current_invocation.set(invocation)
    yield
    current_invocation.reset(token)


# Categories


@pytest.mark.usefixtures("during_hello")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("root", "Function.Hello.User"),
        ("mine.module", "Function.Hello.User"),
        ("localhost.durable.pump", "Localhost"),
        ("aiohttp.access", "Host.aiohttp.access"),
        ("azure.core", "Host.azure.core"),
    ],
)
def test_category_during_a_call(name: str, expected: str) -> None:
    """What is neither the host's nor a library's is the function's own."""
    assert expected == category_of(record_of(name))


def test_category_outside_of_calls() -> None:
    """What is logged while a module is imported is the user's, of no function."""
    assert "Function.User" == category_of(record_of("root"))


def test_category_of_the_line_of_a_call() -> None:
    """The line that tells of a call belongs to its function."""
    record = record_of(INVOCATIONS, function_name="Hello")

    assert "Function.Hello" == category_of(record)


# Levels


@pytest.mark.usefixtures("during_hello")
@pytest.mark.parametrize(
    ("by_category", "name", "level", "is_shown"),
    [
        ({}, "root", logging.INFO, True),
        ({}, "root", logging.DEBUG, False),
        ({}, "aiohttp", logging.INFO, False),
        ({}, "aiohttp", logging.WARNING, True),
        ({"default": "Error"}, "root", logging.WARNING, False),
        ({"default": "Error"}, "aiohttp", logging.WARNING, True),
        ({"Function": "Warning"}, "root", logging.INFO, False),
        ({"Function.Hello": "Debug"}, "root", logging.DEBUG, True),
        ({"Function.Hello.User": "None"}, "root", logging.CRITICAL, False),
        ({"Function": "None", "Function.Hello": "Debug"}, "root", logging.INFO, True),
        ({"Function.Other": "None"}, "root", logging.INFO, True),
        ({"Function.Hell": "None"}, "root", logging.INFO, True),
        ({"FUNCTION.hello": "warning"}, "root", logging.INFO, False),
        ({"Host": "Information"}, "aiohttp", logging.INFO, True),
    ],
)
def test_longest_category_decides(
    by_category: dict[str, str], name: str, level: int, is_shown: bool
) -> None:
    """host.json's longest category that fits says what is shown, whatever its case."""
    levels = Levels(logging.INFO, by_category)

    assert is_shown is levels.filter(record_of(name, level))


def test_least_level_counts_for_users_not_for_libraries() -> None:
    """``--log-level debug`` does not show what libraries have to say."""
    levels = Levels(logging.DEBUG, {})

    assert levels.filter(record_of("mine", logging.DEBUG))
    assert not levels.filter(record_of("asyncio", logging.DEBUG))


# Lines


@pytest.fixture(name="log")
def _log(capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    """Logs one text as user code does, and returns what was printed for it."""
    root, ours = logging.getLogger(), logging.getLogger("localhost")
    handlers, level, our_level = root.handlers[:], root.level, ours.level

    def log(text: str, at: int, least: str = "information", **by_category: str) -> str:
        set_up_logging(least, by_category)
        logging.getLogger("mine").log(at, text, exc_info=sys.exc_info()[0] is not None)
        return capsys.readouterr().out

    yield log
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)
    logging.captureWarnings(False)


def test_line_has_time_and_text(log: Log) -> None:
    """The time is UTC with milliseconds, as people know it."""
    line = log("hello", logging.INFO)

    assert re.fullmatch(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] hello\n", line)


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.INFO, ""),
        (logging.WARNING, "Warning: "),
        (logging.ERROR, "Error: "),
        (logging.CRITICAL, "Critical: "),
    ],
)
def test_line_without_colours_tells_its_level(
    log: Log, level: int, prefix: str
) -> None:
    """Where colours cannot show it, a word says what is wrong."""
    assert log("hello", level).partition("] ")[2] == f"{prefix}hello\n"


def test_traceback_follows_its_line(log: Log) -> None:
    """An exception that user code logs is printed with its traceback."""
    try:
        raise ValueError("boom")
    except ValueError:
        text = log("hello", logging.ERROR)

    assert text.endswith("ValueError: boom\n")
    assert "Traceback (most recent call last):" in text


@pytest.mark.parametrize(
    ("least", "by_category", "is_shown"),
    [
        ("information", {}, False),
        ("debug", {}, True),
        ("trace", {}, True),
        ("information", {"Function": "Debug"}, True),
        ("debug", {"Function": "Information"}, False),
    ],
)
def test_debug_lines_are_shown_when_asked(
    log: Log, least: str, by_category: dict[str, str], is_shown: bool
) -> None:
    """Either the command line or host.json can ask for more."""
    assert is_shown is bool(log("hello", logging.DEBUG, least, **by_category))


@pytest.mark.parametrize(
    ("least", "by_category", "is_made"),
    [
        ("information", {}, True),
        ("warning", {}, False),
        ("warning", {"Function.Hello": "Information"}, True),
    ],
)
def test_no_line_of_a_call_is_made_that_is_not_shown(
    log: Log, least: str, by_category: dict[str, str], is_made: bool
) -> None:
    """Each call would make one; a handler of the user's own still gets all of his."""
    log("hello", logging.INFO, least, **by_category)

    assert is_made is logging.getLogger(INVOCATIONS).isEnabledFor(logging.INFO)
    assert logging.getLogger("mine").isEnabledFor(logging.INFO)


# The list


@pytest.fixture(name="app_of")
def _app_of(tmp_path: Path) -> Callable[..., FunctionApp]:
    """Makes an app of functions, each one trigger and perhaps ``disabled``."""

    def make(**triggers: dict[str, Any]) -> FunctionApp:
        for name, trigger in triggers.items():
            folder = tmp_path / name
            folder.mkdir()
            (folder / "__init__.py").write_text("def main(x): ...\n")
            is_disabled = trigger.pop("disabled", False)
            binding = {"name": "x", "direction": "in", **trigger}
            config = {"bindings": [binding], "disabled": is_disabled}
            (folder / "function.json").write_text(json.dumps(config))
        return read_app(tmp_path, environ={})

    return make


def printed(app: FunctionApp, *faults: FunctionFault) -> list[str]:
    """Return the list's lines, without the empty ones."""
    lines = function_lines(app, faults, port=7071, prefix="api")
    return [line for line in lines if line]


def test_list_has_http_functions_first(app_of: Callable[..., FunctionApp]) -> None:
    """Addresses come first, then the other functions with their triggers."""
    app = app_of(
        Activity={"type": "activityTrigger"},
        Start={"type": "httpTrigger", "route": "go/{id}", "methods": ["post", "get"]},
    )

    assert [
        "Functions:",
        "\tStart: [POST,GET] http://localhost:7071/api/go/{id}",
        "\tActivity: activityTrigger",
    ] == printed(app)


def test_list_has_empty_lines_between(app_of: Callable[..., FunctionApp]) -> None:
    """The list looks as people know it."""
    app = app_of(Activity={"type": "activityTrigger"})

    assert ["", "Functions:", "", "\tActivity: activityTrigger", ""] == list(
        function_lines(app, (), port=7071, prefix="api")
    )


@pytest.mark.parametrize("type_", ["httpTrigger", "activityTrigger"])
def test_failed_function_is_shown_as_failed(
    app_of: Callable[..., FunctionApp], type_: str
) -> None:
    """What is wrong stands under the function's name, once, all of its lines."""
    app = app_of(Broken={"type": type_})
    fault = FunctionFault(name="Broken", message="no module x\nTraceback …")

    assert ["Functions:", "\tBroken: failed: no module x", "\t    Traceback …"] == (
        printed(app, fault)
    )


def test_disabled_function_comes_last(app_of: Callable[..., FunctionApp]) -> None:
    """A disabled function is said to be so, without an address."""
    app = app_of(
        First={"type": "httpTrigger", "disabled": True},
        Second={"type": "activityTrigger"},
    )

    assert ["\tSecond: activityTrigger", "\tFunction First is disabled."] == (
        printed(app)[1:]
    )


def test_trigger_that_is_not_run_here_says_so(
    app_of: Callable[..., FunctionApp],
) -> None:
    """A timer or queue function loads, and the list does not promise too much."""
    app = app_of(Tick={"type": "timerTrigger", "schedule": "0 * * * * *"})

    assert ["\tTick: timerTrigger (not run here)"] == printed(app)[1:]
