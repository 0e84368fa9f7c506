"""The portable type: everything that is the same on every service, once.

Paths, options and limits are checked here before any I/O, errors are translated here, hooks are told here.
What an upload reads is in `runtime.sources`, how it is sent in `runtime.multipart`. The one file over 300
lines, as the application's whole interface is to be read in one place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import anyio

from runtime import checksums
from runtime.calls import Calls
from runtime.chunks import Chunks
from runtime.errors import (
    AlreadyExistsError,
    NotFoundError,
    NotSupportedError,
    PreconditionFailedError,
    StorageError,
    StorageUnavailableError,
)
from runtime.examining import examine
from runtime.files import Download, Target
from runtime.grants import access_to
from runtime.models import DeleteResult, FileInfo, UploadOptions
from runtime.multipart import send, summed, to_the_end
from runtime.objectfile import ObjectFile
from runtime.objectwriter import ObjectWriter
from runtime.operation import Guard, kind_of, translated
from runtime.options import (
    byte_range,
    check_copy,
    check_etag,
    check_options,
    check_read_conditions,
    check_service,
    check_signature,
    demand_version,
    upload_options,
    whole_number,
)
from runtime.paths import (
    DEFAULT_CONTENT_TYPE,
    checked_delimiter,
    checked_new_path,
    checked_path,
    checked_prefix,
    guess_content_type,
)
from runtime.pieces import too_large
from runtime.protocols import BlobStoreProtocol
from runtime.sources import FixedFile, in_memory, source_of
from runtime.versions import check_update, demand_same, over, pause_before

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Iterable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    from runtime.config import NamedStorageConfig, StorageOperationConfig
    from runtime.driver import ByteRange, Bytes, Capabilities, DeleteFailure, Driver, ObjectReader
    from runtime.health import HealthCheckResult
    from runtime.hooks import Hook
    from runtime.live import LiveSettings
    from runtime.models import ObjectPage, PresignedRequest, UnfinishedUpload, Uploadable
    from runtime.paths import ObjectPath
    from runtime.pieces import Source

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MIB = 1024 * 1024
PAGE = 1000
"""Objects that one request lists or deletes; the most that every service accepts."""

MAX_CONCURRENCY: Final = 64
"""Parts of one object that may be in flight, whoever asks."""

UPDATE_ATTEMPTS: Final = 100
UPDATE_PAUSE: Final = 0.01
UPDATE_LONGEST_PAUSE: Final = 1.0

Progress: TypeAlias = Callable[[int, int], object]
"""Told the bytes that have moved and the bytes that will have; called in the event loop, so it is short."""

_log = logging.getLogger(__name__)

GIVE_BACK_SECONDS = 5.0
"""Time to close a connection whose rest is not wanted, also while the reader is cancelled."""


class BlobStore(BlobStoreProtocol):
    """One named backend.

    Every operation raises `StorageError` or one of its subclasses with backend, operation and path, and
    ``TypeError`` for arguments of a wrong type. Paths are strings that `runtime.paths.checked_path` accepts;
    where an object is read, copied from or deleted, the `FileInfo` of a listing is accepted too, whatever
    its path is. See the design's section 6 for what is equal on every service.

    Args:
        backend: The entry of the contract.
        driver: The service's own part, made for the same entry.
        service: Limits on uploads; None for none.
        hooks: Called around every operation, see `runtime.hooks`.

    Attributes:
        name: Name of the backend.
        driver: The driver.
        backend: The entry of the contract.
    """

    def __init__(
        self,
        backend: NamedStorageConfig,
        driver: Driver,
        *,
        service: StorageOperationConfig | None = None,
        hooks: Iterable[Hook] = (),
    ) -> None:
        self.name = backend.name
        self.backend = backend
        self.driver = driver
        self._calls = Calls(driver, backend)
        self._timeout = backend.limits.operation_timeout
        self._service = service
        self._limit = service.max_file_size_mb * MIB if service and service.max_file_size_mb else None
        self._part_size = int(backend.transfer.part_size)
        self._hooks = tuple(hooks)
        self._access = access_to(backend, driver)
        self._usable = False

    def __repr__(self) -> str:
        return f"<BlobStore {self.name!r} on {self.backend.driver}>"

    async def open(self) -> Self:
        """Make the service's clients; no object is touched. `open_storage` does this."""
        if not self._usable:
            with self._guard("open"):
                await self.driver.open()
            self._usable = True
        return self

    async def close(self) -> None:
        """Close the service's clients; a second call does nothing."""
        if self._usable:
            self._usable = False
            with self._guard("close"):
                await self.driver.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do; the rest is refused with `NotSupportedError`."""
        return self.driver.capabilities

    @property
    def raw(self) -> Any:
        """The service's own client, for what this package does not cover."""
        return self.driver.raw

    # writing

    async def upload(
        self,
        path: str,
        data: Uploadable,
        content_type: UploadOptions | str | None = None,
        *,
        part_size: int | None = None,
        concurrency: int | None = None,
        **options: Any,
    ) -> FileInfo:
        """Write one object, all or nothing.

        Args:
            path: Where to.
            data: Bytes, text (UTF-8), a `pathlib.Path`, a binary file (read from where it stands, never closed)
                or a sync or async iterator of bytes. Large data is sent in parts, in bounded memory.
            content_type: MIME type, or all options at once; guessed from the path's suffix when missing.
            part_size: Bytes of one part; ``transfer.part_size`` of the backend when left out.
            concurrency: Parts in flight; ``transfer.concurrency`` of the backend when left out.
            options: Fields of `UploadOptions` by name. Each is honoured or refused, never dropped.

        Raises:
            AlreadyExistsError: ``if_not_exists=True`` and an object is there.
            PreconditionFailedError: *if_match* is not the etag of what is there.
            ChecksumMismatchError: the bytes do not have the *checksum* that was given, or arrived as others.
            NotSupportedError: an option that this backend does not honour.
            QuotaExceededError: larger than the application's ``service.max_file_size_mb``, or no room left.
            TypeError: an option with an unknown name, or *data* that can not be uploaded.
        """
        with self._operation("upload", path) as guard:
            name, chosen = self._prepared(path, content_type, options)
            size, in_flight = self._parts(part_size, concurrency)
            small = in_memory(data)
            if small is not None and len(small) <= size:
                info = await self._put(name, small, chosen)
            else:
                source = source_of(data if small is None else small)
                info = await self._send(guard, name, source, chosen, size, in_flight)
            guard.size, guard.written = info.size, (info,)
            return info

    def _prepared(
        self,
        path: object,
        content_type: UploadOptions | str | None,
        options: Mapping[str, Any],
        file_name: str | None = None,
    ) -> tuple[str, UploadOptions]:
        """The path and the options of a write, checked; *file_name* tells the type where the path does not."""
        name = hinting = checked_new_path(path)
        if file_name is not None and guess_content_type(name) == DEFAULT_CONTENT_TYPE:
            hinting = file_name
        if content_type is None and not options:
            chosen = UploadOptions(content_type=guess_content_type(hinting))
        else:
            chosen = upload_options(hinting, content_type, options)
            check_options(chosen, self.backend, self.driver.capabilities)
        if self._service is not None:
            check_service(chosen.content_type or "", self._service)
        return name, chosen

    def _parts(self, part_size: int | None, concurrency: int | None) -> tuple[int, int]:
        """Bytes of a part and parts in flight, as the call says or else the backend's config."""
        able = self.driver.capabilities
        if part_size is not None:
            whole_number("part_size", part_size, low=able.min_part_size, high=able.max_part_size)
        if concurrency is not None:
            whole_number("concurrency", concurrency, high=MAX_CONCURRENCY)
        return part_size or self._part_size, concurrency or self.backend.transfer.concurrency

    async def _put(self, name: str, data: Bytes, options: UploadOptions) -> FileInfo:
        if self._limit is not None and len(data) > self._limit:
            raise too_large(self._limit)
        calls = self._calls
        if calls.own_checksum is not None or options.checksum is not None:
            options = await summed(calls, data, options)
        return await calls.put(name, data, options)

    async def upload_from(
        self,
        file_path: str | PathLike[str],
        path: str,
        content_type: UploadOptions | str | None = None,
        *,
        part_size: int | None = None,
        concurrency: int | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> FileInfo:
        """Write one object from a file of this machine; a large one in parts that are read several at once.

        Args:
            file_path: The file. When it is changed while parts of it are read, nothing is written.
            path: Where to.
            content_type: As for `upload`; guessed from the path's suffix, then from the file's.
            part_size: As for `upload`.
            concurrency: As for `upload`.
            progress: Called with the bytes that have arrived and the bytes of the file (0 where it has no size).
            options: As for `upload`.
        """
        with self._operation("upload_from", path) as guard:
            name, chosen = self._prepared(path, content_type, options, Path(file_path).name)
            size, in_flight = self._parts(part_size, concurrency)
            source = FixedFile(file_path)
            sent = None if progress is None else _counting(progress, source)
            info = await self._send(guard, name, source, chosen, size, in_flight, sent)
            guard.size, guard.written = info.size, (info,)
            return info

    def open_writer(
        self,
        path: str,
        content_type: UploadOptions | str | None = None,
        *,
        part_size: int | None = None,
        concurrency: int | None = None,
        **options: Any,
    ) -> ObjectWriter:
        """One object as an async file to write, for ``async with``; see `ObjectWriter`.

        Arguments are checked by this call; the object is written when the block ends without an exception.

        Args:
            path: Where to.
            content_type: As for `upload`.
            part_size: As for `upload`.
            concurrency: As for `upload`.
            options: As for `upload`.
        """
        with self._check("open_writer", path):
            name, chosen = self._prepared(path, content_type, options)
            size, in_flight = self._parts(part_size, concurrency)

        async def write(pieces: AsyncIterator[bytes]) -> FileInfo:
            with self._operation("open_writer", path, lasting=True) as guard:
                info = await self._send(guard, name, source_of(pieces), chosen, size, in_flight)
                guard.size, guard.written = info.size, (info,)
                return info

        return ObjectWriter(write)

    async def update(
        self,
        path: str,
        change: Callable[[bytes | None], Bytes | str | Awaitable[Bytes | str]],
        content_type: UploadOptions | str | None = None,
        *,
        attempts: int = UPDATE_ATTEMPTS,
        **options: Any,
    ) -> FileInfo:
        """Read one object, change it and write it back, so that no other writer's change is lost.

        It is written on the condition that it is still what was read; when another writer was faster, all is
        done again with what is there then, after a short random pause.

        Args:
            path: Which object.
            change: Called with the content, or None when there is no object; gives the new content, directly or
                as an awaitable. It may be called many times.
            content_type: As for `upload`; type, metadata and headers that are not given stay as they are.
            attempts: How often to try.
            options: As for `upload`, without conditions.

        Raises:
            PreconditionFailedError: other writers were faster every time.
            NotSupportedError: the backend has no conditional writes.
        """
        with self._operation("update", path) as guard:
            name, chosen = self._prepared(path, content_type, options)
            whole_number("attempts", attempts)
            check_update(chosen, self.backend, self.driver.capabilities)
            given = content_type is not None or "content_type" in options
            for attempt in range(attempts):
                if attempt:
                    await anyio.sleep(pause_before(attempt, UPDATE_PAUSE, UPDATE_LONGEST_PAUSE))
                found = await self._read_whole(name)
                content = change(found[1] if found else None)
                data = in_memory(await content if isawaitable(content) else content)
                if data is None:
                    raise TypeError("the function that changes an object gives bytes or text")
                options_now = over(found[0] if found else None, chosen, typed=given)
                try:
                    info = await self._write_if(guard, name, data, options_now)
                except Exception as exc:
                    kind = kind_of(exc, self.driver)
                    if kind is None or not issubclass(kind, PreconditionFailedError | AlreadyExistsError):
                        raise
                else:
                    guard.size, guard.written = info.size, (info,)
                    return info
            raise PreconditionFailedError(f"other writers were faster {attempts} times", retryable=True)

    async def _read_whole(self, name: str) -> tuple[FileInfo, bytes] | None:
        try:
            reader = await self._calls.get(name)
        except Exception as exc:
            kind = kind_of(exc, self.driver)
            if kind is not None and issubclass(kind, NotFoundError):
                return None
            raise
        return reader.info, await self._whole(reader, verify=True)

    async def _write_if(self, guard: Guard, name: str, data: Bytes, options: UploadOptions) -> FileInfo:
        if len(data) <= self._part_size:
            return await self._put(name, data, options)
        source = source_of(data)
        return await self._send(guard, name, source, options, self._part_size, self.backend.transfer.concurrency)

    async def write_stream(
        self,
        path: str,
        chunks: AsyncIterable[bytes] | Iterable[bytes],
        content_type: UploadOptions | str | None = None,
        **options: Any,
    ) -> FileInfo:
        """Write one object from an iterator of bytes; `upload` under the name that lexigram-storage gave it."""
        data: Any = chunks
        return await self.upload(path, data, content_type, **options)

    async def _send(
        self,
        guard: Guard,
        name: str,
        source: Source,
        options: UploadOptions,
        part_size: int,
        concurrency: int,
        sent: Callable[[int], None] | None = None,
    ) -> FileInfo:
        guard.source = source
        source.limit = self._limit
        return await send(self._calls, name, source, options, part_size=part_size, concurrency=concurrency, sent=sent)

    # reading

    async def download(
        self,
        path: ObjectPath,
        *,
        range: ByteRange | tuple[int, int | None] | None = None,  # noqa: A002 - what HTTP calls it
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> bytes:
        """Read one object, whole or a range of its bytes.

        A whole object is held against the checksum that the service tells of it (`FileInfo.checksum`); a range is
        not, as no service has one.

        Args:
            path: Which object.
            range: ``(start, end)``: from byte *start* up to but not including *end* (None: to the end). What lies
                behind the object's end gives no bytes.
            if_match: Only the version with this etag.
            if_none_match: Only another version than the one with this etag, which the caller has.

        Raises:
            PreconditionFailedError: the object has another etag than *if_match*.
            NotModifiedError: the object still has the etag *if_none_match*.
            ChecksumMismatchError: the bytes that came are not those that the service has a checksum of.
        """
        with self._operation("download", path) as guard:
            name = checked_path(path)
            wanted = byte_range(range)
            check_read_conditions(if_match, if_none_match)
            if wanted is not None and wanted.start == wanted.end:
                # no service can be asked for no bytes, but a missing object is missing
                self._demand(await self._calls.head(name), if_match, if_none_match)
                return b""
            if if_match is None and if_none_match is None and not self._hooks:  # who are told what was read
                content = await self._calls.content(name, wanted)
                if content is not None:
                    return content
            reader = await self._begin(name, wanted, if_match, if_none_match)
            data = await self._whole(reader, verify=wanted is None)
            guard.size, guard.read = len(data), reader.info
            return data

    async def _begin(
        self, name: str, wanted: ByteRange | None, if_match: str | None = None, if_none_match: str | None = None
    ) -> ObjectReader:
        """Begin to read, on conditions: they are compared with what this very answer says of the object."""
        reader = await self._calls.get(name, wanted)
        if if_match is not None or if_none_match is not None:
            try:
                self._demand(reader.info, if_match, if_none_match)
            except BaseException:
                await self._give_back(reader)
                raise
        return reader

    @staticmethod
    def _demand(info: FileInfo, if_match: str | None, if_none_match: str | None) -> None:
        if if_match is not None or if_none_match is not None:
            demand_version(info.etag, if_match, if_none_match)

    async def _whole(self, reader: ObjectReader, *, verify: bool = False) -> bytes:
        try:
            data = await self._calls.whole(reader)
        except BaseException:
            await self._give_back(reader)
            raise
        if verify and (told := reader.info.checksum) is not None:
            if len(data) <= checksums.INLINE:
                checksums.verify(told, data)
            else:
                checksums.demand(told, await checksums.compute(checksums.algorithm_of(told), data))
        return data

    async def _begin_same(self, name: str, wanted: ByteRange, known: FileInfo) -> ObjectReader:
        """Begin to read a range of the version that is *known*."""
        reader = await self._calls.get_more(name, wanted, known)
        try:
            demand_same(known, reader.info)
        except BaseException:
            await self._give_back(reader)
            raise
        return reader

    def stream(
        self,
        path: ObjectPath,
        chunk_size: int = 8192,
        *,
        range: ByteRange | tuple[int, int | None] | None = None,  # noqa: A002 - what HTTP calls it
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Read one object in chunks of exactly *chunk_size* bytes (the last may be shorter).

        Arguments are checked by this call, the object is asked for by the first step. A whole object that is read
        to its end is held against its checksum, as by `download`, before the loop ends. Leave the loop early
        inside ``contextlib.aclosing(...)``, so that the connection is given back at once.

        Args:
            path: Which object.
            chunk_size: Bytes of each chunk.
            range: As for `download`.
            if_match: As for `download`.
            if_none_match: As for `download`.
        """
        with self._check("stream", path):
            name = checked_path(path)
            size = whole_number("chunk_size", chunk_size)
            wanted = byte_range(range)
            check_read_conditions(if_match, if_none_match)
        return self._stream(path, name, size, wanted, if_match, if_none_match)

    async def _stream(
        self,
        path: ObjectPath,
        name: str,
        size: int,
        wanted: ByteRange | None,
        if_match: str | None,
        if_none_match: str | None,
    ) -> AsyncGenerator[bytes, None]:
        with self._operation("stream", path, lasting=True) as guard:
            if wanted is not None and wanted.start == wanted.end:
                self._demand(await self._calls.head(name), if_match, if_none_match)
                return
            guard.size = 0
            reader = await self._begin(name, wanted, if_match, if_none_match)
            chunks, done = Chunks(), False
            told = reader.info.checksum if wanted is None else None
            found = None if told is None else checksums.running(checksums.algorithm_of(told))
            try:
                async for piece in reader.chunks(min(max(size, MIB), self._part_size)):
                    if found is not None:
                        await checksums.update(found, piece)
                    chunks.push(piece)
                    while (chunk := chunks.pop(size)) is not None:
                        guard.size += size
                        yield chunk
                if told is not None and found is not None:
                    checksums.demand(told, checksums.written(checksums.algorithm_of(told), found.digest()))
                if rest := chunks.flush():
                    guard.size += len(rest)
                    yield rest
                done, guard.read = True, reader.info
            finally:
                if not done:
                    await self._give_back(reader)

    def open_reader(
        self,
        path: ObjectPath,
        *,
        read_ahead: int | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> ObjectFile:
        """One object as an async file to read and to seek in, for ``async with``; see `ObjectFile`.

        Args:
            path: Which object.
            read_ahead: Most bytes that are fetched before they are asked for; ``transfer.part_size`` of the
                backend when left out.
            if_match: As for `download`.
            if_none_match: As for `download`.
        """
        with self._check("open_reader", path):
            name = checked_path(path)
            check_read_conditions(if_match, if_none_match)
            most = self._part_size if read_ahead is None else whole_number("read_ahead", read_ahead)

        async def fetch(wanted: ByteRange, known: FileInfo | None) -> tuple[FileInfo, bytes]:
            with self._operation("open_reader", path) as guard:
                begun = (
                    self._begin(name, wanted, if_match, if_none_match)
                    if known is None
                    else self._begin_same(name, wanted, known)
                )
                reader = await begun
                data = await self._whole(reader)
                guard.size, guard.read = len(data), reader.info
                return reader.info, data

        return ObjectFile(fetch, most)

    async def download_to(
        self,
        path: ObjectPath,
        file_path: str | PathLike[str],
        *,
        part_size: int | None = None,
        concurrency: int | None = None,
        progress: Progress | None = None,
        replace: bool = True,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> FileInfo:
        """Read one object into a file, which appears when it is whole; a large one in several ranges at once.

        Args:
            path: Which object.
            file_path: The file, in a folder that is there.
            part_size: Bytes of one range; ``transfer.part_size`` of the backend when left out.
            concurrency: Ranges in flight; ``transfer.concurrency`` of the backend when left out.
            progress: Called with the bytes that are there and the bytes there will be.
            replace: Whether a file that is there is replaced.
            if_match: As for `download`.
            if_none_match: As for `download`.

        Raises:
            AlreadyExistsError: not *replace*, and a file is there.
            PreconditionFailedError: also when the object was replaced while it was read.
            ChecksumMismatchError: as for `download`.
            OSError: of the file; the old one is still there.
        """
        with self._operation("download_to", path) as guard:
            name = checked_path(path)
            check_read_conditions(if_match, if_none_match)
            size = self._part_size if part_size is None else whole_number("part_size", part_size)
            _, in_flight = self._parts(None, concurrency)

            async def begin(wanted: ByteRange | None, known: FileInfo | None) -> ObjectReader:
                if known is None or wanted is None:
                    return await self._begin(name, wanted, if_match, if_none_match)
                return await self._begin_same(name, wanted, known)

            async def ask(known: FileInfo) -> FileInfo:
                info = await self._calls.head(name)
                demand_same(known, info)
                return info

            guard.source = target = Target(Path(file_path), replace=replace)
            async with target:
                own = self._calls.own_checksum  # where there is none, the service keeps none
                loading = Download(
                    begin,
                    self._give_back,
                    target,
                    part_size=size,
                    size=path.size if isinstance(path, FileInfo) else None,
                    ask=None if own is None else ask,
                    expected=own,
                    progress=progress,
                )
                info = await loading.run(in_flight)
                await target.commit()
            guard.size, guard.read = info.size, info
            return info

    async def exists(self, path: ObjectPath) -> bool:
        """Whether an object is at *path*."""
        with self._operation("exists", path):
            name = checked_path(path)
            try:
                await self._calls.head(name)
            except Exception as exc:
                kind = kind_of(exc, self.driver)
                if kind is not None and issubclass(kind, NotFoundError):
                    return False
                raise
            return True

    async def info(self, path: ObjectPath) -> FileInfo:
        """What the service knows of one object."""
        with self._operation("info", path):
            return await self._calls.head(checked_path(path))

    async def list_page(
        self,
        prefix: str = "",
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = PAGE,
    ) -> ObjectPage:
        """One page of a listing, in the order of the paths' UTF-8 bytes.

        Args:
            prefix: Only paths that start with this string.
            delimiter: Paths that hold it after the prefix are rolled up into ``ObjectPage.prefixes``.
            start_after: Only paths and prefixes that sort after this one.
            cursor: ``ObjectPage.cursor`` of the page before, with the other arguments unchanged.
            limit: At most so many objects and prefixes, 1 to 1,000.
        """
        with self._operation("list_page", prefix):
            checked_prefix(prefix)
            checked_prefix(start_after, "start_after")
            checked_delimiter(delimiter)
            whole_number("limit", limit, high=PAGE)
            return await self._calls.list_objects(
                prefix, delimiter=delimiter, start_after=start_after, cursor=cursor, limit=limit
            )

    # removing and copying

    async def delete(self, path: ObjectPath, *, must_exist: bool = False, if_match: str | None = None) -> None:
        """Remove one object; a missing one is no error.

        Args:
            path: Which object.
            must_exist: Raise `NotFoundError` when it is not there. Asked for just before the deletion, as
                services do not tell; two deleters at once may both succeed.
            if_match: Only the version with this etag, atomically; where the service can
                (``capabilities.delete_if_match``).
        """
        with self._operation("delete", path) as guard:
            name = checked_path(path)
            if if_match is not None:
                check_etag(if_match)
                if not self.driver.capabilities.delete_if_match:
                    raise NotSupportedError(f"driver {self.backend.driver!r} does not support delete with if_match")
            if must_exist:
                await self._calls.head(name)
            await self._calls.delete(name, if_match=if_match)
            guard.removed = (name,)

    async def sweep(
        self, *, prefix: str = "", older_than: timedelta = DAY, dry_run: bool = False
    ) -> tuple[UnfinishedUpload, ...]:
        """Abort multipart uploads that nobody will finish: of programs that were killed, and of other tools.

        Args:
            prefix: Only those whose path starts with this string.
            older_than: Only those that were begun so long ago. Younger ones may be on their way still.
            dry_run: Only find them.

        Returns:
            What was found, and aborted unless *dry_run*. Nothing where the service keeps none or does not tell
            (``capabilities.list_multiparts``).
        """
        with self._operation("sweep", prefix) as guard:
            checked_prefix(prefix)
            if not isinstance(older_than, timedelta):
                raise TypeError(f"older_than is a datetime.timedelta, not {type(older_than).__name__}")
            before = datetime.now(UTC) - older_than
            found = await self._calls.list_multiparts(prefix)
            stale = tuple(upload for upload in found if upload.started_at <= before)
            for upload in () if dry_run else stale:
                guard.path = upload.path
                await self._calls.abort_multipart(upload.path, upload.upload_id)
            return stale

    async def delete_batch(self, paths: Iterable[ObjectPath]) -> tuple[DeleteResult, ...]:
        """Remove many objects, a thousand a request where the service can.

        Returns:
            A result for each path, in the order given; `DeleteResult.error` tells why one is still there.
        """
        errors: dict[str, StorageError] = {}
        paths = list(paths)
        with self._operation("delete_batch", None, paths=paths) as guard:
            names = [checked_path(path) for path in paths]
            unique = list(dict.fromkeys(names))
            for begin in range(0, len(unique), PAGE):
                page = unique[begin : begin + PAGE]
                for failure in await self._calls.delete_batch(page):
                    guard.path = failure.path
                    errors[failure.path] = self._explained(failure)
                guard.removed += tuple(name for name in page if name not in errors)
        return tuple(DeleteResult(name, errors.get(name)) for name in names)

    def _explained(self, failure: DeleteFailure) -> StorageError:
        error = translated(failure.error, self.driver, self.name, "delete_batch", failure.path)
        if not isinstance(error, StorageError):
            raise error  # a bug is no answer
        if error is not failure.error:
            error.__cause__ = failure.error
        return error

    async def copy(
        self, source: ObjectPath, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        """Copy one object inside the bucket with all its attributes; the bytes do not pass through here.

        Args:
            source: Which object.
            destination: Where to.
            if_not_exists: Copy only when nothing is there, where the service can (``capabilities.copy_if_not_exists``).
            if_match: Copy only over the version with this etag, where the service can (``capabilities.copy_if_match``).

        Raises:
            AlreadyExistsError: *if_not_exists* and an object is there.
            PreconditionFailedError: *if_match* is not the etag of what is there.
        """
        with self._operation("copy", source, paths=(source, destination)) as guard:
            old, new = checked_path(source), checked_new_path(destination)
            check_copy(self.backend, self.driver.capabilities, if_not_exists=if_not_exists, if_match=if_match)
            info = await self._copy(old, new, if_not_exists=if_not_exists, if_match=if_match)
            if old != new:
                guard.written = (info,)
            return info

    async def move(
        self, source: ObjectPath, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        """Copy one object, then remove the first. When the removal fails, both are there and the error says so.

        Args:
            source: Which object.
            destination: Where to.
            if_not_exists: As for `copy`.
            if_match: As for `copy`.
        """
        with self._operation("move", source, paths=(source, destination)) as guard:
            old, new = checked_path(source), checked_new_path(destination)
            check_copy(self.backend, self.driver.capabilities, if_not_exists=if_not_exists, if_match=if_match)
            info = await self._copy(old, new, if_not_exists=if_not_exists, if_match=if_match)
            if old != new:
                guard.written = (info,)
                try:
                    await self._calls.delete(old)
                except BaseException as exc:
                    exc.add_note(f"{new!r} was written, {old!r} was not removed")
                    raise
                guard.removed = (old,)
            return info

    async def copy_batch(self, operations: Iterable[tuple[ObjectPath, str]]) -> list[str]:
        """Copy many objects inside the bucket.

        Args:
            operations: Pairs of source and destination. Several are copied at once, unless one pair reads or
                writes what another one writes: then one after the other.

        Returns:
            The destinations, in the order given. The first failure is raised and says how many were copied.
        """
        given = [(source, destination) for source, destination in operations]
        with self._operation("copy_batch", None, paths=[path for pair in given for path in pair]) as guard:
            pairs = [(checked_path(source), checked_new_path(destination)) for source, destination in given]
            done, failure = await self._copy_pairs(pairs)
            guard.written = tuple(info for (old, new), info in done.items() if old != new)
            if failure is not None:
                guard.path, error = failure
                error.add_note(f"{len(done)} of {len(pairs)} objects were copied")
                raise error
            return [new for _, new in pairs]

    async def _copy_pairs(
        self, pairs: Sequence[tuple[str, str]]
    ) -> tuple[dict[tuple[str, str], FileInfo], tuple[str, Exception] | None]:
        written = {new for _, new in pairs}
        apart = len(written) == len(pairs) and not written & {old for old, _ in pairs}
        slots = anyio.Semaphore(self.backend.transfer.concurrency if apart else 1)
        failures: list[tuple[str, Exception]] = []
        done: dict[tuple[str, str], FileInfo] = {}

        async def copy(old: str, new: str) -> None:
            try:
                done[old, new] = await self._copy(old, new)
            except Exception as exc:  # noqa: BLE001 - raised by the caller, without the group around it
                failures.append((old, exc))
                tasks.cancel_scope.cancel()
            finally:
                slots.release()

        async with anyio.create_task_group() as tasks:
            for old, new in pairs:
                await slots.acquire()
                tasks.start_soon(copy, old, new)
        return done, failures[0] if failures else None

    async def _copy(self, old: str, new: str, *, if_not_exists: bool = False, if_match: str | None = None) -> FileInfo:
        if old == new:
            info = await self._calls.head(old)  # services refuse to copy an object onto itself
            if if_not_exists:
                raise AlreadyExistsError("an object is at this path already")
            self._demand(info, if_match, None)
            return info
        return await self._calls.copy(old, new, if_not_exists=if_not_exists, if_match=if_match)

    # addresses

    async def get_url(self, path: ObjectPath) -> str:
        """The object's unsigned URL; it grants nothing. No request is made."""
        with self._operation("get_url", path):
            return self.driver.url(checked_path(path))

    async def get_presigned_url(self, path: ObjectPath, expires_in: timedelta = HOUR, method: str = "GET") -> str:
        """A URL that lets its holder GET or PUT one object until it expires. Treat it as a secret.

        Args:
            path: Which object.
            expires_in: More than 0, at most 7 days.
            method: ``GET`` or ``PUT``. Where a PUT must send headers (Azure), `presign` tells them.
        """
        with self._operation("get_presigned_url", path):
            allowed = self.driver.capabilities.presign & {"GET", "PUT"}
            name = checked_path(path)
            verb = check_signature(method, expires_in, None, allowed)
            if self._access:
                self._access.demand_signature("get_presigned_url", verb)
            return (await self._calls.presign(name, method=verb, expires_in=expires_in)).url

    async def presign(
        self, path: ObjectPath, *, method: str = "GET", expires_in: timedelta = HOUR, content_type: str | None = None
    ) -> PresignedRequest:
        """Sign one request, with the headers or form fields that its holder must send.

        Args:
            path: Which object.
            method: One of ``capabilities.presign``.
            expires_in: More than 0, at most 7 days.
            content_type: The type that an upload must have.
        """
        with self._operation("presign", path):
            allowed = self.driver.capabilities.presign
            name = checked_path(path)
            verb = check_signature(method, expires_in, content_type, allowed)
            if self._access:
                self._access.demand_signature("presign", verb)
            return await self._calls.presign(name, method=verb, expires_in=expires_in, content_type=content_type)

    # state

    async def describe(self) -> Mapping[str, Any]:
        """What the service says of the bucket; raises when it can not be used."""
        with self._operation("describe", None):
            return {"backend": self.name, "driver": self.backend.driver, **await self._calls.check()}

    async def live_settings(self) -> LiveSettings:
        """The bucket's settings as they are now, for `runtime.verifying`; raises when it can not be asked."""
        with self._operation("live_settings", None):
            return await self._calls.live_settings()

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:  # noqa: ASYNC109 - the seed's signature
        """Whether the bucket answers, within *timeout* seconds. Never raises: what is wrong is in the result."""
        return await examine(
            self.name, self.backend.driver, self.describe, seconds=timeout, bug="an error in the driver"
        )

    # what every operation shares

    def _guard(self, operation: str, path: object = None) -> Guard:
        return Guard(self.driver, self._hooks, self.name, operation, path)

    def _operation(self, operation: str, path: object, *, paths: Iterable[object] = (), lasting: bool = False) -> Guard:
        """Around one operation; a *lasting* one goes at the pace of the application and has no time limit."""
        if not self._usable:
            raise StorageUnavailableError(
                "the backend is not open",
                backend=self.name,
                operation=operation,
                retryable=False,
                hint="use it inside `async with open_storage()`, or call `await store.open()` first",
            )
        if self._access and operation in self._access.refused:
            raise translated(self._access.refusal(operation), self.driver, self.name, operation, path)
        timeout = None if lasting else self._timeout
        return Guard(self.driver, self._hooks, self.name, operation, path, timeout, paths=paths, access=self._access)

    def _check(self, operation: str, path: object) -> Guard:
        """For checks that a method does before its operation begins: errors are filled in, hooks not told."""
        if self._access and operation in self._access.refused:
            raise translated(self._access.refusal(operation), self.driver, self.name, operation, path)
        return Guard(self.driver, (), self.name, operation, path)

    async def _give_back(self, reader: ObjectReader) -> None:
        def log(failure: Exception) -> None:
            _log.warning("a connection of backend %r was not given back (%s)", self.name, type(failure).__name__)

        await to_the_end(reader.aclose, GIVE_BACK_SECONDS, log)

    # last, as its name hides the builtin for what follows in the class

    def list(
        self, prefix: str = "", *, delimiter: str = "", start_after: str = "", limit: int | None = None
    ) -> AsyncGenerator[FileInfo, None]:
        """Every object whose path starts with the string *prefix*, in the order of the paths' UTF-8 bytes.

        Args:
            prefix: Any string; ``a`` finds ``a``, ``ab`` and ``a/b``.
            delimiter: Leave out paths that hold it after the prefix (``/``: only this level). `list_page` gives
                the prefixes that they are rolled up into.
            start_after: Only paths that sort after this one.
            limit: At most so many objects.
        """
        with self._check("list", prefix):
            checked_prefix(prefix)
            checked_prefix(start_after, "start_after")
            checked_delimiter(delimiter)
            if limit is not None:
                whole_number("limit", limit, low=0)
        return self._list(prefix, delimiter, start_after, limit)

    async def _list(
        self, prefix: str, delimiter: str, start_after: str, limit: int | None
    ) -> AsyncGenerator[FileInfo, None]:
        left, cursor = limit, None
        with self._operation("list", prefix, lasting=True):
            size = self.driver.page_size
            while left is None or left > 0:
                page = await self._calls.list_objects(
                    prefix,
                    delimiter=delimiter,
                    start_after=start_after,
                    cursor=cursor,
                    limit=size if left is None else min(left, size),
                )
                for info in page.objects:
                    yield info
                if page.cursor is None:
                    return
                cursor = page.cursor
                if left is not None:
                    left -= len(page.objects)


def _counting(progress: Progress, source: Source) -> Callable[[int], None]:
    done = 0

    def sent(count: int) -> None:
        nonlocal done
        done += count
        progress(done, source.size or 0)

    return sent
