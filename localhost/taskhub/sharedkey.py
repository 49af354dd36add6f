"""Shared Key: how a request to Azure Storage is signed, see its REST reference."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import unquote_plus

_SIGNED_HEADERS = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)


class SharedKey:
    """The key (base64) of one account."""

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        self._signing = hmac.new(base64.b64decode(key), digestmod=hashlib.sha256)
        self._date_s, self._date = 0, ""

    def date(self) -> str:
        """Return the current time as a header has it; made once a second."""
        now_s = int(time.time())
        if now_s != self._date_s:
            self._date_s, self._date = now_s, formatdate(now_s, usegmt=True)
        return self._date

    def authorization(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        length: int,
        *,
        is_table: bool,
    ) -> str:
        """Return the header that signs a request with a body of ``length`` bytes."""
        resource = f"/{self._account}{path}"
        if is_table:
            lines = [method, "", headers["Content-Type"], headers["x-ms-date"]]
            if query.startswith("comp="):
                resource += f"?{query.partition('&')[0]}"
        else:
            values = {**headers, "Content-Length": str(length) if length else ""}
            lines = [method, *(values.get(name, "") for name in _SIGNED_HEADERS)]
            lines += [f"{k}:{headers[k]}" for k in sorted(headers) if k[:5] == "x-ms-"]
            resource += _canonical_query(query)
        text = "\n".join([*lines, resource])
        signing = self._signing.copy()
        signing.update(text.encode())
        signature = base64.b64encode(signing.digest()).decode()
        return f"SharedKey {self._account}:{signature}"


def _canonical_query(query: str) -> str:
    pairs = (item.partition("=") for item in query.split("&") if item)
    values = sorted((name.lower(), unquote_plus(value)) for name, _, value in pairs)
    return "".join(f"\n{name}:{value}" for name, value in values)
