"""Turns anything that can be uploaded into a `Source`.

The rules: a file is read from where it stands and never closed; a short read is not the end, only an
empty one is; files and sync iterators are read in worker threads.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import AsyncIterable, Iterable
from inspect import iscoroutinefunction
from os import PathLike
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING, Any, TypeAlias

from anyio.to_thread import run_sync

from runtime.errors import StorageError
from runtime.pieces import MIB, AsyncPieces, Memory, Source, Span, SyncPieces, Threaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from runtime.driver import Bytes

_TEXT = "the file is open as text; open it in binary mode ('rb')"
_NOT_READY = "the file is non-blocking and had no bytes ready"
_ACCEPTED = "bytes, str, a pathlib.Path, a binary file, or a sync or async iterator of bytes"

_Disk: TypeAlias = io.BufferedReader | io.BufferedRandom | io.FileIO


def in_memory(data: object) -> Bytes | None:
    """The bytes of *data* when it is a plain buffer or text, else None."""
    if isinstance(data, bytes | bytearray):
        return data
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, memoryview):
        return data if data.format == "B" and data.ndim == 1 and data.c_contiguous else data.tobytes()
    return None


class _File(Threaded):
    """The caller's file on disk, from where it stands, read straight into the parts."""

    _file: _Disk

    def __init__(self) -> None:
        super().__init__()
        self._ahead = b""
        self._ended = False

    async def open(self) -> None:
        self.size = await run_sync(_remaining, self._file)

    def _take_now(self, size: int) -> list[Bytes]:
        room = size if self.size is None else min(size, max(self.size - self.count, 0) + 1)
        part = self._fill(room)
        if len(part) == room < size and not self._ended:  # the file has grown since it was opened
            part += self._fill(size - room)
        return [part] if part else []

    def _fill(self, size: int) -> bytearray:
        part = bytearray(size)
        filled = len(self._ahead)
        part[:filled] = self._ahead
        self._ahead = b""
        with memoryview(part) as view:
            while filled < size and not self._ended:
                count = self._file.readinto(view[filled:])
                if count is None:
                    raise BlockingIOError(_NOT_READY)
                self._ended = count == 0
                filled += count
        del part[filled:]
        return part

    def _more_now(self) -> bool:
        if not self._ahead and not self._ended:
            self._ahead = bytes(self._fill(1))
        return bool(self._ahead)


class _OpenFile(_File):
    def __init__(self, file: _Disk) -> None:
        super().__init__()
        self._file = file


class _PathFile(_File):
    """A file of ours, by its path."""

    def __init__(self, path: PathLike[str] | str) -> None:
        super().__init__()
        self._path = Path(path)

    async def open(self) -> None:
        try:
            self.size = await run_sync(self._open)
        except OSError as exc:
            self.failure = exc  # the local file is meant, not the object
            raise

    def _open(self) -> int | None:
        self._file = self._path.open("rb")
        return _remaining(self._file)

    def _release(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class FixedFile(_PathFile):
    """A file whose parts are read several at once, and which must not change meanwhile.

    Args:
        path: Which file. What has no size (a pipe) is read from begin to end as any other.
    """

    def __init__(self, path: PathLike[str] | str) -> None:
        super().__init__(path)
        self._state: tuple[int, int] | None = None
        self._idle = Condition()
        self._readers = 0

    async def open(self) -> None:
        """Open the file, and remember how it is."""
        await super().open()
        self.spans = self.size is not None
        self._state = await run_sync(self._seen)

    async def verify(self) -> None:
        """Raise when the file is no longer as it was when it was opened."""
        if self.spans and await run_sync(self._seen) != self._state:
            self.failure = StorageError(
                "the file was changed while it was read, so it was not uploaded", retryable=True
            )
            raise self.failure

    def _seen(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns

    async def _take_at(self, span: Span) -> list[Bytes]:
        return await run_sync(self._read_at, span, abandon_on_cancel=True)

    def _read_at(self, span: Span) -> list[Bytes]:
        with self._idle:
            descriptor = self._file.fileno()  # raises when it is closed: the upload was given up
            self._readers += 1
        try:
            part = bytearray(span.size)
            with memoryview(part) as view:
                filled = 0
                while count := os.preadv(descriptor, [view[filled:]], span.start + filled):
                    filled += count
            del part[filled:]  # cut shorter meanwhile: `verify` will say so
            return [part] if part else []
        finally:
            with self._idle:
                self._readers -= 1
                self._idle.notify_all()

    def _release(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: not self._readers)
            super()._release()


def _read_sync(file: Any) -> Iterator[bytes]:
    """Any other object with a `read`: archives, wrappers that show progress, answers of HTTP clients."""
    while data := file.read(MIB):
        _check_read(data)
        yield data
    _check_read(data)


async def _read_async(file: Any) -> AsyncIterator[bytes]:
    """An object with an async `read`: `anyio.AsyncFile`, aiofiles, Starlette's ``UploadFile``."""
    while data := await file.read(MIB):
        _check_read(data)
        yield data
    _check_read(data)


def source_of(data: Any) -> Source:
    """How *data* is read.

    Raises:
        TypeError: *data* can not be uploaded; nothing was read.
    """
    if (buffer := in_memory(data)) is not None:
        return Memory(buffer)
    if isinstance(data, PathLike):
        return _PathFile(data)
    if callable(getattr(data, "read", None)):
        return _source_of_file(data)
    if isinstance(data, AsyncIterable):
        return AsyncPieces(data)
    if isinstance(data, Iterable):
        return SyncPieces(data)
    raise TypeError(f"{type(data).__name__} can not be uploaded; give {_ACCEPTED}")


def _source_of_file(file: Any) -> Source:
    if isinstance(file, io.TextIOBase):
        raise TypeError(_TEXT)
    # A subclass may have a `read` of its own that counts or decodes, and that is the one to call.
    if type(file) is io.BytesIO:
        return Memory(file.read())
    if type(file) in {io.BufferedReader, io.BufferedRandom, io.FileIO}:
        return _OpenFile(file)
    if iscoroutinefunction(file.read):
        return AsyncPieces(_read_async(file))
    return SyncPieces(_read_sync(file))


def _check_read(data: object) -> None:
    if data is None:
        raise BlockingIOError(_NOT_READY)
    if isinstance(data, str):
        raise TypeError(_TEXT)


def _remaining(file: _Disk) -> int | None:
    """Bytes from here to the end, for files of which the operating system knows it."""
    if type(raw := getattr(file, "raw", file)) is not io.FileIO:
        return None  # a wrapper (gzip) may have another size than the file below it
    status = os.fstat(raw.fileno())
    return max(status.st_size - file.tell(), 0) if stat.S_ISREG(status.st_mode) else None
