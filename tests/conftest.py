"""Azurite for the tests: one for each process of the test run, in memory."""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests.utils

from localhost.azurite import AZURITE_SCRIPT
from localhost.errors import CannotStartError
from localhost.node import INSTALL_COMMAND, find_node, node_of_wheel
from localhost.taskhub.hub import Account

ACCOUNT, KEY = "testaccount", "a2V5IG9mIHRoZSB0ZXN0cw=="
SERVICES = ("blob", "queue", "table")
START_LIMIT_S = 20.0
END_LIMIT_S = 10.0
LONGEST_LOG_CHARS = 20_000
_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at (\S+)")


@pytest.fixture(scope="session", autouse=True)
def _no_proxies() -> Iterator[None]:
    """Let no client look for proxies in the environment: all speak to loopback.

    pytest names each test there, in and out, while clients in threads read it; one of
    them then met a name that was gone.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib.request, "getproxies_environment", dict)
        patch.setattr(requests.utils, "getproxies", dict)
        yield


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """An account of an Azurite that listens; ``urls`` are those of its services."""

    urls: Mapping[str, str]
    log: Path

    @property
    def account(self) -> Account:
        """The account as the task hub wants it."""
        return account_at(self.urls)

    @property
    def connection_string(self) -> str:
        """What the setting ``AzureWebJobsStorage`` holds for this account."""
        return connection_string_of(self.urls)


def account_at(urls: Mapping[str, str]) -> Account:
    """Return the tests' account on other addresses, such as those of a proxy."""
    return Account(
        name=ACCOUNT,
        key=KEY,
        urls={"blob": urls["blob"], "queue": urls["queue"], "table": urls["table"]},
    )


def connection_string_of(urls: Mapping[str, str]) -> str:
    """Return the connection string of the tests' account on some addresses."""
    endpoints = "".join(
        f"{name.title()}Endpoint={urls[name]};" for name in sorted(urls)
    )
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        + endpoints
    )


_emulator_key = pytest.StashKey[Emulator]()
_log_start_key = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def emulator(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Emulator]:
    """Azurite on ports that it chose itself; skips when there is none to run."""
    try:
        node = find_node(os.environ, wheel=node_of_wheel())
    except CannotStartError as exc:
        pytest.skip(str(exc))
    if not AZURITE_SCRIPT.is_file():
        pytest.skip(f"Azurite is not installed; get it with: {INSTALL_COMMAND}")
    with _running(node, tmp_path_factory.mktemp("azurite")) as found:
        pytestconfig.stash[_emulator_key] = found
        yield found


@pytest.fixture
def hub_name() -> str:
    """The name of a task hub that no other test has."""
    return f"Hub{uuid.uuid4().hex[:20]}"


@contextmanager
def _running(node: Path, folder: Path) -> Iterator[Emulator]:
    """Run Azurite until the end of the block; it is asked to end by its own pid."""
    log = folder / "azurite.log"
    arguments = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    for service in SERVICES:
        arguments += [f"--{service}Host", "127.0.0.1", f"--{service}Port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(node), str(AZURITE_SCRIPT), *arguments],
            cwd=folder,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Emulator(urls=_wait_for_urls(process, log), log=log)
    finally:
        process.terminate()
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_urls(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """Return the addresses that Azurite says it listens at."""
    end_s = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < end_s:
        found = dict(_LISTENING.findall(log.read_text(errors="replace")))
        if len(found) == len(SERVICES):
            return {name.lower(): f"{url}/{ACCOUNT}" for name, url in found.items()}
        time.sleep(0.01)
    raise AssertionError(f"Azurite does not listen: {log.read_text(errors='replace')}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember where in Azurite's log a test begins."""
    found = item.config.stash.get(_emulator_key, None)
    item.stash[_log_start_key] = found.log.stat().st_size if found else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what Azurite was asked during a test that failed."""
    report = yield
    found = item.config.stash.get(_emulator_key, None)
    if report.failed and found is not None:
        said = found.log.read_bytes()[item.stash.get(_log_start_key, 0) :]
        text = said.decode(errors="replace")[-LONGEST_LOG_CHARS:]
        if text:
            report.sections.append(("Azurite's log", text))
    return report
