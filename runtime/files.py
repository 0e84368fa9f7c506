"""Writes one object into a file of this machine: several ranges at once, and never a half-written file.

The bytes go to a new file in the same folder, which takes the name at the end (fsync of file and folder). All
ranges are of one version of the object: an answer about another one fails the whole download. The file takes the
name only when it has the checksum that the service tells of the object.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, suppress
from functools import partial
from secrets import token_hex
from threading import Condition, Lock
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio.to_thread import run_sync

from runtime import checksums
from runtime.driver import MIB, ByteRange
from runtime.errors import AlreadyExistsError, StorageUnavailableError
from runtime.multipart import CLEAN_UP_SECONDS, to_the_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from runtime.driver import Bytes, ObjectReader
    from runtime.models import FileInfo

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


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
        self._idle = Condition()
        self._busy = 0
        self._given_up = False
        self.failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._own(self._open)
        except BaseException as exc:  # cancelled, its thread may open the file all the same
            await self.__aexit__(type(exc), exc, None)
            raise
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

    def read(self, offset: int, size: int) -> bytes:
        """What was written; it is in the system's cache still. Blocks."""
        return os.pread(self._file, size, offset)

    def checksum(self, algorithm: str) -> str:
        """The checksum of what was written. Blocks."""
        found, offset = checksums.running(algorithm), 0
        while piece := self.read(offset, MIB):
            found.update(piece)
            offset += len(piece)
        return checksums.written(algorithm, found.digest())

    async def commit(self) -> None:
        """Let the file appear, whole and on the disk."""
        await self._own(self._commit)

    async def _own(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            await run_sync(self._counted, function, arguments)
        except Exception as exc:
            self.failure = self.failure or exc
            raise

    def _counted(self, function: Callable[..., None], arguments: tuple[object, ...]) -> None:
        """Do it, seen by `_discard`: one who is cancelled goes on before the thread has come to its end."""
        with self._idle:
            if self._given_up:
                return
            self._busy += 1
        try:
            function(*arguments)
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

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
        with self._idle:
            self._given_up = True
            self._idle.wait_for(lambda: not self._busy)  # or it would write to whatever gets the descriptor next
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)
            with suppress(FileNotFoundError):  # renamed: it succeeded
                self._part.unlink()


class RangesChecksum:
    """The checksum of a file that is written in several ranges at once.

    A CRC is put together from those of the ranges. A hash needs the bytes in order: it follows the written front,
    and reads back what came early.

    Args:
        algorithm: Which one.
        target: The file.
    """

    def __init__(self, algorithm: str, target: Target) -> None:
        self.algorithm = algorithm
        self._target = target
        self._ranges: dict[int, tuple[int, int]] = {}
        self._hash = None if algorithm in checksums.COMBINABLE else checksums.running(algorithm)
        self._front = 0
        self._hashing = Lock()

    def begin(self) -> checksums.Crc | None:
        """What is to be told every piece of one range; None for nothing."""
        return checksums.Crc(self.algorithm) if self._hash is None else None

    async def written(self, start: int, end: int, crc: checksums.Crc | None) -> None:
        """The range from *start* to *end* is in the file."""
        self._ranges[start] = (crc.value if crc else 0, end - start)
        if self._hash is not None and self._front in self._ranges:
            await run_sync(self._follow, False)

    def _follow(self, wait: bool) -> None:
        if self._hash is None or not self._hashing.acquire(blocking=wait):
            return
        try:
            while size := self._ranges.get(self._front, (0, 0))[1]:
                end = self._front + size
                while self._front < end:
                    if not (piece := self._target.read(self._front, min(MIB, end - self._front))):
                        return  # somebody cut the file shorter: the hash will tell
                    self._hash.update(piece)
                    self._front += len(piece)
        finally:
            self._hashing.release()

    async def whole(self) -> str:
        """The checksum of the file."""
        if self._hash is not None:
            await run_sync(self._follow, True)
            return checksums.written(self.algorithm, self._hash.digest())
        crc = checksums.Crc(self.algorithm)
        for _, (value, size) in sorted(self._ranges.items()):
            crc.append(value, size)
        return checksums.written(self.algorithm, crc.digest())


class Download:
    """One object on its way into a file.

    Args:
        begin: Begins to read a range (None: all), of the version given (None: of the newest).
        give_back: Closes a reader whose rest is not wanted.
        target: The file.
        ask: Asks for all that is known of a version of the object, where ranges do not tell its checksum.
        expected: Algorithm of the checksum that this will most likely tell.
        part_size: Bytes of one range; an object of no more is read at once.
        size: Bytes that the object has, where the caller has seen it in a listing; it may have changed.
        progress: Told the bytes that are there and the bytes there will be.
    """

    def __init__(
        self,
        begin: Callable[[ByteRange | None, FileInfo | None], Awaitable[ObjectReader]],
        give_back: Callable[[ObjectReader], Awaitable[None]],
        target: Target,
        *,
        part_size: int,
        size: int | None = None,
        ask: Callable[[FileInfo], Awaitable[FileInfo]] | None = None,
        expected: str | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        self._size = size
        self._ask = ask
        self._algorithm = expected
        self._sum: RangesChecksum | None = None
        self._begin = begin
        self._give_back = give_back
        self._target = target
        self._part_size = part_size
        self._progress = progress
        self._done = 0

    async def run(self, concurrency: int) -> FileInfo:
        """Read the object with so many ranges in flight; the file is not committed yet."""
        small = self._size is not None and self._size <= self._part_size  # whole, as ranges may tell no checksum
        first = await self._begin(None if small else ByteRange(0, self._part_size), None)
        if small and first.info.size > self._part_size:  # it has grown since
            await self._give_back(first)
            first = await self._begin(ByteRange(0, self._part_size), None)
        info = first.info
        asks = info.checksum is None and self._ask is not None
        algorithm = self._algorithm if asks else checksums.algorithm_of(info.checksum or "") or None
        self._sum = RangesChecksum(algorithm, self._target) if algorithm else None
        if info.size <= self._part_size and not asks:
            await self._save(first, 0, info.size, info.size)
        else:
            info = await self._several(first, info, concurrency, asks=asks)
        if info.checksum is not None:
            await self._verify(info.checksum)
        return info

    async def _verify(self, told: str) -> None:
        """Raise unless the file has the checksum that was told."""
        algorithm = checksums.algorithm_of(told)
        if self._sum is not None and self._sum.algorithm == algorithm:
            checksums.demand(told, await self._sum.whole())
        else:  # another one than was expected
            checksums.demand(told, await run_sync(self._target.checksum, algorithm))

    async def _several(self, first: ObjectReader, info: FileInfo, concurrency: int, *, asks: bool) -> FileInfo:
        starts = iter(range(self._part_size, info.size, self._part_size))
        failures: list[Exception] = []
        told = info

        async def guarded(work: Callable[[], Awaitable[None]]) -> None:
            try:
                await work()
            except Exception as exc:  # noqa: BLE001 - raised below, without the group around it
                failures.append(exc)
                tasks.cancel_scope.cancel()

        async def begun() -> None:
            await self._save(first, 0, min(self._part_size, info.size), info.size)
            await self._further(starts, info)

        async def ask() -> None:
            nonlocal told
            if self._ask is not None:
                told = await self._ask(info)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guarded, begun)
            if asks:
                tasks.start_soon(guarded, ask)
            for _ in range(min(concurrency, -(-info.size // self._part_size)) - 1):
                tasks.start_soon(guarded, partial(self._further, starts, info))
        if failures:  # of several that fail at once, the file's own is known by being the first of them
            raise self._target.failure or failures[0]
        return told

    async def _further(self, starts: Iterator[int], info: FileInfo) -> None:
        for start in starts:  # shared by all workers
            end = min(start + self._part_size, info.size)
            await self._save(await self._begin(ByteRange(start, end), info), start, end, info.size)

    async def _save(self, reader: ObjectReader, start: int, end: int, total: int) -> None:
        offset = start
        crc = None if self._sum is None else self._sum.begin()
        async with AsyncExitStack() as unfinished:
            unfinished.push_async_callback(self._give_back, reader)
            async for chunk in reader.chunks(min(MIB, self._part_size)):
                await self._target.write(chunk, offset)
                if crc is not None:
                    crc.update(chunk)
                offset += len(chunk)
                self._done += len(chunk)
                if self._progress is not None:
                    self._progress(self._done, total)
            unfinished.pop_all()
        if offset != end:
            raise StorageUnavailableError(f"{end - start:,} bytes were asked for, {offset - start:,} came")
        if self._sum is not None:
            await self._sum.written(start, end, crc)
