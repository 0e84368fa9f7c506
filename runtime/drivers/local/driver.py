"""The driver for a directory on this machine.

Layout:
    Ordinary paths are ordinary files (``u/1.jpg`` is ``<root_dir>/u/1.jpg``), to be looked at with any tool. Which
    paths are written otherwise, and how, is in `runtime.drivers.local.names`; where attributes are kept and how
    they are bound to the bytes, in `runtime.drivers.local.attributes`; what else is in the hidden folder
    ``.tandem``, in `runtime.drivers.local.work`.

Files of others:
    Every regular file below the root is an object, whoever put it there; its content type is guessed from its
    name, and a listing gives no etag for it, as that would read it whole (`info` does). Not objects are folders,
    symbolic links (never followed below the root), pipes and devices, names that are not UTF-8, ``.tandem``, and
    ``.gitkeep`` in the root itself, which only holds the folder in a git checkout.

Guarantees:
    Bytes and attributes are on the disk (fsync of files and folders) before an upload returns; a rename makes
    them visible. Conditions are compared under a lock (flock) that every process takes which writes that path.
    Processes that were killed leave files in ``.tandem/temporary`` only; `open` removes those that nobody holds
    and nobody wrote to for an hour. A missing root is made by the first upload, for a developer's convenience;
    until then it can not be read and is reported as unhealthy.

Limits:
    POSIX only (flock, folder descriptors). A network file system must honour flock. One object is at most what
    the file system allows.
"""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from runtime.checksums import DIGEST_BYTES, own_algorithm
from runtime.driver import ByteRange, Bytes, Capabilities, DeleteFailure, Driver, ObjectReader
from runtime.drivers.local.lane import WRITE_SECONDS, Lane
from runtime.drivers.local.listing import page
from runtime.drivers.local.multipart import Upload
from runtime.drivers.local.stage import BLOCK, Stop, in_thread, pieces
from runtime.drivers.local.tree import folder
from runtime.drivers.local.writing import Bucket
from runtime.errors import (
    AlreadyExistsError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    QuotaExceededError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from runtime.models import UnfinishedUpload, UploadOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta

    from runtime.config import NamedStorageConfig
    from runtime.models import FileInfo, ObjectPage, PresignedRequest

_SMALL: Final = 256 * 1024
"""Objects up to here are read by the same worker thread that opens them."""

_ERRORS: Final[dict[int, type[StorageError]]] = {
    errno.ENOENT: NotFoundError,
    errno.ENOTDIR: NotFoundError,
    errno.EISDIR: NotFoundError,
    errno.EEXIST: AlreadyExistsError,
    errno.EACCES: PermissionDeniedError,
    errno.EPERM: PermissionDeniedError,
    errno.EROFS: PermissionDeniedError,
    errno.ELOOP: PermissionDeniedError,
    errno.ENOSPC: QuotaExceededError,
    errno.EDQUOT: QuotaExceededError,
    errno.EFBIG: QuotaExceededError,
    errno.ENAMETOOLONG: InvalidPathError,
    errno.EILSEQ: InvalidPathError,
    errno.ETIMEDOUT: StorageTimeoutError,
    errno.EBUSY: StorageUnavailableError,
    errno.EMFILE: StorageUnavailableError,
    errno.ENFILE: StorageUnavailableError,
    errno.ESTALE: StorageUnavailableError,
    errno.ENOLCK: StorageUnavailableError,
}


class LocalReader(ObjectReader):
    """One open file; it stays the version that it was when it was opened.

    Args:
        info: What is known of the object.
        fd: The open file, -1 when *content* is all.
        byte_range: What to read of it.
        content: The range, when it was small enough to be read at once.
    """

    def __init__(self, info: FileInfo, fd: int, byte_range: ByteRange, content: bytes | None = None) -> None:
        self.info = info
        self._fd = fd
        self._start = byte_range.start
        self._end = info.size if byte_range.end is None else byte_range.end
        self._content = content

    async def read(self) -> bytes:
        if self._content is not None:
            return self._content
        try:
            return await in_thread(self._read, self._start, self._end)
        finally:
            await self.aclose()

    def _read(self, stop: Stop, start: int, end: int) -> bytes:
        return b"".join(pieces(self._fd, start, end, stop))

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        if self._content is not None:
            yield self._content
            return
        size = max(_SMALL, min(size_hint, 8 * BLOCK))
        try:
            while self._start < self._end:
                chunk = await in_thread(self._read, self._start, min(self._start + size, self._end))
                if not chunk:
                    return  # somebody cut the file shorter meanwhile
                self._start += len(chunk)
                yield chunk
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        self.drop()

    def drop(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class LocalDriver(Driver):
    """Objects as files below one directory."""

    page_size = 5000
    timed = True  # a disk can not be told to give up, and copying a large file takes its time
    capabilities = Capabilities(
        if_not_exists=True,
        if_match=True,
        delete_if_match=True,
        copy_if_not_exists=True,
        copy_if_match=True,
        checksums=frozenset(DIGEST_BYTES),
        list_multiparts=True,
    )

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        self.own_checksum = own_algorithm(backend, "crc32c")
        self._bucket = Bucket(str(Path(backend.settings.root_dir).expanduser().absolute()))
        self._base_url = str(backend.settings.base_url).rstrip("/")
        self._looks = Lane()
        self._writes = Lane(WRITE_SECONDS)
        self._uploads: dict[str, Upload] = {}
        self._begun: dict[str, UnfinishedUpload] = {}

    async def open(self) -> None:
        """Remove what killed processes left."""
        await in_thread(lambda _stop: self._bucket.work.sweep())

    async def close(self) -> None:
        """Give up the uploads that were not completed."""
        while self._uploads:
            _, upload = self._uploads.popitem()
            await in_thread(_close, upload)
        self._looks.close()
        self._writes.close()
        self._bucket.work.close()

    @property
    def raw(self) -> Path:
        """The root."""
        return Path(self._bucket.root)

    # reading

    async def head(self, path: str) -> FileInfo:
        return await self._looks.look(lambda stop: self._bucket.head(stop, path))

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        wanted = byte_range or ByteRange(0)
        return await self._looks.look(lambda stop: self._get(stop, path, wanted), LocalReader.drop)

    def _get(self, stop: Stop, path: str, byte_range: ByteRange) -> LocalReader:
        fd, info = self._bucket.open(stop, path)
        try:
            start, end = byte_range.start, min(info.size, info.size if byte_range.end is None else byte_range.end)
            if end - start > _SMALL:
                return LocalReader(info, fd, ByteRange(start, end))
            content = b"".join(pieces(fd, start, end, stop))
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return LocalReader(info, -1, ByteRange(start, end), content)

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        return await in_thread(
            lambda stop: page(
                self._bucket, stop, prefix, delimiter=delimiter, start_after=start_after, cursor=cursor, limit=limit
            )
        )

    # writing

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        return await self._writes.write(lambda stop: self._bucket.put(stop, path, data, options))

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        return await in_thread(self._start, path, options)

    def _start(self, _stop: Stop, path: str, options: UploadOptions) -> str:
        self._bucket.work.prepare()
        upload = Upload(self._bucket)
        self._uploads[upload.id] = upload
        self._begun[upload.id] = UnfinishedUpload(path, upload.id, datetime.now(UTC))
        return upload.id

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        return await in_thread(self._upload(path, upload_id).put, number, data)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        info = await in_thread(self._upload(path, upload_id).complete, path, parts, size, options)
        del self._uploads[upload_id], self._begun[upload_id]
        return info

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        upload = self._uploads.pop(upload_id, None)
        self._begun.pop(upload_id, None)
        if upload is not None:
            await in_thread(_close, upload)
        else:
            await in_thread(lambda _stop: self._bucket.work.discard_abandoned(upload_id))

    async def list_multiparts(self, prefix: str) -> Sequence[UnfinishedUpload]:
        own = [begun for begun in self._begun.values() if begun.path.startswith(prefix)]
        if prefix:
            return own
        # what killed processes left: what it was to become is not known
        left = await in_thread(lambda _stop: self._bucket.work.abandoned())
        return own + [UnfinishedUpload("", name, datetime.fromtimestamp(when, UTC)) for name, when in left]

    def _upload(self, path: str, upload_id: str) -> Upload:
        try:
            return self._uploads[upload_id]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such upload", path) from None

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        await self._writes.write(lambda stop: self._bucket.delete(stop, path, if_match))

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        return await in_thread(self._delete_batch, paths)

    def _delete_batch(self, stop: Stop, paths: Sequence[str]) -> list[DeleteFailure]:
        failures = []
        for path in paths:
            stop.check()
            try:
                self._bucket.delete(stop, path)
            except (OSError, StorageError) as exc:
                failures.append(DeleteFailure(path, exc))
        return failures

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        asked = UploadOptions(if_not_exists=if_not_exists, if_match=if_match)
        return await in_thread(self._bucket.copy, source, destination, asked)

    # addresses

    def url(self, path: str) -> str:
        return f"{self._base_url}/{quote(path)}"

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        raise NotSupportedError("a directory has no server that could check a signature")

    # state and errors

    async def check(self) -> Mapping[str, Any]:
        return await in_thread(self._check)

    def _check(self, _stop: Stop) -> dict[str, Any]:
        root = self._bucket.root
        with folder(root, ()) as here:
            if not os.access(root, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "root_dir can not be written to", root)
            disk = os.fstatvfs(here)
        return {
            "root_dir": root,
            "shared": self.backend.settings.shared,
            "free_bytes": disk.f_bavail * disk.f_frsize,
            "folded_names": self._bucket.work.names.folded,
        }

    def error_type(self, error: Exception) -> type[StorageError] | None:
        if isinstance(error, StorageError):
            return type(error)
        if isinstance(error, OSError):
            return _ERRORS.get(error.errno or 0, StorageError)
        return None

    def error_detail(self, error: Exception) -> str | None:
        return errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None


def _close(_stop: Stop, upload: Upload) -> None:
    upload.close()


driver_class = LocalDriver
