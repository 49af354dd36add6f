"""The key of the management API: made once, then kept."""

from __future__ import annotations

import multiprocessing
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localhost import keys
from localhost.errors import CannotStartError
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
        made = set(pool.map(webhook_key, [tmp_path] * 32))

    assert 1 == len(made)
    assert 1 == len(list((tmp_path / ".localhost").iterdir()))


def test_key_that_somebody_wrote_is_used(tmp_path: Path) -> None:
    """A key that was put there, with a line end, is the key."""
    (tmp_path / ".localhost").mkdir()
    (tmp_path / ".localhost" / "webhook-key").write_text("mine\n")

    assert "mine" == webhook_key(tmp_path)


BLANK = [b"", b"\n", b" \t\r\n", b"\0" * 43, b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n\0"]


def key_file(app: Path, content: bytes) -> Path:
    path = app / ".localhost" / "webhook-key"
    path.parent.mkdir()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", BLANK)
def test_a_file_without_a_key_gets_one(tmp_path: Path, content: bytes) -> None:
    """A full disk or a power cut leaves such files: they must open nothing."""
    key_file(tmp_path, content)

    key = webhook_key(tmp_path)

    assert 43 == len(key)
    assert key == webhook_key(tmp_path)


def test_a_key_of_ones_own_is_taken(tmp_path: Path) -> None:
    """Blanks and a byte order mark around it do not count."""
    key_file(tmp_path, b"\xef\xbb\xbfmy-own key=1\r\n")

    assert "my-own key=1" == webhook_key(tmp_path)


@pytest.mark.parametrize(
    "content", [b"\xff\xfea\0b\0", b"abc\0def", b"two\nlines", b"\x01"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Somebody wrote it: the text says where, and the way out."""
    path = key_file(tmp_path, content)

    with pytest.raises(CannotStartError, match="expected: ") as caught:
        webhook_key(tmp_path)

    assert str(path) in str(caught.value)
    assert content == path.read_bytes()


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    """In one sentence, without a traceback."""
    (tmp_path / ".localhost" / "webhook-key").mkdir(parents=True)

    with pytest.raises(CannotStartError, match="webhook-key"):
        webhook_key(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    """In one sentence, without a traceback."""
    (tmp_path / ".localhost").write_text("")

    with pytest.raises(CannotStartError, match=r"\.localhost"):
        webhook_key(tmp_path)


@pytest.mark.parametrize("refused", ["link", "chmod"])
def test_a_simple_file_system_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """FAT, exFAT and some mounts have no hard links and no modes."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, refused, refuse)

    assert webhook_key(tmp_path) == webhook_key(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"\0\0"])
def test_processes_that_start_at_once_have_one_key(
    tmp_path: Path, content: bytes | None
) -> None:
    """Who comes second reads what the first has written."""
    if content is not None:
        key_file(tmp_path, content)

    with multiprocessing.get_context("spawn").Pool(4) as pool:
        made = pool.map(webhook_key, [tmp_path] * 16, chunksize=1)

    assert 1 == len(set(made))
    assert 43 == len(made[0])


def test_a_file_system_without_locks_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is written all the same, a little later."""
    monkeypatch.setattr(keys, "try_lock", lambda _: None)
    monkeypatch.setattr(keys, "LOCK_LIMIT_S", 0.02)

    assert webhook_key(tmp_path) == webhook_key(tmp_path)
