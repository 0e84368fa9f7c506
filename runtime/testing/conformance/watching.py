"""Drivers around a driver: they count what passes and can be made to fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.config import TransferConfig
from runtime.driver import Driver, ObjectReader
from runtime.testing.conformance.support import KIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta

    from runtime.driver import ByteRange, Bytes, DeleteFailure
    from runtime.errors import StorageError
    from runtime.models import FileInfo, ObjectPage, PresignedRequest, UnfinishedUpload, UploadOptions
    from runtime.store import BlobStore


class PassingReader(ObjectReader):
    """Passes everything on, and counts what it produced.

    Args:
        inner: The reader it stands before.
        watcher: What is told of every byte.
    """

    def __init__(self, inner: ObjectReader, watcher: Watched) -> None:
        self.info = inner.info
        self._inner = inner
        self._watcher = watcher

    async def read(self) -> bytes:
        data = await self._inner.read()
        self._watcher.bytes_out += len(data)
        return data

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        async for chunk in self._inner.chunks(size_hint):
            self._watcher.bytes_out += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        self._watcher.closed_readers += 1
        await self._inner.aclose()


class Watched(Driver):
    """Another driver, opened already, whose calls are counted and can be made to fail by a subclass.

    Args:
        inner: The driver.

    Attributes:
        bytes_in: Bytes that were accepted so far, in whole puts and in parts.
        bytes_out: Bytes that readers gave so far.
        closed_readers: Readers that were closed.
        started: Multipart uploads that were begun.
        ended: Multipart uploads that were completed or aborted, in that order of events.
    """

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner.backend)
        self.inner = inner
        self.capabilities = inner.capabilities
        self.own_checksum = inner.own_checksum
        self.parts_linger = inner.parts_linger
        self.bytes_in = 0
        self.bytes_out = 0
        self.closed_readers = 0
        self.started: list[str] = []
        self.ended: list[str] = []

    async def open(self) -> None:
        """The driver is open."""

    async def close(self) -> None:
        """The driver is closed by its owner."""

    @property
    def raw(self) -> Any:
        return self.inner.raw

    async def head(self, path: str) -> FileInfo:
        return await self.inner.head(path)

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        return PassingReader(await self.inner.get(path, byte_range), self)

    async def list_objects(self, prefix: str, **options: Any) -> ObjectPage:
        return await self.inner.list_objects(prefix, **options)

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        info = await self.inner.put(path, data, options)
        self.bytes_in += len(data)
        return info

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        upload_id = await self.inner.start_multipart(path, options)
        self.started.append(upload_id)
        return upload_id

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        token = await self.inner.put_part(path, upload_id, number, data, checksum)
        self.bytes_in += sum(map(len, data))
        return token

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        info = await self.inner.complete_multipart(path, upload_id, parts, size, options)
        self.ended.append(upload_id)
        return info

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        await self.inner.abort_multipart(path, upload_id)
        self.ended.append(upload_id)

    async def list_multiparts(self, prefix: str) -> Sequence[UnfinishedUpload]:
        return await self.inner.list_multiparts(prefix)

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        await self.inner.delete(path, if_match=if_match)

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        return await self.inner.delete_batch(paths)

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        return await self.inner.copy(source, destination, if_not_exists=if_not_exists, if_match=if_match)

    def url(self, path: str) -> str:
        return self.inner.url(path)

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        return await self.inner.presign(path, method=method, expires_in=expires_in, content_type=content_type)

    async def check(self) -> Mapping[str, Any]:
        return await self.inner.check()

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return self.inner.error_type(error)

    def error_detail(self, error: Exception) -> str | None:
        return self.inner.error_detail(error)

    @property
    def open_uploads(self) -> set[str]:
        """Multipart uploads that were begun and neither completed nor aborted."""
        return set(self.started) - set(self.ended)


SMALL_PART = 256 * KIB
"""Part size of `through`, where the service allows so little."""


async def through(store: BlobStore, driver: Driver | None = None, concurrency: int = 2) -> BlobStore:
    """*store* once more, with the smallest parts that are sensible and, when given, through another driver.

    Args:
        store: An opened backend; it stays the owner of its driver.
        driver: Usually a `Watched` around ``store.driver``.
        concurrency: Parts in flight.
    """
    transfer = TransferConfig.model_validate(
        {"part_size": max(SMALL_PART, store.capabilities.min_part_size), "concurrency": concurrency}
    )
    backend = store.backend.model_copy(update={"transfer": transfer})
    return await type(store)(backend, driver or Watched(store.driver)).open()


def part_size(store: BlobStore) -> int:
    """Bytes of one part of *store*."""
    return int(store.backend.transfer.part_size)
