# ruff: noqa: ARG002 - the arguments are those of runtime.driver
"""The driver ``toy``: what runtime.driver asks for and no more, over dictionaries.

    - {name: box, driver: toy, toy: {bucket: lego, secret_key: "${TOY_KEY}"}}

Paths: any string. Limits: none. Boxes are made by `make_box` and live as long as the process.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from runtime.driver import Bytes, Capabilities, Driver, ObjectReader
from runtime.errors import NotFoundError, NotSupportedError, PermissionDeniedError, StorageError
from runtime.models import FileInfo, ObjectPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta

    from runtime.config import NamedStorageConfig
    from runtime.driver import ByteRange
    from runtime.models import PresignedRequest, UploadOptions

Toy = tuple[bytes, FileInfo]
_BOXES: dict[str, dict[str, Toy]] = {}
_LOCKS: dict[str, str] = {}
_NUMBERS = itertools.count(1)


def make_box(name: str, secret_key: str) -> None:
    _BOXES.setdefault(name, {})
    _LOCKS[name] = secret_key


class NoSuchBoxError(Exception):
    pass


class WrongKeyError(Exception):
    pass


class NoSuchUploadError(Exception):
    pass


class NoSuchToyError(Exception):
    pass


class ToyReader(ObjectReader):
    def __init__(self, info: FileInfo, data: bytes) -> None:
        self.info = info
        self._data = data

    async def read(self) -> bytes:
        return self._data

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        for begin in range(0, len(self._data), size_hint):
            yield self._data[begin : begin + size_hint]


class ToyDriver(Driver):
    capabilities = Capabilities()

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        self._name: str = backend.settings["bucket"]
        self._key: str = backend.settings["secret_key"]
        self._uploads: dict[str, dict[int, bytes]] = {}

    @property
    def _box(self) -> dict[str, Toy]:
        if self._name not in _BOXES:
            raise NoSuchBoxError(self._name)
        if _LOCKS[self._name] != self._key:
            raise WrongKeyError(self._name)
        return _BOXES[self._name]

    def _toy(self, path: str) -> Toy:
        if path not in self._box:
            raise NoSuchToyError(path)
        return self._box[path]

    async def head(self, path: str) -> FileInfo:
        return self._toy(path)[1]

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        data, info = self._toy(path)
        return ToyReader(info, data[slice(*byte_range)] if byte_range else data)

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        entries: dict[str, FileInfo | None] = {}
        for path in sorted(self._box, key=str.encode):
            if path.startswith(prefix):
                rest, found, _ = path[len(prefix) :].partition(delimiter) if delimiter else (path, "", "")
                entries[f"{prefix}{rest}{found}" if found else path] = None if found else self._box[path][1]
        after = max(start_after.encode(), (cursor or "").encode())
        page = [entry for entry in sorted(entries, key=str.encode) if entry.encode() > after]
        more, page = page[limit:], page[:limit]
        return ObjectPage(
            tuple(info for entry in page if (info := entries[entry])),
            tuple(entry for entry in page if entries[entry] is None),
            page[-1] if more else None,
        )

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        content = bytes(data)
        info = FileInfo(
            path,
            len(content),
            options.content_type or "application/octet-stream",
            datetime.now(UTC),
            etag=hashlib.sha256(content).hexdigest(),
            metadata=dict(options.metadata or {}),
            cache_control=options.cache_control,
            content_disposition=options.content_disposition,
            content_encoding=options.content_encoding,
        )
        self._box[path] = (content, info)
        return info

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        self._box  # noqa: B018 - raises when there is none
        upload = str(next(_NUMBERS))
        self._uploads[upload] = {}
        return upload

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        self._uploads[upload_id][number] = b"".join(data)
        return str(number)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        found = self._uploads.pop(upload_id, None)
        if found is None:
            raise NoSuchUploadError(upload_id)
        return await self.put(path, b"".join(found[int(part)] for part in parts), options)

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        self._uploads.pop(upload_id, None)

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        self._box.pop(path, None)

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        data, info = self._toy(source)
        copied = replace(info, path=destination, last_modified=datetime.now(UTC))
        self._box[destination] = (data, copied)
        return copied

    def url(self, path: str) -> str:
        return f"toy:{self._name}/{quote(path)}"

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        raise NotSupportedError("toys are not signed")

    async def check(self) -> Mapping[str, Any]:
        return {"bucket": self._name, "toys": len(self._box)}

    def error_type(self, error: Exception) -> type[StorageError] | None:
        if isinstance(error, WrongKeyError):
            return PermissionDeniedError
        return NotFoundError if isinstance(error, NoSuchBoxError | NoSuchToyError | NoSuchUploadError) else None
