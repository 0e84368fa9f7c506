"""The same storage for code that is not async: scripts, shells, WSGI applications.

::

    with runtime.open_storage_sync() as storage:
        info = storage["avatars"].upload("u/1.jpg", data)
        for chunk in storage["avatars"].stream("u/1.jpg"):
            ...
        storage.kv["sessions"].set("u1", {"cart": [1, 2]}, ttl=3600)

One event loop runs in a thread of its own; every method hands its call over and waits. It may be used from
several threads at once. Inside an event loop use `runtime.open_storage` instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.to_thread import run_sync

from runtime.blockingfile import BlockingFile, BlockingWriter
from runtime.blockingkv import BlockingKVStores
from runtime.registry import Storage, open_storage
from runtime.store import DAY, HOUR, PAGE, UPDATE_ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
    from datetime import timedelta
    from os import PathLike
    from pathlib import Path
    from types import TracebackType

    from runtime.config import NamedStorageConfig, StorageConfig
    from runtime.driver import ByteRange, Bytes, Capabilities
    from runtime.health import HealthCheckResult
    from runtime.hooks import Hook
    from runtime.live import LiveSettings
    from runtime.models import (
        DeleteResult,
        FileInfo,
        ObjectPage,
        PresignedRequest,
        UnfinishedUpload,
        Uploadable,
        UploadOptions,
    )
    from runtime.paths import ObjectPath
    from runtime.registry import DriverRegistry
    from runtime.requires import Requires
    from runtime.store import BlobStore, Progress
    from runtime.verifying import Verification

T = TypeVar("T")
_END = object()


class BlockingBlobStore:
    """One backend; every method does what its namesake on `BlobStore` does."""

    def __init__(self, store: BlobStore, portal: BlockingPortal) -> None:
        self._store = store
        self._portal = portal

    def __repr__(self) -> str:
        return f"<BlockingBlobStore {self.name!r} on {self.backend.driver}>"

    def _run(self, method: Callable[..., Coroutine[Any, Any, T]], /, *arguments: Any, **keywords: Any) -> T:
        result: T = self._portal.call(partial(method, *arguments, **keywords))
        return result

    def _each(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        try:
            while (item := self._portal.call(partial(anext, items, _END))) is not _END:
                yield cast("T", item)
        finally:
            self._portal.call(items.aclose)

    @property
    def name(self) -> str:
        """Name of the backend."""
        return self._store.name

    @property
    def backend(self) -> NamedStorageConfig:
        """The entry of the contract."""
        return self._store.backend

    @property
    def capabilities(self) -> Capabilities:
        """As `BlobStore.capabilities`."""
        return self._store.capabilities

    @property
    def raw(self) -> Any:
        """As `BlobStore.raw`; an async client belongs to the loop's thread."""
        return self._store.raw

    def upload(
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
        """As `BlobStore.upload`."""
        parts = {"size": size, "part_size": part_size, "concurrency": concurrency}
        return self._run(self._store.upload, path, data, content_type, **parts, **options)

    def upload_from(
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
        """As `BlobStore.upload_from`; *progress* is called in the loop's thread."""
        return self._run(
            self._store.upload_from,
            file_path,
            path,
            content_type,
            part_size=part_size,
            concurrency=concurrency,
            progress=progress,
            **options,
        )

    def open_writer(
        self,
        path: str,
        content_type: UploadOptions | str | None = None,
        *,
        part_size: int | None = None,
        concurrency: int | None = None,
        **options: Any,
    ) -> BlockingWriter:
        """As `BlobStore.open_writer`, for ``with``."""
        writer = self._store.open_writer(path, content_type, part_size=part_size, concurrency=concurrency, **options)
        return BlockingWriter(writer, self._portal)

    def update(
        self,
        path: str,
        change: Callable[[bytes | None], Bytes | str | Awaitable[Bytes | str]],
        content_type: UploadOptions | str | None = None,
        *,
        attempts: int = UPDATE_ATTEMPTS,
        **options: Any,
    ) -> FileInfo:
        """As `BlobStore.update`; *change* is called in a worker thread, so it may use this store."""

        async def in_thread(content: bytes | None) -> Bytes | str:
            changed = await run_sync(change, content)
            return await changed if isawaitable(changed) else changed

        return self._run(self._store.update, path, in_thread, content_type, attempts=attempts, **options)

    def write_stream(
        self, path: str, chunks: Iterable[bytes], content_type: UploadOptions | str | None = None, **options: Any
    ) -> FileInfo:
        """As `BlobStore.write_stream`."""
        return self._run(self._store.write_stream, path, chunks, content_type, **options)

    def download(
        self,
        path: ObjectPath,
        *,
        range: ByteRange | tuple[int, int | None] | None = None,  # noqa: A002 - as on BlobStore
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> bytes:
        """As `BlobStore.download`."""
        return self._run(self._store.download, path, range=range, if_match=if_match, if_none_match=if_none_match)

    def stream(
        self,
        path: ObjectPath,
        chunk_size: int = 8192,
        *,
        range: ByteRange | tuple[int, int | None] | None = None,  # noqa: A002 - as on BlobStore
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> Iterator[bytes]:
        """As `BlobStore.stream`."""
        chunks = self._store.stream(path, chunk_size, range=range, if_match=if_match, if_none_match=if_none_match)
        return self._each(chunks)

    def open_reader(
        self,
        path: ObjectPath,
        *,
        read_ahead: int | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> BlockingFile:
        """As `BlobStore.open_reader`, as a raw file."""
        file = self._store.open_reader(path, read_ahead=read_ahead, if_match=if_match, if_none_match=if_none_match)
        return BlockingFile(file, self._portal)

    def download_to(
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
        """As `BlobStore.download_to`; *progress* is called in the loop's thread."""
        return self._run(
            self._store.download_to,
            path,
            file_path,
            part_size=part_size,
            concurrency=concurrency,
            progress=progress,
            replace=replace,
            if_match=if_match,
            if_none_match=if_none_match,
        )

    def exists(self, path: ObjectPath) -> bool:
        """As `BlobStore.exists`."""
        return self._run(self._store.exists, path)

    def info(self, path: ObjectPath) -> FileInfo:
        """As `BlobStore.info`."""
        return self._run(self._store.info, path)

    def list_page(
        self,
        prefix: str = "",
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = PAGE,
    ) -> ObjectPage:
        """As `BlobStore.list_page`."""
        return self._run(
            self._store.list_page, prefix, delimiter=delimiter, start_after=start_after, cursor=cursor, limit=limit
        )

    def delete(self, path: ObjectPath, *, must_exist: bool = False, if_match: str | None = None) -> None:
        """As `BlobStore.delete`."""
        self._run(self._store.delete, path, must_exist=must_exist, if_match=if_match)

    def sweep(
        self, *, prefix: str = "", older_than: timedelta = DAY, dry_run: bool = False
    ) -> tuple[UnfinishedUpload, ...]:
        """As `BlobStore.sweep`."""
        return self._run(self._store.sweep, prefix=prefix, older_than=older_than, dry_run=dry_run)

    def delete_batch(self, paths: Iterable[ObjectPath]) -> tuple[DeleteResult, ...]:
        """As `BlobStore.delete_batch`."""
        return self._run(self._store.delete_batch, tuple(paths))

    def copy(
        self,
        source: ObjectPath,
        destination: str,
        *,
        to: BlockingBlobStore | None = None,
        if_not_exists: bool = False,
        if_match: str | None = None,
    ) -> FileInfo:
        """As `BlobStore.copy`; both backends are of one storage, whose event loop they share."""
        other = None if to is None else to._store  # noqa: SLF001 - of this class
        conditions = {"if_not_exists": if_not_exists, "if_match": if_match}
        return self._run(self._store.copy, source, destination, to=other, **conditions)

    def move(
        self,
        source: ObjectPath,
        destination: str,
        *,
        to: BlockingBlobStore | None = None,
        if_not_exists: bool = False,
        if_match: str | None = None,
    ) -> FileInfo:
        """As `BlobStore.move`; see `copy`."""
        other = None if to is None else to._store  # noqa: SLF001 - of this class
        conditions = {"if_not_exists": if_not_exists, "if_match": if_match}
        return self._run(self._store.move, source, destination, to=other, **conditions)

    def copy_batch(self, operations: Iterable[tuple[ObjectPath, str]]) -> list[str]:
        """As `BlobStore.copy_batch`."""
        return self._run(self._store.copy_batch, tuple(operations))

    def get_url(self, path: ObjectPath) -> str:
        """As `BlobStore.get_url`."""
        return self._run(self._store.get_url, path)

    def get_presigned_url(self, path: ObjectPath, expires_in: timedelta = HOUR, method: str = "GET") -> str:
        """As `BlobStore.get_presigned_url`."""
        return self._run(self._store.get_presigned_url, path, expires_in, method)

    def presign(
        self, path: ObjectPath, *, method: str = "GET", expires_in: timedelta = HOUR, content_type: str | None = None
    ) -> PresignedRequest:
        """As `BlobStore.presign`."""
        return self._run(self._store.presign, path, method=method, expires_in=expires_in, content_type=content_type)

    def describe(self) -> Mapping[str, Any]:
        """As `BlobStore.describe`."""
        return self._run(self._store.describe)

    def live_settings(self) -> LiveSettings:
        """As `BlobStore.live_settings`."""
        return self._run(self._store.live_settings)

    def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        """As `BlobStore.health_check`."""
        return self._run(self._store.health_check, timeout)

    def list(
        self, prefix: str = "", *, delimiter: str = "", start_after: str = "", limit: int | None = None
    ) -> Iterator[FileInfo]:
        """As `BlobStore.list`."""
        return self._each(self._store.list(prefix, delimiter=delimiter, start_after=start_after, limit=limit))


class BlockingStorage(Mapping[str, BlockingBlobStore]):
    """All backends of one application, by name, to be opened by ``with``."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._portal: BlockingPortal | None = None
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self._portal = exits.enter_context(start_blocking_portal())
            exits.enter_context(self._portal.wrap_async_context_manager(self._storage))
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, error, trace)
        self._portal = None

    def __getitem__(self, name: str) -> BlockingBlobStore:
        return self._blocking(self._storage[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._storage)

    def __len__(self) -> int:
        return len(self._storage)

    def __contains__(self, name: object) -> bool:
        return name in self._storage

    @property
    def primary(self) -> BlockingBlobStore:
        """As `Storage.primary`."""
        return self._blocking(self._storage.primary)

    @property
    def kv(self) -> BlockingKVStores:
        """As `Storage.kv`."""
        return BlockingKVStores(self._storage.kv, self._running())

    def health_check(self, timeout: float | None = None) -> dict[str, HealthCheckResult]:
        """As `Storage.health_check`."""
        return self._running().call(self._storage.health_check, timeout)

    def verify(self, *, write: bool = False) -> Verification:
        """As `Storage.verify`."""
        return self._running().call(partial(self._storage.verify, write=write))

    def _blocking(self, store: BlobStore) -> BlockingBlobStore:
        return BlockingBlobStore(store, self._running())

    def _running(self) -> BlockingPortal:
        if self._portal is None:
            raise RuntimeError("the storage is not open: use `with open_storage_sync() as storage`")
        return self._portal


def open_storage_sync(
    config: StorageConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    check: bool = False,
    hooks: Iterable[Hook] = (),
    registry: DriverRegistry | None = None,
    requires: Requires | None = None,
) -> BlockingStorage:
    """All backends of the application for code that is not async, to be opened by ``with``.

    Args:
        config: As for `runtime.open_storage`.
        check: Ask every backend at opening whether it answers.
        hooks: Called around every operation, in the loop's thread.
        registry: Where drivers come from.
        requires: As for `runtime.open_storage`.
    """
    return BlockingStorage(open_storage(config, check=check, hooks=hooks, registry=registry, requires=requires))
