"""A TCP proxy between the host and Azurite that cuts connections, or is slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.acceptance.running_host import free_ports

_Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_CHUNK_BYTES = 65_536
_START_LIMIT_S = 10.0


class CuttingProxy:
    """Passes bytes on from each of its ports to another; runs in its own loop.

    Each part of an answer is ``delay_s`` late.
    """

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        self._writers: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []
        self._is_cut = False
        self._loop = asyncio.new_event_loop()

    def cut(self) -> None:
        """Reset every connection, and every new one until ``mend``."""
        self._loop.call_soon_threadsafe(self._cut)

    def mend(self) -> None:
        """Let new connections through again."""
        self._loop.call_soon_threadsafe(self._mend)

    def _cut(self) -> None:
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def _mend(self) -> None:
        self._is_cut = False

    def run(self, ports: Mapping[int, int], listening: threading.Event) -> None:
        """Serve until ``stop``; *ports* leads from our ports to those behind them."""
        try:
            self._loop.run_until_complete(self._open(ports))
            listening.set()
            self._loop.run_forever()
            self._loop.run_until_complete(self._close())
        finally:
            self._loop.close()

    def stop(self) -> None:
        """Let ``run`` end."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _open(self, ports: Mapping[int, int]) -> None:
        for port, to in ports.items():
            accept = self._accept_for(to)
            server = await asyncio.start_server(accept, "127.0.0.1", port)
            self._servers.append(server)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._cut()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _accept_for(self, port: int) -> _Accept:
        async def accept(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            with suppress(OSError, asyncio.CancelledError):
                await self._connect(reader, writer, port)
            writer.transport.abort()

        return accept

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        if self._is_cut:
            return
        there, to = await asyncio.open_connection("127.0.0.1", port)
        both = {writer, to}
        self._writers |= both
        if self._is_cut:
            self._cut()
        try:
            await asyncio.gather(
                _pass_on(reader, to), _pass_on(there, writer, self._delay_s)
            )
        finally:
            to.transport.abort()
            self._writers -= both


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float = 0.0
) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        if delay_s:
            await asyncio.sleep(delay_s)
        writer.write(data)
        await writer.drain()
    writer.close()


@contextmanager
def running_proxy(
    ports: Mapping[int, int], *, delay_s: float = 0.0
) -> Iterator[CuttingProxy]:
    """Have a proxy listen in a thread."""
    proxy, listening = CuttingProxy(delay_s=delay_s), threading.Event()
    thread = threading.Thread(target=proxy.run, args=(ports, listening), name="proxy")
    thread.start()
    try:
        assert listening.wait(_START_LIMIT_S), f"the proxy does not listen on {ports}"
        yield proxy
    finally:
        proxy.stop()
        thread.join()


@contextmanager
def slow_tables(urls: Mapping[str, str], delay_s: float) -> Iterator[dict[str, str]]:
    """Yield the addresses of an account whose table service answers late."""
    port = urlsplit(urls["table"]).port
    assert port is not None, urls["table"]
    [slow] = free_ports(1)
    table = urls["table"].replace(f":{port}/", f":{slow}/")
    with running_proxy({slow: port}, delay_s=delay_s):
        yield {**urls, "table": table}
