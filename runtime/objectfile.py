"""An object as an async file to read: it can be sought in, and reads ahead as far as reading goes on in order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from runtime.driver import MIB, ByteRange
from runtime.errors import InvalidOptionError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from runtime.models import FileInfo

FIRST_BYTES: Final = 64 * 1024
"""Bytes of the first request, and of the first one after a jump; each next one in order asks for twice as many."""


class ObjectFile:
    """One version of one object, read in ranges as they are needed.

    Use it as ``async with store.open_reader(path) as file:``; the object is asked for when it is entered (or
    first used). It stays the version that it was then: `PreconditionFailedError` when it was replaced meanwhile.
    One task at a time may use it. Nothing is kept open between two calls.

    Iteration gives bytes in chunks of at most 1 MiB, whatever they hold.

    Args:
        fetch: Reads a range, of the version given (None: of the newest).
        read_ahead: Most bytes that are fetched before they are asked for.
    """

    def __init__(
        self, fetch: Callable[[ByteRange, FileInfo | None], Awaitable[tuple[FileInfo, bytes]]], read_ahead: int
    ) -> None:
        self._fetch = fetch
        self._read_ahead = read_ahead
        self._ahead = min(FIRST_BYTES, read_ahead)
        self._info: FileInfo | None = None
        self._window = memoryview(b"")
        self._begin = 0  # of the window, in the object
        self._position = 0
        self._closed = False

    async def open(self) -> Self:
        """Ask for the object, when that was not done yet."""
        await self._opened()
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of what was read ahead; every later call is a ``ValueError``."""
        self._closed = True
        self._window = memoryview(b"")

    @property
    def info(self) -> FileInfo:
        """What the service says of the object; there when the file was opened."""
        if self._info is None:
            raise ValueError("the file is not open: use `async with`, or call `await file.open()`")
        return self._info

    async def read(self, size: int | None = -1) -> bytes:
        """Exactly *size* bytes from here on, fewer only at the end; all that are left when *size* is negative."""
        end = (await self._opened()).size
        if size is not None and size >= 0:
            end = min(end, self._position + size)
        pieces = []
        while self._position < end:
            piece = self._from_window(end)
            pieces.append(piece or await self._load(end))
            self._position += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def readall(self) -> bytes:
        """All bytes from here to the end."""
        return await self.read()

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place; the same arguments and answer as ``io.IOBase.seek``. Makes no request."""
        info = await self._opened()
        origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: info.size}
        if whence not in origins:
            raise InvalidOptionError(f"whence is 0, 1 or 2, not {whence!r}")
        if origins[whence] + offset < 0:
            raise InvalidOptionError(f"a file has no byte {origins[whence] + offset}")
        self._position = origins[whence] + offset
        return self._position

    async def tell(self) -> int:
        """The place of the next byte."""
        self._demand_open()
        return self._position

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        info = await self._opened()
        if self._position >= info.size:
            raise StopAsyncIteration
        if piece := self._from_window(self._position + MIB):
            self._position += len(piece)
            return piece
        return await self.read(min(MIB, self._read_ahead))

    def _demand_open(self) -> None:
        if self._closed:
            raise ValueError("the file is closed")

    async def _opened(self) -> FileInfo:
        self._demand_open()
        if self._info is None:
            self._info, data = await self._fetch(ByteRange(0, self._ahead), None)
            self._window = memoryview(data)
        return self._info

    def _from_window(self, end: int) -> bytes:
        start = self._position - self._begin
        return bytes(self._window[start : end - self._begin]) if 0 <= start < len(self._window) else b""

    async def _load(self, end: int) -> bytes:
        """The bytes from here to *end*, and what lies behind them into the window."""
        info, position = self.info, self._position
        in_order = position == self._begin + len(self._window)
        self._ahead = min(self._ahead * 2 if in_order else FIRST_BYTES, self._read_ahead)
        self._window = memoryview(b"")  # before the next bytes come
        _, data = await self._fetch(ByteRange(position, min(max(end, position + self._ahead), info.size)), info)
        wanted = end - position
        if len(data) < wanted:
            raise StorageUnavailableError(f"{wanted:,} bytes were asked for, {len(data):,} came", path=info.path)
        self._begin, self._window = position + wanted, memoryview(data)[wanted:]
        return data if len(data) == wanted else data[:wanted]
