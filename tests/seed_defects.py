"""The seed system's defects, rebuilt one by one in the memory driver, to show that the suite finds them.

`tests/test_regressions.py` runs the named conformance tests on each of these classes and demands that they fail. The
numbers are those of the research on lexigram-storage, where each was seen or read.
"""

# ruff: noqa: ARG002, ASYNC109 - a defect is often that an argument of the interface is ignored

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from time import time
from typing import TYPE_CHECKING, Any

import pytest

from runtime.config import NamedStorageConfig, StorageMemoryConfig
from runtime.drivers.memory import MemoryDriver
from runtime.errors import StorageError
from runtime.models import ObjectPage, PresignedRequest, UploadOptions
from runtime.store import BlobStore
from runtime.testing.conformance import BlobStoreConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runtime.driver import ByteRange, Bytes, ObjectReader
    from runtime.health import HealthCheckResult
    from runtime.models import FileInfo


@dataclass(frozen=True)
class Defect:
    """One defect, or one part of it.

    Attributes:
        number: As in the research.
        name: Name of the class below that has it.
        tests: Conformance tests that must fail on it.
    """

    number: int
    name: str
    tests: tuple[str, ...]


DEFECTS: list[Defect] = []


def defect(number: int, *tests: str, store: type[BlobStore] = BlobStore) -> Any:
    """Make a conformance class of a driver class that has the defect."""

    def register(driver: type[MemoryDriver]) -> type[MemoryDriver]:
        name = f"Test{driver.__name__}"

        class OnDefect(BlobStoreConformance):
            @pytest.fixture
            async def store(self) -> AsyncIterator[BlobStore]:
                backend = NamedStorageConfig(name="seed", driver="memory", memory=StorageMemoryConfig())
                async with store(backend, driver(backend)) as opened:
                    yield opened

        OnDefect.__name__ = OnDefect.__qualname__ = name
        globals()[name] = OnDefect
        DEFECTS.append(Defect(number, name, tests))
        return driver

    return register


@defect(0)
class NoDefect(MemoryDriver):
    """The control: everything that fails below passes here."""


class SeedError(Exception):
    """What the seed raised where it should have answered."""


@defect(
    1,
    "test_large_bytes_are_sent_in_parts_and_read_back_whole",
    "test_iterator_of_unknown_size_is_sent_in_parts",
    "test_large_file_is_sent_in_parts",
)
class MultipartIsNeverAwaited(MemoryDriver):
    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        raise TypeError("'coroutine' object is not subscriptable")


@defect(2, "test_exists_tells_objects_from_missing_ones", "test_missing_object_raises_not_found")
class MissingIsAnyError(MemoryDriver):
    async def head(self, path: str) -> FileInfo:
        if path not in self.raw:
            raise SeedError("An error occurred (404) when calling the HeadObject operation: Not Found")
        return await super().head(path)

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return StorageError if isinstance(error, SeedError) else super().error_type(error)


@defect(3, "test_get_url_grants_nothing")
class PresignedIsUnsigned(MemoryDriver):
    capabilities = replace(MemoryDriver.capabilities, presign=frozenset({"GET", "PUT"}))

    async def presign(self, path: str, *, method: str, **options: Any) -> PresignedRequest:
        return PresignedRequest(method, self.url(path), (await self.put(path, b"", _options())).last_modified)


@defect(4, "test_exists_tells_objects_from_missing_ones")
class ExistsRaisesTheSdksError(MissingIsAnyError):
    def error_type(self, error: Exception) -> type[StorageError] | None:
        return None


@defect(4, "test_more_than_a_thousand_objects_are_listed_and_deleted", "test_every_page_size_gives_the_same_listing")
class ListEndsAfterOnePage(MemoryDriver):
    async def list_objects(self, prefix: str, **options: Any) -> ObjectPage:
        return replace(await super().list_objects(prefix, **options), cursor=None)


@defect(4, "test_all_attributes_round_trip", "test_metadata_names_are_lower_case")
class MetadataIsDropped(MemoryDriver):
    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        return await super().put(path, data, replace(options, metadata=None))


@defect(6, "test_all_attributes_round_trip")
class CacheControlIsDropped(MemoryDriver):
    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        return await super().put(path, data, replace(options, cache_control=None))


@defect(6, "test_copy_keeps_content_and_every_attribute")
class CopyReuploadsBytes(MemoryDriver):
    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        data = await (await self.get(source)).read()
        return await self.put(destination, data, _options())


@defect(6, "test_prefix_with_a_slash_does_not_match_longer_names", "test_prefix_is_a_string_and_not_a_folder")
class ListStripsTheSlash(MemoryDriver):
    async def list_objects(self, prefix: str, **options: Any) -> ObjectPage:
        return await super().list_objects(prefix.rstrip("/"), **options)


class AnyMethodIsSigned(BlobStore):
    async def get_presigned_url(self, path: Any, expires_in: Any = None, method: str = "GET") -> str:
        return f"https://seed.example/{path}?X-Amz-Signature=0&method={'GET' if method == 'GET' else 'PUT'}"


@defect(7, "test_methods_that_are_not_declared_are_refused", store=AnyMethodIsSigned)
class DeleteIsSignedAsPut(MemoryDriver):
    pass


@defect(8, "test_content_type_is_kept", "test_all_attributes_round_trip")
class AttributesAreNotPersisted(MemoryDriver):
    async def head(self, path: str) -> FileInfo:
        return replace(await super().head(path), content_type="application/octet-stream", metadata=None)


@defect(8, "test_etag_changes_when_content_of_the_same_size_does", "test_if_match_writes_only_over_the_asked_version")
class EtagIsTheSecondOfTheClock(MemoryDriver):
    async def head(self, path: str) -> FileInfo:
        return replace(await super().head(path), etag=str(int(time()) // 60))

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        await super().put(path, data, replace(options, if_match=None))
        return await self.head(path)


@defect(
    8, "test_upload_cancelled_between_parts_leaves_nothing", "test_iterator_that_raises_after_a_part_leaves_nothing"
)
class UnfinishedUploadsAreListed(MemoryDriver):
    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        await self.put(f".upload_{upload_id}.tmp", b"".join(data), _options())
        return await super().put_part(path, upload_id, number, data, checksum)


@defect(8, "test_start_of_a_path_is_no_object")
class FolderExists(MemoryDriver):
    async def head(self, path: str) -> FileInfo:
        below = [name for name in self.raw if name.startswith(f"{path}/")]
        return await super().head(below[0] if below else path)


@defect(8, "test_start_of_a_path_is_no_object")
class DownloadOfAFolderLeaksTheSystemsError(MemoryDriver):
    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        if any(name.startswith(f"{path}/") for name in self.raw):
            raise IsADirectoryError(21, "Is a directory")
        return await super().get(path, byte_range)


@defect(8, "test_prefix_is_a_string_and_not_a_folder")
class ListWalksAFolder(MemoryDriver):
    async def list_objects(self, prefix: str, **options: Any) -> ObjectPage:
        return await super().list_objects(f"{prefix.rstrip('/')}/" if prefix else "", **options)


class PathsAreTakenAsTheyAre(BlobStore):
    async def upload(self, path: str, data: Any, content_type: Any = None, **options: Any) -> FileInfo:
        return await self.driver.put(path, data, _options())


@defect(9, "test_invalid_paths_are_refused_by_every_operation", store=PathsAreTakenAsTheyAre)
class AnyStringIsAPath(MemoryDriver):
    pass


@defect(9, "test_deleting_a_missing_object_is_no_error", "test_delete_batch_answers_for_every_path_in_order")
class DeletingAMissingObjectRaises(MemoryDriver):
    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        await self.head(path)
        await super().delete(path, if_match=if_match)


@defect(11, "test_closed_backend_leaves_no_session_socket_or_file_open")
class CloseForgetsItsSession(MemoryDriver):
    async def open(self) -> None:
        self._session = socket.socket()


class TimeoutIsIgnored(BlobStore):
    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        return await super().health_check(timeout=3600)


@defect(11, "test_health_check_is_not_kept_waiting_longer_than_its_timeout", store=TimeoutIsIgnored)
class HealthTakesItsTime(MemoryDriver):
    pass


class LimitsAreNotWired(BlobStore):
    def __init__(self, backend: Any, driver: Any, **options: Any) -> None:
        super().__init__(backend, driver)


@defect(
    11,
    "test_upload_over_the_applications_size_limit_leaves_nothing",
    "test_content_type_that_the_application_does_not_allow_is_refused",
    store=LimitsAreNotWired,
)
class EverySizeIsTaken(MemoryDriver):
    pass


def _options() -> UploadOptions:
    return UploadOptions(content_type="application/octet-stream")
