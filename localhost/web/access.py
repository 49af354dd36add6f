"""Who may ask: by which names this host is known, and which pages of a browser may.

A browser on this machine runs pages of anybody. Two rules keep them out of what asks
for no key. By DNS rebinding a page reaches the host under the page's own name, so a
name in ``Host`` that is not the host's is refused. And ``/admin`` and ``/runtime`` are
for pages of the host itself, and for those that CORS allows. A client that is not a
browser sends a known ``Host`` and none of the other headers.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from localhost.web.cors import Cors
from localhost.web.requests import raw_path
from localhost.web.routes import RESERVED_PREFIXES
from localhost.web.templates import decode_segment, split_path

SETTING = "LOCALHOST_ALLOWED_HOSTS"
_OWN_SITES = ("same-origin", "none")  # "none": typed, a bookmark
_ORIGIN = re.compile(r"(https?)://(.+)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SHOWN_CHARS = 80

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, kw_only=True)
class KnownHosts:
    """The names and addresses by which a host is asked, whatever the port.

    Always ``localhost``, what ends in ``.localhost``, and every loopback address.
    ``address`` is what the host listens on: when that is not loopback, it and the
    machine's own names are known too, and when it stands for all addresses, each is.
    ``allowed`` are names of the user's; ``*.name`` allows what ends in ``.name``, and
    ``*`` everything.
    """

    address: str = "127.0.0.1"
    allowed: tuple[str, ...] = ()

    def __contains__(self, host: str) -> bool:
        """Whether a ``Host`` header names this host."""
        name = name_of(host)
        address = address_of(name)
        if _is_local(name, address) or self._is_allowed(name):
            return True
        own = address_of(name_of(self.address))
        if _is_local(name_of(self.address), own):
            return False
        if address is not None:
            return own == address or (own is not None and own.is_unspecified)
        return name in (name_of(self.address), *machine_names())

    def _is_allowed(self, name: str) -> bool:
        for each in self.allowed:
            if each == "*" or name == name_of(each):
                return True
            if each.startswith("*.") and name.endswith(name_of(each[1:])):
                return True
        return False


def name_of(host: str) -> str:
    """Return a ``Host`` header without its port, in lower case.

    ``[::1]:7071`` → ``::1``; the dot at the end of a full name does not count.
    """
    host = host.strip().lower()
    if match := re.fullmatch(r"\[([^\]]*)\](?::\d*)?", host):
        return match[1]
    if host.count(":") == 1:
        host = re.sub(r":\d*$", "", host)
    return host.removesuffix(".")


def address_of(name: str) -> Address | None:
    """Return the IP address that a name is; None for one that must be looked up."""
    try:
        found = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return _short_address_of(name)
    return getattr(found, "ipv4_mapped", None) or found


def _short_address_of(name: str) -> Address | None:
    """``127.1`` and ``0x7f000001`` are addresses too."""
    if not re.fullmatch(r"[0-9a-fx.]+", name):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):
        return None


def _is_local(name: str, address: Address | None) -> bool:
    if address is not None:
        return address.is_loopback
    return name == "localhost" or name.endswith(".localhost")


def machine_names() -> Iterable[str]:
    """The machine's own names, as its neighbours know it."""
    full = socket.gethostname().lower().removesuffix(".")
    short = full.partition(".")[0]
    return {full, short, f"{short}.local"} - {"", ".local"}


class Access:
    """Says which requests of a public listener are refused, and why."""

    def __init__(self, hosts: KnownHosts, cors: Cors) -> None:
        self._hosts = hosts
        self._cors = cors

    def refusal(self, request: web.Request) -> str | None:
        """Return None for who may ask, else what to tell them."""
        hosts = request.headers.getall("Host", [])
        for host in hosts:
            if host and host not in self._hosts:
                return _unknown_host(host)
        if is_guarded(raw_path(request)) and (page := self._foreign_page(request)):
            return _foreign_page(page, raw_path(request))
        return None

    def _foreign_page(self, request: web.Request) -> str:
        """Name the page that asks, if it is neither ours nor one that CORS allows."""
        origins = request.headers.getall("Origin", [])
        if origins and all(map(self._cors.allows, origins)):
            return ""
        for origin in origins:
            if not _is_own(origin, request.headers.get("Host", "")):
                return f"Origin: {origin}"
        site = request.headers.get("Sec-Fetch-Site", "").strip().lower()
        return "" if not site or site in _OWN_SITES else f"Sec-Fetch-Site: {site}"


def is_guarded(path: str) -> bool:
    """Whether a raw path may be one of the host's own, however it is written."""
    segments = [decode_segment(raw).lower() for raw in split_path(path) if raw]
    return bool(segments) and segments[0] in RESERVED_PREFIXES


def _is_own(origin: str, host: str) -> bool:
    """Whether a page came from the address under which it asks now."""
    match = _ORIGIN.fullmatch(origin.strip())
    if not match:
        return False  # "null", an extension of a browser
    default = _DEFAULT_PORTS[match[1].lower()]
    authority, asked = match[2].lower(), host.strip().lower()
    return authority.removesuffix(default) == asked.removesuffix(default)


def _unknown_host(host: str) -> str:
    name = _shown(name_of(host))
    return (
        f"The request names the host '{name}' (header Host), which this host does not"
        " know as its own; expected: localhost, an address of loopback, or what --host"
        f" names. If '{name}' leads here, allow it: set {SETTING}={name} in the"
        " environment or under Values in local.settings.json, and start again."
    )


def _foreign_page(page: str, path: str) -> str:
    return (
        f"A page of another site asks for {_shown(path)} ({_shown(page)}); expected: a"
        " page of this host, or one whose origin CORS allows. If it is yours, add its"
        " origin to CORS under Host in local.settings.json, and start again."
    )


def _shown(text: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable[:_SHOWN_CHARS]
