"""What user code logs or prints goes over the channel, with the call it belongs to."""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from localhost.worker.channel import Channel, encoded
from localhost.worker.invocation import Invocation, current_invocation

_STARTER = "_localhost_starter"


def set_up_logs(channel: Channel, *, level: int) -> None:
    """Send log records of ``level`` or more, and what is printed.

    Whatever the user's code does to the root logger or to its handlers concerns this
    process alone.
    """
    _remember_starters()
    sys.stdout = ChannelText(channel, is_error=False)
    sys.stderr = ChannelText(channel, is_error=True)
    root = logging.getLogger()
    root.handlers[:] = [ChannelHandler(channel)]
    root.setLevel(level)
    logging.captureWarnings(True)


def invocation_now() -> Invocation | None:
    """Return the call that runs here, or that started the thread that runs here."""
    invocation = current_invocation.get()
    if invocation is None:
        invocation = getattr(threading.current_thread(), _STARTER, None)
    return invocation


def _remember_starters() -> None:
    """Let threads know the call that has started them: contexts do not follow them."""
    start: Callable[[threading.Thread], None] = threading.Thread.start

    def start_and_remember(thread: threading.Thread) -> None:
        setattr(thread, _STARTER, invocation_now())
        start(thread)

    threading.Thread.start = start_and_remember  # type: ignore[assignment,method-assign]


def _place() -> list[str]:
    """Return function, instance and invocation of what runs here."""
    found = invocation_now()
    if found is None:
        return []
    return [found.function_name, found.instance_id, found.invocation_id]


class ChannelHandler(logging.Handler):
    """Sends records as text, with what the host needs to place them."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        header = {
            "k": "log",
            "name": record.name,
            "level": record.levelno,
            "at": record.created,
            "of": _place(),
        }
        self._channel.send(header, encoded(text))


class ChannelText(io.TextIOBase):
    """Standard output or error: each line is sent when it is whole.

    Threads do not tear each other's lines. What has no line end yet waits for it.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, channel: Channel, *, is_error: bool) -> None:
        self._channel = channel
        self._is_error = is_error
        self._unfinished = threading.local()

    @property
    def buffer(self) -> io.RawIOBase:
        """The same for bytes of UTF-8."""
        return _Bytes(self)

    def fileno(self) -> int:
        """Return the file that the host prints to, for processes that are started."""
        return 2 if self._is_error else 1

    def reconfigure(self, **_: object) -> None:
        """Change nothing: any text can be written."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        whole, end, rest = (self._left() + text).rpartition("\n")
        self._unfinished.text = rest
        if end:
            self._send(whole)
        return len(text)

    def finish(self) -> None:
        """Send what this thread has left without a line end."""
        left = self._left()
        if left:
            self._unfinished.text = ""
            self._send(left)

    def _left(self) -> str:
        left: str = getattr(self._unfinished, "text", "")
        return left

    def _send(self, text: str) -> None:
        header = {
            "k": "print",
            "error": self._is_error,
            "at": time.time(),
            "of": _place(),
        }
        self._channel.send(header, encoded(text))


class _Bytes(io.RawIOBase):
    def __init__(self, text: ChannelText) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._text.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)


def finish_lines() -> None:
    """Send what the call that has just ended printed without a line end."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, ChannelText):
            stream.finish()
