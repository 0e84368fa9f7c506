"""Objects in this process: the reference model, for tests and for trying things out.

Paths: any string, byte for byte. Limits: the machine's memory; parts of any size, at most 10,000.
Every write is one step of the event loop, so conditions are atomic. An etag is a hash of the content, so
equal content has equal etags whichever way it was uploaded. Checksums are kept beside the bytes. Opening a
backend twice gives two stores.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from runtime.checksums import DIGEST_BYTES, own_algorithm, written
from runtime.driver import Bytes, Capabilities, Driver, ObjectReader
from runtime.errors import (
    AlreadyExistsError,
    ChecksumMismatchError,
    NotFoundError,
    NotSupportedError,
    PreconditionFailedError,
    StorageError,
)
from runtime.models import FileInfo, ObjectPage, UnfinishedUpload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta

    from runtime.config import NamedStorageConfig
    from runtime.driver import ByteRange
    from runtime.models import PresignedRequest, UploadOptions


@dataclass(frozen=True, slots=True)
class _Object:
    data: bytes
    info: FileInfo

    def told(self) -> FileInfo:
        """The information with metadata of its own: what a caller changes in it changes nothing here."""
        metadata = self.info.metadata
        return replace(self.info, metadata=dict(metadata)) if metadata else self.info


class _Reader(ObjectReader):
    def __init__(self, info: FileInfo, view: memoryview) -> None:
        self.info = info
        self._view = view

    async def read(self) -> bytes:
        return bytes(self._view)

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        for begin in range(0, len(self._view), size_hint):
            yield self._view[begin : begin + size_hint]


class MemoryDriver(Driver):
    """A dictionary with the manners of an object store."""

    timed = True  # every call is one step

    capabilities = Capabilities(
        if_not_exists=True,
        if_match=True,
        delete_if_match=True,
        copy_if_not_exists=True,
        copy_if_match=True,
        list_multiparts=True,
        checksums=frozenset(DIGEST_BYTES),
    )

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        self.own_checksum = own_algorithm(backend, "crc32c")
        self._objects: dict[str, _Object] = {}
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._begun: dict[str, UnfinishedUpload] = {}
        self._numbers = count(1)
        self._sorted: list[str] | None = None

    @property
    def raw(self) -> Mapping[str, bytes]:
        return {path: stored.data for path, stored in self._objects.items()}

    async def head(self, path: str) -> FileInfo:
        return self._at(path).told()

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        stored = self._at(path)
        view = memoryview(stored.data)
        if byte_range is not None:
            view = view[byte_range.start : byte_range.end]
        return _Reader(stored.told(), view)

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        paths = self._paths()
        after = max(start_after, cursor or "")
        index = bisect_right(paths, after) if after else 0
        index = max(index, bisect_left(paths, prefix))
        objects: list[FileInfo] = []
        prefixes: list[str] = []
        last = None
        while index < len(paths) and paths[index].startswith(prefix):
            path = paths[index]
            head, found, _ = path[len(prefix) :].partition(delimiter) if delimiter else (path, "", "")
            rolled_up = prefix + head + found if found else None
            if rolled_up is not None and after.startswith(rolled_up):
                pass  # was given by the page before, or lies wholly before `start_after`
            elif len(objects) + len(prefixes) == limit:
                return ObjectPage(tuple(objects), tuple(prefixes), cursor=last)
            elif rolled_up is not None:
                prefixes.append(rolled_up)
            else:
                objects.append(self._objects[path].told())
            if rolled_up is None:
                index, last = index + 1, path
            else:
                index = _behind(paths, rolled_up, index)
                last = rolled_up
        return ObjectPage(tuple(objects), tuple(prefixes))

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        return self._write(path, bytes(data), options)

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        upload_id = f"upload-{next(self._numbers)}"
        self._uploads[upload_id] = {}
        self._begun[upload_id] = UnfinishedUpload(path, upload_id, datetime.now(UTC))
        return upload_id

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        self._parts(path, upload_id)[number] = b"".join(data)
        return str(number)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        stored = self._parts(path, upload_id)
        data = b"".join(stored[int(token)] for token in parts)
        if len(data) != size:
            raise ChecksumMismatchError(f"the parts have {len(data):,} bytes, {size:,} were announced")
        info = self._write(path, data, options)
        del self._uploads[upload_id], self._begun[upload_id]
        return info

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        self._uploads.pop(upload_id, None)
        self._begun.pop(upload_id, None)

    async def list_multiparts(self, prefix: str) -> Sequence[UnfinishedUpload]:
        return [upload for upload in self._begun.values() if upload.path.startswith(prefix)]

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        if if_match is not None:
            self._demand_etag(path, if_match)
        if self._objects.pop(path, None) is not None:
            self._sorted = None

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        stored = self._at(source)
        if if_not_exists and destination in self._objects:
            raise AlreadyExistsError("an object is at this path already")
        if if_match is not None:
            self._demand_etag(destination, if_match)
        now = self._now()
        info = replace(
            stored.told(), path=destination, last_modified=now, created_at=now, version=str(next(self._numbers))
        )
        return self._store(destination, _Object(stored.data, info))

    def url(self, path: str) -> str:
        return f"memory:{quote(path)}"

    async def presign(
        self,
        path: str,
        *,
        method: str,
        expires_in: timedelta,
        content_type: str | None = None,
    ) -> PresignedRequest:
        raise NotSupportedError(f"memory answers no HTTP requests, so there is nothing to sign for {method}")

    async def check(self) -> Mapping[str, Any]:
        return {
            "objects": len(self._objects),
            "bytes": sum(len(stored.data) for stored in self._objects.values()),
            "open_uploads": len(self._uploads),
        }

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return None

    def _now(self) -> datetime:
        return datetime.now(UTC)

    def _at(self, path: str) -> _Object:
        try:
            return self._objects[path]
        except KeyError:
            raise NotFoundError("no object is at this path") from None

    def _parts(self, path: str, upload_id: str) -> dict[int, bytes]:
        try:
            return self._uploads[upload_id]
        except KeyError:
            raise NotFoundError(f"no multipart upload {upload_id!r} is open", path=path) from None

    def _paths(self) -> list[str]:
        if self._sorted is None:
            self._sorted = sorted(self._objects)  # the order of code points is the order of UTF-8 bytes
        return self._sorted

    def _write(self, path: str, data: bytes, options: UploadOptions) -> FileInfo:
        if options.if_not_exists and path in self._objects:
            raise AlreadyExistsError("an object is at this path already")
        if options.if_match is not None:
            self._demand_etag(path, options.if_match)
        digest = hashlib.sha256(data).digest()
        now = self._now()
        info = FileInfo(
            path=path,
            size=len(data),
            content_type=options.content_type or "application/octet-stream",
            last_modified=now,
            created_at=now,
            etag=digest.hex()[:32],
            metadata=dict(options.metadata) if options.metadata else None,
            cache_control=options.cache_control,
            content_disposition=options.content_disposition,
            content_encoding=options.content_encoding,
            version=str(next(self._numbers)),
            checksum=options.checksum or written("sha256", digest),
        )
        return self._store(path, _Object(data, info))

    def _store(self, path: str, stored: _Object) -> FileInfo:
        if path not in self._objects:
            self._sorted = None
        self._objects[path] = stored
        return stored.told()

    def _demand_etag(self, path: str, etag: str) -> None:
        stored = self._objects.get(path)
        if stored is None or stored.info.etag != etag:
            raise PreconditionFailedError("the object has another etag" if stored else "no object is at this path")


def _behind(paths: list[str], prefix: str, begin: int) -> int:
    """Index of the first path from *begin* on that does not start with *prefix*."""
    low, high = begin, len(paths)
    while low < high:
        middle = (low + high) // 2
        if paths[middle].startswith(prefix):
            low = middle + 1
        else:
            high = middle
    return low


driver_class = MemoryDriver
