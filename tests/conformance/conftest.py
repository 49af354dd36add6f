"""Runs of the recorded app on the local host, one for each process of the tests."""

from __future__ import annotations

import asyncio
from itertools import chain
from pathlib import Path

import aiohttp
import pytest

from tests.conformance.differences import Difference
from tests.conformance.http_play import HttpPlay
from tests.conformance.ownership import differences_of_life
from tests.conformance.recordings import HTTP_SCENARIOS
from tests.conformance.report import Report, Result
from tests.conformance.running import playing
from tests.conformance.storage_play import StoragePlay
from tests.conformance.turns_play import TurnsPlay, recorded_turns
from tests.conformance.wire import recording
from tests.conftest import Emulator, connection_string_of

Found = dict[str, list[Difference]]

_report_key = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--conformance-table",
        action="store_true",
        help="print how much of each recorded scenario is equal, and each difference",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_report_key] = Report()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    if config.getoption("--conformance-table", default=False):
        for line in config.stash[_report_key].lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", name="http_found")
def _http_found(
    emulator: Emulator,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Found:
    """The differences in what was answered, by scenario."""
    folder = tmp_path_factory.mktemp("http")
    found = asyncio.run(_play_http(folder, emulator))
    pytestconfig.stash[_report_key].results += [
        Result.of_steps("http", name, steps) for name, steps in found.items()
    ]
    return {name: [*chain(*steps.values())] for name, steps in found.items()}


async def _play_http(
    folder: Path, emulator: Emulator
) -> dict[str, dict[str, list[Difference]]]:
    async with (
        playing(folder, emulator.connection_string) as played,
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
    ):
        play = HttpPlay(session=session, played=played)
        return {name: await play.scenario(name) for name in HTTP_SCENARIOS}


@pytest.fixture(scope="session", name="hub_found")
def _hub_found(
    emulator: Emulator,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> tuple[Found, Found]:
    """The differences in what was stored and in what functions received."""
    folder = tmp_path_factory.mktemp("hub")
    storage, turns = asyncio.run(_play_hub(folder, emulator))
    results = pytestconfig.stash[_report_key].results
    for name, differences in storage.items():
        results.append(Result.of_writes(name, differences))
    counts = {name: len(bodies) for name, bodies in recorded_turns().items()}
    for name, differences in turns.items():
        results.append(Result.of_turns(name, counts[name], differences))
    return storage, turns


async def _play_hub(folder: Path, emulator: Emulator) -> tuple[Found, Found]:
    async with recording(emulator.urls) as wire, aiohttp.ClientSession() as session:
        async with playing(folder, connection_string_of(wire.urls)) as played:
            words = played.words()
            start = len(wire.writes)
            play = StoragePlay(session=session, played=played, wire=wire)
            storage = await play.all()
            turns = await TurnsPlay(session=session, played=played).all()
            end = len(wire.writes)
        writes = wire.writes
        life = differences_of_life(
            writes[:start], writes[start:end], writes[end:], words
        )
        return {**life, **storage}, turns
