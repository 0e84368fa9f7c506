"""Objects as files for code that is not async: what `runtime.blocking` opens."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from anyio.from_thread import BlockingPortal

    from runtime.driver import Bytes
    from runtime.models import FileInfo
    from runtime.objectfile import ObjectFile
    from runtime.objectwriter import ObjectWriter


class BlockingFile(io.RawIOBase):
    """An `ObjectFile` as a raw file, for ``zipfile`` and the like; ``io.BufferedReader`` gives it lines.

    Args:
        file: The object.
        portal: Where it runs.
    """

    def __init__(self, file: ObjectFile, portal: BlockingPortal) -> None:
        super().__init__()
        self._file = file
        self._portal = portal

    def __enter__(self) -> Self:
        self._portal.call(self._file.open)
        return self

    @property
    def info(self) -> FileInfo:
        """As `ObjectFile.info`; asks for the object when that was not done yet."""
        return self._portal.call(self._file.open).info

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override] # typeshed's Buffer needs 3.12
        """Fill *buffer*; fewer bytes only at the end."""
        data: bytes = self._portal.call(self._file.read, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """As `ObjectFile.read`."""
        return self._portal.call(self._file.read, size)

    def readall(self) -> bytes:
        """As `ObjectFile.readall`."""
        return self._portal.call(self._file.readall)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As `ObjectFile.seek`."""
        return self._portal.call(self._file.seek, offset, whence)

    def tell(self) -> int:
        """As `ObjectFile.tell`."""
        return self._portal.call(self._file.tell)


class BlockingWriter:
    """An `ObjectWriter` for ``with``.

    Args:
        writer: The object.
        portal: Where it runs.
    """

    def __init__(self, writer: ObjectWriter, portal: BlockingPortal) -> None:
        self._writer = writer
        self._portal = portal
        self._entered: AbstractContextManager[ObjectWriter] | None = None

    def __enter__(self) -> Self:
        self._entered = self._portal.wrap_async_context_manager(self._writer)
        self._entered.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._entered is not None, "`with` enters before it leaves"  # noqa: S101 - for the type
        return self._entered.__exit__(kind, error, trace)

    @property
    def info(self) -> FileInfo:
        """As `ObjectWriter.info`."""
        return self._writer.info

    def write(self, data: Bytes) -> int:
        """As `ObjectWriter.write`."""
        return self._portal.call(self._writer.write, data)
