"""Cross-origin requests: which pages may call, and what a browser wants to hear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, kw_only=True)
class Cors:
    """The origins that may call; none: nothing is said about it at all.

    Any method and any header are allowed to an origin. ``*`` allows every origin,
    but never with credentials.
    """

    origins: tuple[str, ...] = ()
    are_credentials_allowed: bool = False

    @classmethod
    def from_text(cls, text: str, *, are_credentials_allowed: bool = False) -> Cors:
        """Read a comma-separated list of origins."""
        origins = (part.strip().rstrip("/") for part in text.split(","))
        return cls(
            origins=tuple(filter(None, origins)),
            are_credentials_allowed=are_credentials_allowed,
        )

    def is_preflight(self, request: web.Request) -> bool:
        """Whether a browser asks for leave to send what it wants to send."""
        return (
            bool(self.origins)
            and request.method == "OPTIONS"
            and "Origin" in request.headers
            and "Access-Control-Request-Method" in request.headers
        )

    def allows(self, origin: str) -> bool:
        """Whether pages of an origin may call."""
        known = (each.lower() for each in self.origins)
        return "*" in self.origins or origin.lower() in known

    def headers(self, request: web.Request) -> Mapping[str, str]:
        """What is added to the answer; nothing for an origin that may not call."""
        origin = request.headers.get("Origin", "")
        if "*" in self.origins:
            allowed = {"Access-Control-Allow-Origin": "*"} if origin else {}
        else:
            allowed = self._headers_for(origin)
        if allowed and self.is_preflight(request):
            allowed |= _preflight_headers(request)
        return allowed

    def _headers_for(self, origin: str) -> dict[str, str]:
        if not self.allows(origin):
            return {}
        allowed = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if self.are_credentials_allowed:
            allowed["Access-Control-Allow-Credentials"] = "true"
        return allowed


def _preflight_headers(request: web.Request) -> dict[str, str]:
    wanted = {
        "Access-Control-Allow-Methods": "Access-Control-Request-Method",
        "Access-Control-Allow-Headers": "Access-Control-Request-Headers",
    }
    return {
        answer: request.headers[question]
        for answer, question in wanted.items()
        if question in request.headers
    }
