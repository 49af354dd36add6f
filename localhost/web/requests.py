"""What the host reads from a request beyond what aiohttp offers.

A path is kept as the client sent it: ``%2F``, ``%25`` and ``//`` mean something.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote

from aiohttp import web

from localhost.text import well_formed

_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


def raw_target(request: web.Request) -> str:
    """Path and query as sent; bytes beyond ASCII are percent-encoded."""
    target = request.raw_path.partition("#")[0]
    if not target.startswith("/"):
        # A client that takes us for a proxy sends the whole URL.
        target = _ORIGIN.sub("", target)
        if not target.startswith("/"):
            target = f"/{target}"
    return quote(target.encode("utf-8", "surrogateescape"), safe=_ASCII)


def raw_path(request: web.Request) -> str:
    """The path of ``raw_target``, without its query."""
    return raw_target(request).partition("?")[0]


def origin(request: web.Request) -> str:
    """Scheme and authority by which the client reached us."""
    host = request.headers.get("Host")
    if not host and request.transport:
        address, port, *_ = request.transport.get_extra_info("sockname")
        host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return well_formed(f"http://{host or 'localhost'}")


def query_parameters(request: web.Request) -> dict[str, str]:
    """Repeated names, in either case, joined by commas; empty ones dropped."""
    query = raw_target(request).partition("?")[2]
    joined: dict[str, tuple[str, list[str]]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        joined.setdefault(name.lower(), (name, []))[1].append(value)
    parameters = {name: ",".join(values) for name, values in joined.values()}
    return {name: value for name, value in parameters.items() if value}


def joined_headers(request: web.Request) -> dict[str, str]:
    """Header names in lower case, repeated ones joined by commas.

    Bytes that are no UTF-8 are U+FFFD.
    """
    joined: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        joined.setdefault(name.lower(), []).append(value)
    return {name: well_formed(",".join(values)) for name, values in joined.items()}


def path_below(path: str, base: str) -> str | None:
    """What follows ``base`` and its slash, in either case; None for other paths."""
    head, rest = path[: len(base)], path[len(base) :]
    is_below = head.lower() == base.lower() and rest[:1] in ("", "/")
    return rest[1:] if is_below else None
