"""The channel between the host and a worker process: frames on a stream of bytes.

A frame is the lengths of its two parts (two big-endian unsigned 32-bit numbers), a
header in JSON, and a body of bytes that the header's kind (``k``) says how to read.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

Header = dict[str, Any]
_LENGTHS = struct.Struct(">II")
_READ_BYTES = 262_144
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def packed(header: Header, body: bytes = b"") -> bytes:
    """Return a frame as bytes."""
    text = _ENCODER.encode(header).encode()
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


def encoded(text: str) -> bytes:
    """Return a text as bytes, halves of surrogate pairs too."""
    return text.encode("utf-8", "surrogatepass")


def decoded(body: bytes) -> str:
    """Return the text that ``encoded`` got."""
    return body.decode("utf-8", "surrogatepass")


class Frames:
    """Makes frames of bytes as they come in, in pieces of any size."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Header, bytes]]:
        """Take bytes; yield the frames that are whole now."""
        self._bytes += data
        start, view = 0, self._bytes
        while len(view) - start >= _LENGTHS.size:
            header_length, body_length = _LENGTHS.unpack_from(view, start)
            body_start = start + _LENGTHS.size + header_length
            end = body_start + body_length
            if len(view) < end:
                break
            header = json.loads(view[start + _LENGTHS.size : body_start])
            body = bytes(view[body_start:end])
            start = end
            yield header, body
        del view[:start]


class Channel:
    """The worker's end: one thread reads, any thread sends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames = Frames()
        self._waiting: list[tuple[Header, bytes]] = []
        self._sending = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        """Have a lock that no thread holds: a fork has but one."""
        self._sending = threading.Lock()

    def read(self) -> tuple[Header, bytes] | None:
        """Wait for the next frame; None when the host has closed the channel."""
        while not self._waiting:
            try:
                data = self._connection.recv(_READ_BYTES)
            except OSError:
                return None
            if not data:
                return None
            self._waiting = list(self._frames.feed(data))[::-1]
        return self._waiting.pop()

    def send(self, header: Header, body: bytes = b"") -> None:
        """Send a frame; what nobody is there to read any more is dropped."""
        frame = packed(header, body)
        with self._sending:
            try:
                self._connection.sendall(frame)
            except OSError:  # the host is gone; reading ends too, and this process
                pass
