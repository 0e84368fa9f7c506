"""Standard input as the source of an upload: Ctrl-C ends it, though whoever writes to the pipe goes on or is silent."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READ_BYTES: Final = 1024 * 1024


def standard_input() -> AsyncIterator[bytes] | BinaryIO:
    """What there is on standard input: its pieces as they come, or the file that it was redirected from."""
    descriptor = _pipe(sys.stdin.buffer)
    return sys.stdin.buffer if descriptor is None else _pieces(descriptor)


def _pipe(stream: BinaryIO) -> int | None:
    """The descriptor of a pipe, a socket or a terminal; files are always ready, so a thread reads them as well."""
    try:
        descriptor = stream.fileno()
    except OSError:  # not the system's: of a test, of an embedding program
        return None
    mode = os.fstat(descriptor).st_mode
    waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
    return descriptor if waits and os.name == "posix" else None


async def _pieces(descriptor: int) -> AsyncIterator[bytes]:
    # A thread that waits in read() can not be called back: the process would stay until the writer has ended.
    while True:
        await anyio.wait_readable(descriptor)
        if not (piece := os.read(descriptor, READ_BYTES)):
            return
        yield piece
