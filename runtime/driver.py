"""What a driver is: the page that the author of a driver reads.

A driver does one service's calls and says what that service's errors mean. Everything that is the
same on every service is in `runtime.store.BlobStore`, once: checking paths, guessing content types,
turning any kind of input into parts, limits, error messages and hooks. So a driver

* gets paths that are already checked (or come from its own listing) and passes them on byte for byte;
* raises whatever its SDK raises, and classifies it in `Driver.error_type`;
* is constructed with the whole `NamedStorageConfig` and reads every field of its own model (a test checks);
* declares in `capabilities` what it can do; the portable type refuses the rest before any I/O;
* lives in ``runtime/drivers/<name>.py``, or in a package ``runtime/drivers/<name>/`` when it has parts; either has
  ``driver_class = <Name>Driver``. The name is the registration; names that begin with ``_`` are what drivers share.
  A driver of another distribution registers the same class under the entry-point group
  ``lexigram.storage.backends``.

Prove it with `runtime.testing.conformance.BlobStoreConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from runtime.live import LiveSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
    from datetime import timedelta

    from runtime.config import NamedStorageConfig
    from runtime.errors import StorageError
    from runtime.models import FileInfo, ObjectPage, PresignedRequest, UnfinishedUpload, UploadOptions

Bytes = bytes | bytearray | memoryview

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can do. An option that is not declared here is refused before any I/O.

    Attributes:
        presign: HTTP methods that can be signed.
        public: Whether a backend declared public answers unsigned GETs at `Driver.url`.
        if_not_exists: Whether a write can demand an empty path, atomically, at any size.
        if_match: Whether a write can demand an etag, atomically, at any size.
        delete_if_match: Whether a delete can demand an etag, atomically.
        copy_if_not_exists: Whether a copy can demand an empty destination, atomically, at any size.
        copy_if_match: Whether a copy can demand an etag of its destination, atomically, at any size.
        storage_class: Whether `UploadOptions.storage_class` is honoured.
        tags: Whether `UploadOptions.tags` is honoured.
        checksums: Algorithms that the service itself is told and verifies, or that it keeps with the object. (A
            caller's checksum of any of the six is verified by the portable type, before anything is visible.)
        min_part_size: Bytes that every part but the last must have.
        max_part_size: Bytes that no part may exceed.
        max_parts: Parts that one object may have.
        parallel_parts: Whether parts may be sent in any order, several at once.
        equal_parts: Whether all parts but the last must have the same size (R2).
        list_multiparts: Whether the service tells of multipart uploads that were never finished. Google has no list
            of its sessions, Azure none of what was staged for whom; both throw it away after a week.
    """

    presign: frozenset[str] = frozenset()
    public: bool = False
    if_not_exists: bool = False
    if_match: bool = False
    delete_if_match: bool = False
    copy_if_not_exists: bool = False
    copy_if_match: bool = False
    storage_class: bool = False
    tags: bool = False
    checksums: frozenset[str] = frozenset()
    min_part_size: int = 1
    max_part_size: int = 5 * 1024 * MIB
    max_parts: int = 10_000
    parallel_parts: bool = True
    equal_parts: bool = False
    list_multiparts: bool = False


class ByteRange(NamedTuple):
    """Bytes *start* up to but not including *end* of an object; *end* None means to its end."""

    start: int
    end: int | None = None


class ObjectReader(ABC):
    """One object being read. The connection is given back when it is exhausted or closed.

    Attributes:
        info: What the service says of the whole object, also when a range is read. When all of the object is read,
            the portable type holds its bytes against ``info.checksum``: None where the service's is not one of all
            the bytes as they are stored.
    """

    info: FileInfo

    @abstractmethod
    async def read(self) -> bytes:
        """The bytes of the requested range, whole."""

    @abstractmethod
    def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        """The same bytes in pieces as the service delivers them, about *size_hint* bytes each.

        Holds no more than a few pieces in memory. The portable type cuts them to the caller's size.
        """

    async def aclose(self) -> None:  # noqa: B027 - most readers have nothing to give back
        """Give the connection back when the rest is not wanted."""


@dataclass(frozen=True, slots=True)
class DeleteFailure:
    """Why one path of a batch was not deleted."""

    path: str
    error: Exception = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One thing that a bucket keeps: an object, a former version of one, or the mark that one was deleted.

    Attributes:
        path: Of the object.
        size: Bytes.
        current: Whether readers see it.
        id: The service's name of the version; None where the path says all.
    """

    path: str
    size: int
    current: bool = True
    id: Any = None


class Driver(ABC):
    """One service, for one backend.

    Args:
        backend: The whole entry of the contract; ``backend.settings`` is the driver's own model.
    """

    capabilities: Capabilities
    repeats: ClassVar[bool] = False
    """Whether the driver itself repeats what failed, as ``backend.retry`` says; otherwise the portable type does."""
    own_checksum: str | None = None
    """The checksum that the portable type computes of every object and hands over in ``UploadOptions.checksum``, as
    ``backend.transfer.checksum`` says (`runtime.checksums.own_algorithm`); None for none."""
    parts_linger: bool = False
    """Whether a part whose sending was given up may still arrive, and bring back an upload that was aborted."""
    page_size: ClassVar[int] = 1000
    """Objects that a listing asks for at once. Services give 1,000; where a page costs a walk, more are cheaper."""
    timed: ClassVar[bool] = False
    """Whether the driver itself gives up what does not answer, as ``backend.limits.attempt_timeout`` says (or its
    calls can not hang, or can not be given up); otherwise the portable type does."""
    hides_missing: ClassVar[bool] = False
    """Whether the service tells "not allowed" of an object that is not there to who may not list."""
    replaces_by_deleting: ClassVar[bool] = False
    """Whether who replaces an object has to be allowed to delete it."""

    def __init__(self, backend: NamedStorageConfig) -> None:
        self.backend = backend

    async def open(self) -> None:  # noqa: B027 - a driver without clients has nothing to open
        """Make the clients. Called once, before any other call; does no I/O that can be put off."""

    async def close(self) -> None:  # noqa: B027 - a driver without clients has nothing to close
        """Close the clients. Called once; no session, socket or file may be left."""

    @property
    def raw(self) -> Any:
        """The service's own client, for what this package does not cover."""
        return None

    # reading

    @abstractmethod
    async def head(self, path: str) -> FileInfo:
        """All that the service knows of one object; an error of the kind NotFoundError when it is not there."""

    @abstractmethod
    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        """Begin to read one object. A range that begins behind the end gives no bytes, as an empty object does."""

    async def get_more(self, path: str, byte_range: ByteRange, known: FileInfo) -> ObjectReader:  # noqa: ARG002 - most have one version of an object
        """Begin to read another range of an object whose version is *known*, for who read a first one.

        As `get`, which most services know no better than: the portable type refuses what is of another version.
        """
        return await self.get(path, byte_range)

    async def content(self, path: str, byte_range: ByteRange | None = None) -> bytes | None:  # noqa: ARG002 - as above
        """The same bytes at once, for a caller who asks for nothing else: where that is cheaper than `get`.

        None says nothing but that `get` has to be asked. A whole object was held against the checksum that the
        service tells.
        """
        return None

    @abstractmethod
    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        """One page of the objects whose path starts with the string *prefix*, in the order of their UTF-8 bytes.

        Args:
            prefix: Any string; not a folder.
            delimiter: Paths that hold it after the prefix are rolled up into ``ObjectPage.prefixes``.
            start_after: Only paths that sort after this one.
            cursor: ``ObjectPage.cursor`` of the page before, with the other arguments unchanged.
            limit: At most so many objects and prefixes, 1 to 1,000.
        """

    # writing

    @abstractmethod
    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        """Write a whole object in one call.

        ``options.content_type`` is always set. ``options.checksum``, where it is set, was computed of *data* or held
        against it: tell the service, when ``capabilities.checksums`` has its algorithm.
        """

    @abstractmethod
    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        """Begin an object that is sent in parts; nothing is visible until it is completed. Gives the upload's id.

        ``options.checksum`` is the caller's here, so it is not verified yet.
        """

    @abstractmethod
    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        """Send part *number* (from 1). Gives the token that `complete_multipart` needs for it.

        *data* are the buffers that the part came in, one after the other: at least one, none empty, and none changes
        any more, so that they can be sent again. A service that wants one has ``b"".join(data)``.

        *checksum* is the part's own, in the algorithm `own_checksum` where that is a CRC.
        """

    @abstractmethod
    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        """Make the object visible: *parts* are the tokens in order, *size* the bytes of all parts together.

        ``options.checksum``, where it is set, is true of the whole: in the algorithm `own_checksum` where there is
        one, else the caller's.
        """

    @abstractmethod
    async def abort_multipart(self, path: str, upload_id: str) -> None:
        """Throw the parts away. Succeeds when there is nothing to throw away any more."""

    async def list_multiparts(self, prefix: str) -> Sequence[UnfinishedUpload]:  # noqa: ARG002 - most services have none
        """Every multipart upload below the string *prefix* that was begun and neither completed nor aborted.

        None where the service does not tell of them and throws them away by itself.
        """
        return ()

    @abstractmethod
    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        """Remove one object; succeeds when it is not there, unless *if_match* asks for a version."""

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        """Remove at most 1,000 objects and tell which could not be."""
        failures = []
        for path in paths:
            try:
                await self.delete(path)
            except Exception as exc:  # noqa: BLE001 - handed on: the portable type classifies it for this path
                failures.append(DeleteFailure(path, exc))
        return failures

    async def versions(self) -> AsyncGenerator[Sequence[StoredVersion], None]:
        """Everything that the bucket keeps, up to 1,000 at a time; nothing that is given is empty.

        Where the service keeps former versions the driver lists them too; here, only objects.
        """
        cursor = None
        while True:
            page = await self.list_objects("", cursor=cursor)
            if page.objects:
                yield [StoredVersion(info.path, info.size) for info in page.objects]
            if (cursor := page.cursor) is None:
                return

    async def remove_versions(self, versions: Sequence[StoredVersion]) -> Sequence[DeleteFailure]:
        """Remove for good what `versions` gave, and tell which could not be."""
        return await self.delete_batch([version.path for version in versions])

    @abstractmethod
    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        """Copy inside the bucket without the bytes passing through here; keeps every attribute.

        The conditions are on what is at *destination*, as those of a write.
        """

    # addresses

    @abstractmethod
    def url(self, path: str) -> str:
        """The object's canonical unsigned URL."""

    @abstractmethod
    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        """Sign one request; *method* is one of ``capabilities.presign``."""

    # state and errors

    @abstractmethod
    async def check(self) -> Mapping[str, Any]:
        """Ask the service for the bucket; raises when it can not be used. Gives facts for the health report."""

    async def live_settings(self) -> LiveSettings:
        """The bucket's settings as they are now; what the service can not say, or may not, is left out with the reason.

        Raises only when the bucket can not be asked at all.
        """
        return LiveSettings()

    @abstractmethod
    def error_type(self, error: Exception) -> type[StorageError] | None:
        """The kind of an error that this driver raised, by status and code; None for a bug, which is not an answer."""

    def error_detail(self, error: Exception) -> str | None:  # noqa: ARG002 - most errors have no code
        """Status and code of an error (``404 NoSuchKey``), for its message; never a URL, a header or free text."""
        return None

    def retry_after(self, error: Exception) -> float | None:  # noqa: ARG002 - most errors do not say
        """Seconds that the service asks to wait before the next attempt (``Retry-After``), where *error* says so."""
        return None
