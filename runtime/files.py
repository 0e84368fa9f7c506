"""Writes one object into a file of this machine: several ranges at once, and never a half-written file.

The bytes go to a new file in the same folder, which takes the name at the end (fsync of file and folder). All
ranges are of one version of the object: an answer about another one fails the whole download.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio.to_thread import run_sync

from runtime.driver import MIB, ByteRange
from runtime.errors import AlreadyExistsError, StorageUnavailableError
from runtime.multipart import CLEAN_UP_SECONDS, to_the_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from types import TracebackType

    from runtime.driver import Bytes, ObjectReader
    from runtime.models import FileInfo

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Target:
    """A file that appears when it is whole.

    Attributes:
        failure: What the file system raised; it is the caller's and is not translated.

    Args:
        path: Where it appears.
        replace: Whether a file that is there is replaced; otherwise it is an error.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        self._path = path
        self._replace = replace
        self._part = path.with_name(f".tandem-{token_hex(8)}.part")
        self._file = -1
        self.failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        await self._own(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        def note(failure: Exception) -> None:
            if error is not None:
                error.add_note(f"{self._part} was not removed ({type(failure).__name__})")

        await to_the_end(lambda: run_sync(self._discard), CLEAN_UP_SECONDS, note)

    async def write(self, data: Bytes, offset: int) -> None:
        """Write *data* at *offset*."""
        await self._own(self._write, data, offset)

    async def commit(self) -> None:
        """Let the file appear, whole and on the disk."""
        await self._own(self._commit)

    async def _own(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            await run_sync(function, *arguments)
        except Exception as exc:
            self.failure = exc
            raise

    def _open(self) -> None:
        if not self._replace and self._path.exists():
            raise self._taken()
        self._file = os.open(self._part, _NEW, 0o666)  # the umask applies, as to any file

    def _write(self, data: Bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._file, view, offset)
            view, offset = view[count:], offset + count

    def _commit(self) -> None:
        os.fsync(self._file)
        if self._replace:
            self._part.replace(self._path)
        else:
            try:
                os.link(self._part, self._path)  # unlike a rename, it fails when somebody else was faster
            except FileExistsError as exc:
                raise self._taken() from exc
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _taken(self) -> AlreadyExistsError:
        return AlreadyExistsError("a file is there already", path=str(self._path))

    def _discard(self) -> None:
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)
            with suppress(FileNotFoundError):  # renamed: it succeeded
                self._part.unlink()


class Download:
    """One object on its way into a file.

    Args:
        begin: Begins to read a range, of the version given (None: of the newest).
        give_back: Closes a reader whose rest is not wanted.
        target: The file.
        part_size: Bytes of one range; an object of no more is read at once.
        progress: Told the bytes that are there and the bytes there will be.
    """

    def __init__(
        self,
        begin: Callable[[ByteRange, FileInfo | None], Awaitable[ObjectReader]],
        give_back: Callable[[ObjectReader], Awaitable[None]],
        target: Target,
        *,
        part_size: int,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        self._begin = begin
        self._give_back = give_back
        self._target = target
        self._part_size = part_size
        self._progress = progress
        self._done = 0

    async def run(self, concurrency: int) -> FileInfo:
        """Read the object with so many ranges in flight; the file is not committed yet."""
        first = await self._begin(ByteRange(0, self._part_size), None)
        info = first.info
        if info.size <= self._part_size:
            await self._save(first, 0, info.size, info.size)
            return info
        starts = iter(range(self._part_size, info.size, self._part_size))
        failures: list[Exception] = []

        async def work(reader: ObjectReader | None) -> None:
            try:
                if reader is not None:
                    await self._save(reader, 0, self._part_size, info.size)
                for start in starts:  # shared by all workers
                    end = min(start + self._part_size, info.size)
                    await self._save(await self._begin(ByteRange(start, end), info), start, end, info.size)
            except Exception as exc:  # noqa: BLE001 - raised below, without the group around it
                failures.append(exc)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work, first)
            for _ in range(min(concurrency, -(-info.size // self._part_size)) - 1):
                tasks.start_soon(work, None)
        if failures:
            raise failures[0]
        return info

    async def _save(self, reader: ObjectReader, start: int, end: int, total: int) -> None:
        offset = start
        async with AsyncExitStack() as unfinished:
            unfinished.push_async_callback(self._give_back, reader)
            async for chunk in reader.chunks(min(MIB, self._part_size)):
                await self._target.write(chunk, offset)
                offset += len(chunk)
                self._done += len(chunk)
                if self._progress is not None:
                    self._progress(self._done, total)
            unfinished.pop_all()
        if offset != end:
            raise StorageUnavailableError(f"{end - start:,} bytes were asked for, {offset - start:,} came")
