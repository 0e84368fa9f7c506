"""Bytes on their way into the bucket: a temporary file, its hashes, and the wish to stop."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from secrets import token_hex
from typing import TYPE_CHECKING, Final, Self

import anyio
import anyio.to_thread

from runtime import checksums
from runtime.drivers.local.tree import write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Concatenate, ParamSpec, TypeVar

    from runtime.driver import Bytes
    from runtime.drivers.local.work import Work

    P = ParamSpec("P")
    T = TypeVar("T")

BLOCK = 1024 * 1024
_PASSING: Final = 256 * 1024


class StoppedError(Exception):
    """The caller was cancelled: the thread that works for it gives up."""


class Stop:
    """Tells a worker thread that nobody waits for it any more."""

    __slots__ = ("_begun", "_ended", "_wanted")

    def __init__(self) -> None:
        self._wanted = False
        self._begun = threading.Lock()
        self._ended = threading.Lock()
        self._ended.acquire()

    def ask(self) -> None:
        """Let the next `check` raise."""
        self._wanted = True

    def check(self) -> None:
        """Raise when the caller was cancelled."""
        if self._wanted:
            raise StoppedError

    def begin(self) -> bool:
        """Whether the work may begin: once, and not after somebody else has said so."""
        return self._begun.acquire(blocking=False)

    def _run(self, held: list[Callable[[], T]]) -> T:
        if not self.begin():
            raise StoppedError
        try:
            # taken out: the thread lets go of its call only after the caller may have gone on to read the next part
            return held.pop()()
        finally:
            self._ended.release()

    async def run(self, work: Callable[[], T]) -> T:
        """Run *work* in a thread; when cancelled, ask it to stop and come back only once it has.

        Nothing is written behind the back of a caller that was told that its upload was cancelled.
        """
        try:
            return await anyio.to_thread.run_sync(self._run, [work], abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            self.ask()
            if not self.begin():  # else it never began, and can not begin any more
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._ended.acquire)
            raise


async def in_thread(work: Callable[Concatenate[Stop, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking *work*, which gets a `Stop` first, in a worker thread."""
    stop = Stop()
    return await stop.run(lambda: work(stop, *args, **kwargs))


class Hashes:
    """The hash that every object has, and the checksum that is known of it already.

    Args:
        checksum: ``algorithm:base64``, or None.
    """

    def __init__(self, checksum: str | None = None) -> None:
        self._sha256 = hashlib.sha256()
        self._told = checksum
        self._found = None if checksum is None else checksums.running(checksums.algorithm_of(checksum))

    def update(self, data: Bytes) -> None:
        """Take the next bytes in."""
        self._sha256.update(data)
        if self._found is not None:
            self._found.update(data)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all bytes so far, in hex."""
        return self._sha256.hexdigest()

    def check(self) -> None:
        """Raise `ChecksumMismatchError` when the bytes are not those of the known checksum."""
        if self._told is not None and self._found is not None:
            checksums.demand(self._told, checksums.written(checksums.algorithm_of(self._told), self._found.digest()))


class Staged:
    """A temporary file that may become an object; without `placed` it is gone at the end of the ``with``.

    Attributes:
        name: Its name in the temporary folder.
        fd: Its descriptor, which also holds its lock.
    """

    def __init__(self, work: Work, prefix: str = "put") -> None:
        self._work = work
        self.name = f"{prefix}-{token_hex(8)}"
        self.fd = work.create(self.name)
        self._placed = False
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, data: Bytes, offset: int) -> None:
        """Write all of *data* at *offset*."""
        write_all(self.fd, data, offset)

    def seal(self, taken: frozenset[int] = frozenset()) -> os.stat_result:
        """Put the bytes on the disk for good, with an mtime that is not in *taken*; gives the file's facts."""
        now = time.time_ns()
        while True:
            os.utime(self.fd, ns=(now, now))
            found = os.fstat(self.fd)  # a file system may round
            if found.st_mtime_ns not in taken:
                os.fsync(self.fd)
                return found
            now += 1 if found.st_mtime_ns == now else 1_000_000_000

    def placed(self) -> None:
        """The file has become an object."""
        self._placed = True

    def close(self) -> None:
        """Close the file and, unless it has become an object, remove it."""
        if not self._open:
            return
        self._open = False
        try:
            if not self._placed:
                self._work.discard(self.name)
        finally:
            os.close(self.fd)


def pieces(fd: int, start: int, end: int, stop: Stop) -> Iterator[bytes]:
    """The bytes of an open file from *start* to *end*, or to its end where that comes first, in blocks."""
    while start < end and (block := os.pread(fd, min(BLOCK, end - start), start)):
        stop.check()
        yield block
        start += len(block)


def passing(fd: int, start: int, end: int, stop: Stop) -> Iterator[memoryview]:
    """The same bytes for who is done with each block before the next one: all are read into one buffer.

    New memory for every block costs more than reading it.
    """
    room = memoryview(bytearray(max(min(_PASSING, end - start), 0)))
    while start < end and (count := os.preadv(fd, [room[: end - start]], start)):
        stop.check()
        yield room[:count]
        start += count
