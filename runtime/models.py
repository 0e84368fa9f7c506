"""The values that go in and come out of a blob store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from runtime.errors import StorageError

Uploadable: TypeAlias = (
    bytes | bytearray | memoryview | str | PathLike[str] | BinaryIO | Iterator[bytes] | AsyncIterator[bytes]
)
"""What can be uploaded: bytes, text (UTF-8), a `pathlib.Path`, a binary file, a sync or async iterator of bytes."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a service knows of one object.

    Attributes:
        path: Object path below the backend's bucket.
        size: Bytes.
        content_type: MIME type; ``application/octet-stream`` when the service names none.
        last_modified: Aware UTC time.
        etag: Opaque tag without quotes; changes whenever the content does.
        metadata: The caller's own pairs, names in lower case. A listing may not carry them.
        cache_control: ``Cache-Control`` that downloads answer with.
        content_disposition: ``Content-Disposition`` that downloads answer with.
        content_encoding: ``Content-Encoding`` that downloads answer with.
        version: Opaque version (GCS generation, S3 version id), where the service has one.
        checksum: ``algorithm:base64`` of all the bytes, where the service keeps one (`runtime.checksums`). A sum of
            the parts' sums, as some services keep, is none. A listing may not carry it.
        created_at: Aware UTC time, where the service tells it.
    """

    path: str
    size: int
    content_type: str
    last_modified: datetime
    created_at: datetime | None = None
    etag: str | None = None
    metadata: dict[str, str] | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    version: str | None = None
    checksum: str | None = None


_Unfrozen: Any = make_dataclass(
    "_Unfrozen",
    [(one.name, Any, field(default=None if one.default is MISSING else one.default)) for one in fields(FileInfo)],
    slots=True,
)


def made_info(path: str, size: int, content_type: str, last_modified: datetime, **known: Any) -> FileInfo:
    """A `FileInfo` as small requests make them by the thousand: its own constructor takes twice as long."""
    info = _Unfrozen(path, size, content_type, last_modified, **known)
    info.__class__ = FileInfo
    made: FileInfo = info
    return made


def copied_info(info: FileInfo) -> FileInfo:
    """Another one of the same, which shares no mapping with it."""
    copy = _Unfrozen(
        info.path,
        info.size,
        info.content_type,
        info.last_modified,
        info.created_at,
        info.etag,
        None if info.metadata is None else info.metadata.copy(),
        info.cache_control,
        info.content_disposition,
        info.content_encoding,
        info.version,
        info.checksum,
    )
    copy.__class__ = FileInfo
    made: FileInfo = copy
    return made


def listed_info(path: str, size: int, content_type: str, last_modified: datetime, etag: str | None) -> FileInfo:
    """A `FileInfo` as listings make them by the million.

    Its own constructor sets every field past the freezing, one call each: 1.3 microseconds. A class of the same
    slots that is not frozen takes 0.5, and an object may change to a class of its own layout.
    """
    info = _Unfrozen(path, size, content_type, last_modified, None, etag)
    info.__class__ = FileInfo
    made: FileInfo = info
    return made


@dataclass(frozen=True)  # without slots: lexigram's documentation unpacks ``options.__dict__``
class UploadOptions:
    """How an object is written. Every option is applied or refused, never dropped.

    Attributes:
        content_type: MIME type; guessed from the path's suffix when missing.
        public: Ask for an object that anybody can read; refused where the backend is not declared public.
        metadata: The caller's own pairs; names are lower-cased, as every service compares them so.
        cache_control: ``Cache-Control`` to answer downloads with.
        content_disposition: ``Content-Disposition`` to answer downloads with.
        content_encoding: ``Content-Encoding`` that the bytes have already.
        storage_class: The service's own name of a storage class.
        if_not_exists: Write only when nothing is at the path.
        if_match: Write only over the version with this etag.
        checksum: ``algorithm:base64`` of the whole content; a mismatch is refused and nothing becomes visible.
        tags: The service's object tags.
    """

    content_type: str | None = None
    public: bool = False
    metadata: Mapping[str, str] | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    storage_class: str | None = None
    if_not_exists: bool = False
    if_match: str | None = None
    checksum: str | None = None
    tags: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.metadata:
            lower = {name.lower(): value for name, value in self.metadata.items()}
            if len(lower) != len(self.metadata):
                raise ValueError("metadata has names that differ only in upper and lower case")
            object.__setattr__(self, "metadata", lower)


def with_checksum(options: UploadOptions, checksum: str) -> UploadOptions:
    """The same options with this checksum; ten times as fast as `dataclasses.replace`, as every object needs it."""
    made = object.__new__(UploadOptions)
    made.__dict__.update(options.__dict__, checksum=checksum)
    return made


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """What became of one path of a batch.

    Attributes:
        path: The path, as it was given.
        error: Why it was not deleted; None when nothing is there any more.
    """

    path: str
    error: StorageError | None = None


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """A multipart upload that was begun and neither completed nor aborted. Its parts take room and are invisible.

    Attributes:
        path: Where it was to be written; empty where only its parts are left to tell of it (local).
        upload_id: The service's name of it.
        started_at: Aware UTC time; where the service does not keep it, of the last part.
    """

    path: str
    upload_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """One page of a listing.

    Attributes:
        objects: In the order of their paths' UTF-8 bytes.
        prefixes: Common prefixes up to the delimiter, when one was given.
        cursor: Opaque; give it back for the next page. None on the last page.
    """

    objects: tuple[FileInfo, ...] = ()
    prefixes: tuple[str, ...] = ()
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that its holder may send once or many times until it expires.

    The signature is a secret: the URL is left out of the repr.

    Attributes:
        method: HTTP method that the signature covers.
        url: Absolute URL.
        expires_at: Aware UTC time.
        headers: Headers that must be sent exactly as given.
        fields: Form fields of a POST upload; None for the other methods.
    """

    method: str
    url: str = field(repr=False)
    expires_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] | None = field(default=None, repr=False)
