"""Blobs: payloads too large for a message or a row, gzipped, in one container.

The container ``{hub}-largemessages`` is made when it is first needed. A blob stays
until its instance is purged.
"""

from __future__ import annotations

import asyncio
import gzip
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote, unquote

from localhost.errors import ConflictError, NotFoundError
from localhost.taskhub.storage import Storage

# Beyond this many bytes, packing would hold up everything else: a thread does it.
_PACKED_INLINE_BYTES = 200_000


class Blobs:
    """The large payloads of one task hub."""

    def __init__(self, storage: Storage, hub: str) -> None:
        self._storage = storage
        self._container = f"/{hub.lower()}-largemessages"
        self._is_there = False

    async def write(self, name: str, text: str) -> None:
        """Store a text, gzipped, under a blob name (not percent-encoded)."""
        if not self._is_there:
            await create_container(self._storage, self._container)
            self._is_there = True
        data = text.encode()
        if len(data) > _PACKED_INLINE_BYTES:
            packed = await asyncio.to_thread(gzip.compress, data, 1)
        else:
            packed = gzip.compress(data, 1)
        await self._storage.request(
            "blob",
            "PUT",
            self._path(name),
            headers={"x-ms-blob-type": "BlockBlob", "Content-Type": "application/gzip"},
            body=packed,
        )

    async def read(self, name: str) -> str:
        """Return the text under a name. Raises ``NotFoundError``."""
        answer = await self._storage.request("blob", "GET", self._path(name))
        if len(answer.body) > _PACKED_INLINE_BYTES:
            return (await asyncio.to_thread(gzip.decompress, answer.body)).decode()
        return gzip.decompress(answer.body).decode()

    def url(self, name: str) -> str:
        """Return the address of a blob as an Instances row holds it."""
        return self._storage.account.urls["blob"] + self._path(name)

    def name_in(self, value: str) -> str | None:
        """Return the blob name if a row's value is an address in this container."""
        start = self._storage.account.urls["blob"] + self._container + "/"
        return unquote(value[len(start) :]) if value.startswith(start) else None

    async def delete_all(self, instance_id: str) -> None:
        """Delete the blobs in the folder of an instance; none there is no fault."""
        query = "restype=container&comp=list&prefix=" + quote(
            instance_id + "/", safe=""
        )
        try:
            answer = await self._storage.request(
                "blob", "GET", self._container, query=query
            )
        except NotFoundError:
            return
        names = ElementTree.fromstring(answer.body).iterfind("./Blobs/Blob/Name")
        await asyncio.gather(*(self._delete(name.text or "") for name in names))

    async def _delete(self, name: str) -> None:
        try:
            await self._storage.request("blob", "DELETE", self._path(name))
        except NotFoundError:
            pass

    def _path(self, name: str) -> str:
        return f"{self._container}/{quote(name, safe='/')}"


async def create_container(storage: Storage, path: str) -> None:
    """Create a container; one that is there already is as good."""
    try:
        await storage.request("blob", "PUT", path, query="restype=container")
    except ConflictError:
        pass
