"""Listening sockets, and who holds a port that is taken.

Imports only the errors; nothing here speaks HTTP.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from localhost.errors import CannotStartError

LOOPBACK_NAMES = ("127.0.0.1", "localhost")
_LISTEN_STATE = "0A"
_FREE_PORT_ATTEMPTS = 20


def open_sockets(address: str, port: int) -> list[socket.socket]:
    """Listen on ``address``; ``127.0.0.1`` and ``localhost`` mean ::1 as well.

    ``port`` 0 takes one that is free on all of them. Raises CannotStartError: a
    half of loopback held by somebody else is a port taken, because a client of
    ``localhost`` may reach either half.
    """
    hosts = _hosts(address)
    if port or len(hosts) == 1:
        return _open_all(hosts, port)
    for _ in range(_FREE_PORT_ATTEMPTS - 1):
        with contextlib.suppress(CannotStartError):
            return _open_all(hosts, 0)
    return _open_all(hosts, 0)


def _hosts(address: str) -> list[str]:
    if address not in LOOPBACK_NAMES:
        return [address]
    return ["127.0.0.1", "::1"] if _has_ipv6() else ["127.0.0.1"]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _open_all(hosts: list[str], port: int) -> list[socket.socket]:
    opened: list[socket.socket] = []
    try:
        for host in hosts:
            opened.append(open_socket(host, port))
            port = opened[0].getsockname()[1]
    except BaseException:
        for listening in opened:
            listening.close()
        raise
    return opened


def open_socket(host: str, port: int) -> socket.socket:
    """Listen on one address; raises CannotStartError."""
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as exc:
        raise _cannot_listen(host, port, exc) from exc
    family, kind, protocol, _, where = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        _set_options(listening)
        listening.bind(where)
        listening.listen(1024)
    except OSError as exc:
        listening.close()
        raise _cannot_listen(host, port, exc) from exc
    return listening


def _set_options(listening: socket.socket) -> None:
    if sys.platform == "win32":
        # There SO_REUSEADDR would let two hosts share the port.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listening.family == socket.AF_INET6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _cannot_listen(host: str, port: int, cause: OSError) -> CannotStartError:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    another = "choose another port with --port (for example --port 7072)"
    if cause.errno == errno.EADDRINUSE:
        holder = port_holder(host, port) or "another process"
        return CannotStartError(
            f"Port {port} is unavailable. {where} is held by {holder}. "
            f"End that process, or {another}."
        )
    if cause.errno == errno.EACCES:
        return CannotStartError(
            f"Port {port} is unavailable. The system does not let this user listen on "
            f"{where} ({cause.strerror}); {another}."
        )
    return CannotStartError(
        f"Cannot listen on {where} ({cause.strerror}). Expected an address of this "
        f"machine, such as 127.0.0.1; choose one with --host."
    )


def port_holder(host: str, port: int, *, proc: Path = Path("/proc")) -> str | None:
    """Pid and command of who listens on the address, or None when it is not known.

    Only Linux tells, and only about processes of the same user.
    """
    with contextlib.suppress(OSError, ValueError):
        inodes = set(_listening_inodes(host, port, proc))
        for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
            if inodes & set(_socket_inodes(folder)):
                return f"process {folder.name} ({_command(folder)})"
    return None


def _listening_inodes(host: str, port: int, proc: Path) -> Iterator[str]:
    wanted = ipaddress.ip_address(host)
    for table in ("tcp", "tcp6"):
        for line in _lines(proc / "net" / table)[1:]:
            columns = line.split()
            words, _, port_hex = columns[1].partition(":")
            address = _address(words)
            overlaps = address == wanted or (
                address.is_unspecified or wanted.is_unspecified
            )
            if columns[3] == _LISTEN_STATE and int(port_hex, 16) == port and overlaps:
                yield columns[9]


def _lines(path: Path) -> list[str]:
    return path.read_text("ascii").splitlines() if path.exists() else []


def _address(words: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel prints it: 32-bit words in the machine's byte order."""
    parts = [words[at : at + 8] for at in range(0, len(words), 8)]
    packed = b"".join(int(part, 16).to_bytes(4, sys.byteorder) for part in parts)
    return ipaddress.ip_address(packed)


def _socket_inodes(process: Path) -> Iterator[str]:
    # The process may end, or belong to another user, while it is looked at.
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    yield target.removeprefix("socket:[").removesuffix("]")


def _command(process: Path) -> str:
    with contextlib.suppress(OSError):
        words = (process / "cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode("utf-8", "replace").strip() or "unknown"
    return "unknown"
