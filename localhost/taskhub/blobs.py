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

# Beyond this size, packing would hold up everything else: a thread does it.
_INLINE_CHARS = 200_000


class Blobs:
    """The large payloads of one task hub; a page of a list shows ``listed`` of them."""

    def __init__(self, storage: Storage, hub: str, *, listed: int = 1_000) -> None:
        self._storage = storage
        self._listed = listed
        self._container = f"/{hub.lower()}-largemessages"
        self._is_there = False

    async def write(self, name: str, text: str) -> None:
        """Store a text, gzipped, under a blob name (not percent-encoded)."""
        if not self._is_there:
            await create_container(self._storage, self._container)
            self._is_there = True
        if len(text) > _INLINE_CHARS:
            packed = await asyncio.to_thread(_packed, text)
        else:
            packed = _packed(text)
        try:
            await self._put(name, packed)
        except NotFoundError:  # an Azurite that was killed has forgotten the container
            await self._create()
            await self._put(name, packed)

    async def _create(self) -> None:
        await create_container(self._storage, self._container)
        self._is_there = True

    async def _put(self, name: str, packed: bytes) -> None:
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
        if _unpacked_bytes(answer.body) > _INLINE_CHARS:
            return await asyncio.to_thread(_unpacked, answer.body)
        return _unpacked(answer.body)

    def url(self, name: str) -> str:
        """Return the address of a blob as an Instances row holds it."""
        return self._storage.account.urls["blob"] + self._path(name)

    def name_in(self, value: str) -> str | None:
        """Return the blob name if a row's value is an address in this container."""
        start = self._storage.account.urls["blob"] + self._container + "/"
        return unquote(value[len(start) :]) if value.startswith(start) else None

    async def delete_all(self, instance_id: str) -> None:
        """Delete the blobs in the folder of an instance; none there is no fault."""
        prefix = quote(instance_id + "/", safe="")
        query = f"restype=container&comp=list&maxresults={self._listed}&prefix={prefix}"
        marker: str | None = ""
        while marker is not None:
            try:
                answer = await self._storage.request(
                    "blob", "GET", self._container, query=query + marker
                )
            except NotFoundError:
                return
            listed = ElementTree.fromstring(answer.body)
            names = listed.iterfind("./Blobs/Blob/Name")
            await asyncio.gather(*(self._delete(name.text or "") for name in names))
            next_ = listed.findtext("NextMarker")
            marker = f"&marker={quote(next_, safe='')}" if next_ else None

    async def _delete(self, name: str) -> None:
        try:
            await self._storage.request("blob", "DELETE", self._path(name))
        except NotFoundError:
            pass

    def _path(self, name: str) -> str:
        return f"{self._container}/{quote(name, safe='/')}"


def _packed(text: str) -> bytes:
    return gzip.compress(text.encode(), 1)


def _unpacked(data: bytes) -> str:
    return gzip.decompress(data).decode()


def _unpacked_bytes(data: bytes) -> int:
    """Return what gzip says that a text will have; its last four bytes tell."""
    return int.from_bytes(data[-4:], "little")


async def create_container(storage: Storage, path: str) -> None:
    """Create a container; one that is there already is as good."""
    try:
        await storage.request("blob", "PUT", path, query="restype=container")
    except ConflictError:
        pass
