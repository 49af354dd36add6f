"""The key of the management API: made once per app, valid after a restart.

Imports ``errors`` and ``processes`` only.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from localhost.errors import CannotStartError
from localhost.processes import try_lock, unlock

log = logging.getLogger(__name__)

FOLDER = ".localhost"
LOCK_LIMIT_S = 5.0  # to write one line takes less; a file system may have no locks
_POLL_S = 0.01
# What an editor puts around a key, and what a full disk or a power cut leaves of one.
_NOTHING = " \t\r\n\0\ufeff"


def webhook_key(app: Path) -> str:
    """Return the app's key, made at first use and kept in its ``.localhost/``.

    A file without a key gets a new one. Hosts that start at once get the same one: who
    writes it has the file locked. Raises ``CannotStartError`` for a file that cannot be
    read or written, or that holds something else than a key.
    """
    path = app / FOLDER / "webhook-key"
    with suppress(OSError):  # such as that there is none yet
        if key := _key_in(path.read_bytes(), path):
            return key
    try:
        return _made(path)
    except OSError as exc:
        raise CannotStartError(
            f"{path} cannot be read and written: {exc.strerror}; expected: a file with"
            " the key of the management API. The folder must be one in which you may"
            " write."
        ) from exc


def _made(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    is_new = not path.exists()
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    lock = _lock(path)
    # Without a lock (there are file systems that have none) it is written all the same.
    file = lock or path.open("a+b")
    try:
        file.seek(0)
        if key := _key_in(file.read(), path):
            return key  # another host was first
        if not is_new:
            log.warning(
                "%s held no key, so a new one was made: to earlier addresses of"
                " instances, whose 'code' is another, the answer is 401.",
                path,
            )
            with suppress(OSError):
                path.chmod(0o600)
        key = secrets.token_urlsafe(32)
        file.write(key.encode())
        file.flush()
        return key
    finally:
        if lock:
            unlock(lock)
        else:
            file.close()


def _lock(path: Path) -> BinaryIO | None:
    """Lock the file; ``None`` when another holds it for too long, or nobody can."""
    until_s = time.monotonic() + LOCK_LIMIT_S
    while not (lock := try_lock(path)) and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    return lock


def _key_in(content: bytes, path: Path) -> str:
    """The key that a file holds; empty when it holds none. Raises CannotStartError."""
    key = content.decode("utf-8", "replace").strip(_NOTHING)
    if key and ("\ufffd" in key or not key.isprintable()):
        raise CannotStartError(
            f"{path} holds {key[:40]!r}; expected: one line of printable UTF-8, the key"
            " of the management API. Correct it, or delete the file: then a new key is"
            " made."
        )
    return key
