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
from runtime.between import carry
from runtime.calls import Calls
from runtime.chunks import Chunks
from runtime.driver import DeleteFailure
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
    from runtime.driver import ByteRange, Bytes, Capabilities, Driver, ObjectReader
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
"""Called with the bytes moved so far and the bytes in all. It runs in the event loop, so it has to be quick."""

_log = logging.getLogger(__name__)

GIVE_BACK_SECONDS = 5.0
"""Time to close a connection whose rest is not wanted, also while the reader is cancelled."""


class BlobStore(BlobStoreProtocol):
    """One named backend.

    It behaves alike on every service; `runtime.testing.conformance` is the proof, and `capabilities` says what a
    service can not do.

    Every operation can raise any `StorageError`, with its backend, operation and path: `InvalidPathError` before
    anything is sent, `PermissionDeniedError`, `StorageTimeoutError`, `StorageUnavailableError`. The methods below
    list only what is particular to them. ``TypeError`` means an argument of a wrong type.

    A path is text of 1 to 1,024 bytes of UTF-8, without a slash at either end, and without empty, ``.`` or ``..``
    segments. A listing may show objects that others stored under stranger names: give the listed `FileInfo` itself,
    in place of a path, to read, copy or delete them.

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
        self._signed_for = backend.expect.presign_max_age if backend.expect else None
        self._usable = False

    def __repr__(self) -> str:
        return f"<BlobStore {self.name!r} on {self.backend.driver}>"

    async def open(self) -> Self:
        """Make the service's clients; nothing is read or written. `open_storage` does this for every backend."""
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
        size: int | None = None,
        part_size: int | None = None,
        concurrency: int | None = None,
        **options: Any,
    ) -> FileInfo:
        """Write one object, all or nothing: a failed or cancelled upload leaves what was there before.

        Args:
            path: Path of the object.
            data: Bytes, text (UTF-8), a `pathlib.Path`, a binary file (read from where it stands, never closed)
                or a sync or async iterator of bytes. Large data is sent in parts, in bounded memory.
            content_type: MIME type, or an `UploadOptions` with all options at once. Without it the type is guessed
                from the path's suffix.
            size: Size of *data* in bytes, for an iterator whose size is known (``Content-Length``). The parts are
                chosen for it, and data that ends early or goes on is refused.
            part_size: Size of one part in bytes; by default ``transfer.part_size`` of the backend.
            concurrency: Number of parts in flight; by default ``transfer.concurrency`` of the backend.
            options: Fields of `UploadOptions` by name. Each is honoured or refused, never dropped.

        Returns:
            What the service now knows of the object.

        Raises:
            AlreadyExistsError: *if_not_exists* was given, and there is an object at *path*.
            PreconditionFailedError: *if_match* is not the etag of the object at *path*, or there is none.
            ChecksumMismatchError: the bytes do not have the *checksum* that was given, or changed on their way.
            NotSupportedError: this backend can not honour one of the options.
            InvalidOptionError: *data* does not have *size* bytes.
            QuotaExceededError: the object is larger than ``service.max_file_size_mb``, or no room is left.
            TypeError: an option has an unknown name, or *data* can not be uploaded.
        """
        with self._operation("upload", path) as guard:
            name, chosen = self._prepared(path, content_type, options)
            told = None if size is None else whole_number("size", size, low=0)
            most, in_flight = self._parts(part_size, concurrency)
            small = in_memory(data)
            if told is None and small is not None and len(small) <= most:
                info = await self._put(name, small, chosen)
            else:
                source = source_of(data if small is None else small)
                source.expected = told
                info = await self._send(guard, name, source, chosen, most, in_flight)
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
        """Write one object from a file of this machine; a large file is read and sent in several parts at once.

        Args:
            file_path: The file. If it changes while it is read, nothing is written.
            path: Path of the object.
            content_type: As for `upload`; guessed from the path's suffix, then from the file's.
            part_size: As for `upload`.
            concurrency: As for `upload`.
            progress: Called with the bytes sent so far and the size of the file in bytes (0 for what has no size,
                such as a pipe).
            options: As for `upload`.

        Raises:
            OSError: the file can not be read.
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
        """Write one object as an async file, inside ``async with``; see `ObjectWriter`.

        This call checks the arguments. The object becomes visible when the block ends without an exception.

        Args:
            path: Path of the object.
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

        The write is conditional on the object being still the one that was read. When another writer was faster,
        everything starts again from the new content, after a short random pause.

        Args:
            path: Path of the object.
            change: Called with the content, or None when there is no object; returns the new content, or an
                awaitable of it. It may be called many times.
            content_type: As for `upload`; type, metadata and headers that are not given stay as they are.
            attempts: Most attempts.
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
        """Write one object from an iterator of bytes: `upload`, under the name that lexigram-storage gave it."""
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
        """Read one object into memory, whole or a range of its bytes.

        A whole object is compared with the checksum that the service keeps of it (`FileInfo.checksum`). A range is
        not, as no service keeps checksums of ranges.

        Args:
            path: Path of the object.
            range: ``(start, end)`` in bytes, *end* not included; None as *end* means up to the end of the object. A
                range behind the end of the object is empty and no error.
            if_match: Read only if the object has this etag.
            if_none_match: Read only if the object has another etag: the caller has this one already.

        Raises:
            NotFoundError: there is no object at *path*.
            PreconditionFailedError: the object has another etag than *if_match*.
            NotModifiedError: the object still has the etag *if_none_match*.
            ChecksumMismatchError: the bytes do not have the checksum that the service keeps of them.
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
        if verify:
            await checksums.check(reader.info.checksum, data)
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

        This call checks the arguments; the first step of the loop sends the request. A whole object that is read
        to its end is compared with its checksum, as by `download`, before the loop ends. If the loop may end
        early, wrap the stream in ``contextlib.aclosing``, so that its connection is free again at once.

        Args:
            path: Path of the object.
            chunk_size: Size of each chunk in bytes.
            range: As for `download`.
            if_match: As for `download`.
            if_none_match: As for `download`.

        Raises:
            NotFoundError: there is no object at *path*; raised by the first step, as are the following.
            PreconditionFailedError: as for `download`.
            NotModifiedError: as for `download`.
            ChecksumMismatchError: as for `download`; raised by the last step.
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
        """Read one object as an async file that can seek, inside ``async with``; see `ObjectFile`.

        Args:
            path: Path of the object.
            read_ahead: Most bytes that are fetched before the application asks for them; by default
                ``transfer.part_size`` of the backend.
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
        """Read one object into a file, which appears when it is complete; a large one in several ranges at once.

        Args:
            path: Path of the object.
            file_path: The file; its folder must exist.
            part_size: Size of one range in bytes; by default ``transfer.part_size`` of the backend.
            concurrency: Number of ranges in flight; by default ``transfer.concurrency`` of the backend.
            progress: Called with the bytes received so far and the size of the object in bytes.
            replace: Whether to replace a file that exists.
            if_match: As for `download`.
            if_none_match: As for `download`.

        Returns:
            What the service knows of the object that was read.

        Raises:
            NotFoundError: there is no object at *path*.
            AlreadyExistsError: *replace* is false, and the file exists.
            PreconditionFailedError: as for `download`, or the object was replaced while it was read.
            NotModifiedError: as for `download`.
            ChecksumMismatchError: as for `download`.
            OSError: the file can not be written; a file that existed is unchanged.
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
        """Whether there is an object at *path*."""
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
        """What the service knows of one object, without its bytes.

        Raises:
            NotFoundError: there is no object at *path*.
        """
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
            delimiter: Text, usually ``/``. Paths that contain it after the prefix are not listed one by one, but
                as common prefixes in ``ObjectPage.prefixes``.
            start_after: Only paths and prefixes that sort after this one.
            cursor: ``ObjectPage.cursor`` of the page before, with the other arguments unchanged.
            limit: Most objects and prefixes together, 1 to 1,000.
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
            path: Path of the object.
            must_exist: Raise when it is missing. No service answers that with its deletion, so it is asked for just
                before: of two that delete at once, both may succeed.
            if_match: Remove it only if it has this etag; atomic. Needs ``capabilities.delete_if_match``.

        Raises:
            NotFoundError: *must_exist* was given, and there is no object at *path*.
            PreconditionFailedError: the object has another etag than *if_match*.
            NotSupportedError: *if_match* was given, and the backend has no conditional deletes.
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
        """Abort multipart uploads that nobody will finish: those of programs that were killed, and of other tools.

        Args:
            prefix: Only uploads whose path starts with this string.
            older_than: Only uploads that began at least so long ago: younger ones may still be running.
            dry_run: Find them, and abort none.

        Returns:
            The uploads that were found, and aborted unless *dry_run*. Always empty where the service can not list
            them (``capabilities.list_multiparts``).
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
        """Remove many objects, up to 1,000 with each request where the service can.

        Args:
            paths: Paths of the objects; missing ones are no error.

        Returns:
            A result for each path, in the order given; `DeleteResult.error` says why an object is still there. When a
            later request than the first fails as a whole, its paths and those behind it have its error.
        """
        errors: dict[str, StorageError] = {}
        paths = list(paths)
        with self._operation("delete_batch", None, paths=paths) as guard:
            names = [checked_path(path) for path in paths]
            unique = list(dict.fromkeys(names))
            for begin in range(0, len(unique), PAGE):
                page = unique[begin : begin + PAGE]
                try:
                    failures = await self._calls.delete_batch(page)
                except Exception as exc:
                    if not begin:
                        raise
                    # what is gone already has to be told, so this is an answer too
                    errors |= {name: self._explained(DeleteFailure(name, exc)) for name in unique[begin:]}
                    break
                for failure in failures:
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
        self,
        source: ObjectPath,
        destination: str,
        *,
        to: BlobStore | None = None,
        if_not_exists: bool = False,
        if_match: str | None = None,
    ) -> FileInfo:
        """Copy one object with all its attributes. Inside the bucket the service copies; no bytes pass through here.

        To another backend it is streamed, in bounded memory, and type, metadata and cache headers are kept; the hooks
        are told of `info` and `stream` here and of `upload` there.

        Args:
            source: Path of the object.
            destination: Path of the copy.
            to: The backend to copy to; by default this one.
            if_not_exists: Copy only if there is no object at *destination*. Needs
                ``capabilities.copy_if_not_exists``, to another backend ``if_not_exists`` of that one.
            if_match: Copy only over an object that has this etag. Needs ``capabilities.copy_if_match``,
                to another backend ``if_match`` of that one.

        Raises:
            NotFoundError: there is no object at *source*.
            AlreadyExistsError: *if_not_exists* was given, and there is an object at *destination*.
            PreconditionFailedError: *if_match* is not the etag of the object at *destination*.
            NotSupportedError: the backend can not copy on this condition.
        """
        if to is not None and to is not self:
            conditions = UploadOptions(if_not_exists=if_not_exists, if_match=if_match)
            return (await carry(self, source, to, destination, conditions))[1]
        with self._operation("copy", source, paths=(source, destination)) as guard:
            old, new = checked_path(source), checked_new_path(destination)
            check_copy(self.backend, self.driver.capabilities, if_not_exists=if_not_exists, if_match=if_match)
            info = await self._copy(old, new, if_not_exists=if_not_exists, if_match=if_match)
            if old != new:
                guard.written = (info,)
            return info

    async def move(
        self,
        source: ObjectPath,
        destination: str,
        *,
        to: BlobStore | None = None,
        if_not_exists: bool = False,
        if_match: str | None = None,
    ) -> FileInfo:
        """Copy one object, then remove the original. It is not atomic: if the removal fails, both exist.

        To another backend only the version that was copied is removed, where the service can
        (``capabilities.delete_if_match``).

        Args:
            source: Path of the object.
            destination: Its new path.
            to: As for `copy`.
            if_not_exists: As for `copy`.
            if_match: As for `copy`.

        Raises:
            NotFoundError: there is no object at *source*.
            AlreadyExistsError: as for `copy`.
            PreconditionFailedError: as for `copy`.
            StorageError: the original could not be removed; a note of the error says that the copy exists.
        """
        if to is not None and to is not self:
            conditions = UploadOptions(if_not_exists=if_not_exists, if_match=if_match)
            read, info = await carry(self, source, to, destination, conditions)
            try:
                await self.delete(source, if_match=read.etag if self.capabilities.delete_if_match else None)
            except BaseException as exc:
                exc.add_note(f"{destination!r} was written to {to.name!r}, {read.path!r} was not removed")
                raise
            return info
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
            The destinations, in the order given.

        Raises:
            StorageError: the first failure; a note of it says how many objects were copied.
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
        """The object's unsigned URL: ``public_url`` of the backend if it has one, else the service's own.

        It grants nothing: only an object of a public backend can be read by it. No request is made.
        """
        with self._operation("get_url", path):
            return self.driver.url(checked_path(path))

    async def get_presigned_url(self, path: ObjectPath, expires_in: timedelta = HOUR, method: str = "GET") -> str:
        """A URL that lets whoever has it GET or PUT one object until it expires. Treat it as a secret.

        Args:
            path: Path of the object; it need not exist.
            expires_in: How long the URL is valid: more than 0, at most 7 days or ``expect.presign_max_age``.
            method: ``GET`` or ``PUT``. Where a PUT must send headers (Azure), use `presign`, which returns them.

        Raises:
            InvalidOptionError: *expires_in* is out of its bounds.
            NotSupportedError: the backend signs no such URLs.
        """
        with self._operation("get_presigned_url", path):
            allowed = self.driver.capabilities.presign & {"GET", "PUT"}
            name = checked_path(path)
            verb = check_signature(method, expires_in, None, allowed, self._signed_for)
            if self._access:
                self._access.demand_signature("get_presigned_url", verb)
            return (await self._calls.presign(name, method=verb, expires_in=expires_in)).url

    async def presign(
        self, path: ObjectPath, *, method: str = "GET", expires_in: timedelta = HOUR, content_type: str | None = None
    ) -> PresignedRequest:
        """Sign one request; with the URL come the headers or form fields that have to be sent. It is a secret.

        Args:
            path: Path of the object; it need not exist.
            method: One of ``capabilities.presign``.
            expires_in: How long the request is valid: more than 0, at most 7 days or ``expect.presign_max_age``.
            content_type: The MIME type that an upload must have; None for any.

        Raises:
            InvalidOptionError: *expires_in* is out of its bounds, or *content_type* belongs to no such request.
            NotSupportedError: the backend signs no such requests.
        """
        with self._operation("presign", path):
            allowed = self.driver.capabilities.presign
            name = checked_path(path)
            verb = check_signature(method, expires_in, content_type, allowed, self._signed_for)
            if self._access:
                self._access.demand_signature("presign", verb)
            return await self._calls.presign(name, method=verb, expires_in=expires_in, content_type=content_type)

    # state

    async def describe(self) -> Mapping[str, Any]:
        """What the service says of the bucket, for people and logs; raises when the bucket can not be used."""
        with self._operation("describe", None):
            return {"backend": self.name, "driver": self.backend.driver, **await self._calls.check()}

    async def live_settings(self) -> LiveSettings:
        """The bucket's settings as they are now, for `runtime.verifying`; raises when it can not be asked."""
        with self._operation("live_settings", None):
            return await self._calls.live_settings()

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:  # noqa: ASYNC109 - the seed's signature
        """Whether the bucket answers within *timeout* seconds. Never raises: the result says what is wrong."""
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
            prefix: Any string, not only a folder: ``a`` finds ``a``, ``ab`` and ``a/b``.
            delimiter: Leave out paths that contain it after the prefix: with ``/`` only this level is listed.
                `list_page` also gives the common prefixes of what is left out.
            start_after: Only paths that sort after this one.
            limit: Most objects; None for all.

        Returns:
            An async iterator. The requests are made, a page at a time, as it is consumed.
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
