"""Moving one object: from a file, to a file, between backends. No half-written file is ever left or seen."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import anyio

from runtime.cli.options import Address, StandardStream
from runtime.errors import AlreadyExistsError, InvalidPathError
from runtime.models import FileInfo, UploadOptions
from runtime.paths import DEFAULT_CONTENT_TYPE, guess_content_type

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

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
        chunks = self._chunks(job.source, job.listed)
        async with aclosing(chunks):
            if isinstance(job.destination, StandardStream):
                return await _to_stream(chunks, sys.stdout.buffer)
            return await _to_file(chunks, job.destination, keep=self.options.if_not_exists)

    async def _write(self, job: Job, destination: Address) -> FileInfo:
        store, options = self.stores[destination.backend], self.options
        if isinstance(job.source, Path):
            # mkfifo and /dev/stdin are files, too; a directory says so itself
            options = _typed(options, destination.path, job.source.name)
            data: Any = job.source if self.advance is None else _Counted(job.source, self.advance)
            try:
                return await store.upload(destination.path, data, options)
            finally:
                if isinstance(data, _Counted):
                    data.close()
        if isinstance(job.source, StandardStream):
            return await store.upload(destination.path, cast("BinaryIO", sys.stdin.buffer), options)
        source = self.stores[job.source.backend]
        if source is store and options == UploadOptions():
            return await store.copy(job.listed or job.source.path, destination.path)
        info = await source.info(job.listed or job.source.path)
        chunks = self._chunks(job.source, job.listed)
        async with aclosing(chunks):
            return await store.upload(destination.path, chunks, _kept(options, info))

    async def _chunks(self, source: Address, listed: FileInfo | None) -> AsyncGenerator[bytes, None]:
        stream = self.stores[source.backend].stream(listed or source.path, CHUNK_BYTES)
        async with aclosing(stream):
            async for chunk in stream:
                yield chunk
                if self.advance:
                    self.advance(len(chunk))


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        self._file = path.open("rb")
        self._advance = advance

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._advance(len(data))
        return data

    def close(self) -> None:
        self._file.close()


def _typed(options: UploadOptions, path: str, file_name: str) -> UploadOptions:
    """The content type by the object's suffix, else by the file's."""
    if options.content_type or guess_content_type(path) != DEFAULT_CONTENT_TYPE:
        return options
    return replace(options, content_type=guess_content_type(file_name))


def _kept(options: UploadOptions, info: FileInfo) -> UploadOptions:
    """What the source has, under what the caller asks for."""
    return replace(
        options,
        content_type=options.content_type or info.content_type,
        metadata=options.metadata or info.metadata or None,
        cache_control=options.cache_control or info.cache_control,
        content_disposition=options.content_disposition or info.content_disposition,
        content_encoding=options.content_encoding or info.content_encoding,
    )


async def _to_stream(chunks: AsyncIterator[bytes], stream: BinaryIO) -> int:
    count = 0
    async for chunk in chunks:
        count += stream.write(chunk)
        stream.flush()
    return count


async def _to_file(chunks: AsyncIterator[bytes], target: Path, *, keep: bool) -> int:
    """Write beside *target* and rename: whoever looks sees the old file or the whole new one."""
    _prepare(target, keep=keep)
    part = target.with_name(f".tandem-{secrets.token_hex(8)}.part")
    count = 0
    try:
        async with await anyio.open_file(part, "xb") as file:
            async for chunk in chunks:
                count += await file.write(chunk)
        if keep:
            _put_in_place_once(part, target)
        else:
            part.replace(target)
    finally:
        with suppress(FileNotFoundError):  # renamed: it succeeded
            part.unlink()
    return count


def _prepare(target: Path, *, keep: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if keep and target.exists():
        raise AlreadyExistsError("a file is there already", path=str(target))


def _put_in_place_once(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # unlike a rename, it fails when somebody else was faster
    except FileExistsError as exc:
        raise AlreadyExistsError("a file is there already", path=str(target)) from exc


def file_below(folder: Path, path: str, root: str) -> Path:
    """The file in *folder* for the object *path*, which a listing of *root* gave.

    Raises:
        InvalidPathError: the object's name would lead out of the folder, or can not name a file.
    """
    name = path.removeprefix(root)
    parts = name.split("/")
    if any(part in {"", ".", ".."} or "\0" in part or (os.sep != "/" and os.sep in part) for part in parts):
        raise InvalidPathError("the object's name can not name a file below the destination", path=path)
    return folder.joinpath(*PurePosixPath(name).parts)
