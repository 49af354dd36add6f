"""Processes that outlive their parent, on every system; imports ``errors`` only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from localhost.errors import CannotStartError

if sys.platform == "win32":
    import ctypes
    import msvcrt

    _QUERY_AND_SYNCHRONIZE = 0x1000 | 0x100000
    _WAIT_TIMEOUT = 258
else:
    import fcntl


def apart() -> dict[str, Any]:
    """Arguments of ``Popen`` for a process that no Ctrl-C of the terminal reaches."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def terminate(pid: int) -> bool:
    """Ask a process to end; false when the system cannot ask it.

    On Windows that is CTRL_BREAK, which reaches only the processes of our console.
    """
    try:
        if sys.platform == "win32":
            os.kill(pid, signal.CTRL_BREAK_EVENT)
        else:
            os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return True


def kill(pid: int) -> None:
    """End a process at once: what it has not saved is lost."""
    with suppress(OSError):
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGKILL)


def runs(pid: int, words: str) -> bool:
    """A live process has this pid and *words* in its command line.

    Windows shows no command line here: a live process is enough there.
    """
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    return words in f"{_command_line(pid)} "


def _command_line(pid: int) -> str:
    """Arguments joined by blanks; empty for a process that is gone or a zombie."""
    if Path("/proc/self/cmdline").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return ""
        return " ".join(os.fsdecode(raw).split("\0")).rstrip()
    listed = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout.rstrip()


def try_lock(path: Path) -> BinaryIO | None:
    """Lock a file until ``unlock`` or this process' end; ``None`` if another has it.

    It can be read, and written at its end: on Windows by nobody else meanwhile.
    The file stays when the lock is gone: to delete it would race with the next one.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as exc:
        raise CannotStartError(
            f"{path} cannot be written: {exc.strerror}. The folder must be one in which"
            " you may write."
        ) from exc
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def unlock(file: BinaryIO) -> None:
    """Let go of a lock, also if a forked process has it open as well."""
    if sys.platform == "win32":
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_UN)
    file.close()


if sys.platform == "win32":

    def _is_alive_on_windows(pid: int) -> bool:
        # os.kill(pid, 0) is no question on Windows: it sends a Ctrl-C.
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(_QUERY_AND_SYNCHRONIZE, False, pid)
        if not handle:
            return False
        try:
            return bool(kernel.WaitForSingleObject(handle, 0) == _WAIT_TIMEOUT)
        finally:
            kernel.CloseHandle(handle)
