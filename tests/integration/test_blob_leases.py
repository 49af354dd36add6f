"""A hub on which a Functions host of the older kind works: it owns queues by blobs."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.blob import BlobLeaseClient, BlobServiceClient

from localhost.account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from localhost.errors import CannotStartError
from localhost.taskhub.hub import Account
from tests.acceptance.hosts import Hosts
from tests.acceptance.running_host import (
    HUB_VARIABLE,
    ROOT,
    Ended,
    Storage,
    copy_app,
    environment,
    run_command,
)
from tests.conftest import Emulator
from tests.integration.conftest import Judge, create, open_hub
from tests.integration.hosted import go, make_hub

KILLED = ROOT / "tests" / "data" / "hubs" / "killed-quickstart"
OWNER = "build-agent"
Lease = Callable[..., BlobLeaseClient]


@pytest.fixture(name="lease")
def _lease(judge: Judge) -> Lease:
    """Leases a blob in the hub's container as a Functions host does."""

    def leased(
        folder: str = "ownership", number: int = 0, *, text: str | None = None
    ) -> BlobLeaseClient:
        container = f"{judge.hub.lower()}-leases"
        queue = f"{judge.hub.lower()}-control-{number:02}"
        if container not in [each.name for each in judge.blobs.list_containers()]:
            judge.blobs.create_container(container)
        blob = judge.blobs.get_blob_client(container, f"{folder}/{queue}")
        content = {"PartitionId": queue, "Owner": OWNER, "Token": "t", "Epoch": 1}
        blob.upload_blob(json.dumps(content) if text is None else text)
        return blob.acquire_lease(30)

    return leased


async def refusal(emulator: Emulator, judge: Judge) -> str:
    """What the host says when it makes the hub ready; empty when it starts."""
    async with open_hub(emulator.account, judge.hub) as hub:
        try:
            await create(hub)
        except CannotStartError as exc:
            return str(exc)
    return ""


async def test_live_leases_are_told_with_their_owner(
    emulator: Emulator, judge: Judge, lease: Lease
) -> None:
    """Which hub, which blobs, who, and what to do."""
    lease(number=0)
    lease(number=1)
    low = judge.hub.lower()

    text = await refusal(emulator, judge)

    assert text.startswith(
        f"Task hub {judge.hub} is in use: another Functions host ({OWNER}) works on it."
        f" It holds live leases on 2 blobs of the container {low}-leases"
        f" (ownership/{low}-control-00, ownership/{low}-control-01)"
    )
    assert "Stop that host" in text
    assert "its leases end by themselves within a minute" in text
    assert "host.json (extensions.durableTask.hubName)" in text
    assert HUB_VARIABLE in text


@pytest.mark.parametrize("folder", ["ownership", "intent", "default"])
async def test_each_kind_of_lease_counts(
    emulator: Emulator, judge: Judge, lease: Lease, folder: str
) -> None:
    """A host that has just started owns nothing yet, but has said that it will."""
    lease(folder)

    assert f"a blob of the container {judge.hub.lower()}-leases ({folder}/" in (
        await refusal(emulator, judge)
    )


async def test_a_lease_that_is_about_to_be_broken_counts(
    emulator: Emulator, judge: Judge, lease: Lease
) -> None:
    """Until then its owner may work."""
    lease().break_lease(20)

    assert "is in use" in await refusal(emulator, judge)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"Owner":null}'])
async def test_a_blob_that_names_no_owner_counts(
    emulator: Emulator, judge: Judge, lease: Lease, text: str
) -> None:
    """The lease decides."""
    lease(text=text)

    assert "another Functions host works on it" in await refusal(emulator, judge)


@pytest.mark.parametrize("end", ["release", "break_lease"])
async def test_leases_that_have_ended_are_ignored(
    emulator: Emulator, judge: Judge, lease: Lease, end: str
) -> None:
    """Their host was stopped, or somebody broke them."""
    getattr(lease(), end)(**({"lease_break_period": 0} if end != "release" else {}))

    assert "" == await refusal(emulator, judge)


async def test_leases_elsewhere_are_ignored(
    emulator: Emulator, judge: Judge, lease: Lease
) -> None:
    """A container may hold more, and other hubs are not ours."""
    lease("elsewhere")
    other = Judge(
        hub=f"{judge.hub}b", tables=judge.tables, queues=judge.queues, blobs=judge.blobs
    )

    assert "" == await refusal(emulator, judge)
    assert "" == await refusal(emulator, other)


async def test_a_hub_without_such_a_container_is_free(
    emulator: Emulator, judge: Judge
) -> None:
    """It is fresh, or no older host ever worked on it; none is made."""
    assert "" == await refusal(emulator, judge)

    containers = [each.name for each in judge.blobs.list_containers()]
    assert f"{judge.hub.lower()}-leases" not in containers


@pytest.fixture(name="refused")
def _refused(emulator: Emulator, judge: Judge, lease: Lease, tmp_path: Path) -> Ended:
    """A host that was started on a leased hub in which a message waits."""
    make_hub(emulator, judge.hub)
    judge.tables.delete_table(f"{judge.hub}Partitions")
    judge.put(f"{judge.hub.lower()}-control-00", go("abc"))
    lease()
    return run_command(
        "start",
        "--app",
        str(copy_app(tmp_path)),
        "--port",
        "0",
        environ=environment(
            AzureWebJobsStorage=emulator.connection_string,
            **{HUB_VARIABLE: judge.hub},
        ),
    )


@pytest.mark.timeout(60)
def test_the_command_refuses_to_start(refused: Ended, judge: Judge) -> None:
    """Exit code 3 and one text, without a traceback; nothing was taken or claimed."""
    assert 3 == refused.code
    assert refused.error.startswith(f"localhost: Task hub {judge.hub} is in use: ")
    assert "Traceback" not in refused.error + refused.text
    (message,) = judge.queues.get_queue_client(
        f"{judge.hub.lower()}-control-00"
    ).receive_messages()
    assert 1 == message.dequeue_count
    tables = [table.name for table in judge.tables.list_tables()]
    assert f"{judge.hub}Partitions" not in tables


@pytest.fixture(name="killed")
def _killed(tmp_path: Path) -> Iterator[Account]:
    """An Azurite with the hub that a Functions host left when it was killed."""
    storage = Storage.on_free_ports()
    with Hosts(tmp_path, storage) as hosts:
        app = hosts.copy_app()
        shutil.copytree(KILLED / "azurite", app / ".azurite")
        hosts.azurite(storage, app)
        blob, queue, table = (
            f"http://127.0.0.1:{port}/{DEVELOPMENT_ACCOUNT}" for port in storage.ports
        )
        yield Account(
            name=DEVELOPMENT_ACCOUNT,
            key=DEVELOPMENT_KEY,
            urls={"blob": blob, "queue": queue, "table": table},
        )


@pytest.mark.timeout(60)
def test_expired_leases_of_a_killed_host_are_ignored(killed: Account) -> None:
    """They ended by themselves; its hub is made ready like any other."""
    with BlobServiceClient(killed.urls["blob"], credential=killed.key) as blobs:
        container = blobs.get_container_client("testhubname-leases")
        states = [blob.lease.state for blob in container.list_blobs("ownership/")]

    async def made() -> None:
        async with open_hub(killed, "TestHubName") as hub:
            await create(hub)

    assert ["expired"] * 4 == states
    asyncio.run(made())
