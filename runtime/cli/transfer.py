"""Moving one object: from a file, to a file, between backends. No half-written file is ever left or seen."""

from __future__ import annotations

import sys
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from runtime.between import carry, counted
from runtime.cli.options import Address, StandardStream
from runtime.cli.standard_input import standard_input
from runtime.errors import InvalidPathError
from runtime.models import FileInfo, UploadOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from runtime.store import BlobStore

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """One object to copy.

    Attributes:
        source: Where from.
        destination: Where to.
        size: Bytes, where they are known before.
        listed: The source as a listing gave it; reads objects of names that others chose.
    """

    source: Address | Path | StandardStream
    destination: Address | Path | StandardStream
    size: int | None = None
    listed: FileInfo | None = None


@dataclass(frozen=True, slots=True)
class Copier:
    """Copies one `Job` after the other, or several at once.

    Attributes:
        stores: The backends that the jobs name.
        options: What the caller asks of uploads; what is not said is kept or guessed.
        advance: Told the bytes of every chunk that has moved.
    """

    stores: Mapping[str, BlobStore]
    options: UploadOptions = field(default_factory=UploadOptions)
    advance: Callable[[int], None] | None = None

    async def copy(self, job: Job) -> int:
        """Copy one object and give its size in bytes.

        Raises:
            StorageError: of either backend.
            OSError: of the file.
        """
        if isinstance(job.destination, Address):
            return (await self._write(job, job.destination)).size
        if not isinstance(job.source, Address):
            raise InvalidPathError(f"{job.source} and {job.destination} are both on this machine; one is a backend's")
        if isinstance(job.destination, Path):
            return await self._to_file(job.source, job.listed, job.destination)
        stream = self.stores[job.source.backend].stream(job.listed or job.source.path, CHUNK_BYTES)
        async with aclosing(stream):
            return await _to_stream(counted(stream, self.advance), sys.stdout.buffer)

    async def _to_file(self, source: Address, listed: FileInfo | None, target: Path) -> int:
        target.parent.mkdir(parents=True, exist_ok=True)
        store, new = self.stores[source.backend], self.options.if_not_exists
        info = await store.download_to(listed or source.path, target, progress=self._progress(), replace=not new)
        return info.size

    def _progress(self) -> Callable[[int, int], None] | None:
        if (advance := self.advance) is None:
            return None
        before = 0

        def progress(done: int, _total: int) -> None:
            nonlocal before
            advance(done - before)
            before = done

        return progress

    async def _write(self, job: Job, destination: Address) -> FileInfo:
        store, options = self.stores[destination.backend], self.options
        if isinstance(job.source, Path):
            return await store.upload_from(job.source, destination.path, options, progress=self._progress())
        if isinstance(job.source, StandardStream):
            return await store.upload(destination.path, standard_input(), options)
        source, listed = self.stores[job.source.backend], job.listed or job.source.path
        if source is store and options == UploadOptions():
            return await store.copy(listed, destination.path)
        _, made = await carry(source, listed, store, destination.path, options, self.advance)
        return made


async def _to_stream(chunks: AsyncIterator[bytes], stream: BinaryIO) -> int:
    count = 0
    async for chunk in chunks:
        count += stream.write(chunk)
        stream.flush()
    return count
