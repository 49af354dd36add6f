"""The one place that knows every part: opens them in order, closes in reverse."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from functools import partial

from localhost.app.manifest import read_app
from localhost.app.port import Callers
from localhost.app.threads import HTTP_THREADS
from localhost.app.worker_process import Command
from localhost.app.workers import Options, Workers
from localhost.azurite import Endpoints, Keeper, azurite
from localhost.compat import TaskGroup, timeout
from localhost.console import function_lines
from localhost.declared import FunctionApp, FunctionFault
from localhost.errors import (
    CannotGoOnError,
    CannotStartError,
    StorageError,
    UnavailableError,
)
from localhost.front import Front
from localhost.functions import DurableFunctions
from localhost.parts import Parts, make_parts
from localhost.settings import DurableSettings, Settings, StorageAccount
from localhost.taskhub.hub import Account, Partitions, TaskHub, open_task_hub
from localhost.timestamps import Clock
from localhost.web.outgoing import call_http
from localhost.web.ports import LOOPBACK_NAMES

log = logging.getLogger(__name__)

DRAIN_LIMIT_S = 30.0  # for all that runs when the host is to stop
CLOSE_LIMIT_S = 2.0  # for what ran on after the drain
AZURITE_FOLDER = ".azurite"
REFUSALS = (401, 403)
VERSION = "4.0.0-localhost"


async def run_host(
    settings: Settings, *, stop: asyncio.Event, say: Callable[[str], None]
) -> None:
    """Run an app until ``stop`` is set; then finish what runs and give up the rest.

    Raises ``CannotStartError`` and ``CannotGoOnError``.
    """
    app = read_app(settings.app, environ=os.environ, only=settings.functions)
    clock = Clock()
    async with (
        _callers(app, settings) as callers,
        storage_emulator(settings, say) as emulator,
        open_task_hub(
            _account(settings.storage),
            name=settings.durable.hub_name,
            partition_count=settings.durable.partition_count,
            now=clock.now,
        ) as hub,
    ):
        functions = DurableFunctions(app, callers, call_http=call_http)
        parts = make_parts(settings, functions, hub, clock)
        if emulator:
            emulator.on_end = partial(_forget, hub, parts)
        front = Front(settings, app, callers, functions, parts.client)
        functions.client_binding = front.client_binding
        async with front.server as server:
            partitions = _partitions(hub, parts, _worker_id(settings, server.port))
            faults = await _made_ready(hub, callers, partitions, stop)
            if faults is None:
                return
            async with _given_up(partitions):

                def opened() -> None:
                    for line in function_lines(
                        app,
                        (*faults, *front.table.faults),
                        port=server.port,
                        prefix=settings.route_prefix,
                    ):
                        say(line)

                with _refusal_told(hub):
                    await _run(hub, parts, partitions, front, stop, opened=opened)
        await callers.close(limit_s=CLOSE_LIMIT_S)


def _forget(hub: TaskHub, parts: Parts) -> None:
    """Forget what was stored: the storage ended, and may have lost some of it."""
    hub.instances.forget_recent()
    parts.forget_all()


@asynccontextmanager
async def storage_emulator(
    settings: Settings, say: Callable[[str], None]
) -> AsyncIterator[Keeper | None]:
    """Have Azurite running if the storage is one on this machine."""
    account = settings.storage
    if not account.is_loopback:
        yield None
        return
    blob, queue, table = account.ports()
    async with azurite(
        Endpoints(
            host=account.host, blob_port=blob, queue_port=queue, table_port=table
        ),
        folder=settings.app / AZURITE_FOLDER,
        account=account.name,
        key=account.key,
        say=say,
    ) as keeper:
        yield keeper


async def _made_ready(
    hub: TaskHub, callers: Callers, partitions: Partitions, stop: asyncio.Event
) -> tuple[FunctionFault, ...] | None:
    """Make the hub and import the app side by side.

    None when ``stop`` came first: a storage that does not answer is waited for.
    """
    ready = asyncio.gather(hub.create(partitions), callers.load())
    stopping = asyncio.create_task(stop.wait(), name="stop before ready")
    await asyncio.wait((ready, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if ready.done():
        try:
            return ready.result()[1]
        except StorageError as exc:
            raise _refused(hub, exc) from exc
    ready.cancel()
    with suppress(asyncio.CancelledError):
        await ready
    return None


def _refused(hub: TaskHub, error: StorageError) -> CannotStartError:
    """Say what to do about a storage that answers, but not as it should."""
    account = hub.storage.account
    return CannotStartError(
        f"The storage at {account.urls['table']} does not let account '{account.name}'"
        f" make the task hub {hub.name} ({error}); expected is an account with the key"
        " that the connection string holds. Check AccountName, AccountKey and the"
        " endpoints there, the clock of this machine, and in Azure that the account's"
        " network settings and key access let this machine in."
    )


@contextmanager
def _refusal_told(hub: TaskHub) -> Iterator[None]:
    """End in one line when a running host is refused: it has no other key to try."""
    try:
        yield
    except Exception as exc:
        for each in _leaves_of(exc):
            if isinstance(each, StorageError) and each.status in REFUSALS:
                raise _locked_out(hub, each) from exc
        raise


def _leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, or those in a group of them: the groups of tasks nest."""
    inner = getattr(error, "exceptions", None)
    if inner is None:
        yield error
        return
    for each in inner:
        yield from _leaves_of(each)


def _locked_out(hub: TaskHub, error: StorageError) -> CannotGoOnError:
    account = hub.storage.account
    return CannotGoOnError(
        f"The storage at {account.urls['table']} does not let account '{account.name}'"
        f" in any more ({error}); expected is that the key in the connection string"
        " stays valid. Check AccountKey there, the clock of this machine, and in Azure"
        " the account's network settings and key access; then start again: the"
        " instances go on."
    )


@asynccontextmanager
async def _given_up(partitions: Partitions) -> AsyncIterator[None]:
    """Give up the partitions at the end."""
    try:
        yield
    finally:
        try:
            async with timeout(CLOSE_LIMIT_S):
                await partitions.release()
        except (asyncio.TimeoutError, UnavailableError, StorageError):
            log.warning("The partitions could not be released; they expire in 30 s.")


async def _run(
    hub: TaskHub,
    parts: Parts,
    partitions: Partitions,
    front: Front,
    stop: asyncio.Event,
    *,
    opened: Callable[[], None],
) -> None:
    """Pump until ``stop`` is set, then let what runs come to an end.

    Nothing new is taken from the first moment of a stop; HTTP requests, functions and
    writes that run share its ``DRAIN_LIMIT_S``.
    """
    async with TaskGroup() as group:
        group.create_task(parts.run(stop, drain_limit_s=DRAIN_LIMIT_S), name="parts")
        await partitions.step()
        group.create_task(partitions.run(stop), name="partitions")
        front.open()
        opened()
        log.info("Worker process started and initialized.")
        await stop.wait()
        log.info("Stopping: what runs may take %d s to end.", DRAIN_LIMIT_S)
        ending = asyncio.gather(
            front.server.stop(limit_s=DRAIN_LIMIT_S),
            parts.control.drained.wait(),
            parts.work_items.drained.wait(),
        )
        try:
            async with timeout(DRAIN_LIMIT_S):
                await ending
        except asyncio.TimeoutError:
            pass
        hub.stop_retrying()


def _worker_id(settings: Settings, port: int) -> str:
    """Return the id under which partitions are owned; a restart has it again."""
    is_usual = settings.address in LOOPBACK_NAMES
    where = str(port) if is_usual else f"{settings.address}-{port}"
    return f"{platform.node()}-localhost-{where}"


def _partitions(hub: TaskHub, parts: Parts, worker_id: str) -> Partitions:
    """Own control queues for what works on them."""
    return hub.partitions(
        worker_id=worker_id,
        listen=parts.listen,
        unlisten=parts.unlisten,
        drained=parts.is_drained,
        others=parts.sender.note_others,
    )


def _callers(
    app: FunctionApp, settings: Settings
) -> AbstractAsyncContextManager[Callers]:
    """Call functions in worker processes, or in this one when there is to be none."""
    if settings.worker.count:
        return Workers(app, _worker_options(settings))
    # Only then is the app's azure.functions this host's business.
    from localhost.app.in_process import InProcess

    threads = settings.worker.threads or _threads(settings.durable)
    return InProcess(app, threads=threads)


def _worker_options(settings: Settings) -> Options:
    worker = settings.worker
    return Options(
        command=Command(
            python=worker.python,
            arguments=worker.arguments,
            folder=settings.app,
            level=logging.getLogger().level,
        ),
        count=worker.count,
        threads=worker.threads or _threads(settings.durable),
        outside_threads=worker.threads or HTTP_THREADS,
    )


def _threads(durable: DurableSettings) -> int:
    """As many as instances may need at once, so that activities starve nobody."""
    return durable.max_activities + durable.max_orchestrators + durable.max_entities


def _account(account: StorageAccount) -> Account:
    return Account(
        name=account.name,
        key=account.key,
        urls={
            "blob": account.blob_url,
            "queue": account.queue_url,
            "table": account.table_url,
        },
    )
