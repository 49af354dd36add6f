"""Fixtures of the acceptance tests: an Azurite, and hosts as processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localhost.azurite import AZURITE_SCRIPT
from tests.acceptance.hosts import Hosts, running_azurite
from tests.acceptance.running_host import Storage, copy_app


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--base-url",
        help="run the end-to-end tests against this host, which runs already"
        " [BASE_URL, a local host of their own]",
    )


def given_base_url(config: pytest.Config) -> str:
    """The host that somebody named, or nothing; no slash at the end."""
    named: str | None = config.getoption("--base-url", default=None)
    return (named or os.environ.get("BASE_URL") or "").rstrip("/")


@pytest.fixture(autouse=True, scope="module")
def _has_what_it_needs(request: pytest.FixtureRequest) -> None:
    is_given = bool(given_base_url(request.config))
    if is_given and not getattr(request.module, "TAKES_BASE_URL", False):
        pytest.skip("it starts a host of its own, but --base-url names one")
    if not is_given and not AZURITE_SCRIPT.exists():
        pytest.skip("Azurite is not installed: python3 dev.py install")


@pytest.fixture(scope="session", name="storage")
def _storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """An Azurite that no host has started."""
    folder = tmp_path_factory.mktemp("storage")
    storage = Storage.on_free_ports()
    with running_azurite(storage, copy_app(folder), folder):
        yield storage


@pytest.fixture(name="hosts")
def _hosts(tmp_path: Path, storage: Storage) -> Iterator[Hosts]:
    with Hosts(tmp_path, storage) as hosts:
        yield hosts


@pytest.fixture(scope="module", name="shared_hosts")
def _shared_hosts(
    tmp_path_factory: pytest.TempPathFactory, storage: Storage
) -> Iterator[Hosts]:
    """Hosts for a whole module, whose tests only look at them."""
    with Hosts(tmp_path_factory.mktemp("shared"), storage) as hosts:
        yield hosts
