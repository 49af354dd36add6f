"""Arguments and environment → settings; logging; exit codes."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from localhost.console import LEVELS, set_up_logging
from localhost.errors import CannotGoOnError, CannotStartError
from localhost.host import run_host, storage_emulator
from localhost.settings import Settings, read_settings

STOPPED, FAULT, USAGE, CANNOT_START = 0, 1, 2, 3

log = logging.getLogger(__name__)

Command = Callable[[Settings, asyncio.Event], Awaitable[None]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a wrong argument exits with 2."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        settings = read_settings(
            options.app, address=options.host, port=options.port, environ=os.environ
        )
        set_up_logging(options.log_level, settings.log_levels)
        os.environ.update(settings.environ)
        for note in settings.notes:
            _say(note)
        os.chdir(settings.app)  # user code opens files relative to its app
        asyncio.run(_until_stopped(command, settings))
        code = STOPPED
    except (CannotStartError, CannotGoOnError) as exc:
        print(f"localhost: {exc}", file=sys.stderr, flush=True)
        code = CANNOT_START if isinstance(exc, CannotStartError) else FAULT
    except Exception:
        log.critical("The host failed; this is a fault of its own.", exc_info=True)
        code = FAULT
    sys.stdout.flush()
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="localhost",
        description="Run an Azure Functions app (function.json, Python) on this"
        " machine.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, summary in (
        ("start", _start, "run the app until Ctrl-C"),
        ("azurite", _azurite, "only have the app's Azurite running"),
    ):
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=command)
        _add_options(sub)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command: flag, environment variable and default together."""
    parser.add_argument(
        "--app",
        type=Path,
        default=Path(os.environ.get("LOCALHOST_APP", ".")),
        metavar="DIR",
        help="the app's folder [LOCALHOST_APP, this folder]",
    )
    parser.add_argument(
        "--host",
        default=os.environ.get("LOCALHOST_HOST"),
        metavar="ADDRESS",
        help="address to listen on [LOCALHOST_HOST, 127.0.0.1 and ::1]",
    )
    parser.add_argument(
        "--port",
        "-p",
        type=_port,
        default=os.environ.get("LOCALHOST_PORT"),
        help="port to listen on, 0 for any free one [LOCALHOST_PORT, 7071]",
    )
    parser.add_argument(
        "--log-level",
        choices=sorted(LEVELS, key=lambda name: LEVELS[name]),
        type=str.lower,
        default=os.environ.get("LOCALHOST_LOG_LEVEL", "information").lower(),
        help="least level that is printed [LOCALHOST_LOG_LEVEL, information]",
    )


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give 0 to 65535")
    return int(text)


async def _until_stopped(command: Command, settings: Settings) -> None:
    """Run a command; SIGINT and SIGTERM ask it to end, a second one ends it at once.

    So does SIGHUP, unless it was ignored from the start, as ``nohup`` has it.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask_to_stop() -> None:
        if stop.is_set():
            os._exit(FAULT)
        stop.set()

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None or _is_nohup(number):
            continue
        try:
            loop.add_signal_handler(number, ask_to_stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask_to_stop))
    await command(settings, stop)


def _is_nohup(number: int) -> bool:
    # SIGINT is another matter: a shell has every job in the background ignore it, and
    # Ctrl-C is to end those of a script all the same.
    is_ignored = signal.getsignal(number) is signal.SIG_IGN
    return is_ignored and signal.Signals(number).name == "SIGHUP"


async def _start(settings: Settings, stop: asyncio.Event) -> None:
    await run_host(settings, stop=stop, say=_say)


async def _azurite(settings: Settings, stop: asyncio.Event) -> None:
    async with storage_emulator(settings, _say):
        ports = ", ".join(str(port) for port in settings.storage.ports())
        _say(f"Azurite is listening on {settings.storage.host}:{ports}")
        await stop.wait()


def _say(text: str) -> None:
    print(text, flush=True)
