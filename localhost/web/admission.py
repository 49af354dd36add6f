"""Who may use the management API, and for which task hub."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Mapping

from aiohttp import web

from localhost.errors import ArgumentError, HostError
from localhost.web.requests import raw_path

log = logging.getLogger(__name__)


class Admission:
    """Checks the key and the hub of requests.

    ``code`` is the key; ``leads_here`` says of a connection's name whether it leads to
    the storage of this task hub.
    """

    def __init__(
        self, *, code: str, hub_name: str, leads_here: Callable[[str], bool]
    ) -> None:
        self._code = code
        self._hub_name = hub_name
        self._leads_here = leads_here

    def is_allowed(self, request: web.Request, query: Mapping[str, str]) -> bool:
        """Whether a request shows the key; the console says why one does not."""
        shown = request.headers.get("x-functions-key") or query.get("code", "")
        is_same = hmac.compare_digest(
            shown.encode("utf-8", "replace"), self._code.encode()
        )
        if shown and is_same:  # an empty key opens nothing
            return True
        log.warning(
            "401 for %s %s: %s. Take the whole URL of the answer to the start, in"
            " quotes: without them a shell cuts it at the first '&'.",
            request.method,
            raw_path(request),
            "its 'code' is not this host's" if shown else "it has no 'code'",
        )
        return False

    def must_lead_here(self, query: Mapping[str, str]) -> None:
        """Raise for a query that names another task hub or storage than ours."""
        hub = query.get("taskhub", "").strip()
        if hub and not re.fullmatch("[A-Za-z][A-Za-z0-9]{2,44}", hub):
            raise ArgumentError(
                "Invalid container name. Check MSDN for more information about valid"
                " container naming."
            )
        if hub and hub.lower() != self._hub_name.lower():
            raise ArgumentError(
                f"This host works on the task hub '{self._hub_name}', not on"
                f" '{hub}'. Leave taskHub out, or set hubName in host.json."
            )
        connection = query.get("connection", "").strip()
        if connection and not self._leads_here(connection):
            raise HostError(
                f"Unable to resolve the Azure Storage connection named '{connection}'."
            )
