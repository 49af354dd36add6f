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
    from ctypes import wintypes

    _QUERY_AND_SYNCHRONIZE = 0x1000 | 0x100000
    _WAIT_TIMEOUT = 258
    _COMMAND_LINE_INFORMATION = 60  # since Windows 8.1
    _LARGEST_BYTES = 0x10000 + 64  # a UNICODE_STRING with its text behind it
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
    """A live process has this pid and *words* in its arguments, joined by blanks.

    It may take some milliseconds where there is no ``/proc``: not for the event loop.
    """
    return words in f"{_command_line(pid)} "


def _command_line(pid: int) -> str:
    """Arguments joined by blanks; empty for a process that is gone or a zombie."""
    if sys.platform == "win32":
        return without_quotes(_command_line_on_windows(pid))
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


def without_quotes(command_line: str) -> str:
    """Return the arguments of a command line of Windows, joined by blanks.

    Right for those that hold no quote themselves: no path on Windows does.
    """
    return command_line.replace('"', "").rstrip()


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

    class _UnicodeString(ctypes.Structure):
        _fields_ = (
            ("length_bytes", wintypes.USHORT),
            ("maximum_bytes", wintypes.USHORT),
            ("text", ctypes.c_void_p),
        )

    def _command_line_on_windows(pid: int) -> str:
        """As the process was given it; empty for one that is gone or not ours."""
        # os.kill(pid, 0) is no question on Windows: it sends a Ctrl-C.
        kernel = ctypes.WinDLL("kernel32")
        kernel.OpenProcess.restype = wintypes.HANDLE
        kernel.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
        kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
        handle = kernel.OpenProcess(_QUERY_AND_SYNCHRONIZE, False, pid)
        if not handle:
            return ""
        try:
            if kernel.WaitForSingleObject(handle, 0) != _WAIT_TIMEOUT:
                return ""  # somebody still has a handle of one that has ended
            return _command_line_of(handle)
        finally:
            kernel.CloseHandle(handle)

    def _command_line_of(handle: int) -> str:
        query = ctypes.WinDLL("ntdll").NtQueryInformationProcess
        query.restype = ctypes.c_long
        query.argtypes = (
            wintypes.HANDLE,
            ctypes.c_int,
            ctypes.c_void_p,
            wintypes.ULONG,
            ctypes.c_void_p,
        )
        buffer = ctypes.create_string_buffer(_LARGEST_BYTES)
        size = ctypes.byref(wintypes.ULONG())
        if query(handle, _COMMAND_LINE_INFORMATION, buffer, len(buffer), size) < 0:
            return ""
        found = _UnicodeString.from_buffer(buffer)
        if not found.text:
            return ""
        return ctypes.wstring_at(found.text, found.length_bytes // 2)
