"""A line to a server, over which one byte is changed or what is sent is written down."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from runtime.testing.conformance.support import KIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.store import BlobStore

LOOPBACK: Final = "127.0.0.1"
FRAGILE: Final = b"<this-byte->!<-changes>"
BROKEN: Final = b"<this-byte->?<-changes>"
_PIECE: Final = 64 * KIB


class Line:
    """Passes every connection on to a server.

    Attributes:
        changes: Whether `FRAGILE` becomes `BROKEN`: on the way ``"up"`` to the server, ``"down"`` from it, or not.
        changed: How often it did.
        sent: What clients sent, while it is a list.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self.changes = ""
        self.changed = 0
        self.sent: list[bytes] | None = None

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        task = asyncio.current_task()
        assert task is not None, "the server runs this in a task"
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there, back = await asyncio.open_connection(*self._server)
        with closing(writer), closing(back), suppress(ConnectionError):  # either side may go when it likes
            await asyncio.gather(self._pass(reader, back, "up"), self._pass(there, writer, "down"))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        while piece := await reader.read(_PIECE):
            if way == self.changes:
                while any(piece.endswith(FRAGILE[:size]) for size in range(1, len(FRAGILE))):  # it is cut in two
                    piece += await reader.read(_PIECE)
                self.changed += piece.count(FRAGILE)
                piece = piece.replace(FRAGILE, BROKEN)
            if way == "up" and self.sent is not None:
                self.sent.append(piece)
            writer.write(piece)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def hang_up(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def over_a_line(store: BlobStore) -> AsyncIterator[tuple[BlobStore, Line] | None]:
    """The same backend once more over a line; None where it has no ``endpoint_url``, so nothing is between."""
    settings = store.backend.settings
    endpoint = getattr(settings, "endpoint_url", None)
    if not endpoint:
        yield None
        return
    address = urlsplit(endpoint)
    assert address.scheme == "http", "what TLS protects can not be changed on the way"
    line = Line(address.hostname or LOOPBACK, address.port or 80)
    server = await asyncio.start_server(line.connected, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    moved = settings.model_copy(update={"endpoint_url": address._replace(netloc=f"{LOOPBACK}:{port}").geturl()})
    backend = store.backend.model_copy(update={store.backend.driver: moved})
    try:
        async with type(store)(backend, type(store.driver)(backend)) as other:
            yield other, line
    finally:
        server.close()
        await line.hang_up()
        await server.wait_closed()
