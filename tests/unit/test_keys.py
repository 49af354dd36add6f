"""The key of the management API: made once, then kept."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localhost.keys import webhook_key


def test_key_is_valid_after_a_restart(tmp_path: Path) -> None:
    """The second start of an app finds the key of the first."""
    assert webhook_key(tmp_path) == webhook_key(tmp_path)


def test_apps_have_different_keys(tmp_path: Path) -> None:
    """A key opens one app only."""
    apps = [tmp_path / name for name in "ab"]
    for app in apps:
        app.mkdir()

    assert webhook_key(apps[0]) != webhook_key(apps[1])


def test_key_cannot_be_guessed_and_needs_no_escape(tmp_path: Path) -> None:
    """Thirty-two random bytes in characters that a URL takes as they are."""
    key = webhook_key(tmp_path)

    assert 43 == len(key)
    assert key.replace("-", "").replace("_", "").isalnum()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_key_is_for_its_owner_only(tmp_path: Path) -> None:
    """Others on the machine cannot read the file."""
    webhook_key(tmp_path)

    (file,) = (tmp_path / ".localhost").iterdir()
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_hosts_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    """Whoever is first makes it; no draft is left behind."""
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(webhook_key, [tmp_path] * 32))

    assert 1 == len(keys)
    assert 1 == len(list((tmp_path / ".localhost").iterdir()))


def test_key_that_somebody_wrote_is_used(tmp_path: Path) -> None:
    """A key that was put there, with a line end, is the key."""
    (tmp_path / ".localhost").mkdir()
    (tmp_path / ".localhost" / "webhook-key").write_text("mine\n")

    assert "mine" == webhook_key(tmp_path)
