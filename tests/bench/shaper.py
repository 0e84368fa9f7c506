"""A slow network on this machine: a TCP proxy that delays and throttles every connection by itself.

``python -m tests.bench.shaper PORT SECONDS BYTES`` prints the port that it listens on and forwards to ``PORT`` of
127.0.0.1. A round trip takes at least so many seconds longer, and a connection moves at most so many bytes a
second in each direction. It is a process of its own, so that it costs the client nothing.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import closing, suppress
from time import monotonic

LOOPBACK = "127.0.0.1"
PIECE = 16 * 1024
BUFFER = 256 * 1024
"""Bytes that the kernel may hold for a connection: otherwise megabytes are under way at once, and cost no time."""

Link = asyncio.Queue[tuple[float, bytes]]


async def _receive(reader: asyncio.StreamReader, link: Link, delay: float) -> None:
    while True:
        piece = await reader.read(PIECE)
        await link.put((monotonic() + delay, piece))
        if not piece:
            return


async def _send(writer: asyncio.StreamWriter, link: Link, rate: float) -> None:
    free = 0.0
    while True:
        due, piece = await link.get()
        if not piece:
            writer.write_eof()
            return
        free = max(free, due) + len(piece) / rate
        if (wait := free - monotonic()) > 0:
            await asyncio.sleep(wait)
        writer.write(piece)
        await writer.drain()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, rate: float) -> None:
    link: Link = asyncio.Queue(2 + int(rate * delay) // PIECE)  # what fits into such a line
    await asyncio.gather(_receive(reader, link, delay), _send(writer, link, rate))


def _limited(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def shape(port: int, delay: float, rate: float) -> None:
    """Forward until the process is ended."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(LOOPBACK, port, limit=PIECE)
        with closing(writer), closing(back), suppress(ConnectionError):  # either side may go when it likes
            _limited(writer)
            _limited(back)
            await asyncio.gather(_forward(reader, back, delay / 2, rate), _forward(there, writer, delay / 2, rate))

    listener = socket.create_server((LOOPBACK, 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # connections inherit it
    server = await asyncio.start_server(connected, sock=listener, limit=PIECE)
    print(listener.getsockname()[1], flush=True)  # noqa: T201 - the parent waits for it
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(shape(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
