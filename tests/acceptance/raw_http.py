"""HTTP of which nothing is put right on the way: requests are bytes on a socket."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

LIMIT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """A request as it goes over the wire; only the framing of its body is right."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    is_chunked: bool = False

    def to_bytes(self) -> bytes:
        framing = (
            (b"Transfer-Encoding", b"chunked")
            if self.is_chunked
            else (b"Content-Length", b"%d" % len(self.body))
        )
        headers = dict([(b"Host", b"localhost"), *self.headers, framing])
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target)]
        lines += [b"%b: %b" % header for header in headers.items()]
        body = _chunked(self.body) if self.is_chunked else self.body
        return b"\r\n".join([*lines, b"", body])


def _chunked(body: bytes) -> bytes:
    half = len(body) // 2
    pieces = [piece for piece in (body[:half], body[half:]) if piece]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    """What came back; the body is whatever bytes it was."""

    status: int
    body: bytes


class RawClient:
    """Sends one request after the other, over one connection while it is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def send(self, request: RawRequest) -> RawAnswer:
        """Return the answer; a kept connection that is gone is opened again."""
        if self._socket is not None:
            with suppress(ConnectionError, HTTPException):
                return self._exchange(self._socket, request)
            self.close()
        self._socket = connect(self._port)
        return self._exchange(self._socket, request)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, connected: socket.socket, request: RawRequest) -> RawAnswer:
        with suppress(ConnectionError):  # it may answer before it has read all
            connected.sendall(request.to_bytes())
        response = HTTPResponse(connected, method=request.method.decode("latin-1"))
        with response:
            response.begin()
            answer = RawAnswer(status=response.status, body=response.read())
            if response.will_close:
                self.close()
        return answer


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)


def send_bytes(port: int, sent: bytes) -> bytes:
    """Send bytes that need be no HTTP, end there, and return all that comes back."""
    with connect(port) as connected:
        with suppress(ConnectionError):
            connected.sendall(sent)
            connected.shutdown(socket.SHUT_WR)
        received = b""
        with suppress(ConnectionError):
            while piece := connected.recv(65_536):
                received += piece
    return received
