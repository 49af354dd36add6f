"""Leases on blobs, by which older Functions hosts own the control queues of a hub.

Such a host does not see the Partitions table, nor do others see its leases: two that
own the same queue would work on the same instances. Blobs are only read here.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from urllib.parse import quote

from localhost.errors import CannotStartError, NotFoundError, StorageError
from localhost.taskhub.neighbours import OWN_HUB_ADVICE
from localhost.taskhub.storage import Storage
from localhost.text import loads

# What a host owns; what it is about to own; what a still older one owns.
_FOLDERS = ("ownership/", "intent/", "default/")


async def refuse_leased(storage: Storage, hub: str) -> None:
    """Raise ``CannotStartError`` while a host of the older kind works on a hub."""
    container = f"{hub.lower()}-leases"
    live = await _live_leases(storage, container)
    if not live:
        return
    owner = await _owner(storage, f"/{container}/{quote(live[0])}")
    count = f"{len(live)} blobs" if len(live) > 1 else "a blob"
    raise CannotStartError(
        f"Task hub {hub} is in use: another Functions host{owner} works on it. It holds"
        f" live leases on {count} of the container {container} ({', '.join(live)});"
        " expected is none, because two hosts of which one owns control queues by"
        " leases on blobs and the other by a table would work on the same instances."
        " Stop that host; if it was killed, its leases end by themselves within a"
        f" minute. Or keep the two apart. {OWN_HUB_ADVICE}"
    )


async def _live_leases(storage: Storage, container: str) -> Sequence[str]:
    """Return the names of blobs with a live lease, those of owned queues first."""
    try:
        answer = await storage.request(
            "blob", "GET", f"/{container}", query="restype=container&comp=list"
        )
    except NotFoundError:
        return ()
    leased = [
        blob.findtext("Name", "")
        for blob in ElementTree.fromstring(answer.body).iterfind("./Blobs/Blob")
        if blob.findtext("Properties/LeaseStatus") == "locked"
    ]
    return [x for folder in _FOLDERS for x in leased if x.startswith(folder)]


async def _owner(storage: Storage, path: str) -> str:
    """Return the name that the owner wrote into its blob, ready for a sentence."""
    try:
        owner = loads((await storage.request("blob", "GET", path)).body)["Owner"]
    except (StorageError, ValueError, KeyError, TypeError):
        return ""
    return f" ({owner})" if owner else ""
