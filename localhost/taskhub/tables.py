"""Requests to the table service: entities, queries, transactions; knows no column."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from localhost.errors import ConflictError, NotFoundError
from localhost.taskhub.storage import Storage, raise_for
from localhost.text import ascii_dumps, loads

Row = dict[str, Any]

LARGEST_TRANSACTION_ROWS = 100
_JSON = {
    "Accept": "application/json;odata=minimalmetadata",
    "Content-Type": "application/json",
    "DataServiceVersion": "3.0",
}
_NO_ECHO = {**_JSON, "Prefer": "return-no-content"}
_PART = re.compile(rb"HTTP/1\.1 (\d{3})[^\r\n]*\r?\n((?:[^\r\n]+\r?\n)*)")
_ETAG = re.compile(rb"(?mi)^etag:\s*(.+?)\s*$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One step of a transaction.

    ``method`` PUT inserts or replaces, MERGE changes columns, POST inserts, DELETE
    deletes; ``if_match`` is the ETag that the row must have (None: any or none).
    """

    method: Literal["PUT", "MERGE", "POST", "DELETE"]
    partition_key: str
    row_key: str
    columns: Mapping[str, Any]
    if_match: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Rows of a query; ``next`` continues it, None when there are no more."""

    rows: list[Row]
    next: tuple[str, str] | None


class Table:
    """One table; rows are dicts of columns as the service writes them."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self.name = name

    async def create(self) -> None:
        """Create the table; one that is there already is as good."""
        try:
            await self._storage.request(
                "table",
                "POST",
                "/Tables",
                headers=_NO_ECHO,
                body=_body({"TableName": self.name}),
            )
        except ConflictError:
            pass

    async def get(self, partition_key: str, row_key: str) -> Row | None:
        """Return one row with its ``odata.etag``, None when there is none."""
        path = self._entity(partition_key, row_key)
        try:
            answer = await self._storage.request("table", "GET", path, headers=_JSON)
        except NotFoundError:
            return None
        row: Row = loads(answer.body)
        row["odata.etag"] = answer.headers["etag"]
        return row

    async def insert(self, partition_key: str, row_key: str, columns: Row) -> str:
        """Insert a row and return its ETag. Raises ``ConflictError``."""
        body = {**columns, "PartitionKey": partition_key, "RowKey": row_key}
        answer = await self._storage.request(
            "table", "POST", f"/{self.name}", headers=_NO_ECHO, body=_body(body)
        )
        return answer.headers["etag"]

    async def put(
        self,
        partition_key: str,
        row_key: str,
        columns: Row,
        *,
        if_match: str | None,
        merge: bool = False,
    ) -> str:
        """Replace (or merge into) a row, made when missing unless ``if_match`` is set.

        Returns the new ETag. Raises ``PreconditionError`` and ``NotFoundError``.
        """
        headers = _JSON if if_match is None else {**_JSON, "If-Match": if_match}
        answer = await self._storage.request(
            "table",
            "MERGE" if merge else "PUT",
            self._entity(partition_key, row_key),
            headers=headers,
            body=_body(columns),
        )
        return answer.headers["etag"]

    async def delete(self, partition_key: str, row_key: str) -> bool:
        """Delete a row whatever its ETag; False when there was none."""
        path = self._entity(partition_key, row_key)
        headers = {**_JSON, "If-Match": "*"}
        try:
            await self._storage.request("table", "DELETE", path, headers=headers)
        except NotFoundError:
            return False
        return True

    async def query(
        self,
        filter_: str = "",
        *,
        select: str = "",
        top: int | None = None,
        after: tuple[str, str] | None = None,
    ) -> Page:
        """Return one page (at most 1,000 rows) of the rows that a filter finds."""
        options = {"$filter": filter_, "$select": select, "$top": top or ""}
        if after is not None:
            options["NextPartitionKey"], options["NextRowKey"] = after
        answer = await self._storage.request(
            "table",
            "GET",
            f"/{self.name}()",
            query="&".join(
                f"{k}={quote(str(v), safe='')}" for k, v in options.items() if v
            ),
            headers=_JSON,
        )
        next_key = answer.headers.get("x-ms-continuation-nextpartitionkey")
        next_row = answer.headers.get("x-ms-continuation-nextrowkey", "")
        return Page(
            rows=loads(answer.body)["value"],
            next=None if next_key is None else (next_key, next_row),
        )

    async def query_all(self, filter_: str = "", *, select: str = "") -> list[Row]:
        """Return all rows that a filter finds, page after page."""
        page = await self.query(filter_, select=select)
        rows = page.rows
        while page.next is not None:
            page = await self.query(filter_, select=select, after=page.next)
            rows += page.rows
        return rows

    async def transaction(self, operations: Sequence[Operation]) -> str | None:
        """Do up to 100 operations of one partition, all or none.

        Returns the ETag that the last one gave its row. Raises ``ConflictError``,
        ``PreconditionError`` or ``NotFoundError`` when an operation is refused.
        """
        content_type, body = _changeset([self._part(o) for o in operations])
        answer = await self._storage.request(
            "table",
            "POST",
            "/$batch",
            headers={**_JSON, "Content-Type": content_type},
            body=body,
        )
        parts = _PART.findall(answer.body)
        for status, _ in parts:
            raise_for(int(status), _code_in(answer.body), f"transaction {self.name}")
        etag = _ETAG.search(parts[-1][1]) if parts else None
        return etag[1].decode() if etag else None

    def _part(self, operation: Operation) -> bytes:
        """Return one operation as the HTTP request that a transaction carries."""
        columns = dict(operation.columns)
        if operation.method == "POST":
            path = f"/{self.name}"
            columns["PartitionKey"] = operation.partition_key
            columns["RowKey"] = operation.row_key
        else:
            path = self._entity(operation.partition_key, operation.row_key)
        url = self._storage.account.urls["table"] + path
        body = b"" if operation.method == "DELETE" else _body(columns)
        lines = [
            f"{operation.method} {url} HTTP/1.1",
            "Accept: application/json;odata=minimalmetadata",
            "Content-Type: application/json",
            "Prefer: return-no-content",
            "DataServiceVersion: 3.0",
            f"Content-Length: {len(body)}",
        ]
        if operation.if_match is not None:
            lines.append(f"If-Match: {operation.if_match}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _entity(self, partition_key: str, row_key: str) -> str:
        keys = f"PartitionKey='{_quoted(partition_key)}',RowKey='{_quoted(row_key)}'"
        return f"/{self.name}({keys})"


def _changeset(operations: list[bytes]) -> tuple[str, bytes]:
    """Return content type and body of an entity-group transaction.

    Each operation is a whole HTTP request as bytes (request line, headers, body).
    """
    mark = uuid.uuid4().hex
    parts = [
        f"--batch_{mark}\r\nContent-Type: multipart/mixed; "
        f"boundary=changeset_{mark}\r\n\r\n".encode()
    ]
    for operation in operations:
        parts.append(
            f"--changeset_{mark}\r\nContent-Type: application/http\r\n"
            "Content-Transfer-Encoding: binary\r\n\r\n".encode()
        )
        parts.append(operation)
        parts.append(b"\r\n")
    parts.append(f"--changeset_{mark}--\r\n--batch_{mark}--\r\n".encode())
    return f"multipart/mixed; boundary=batch_{mark}", b"".join(parts)


def equals(column: str, value: str) -> str:
    """Return the filter that a text column has a value."""
    return f"{column} eq '" + value.replace("'", "''") + "'"


def _quoted(key: str) -> str:
    return quote(key.replace("'", "''"), safe="")


def _body(columns: Mapping[str, Any]) -> bytes:
    """Return columns as ASCII: Azurite takes U+2028 in a transaction for its end."""
    return ascii_dumps(columns).encode()


def _code_in(body: bytes) -> str:
    found = re.search(rb'"code"\s*:\s*"([^"]+)"', body)
    return found[1].decode() if found else ""
