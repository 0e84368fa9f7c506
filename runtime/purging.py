"""Empties a bucket for good: objects, former versions and snapshots, and uploads that were never finished.

``tandem purge`` asks before it calls this; nothing else in this package removes what was not named one by one. It may
be interrupted and repeated. What the service itself keeps for a while (soft delete) can still be restored there.
"""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.to_thread import run_sync

from runtime.errors import ConfigError, PermissionDeniedError, StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence

    from runtime.models import FileInfo
    from runtime.store import BlobStore

PAGE: Final = 1000
"""Entries of one step: what every service lists and deletes at once."""

AT_ONCE: Final = 16
"""Deletions in flight, where a service takes one at a time."""


@dataclass(slots=True)
class Contents:
    """What is in a bucket, or was removed from it.

    Attributes:
        objects: Objects.
        size: Their bytes.
        versions: Former versions, snapshots and deletion markers.
        versions_size: Their bytes.
        uploads: Multipart uploads that were begun and not finished.
        complete: Whether everything was counted.
    """

    objects: int = 0
    size: int = 0
    versions: int = 0
    versions_size: int = 0
    uploads: int = 0
    complete: bool = True

    def __bool__(self) -> bool:
        return bool(self.objects or self.versions or self.uploads)

    def add(self, entries: Iterable[_Entry]) -> None:
        """Count some more."""
        for entry in entries:
            if entry.current:
                self.objects, self.size = self.objects + 1, self.size + entry.size
            else:
                self.versions, self.versions_size = self.versions + 1, self.versions_size + entry.size


@dataclass(frozen=True, slots=True)
class _Entry:
    """One thing to remove.

    Attributes:
        path: Of the object.
        size: Bytes.
        current: Whether readers see it; otherwise it is a former version.
        id: The service's name of the version; None where the path says all.
        listed: What the listing said, for a driver without versions.
    """

    path: str
    size: int
    current: bool = True
    id: Any = None
    listed: FileInfo | None = None


async def contents(store: BlobStore, *, most: int | None = None) -> Contents:
    """Count what is in the bucket of an opened backend.

    Args:
        store: The backend.
        most: Stop after about so many objects and versions; then `Contents.complete` is false.
    """
    _demand_no_fallback(store)
    found = Contents(uploads=len(await store.sweep(older_than=timedelta(0), dry_run=True)))
    with _explained(store):
        async with aclosing(_Everything(store).pages()) as pages:
            async for page in pages:
                found.add(page)
                if most is not None and found.objects + found.versions >= most:
                    found.complete = False
                    break
    return found


async def purge(store: BlobStore, on_progress: Callable[[Contents], object] | None = None) -> Contents:
    """Remove everything that is in the bucket of an opened backend, and give what was removed.

    Args:
        store: The backend.
        on_progress: Told what was removed so far, now and then.

    Raises:
        StorageError: something could not be removed; what was is gone.
    """
    _demand_no_fallback(store)
    done = Contents(uploads=len(await store.sweep(older_than=timedelta(0))))
    everything = _Everything(store)
    while True:  # what was listed is removed before more is listed, so that no service can lose its place
        with _explained(store):
            async with aclosing(everything.pages()) as pages:
                page = await anext(pages, None)
            if not page:
                return done
            await everything.remove(page)
        done.add(page)
        if on_progress is not None:
            on_progress(done)


@contextmanager
def _explained(store: BlobStore) -> Iterator[None]:
    """Errors of the services' own clients by class and code: their texts may hold addresses with signatures."""
    try:
        yield
    except StorageError:
        raise
    except Exception as exc:
        response = getattr(exc, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        code = code or getattr(exc, "error_code", None) or getattr(exc, "code", None)
        if code is None:
            raise  # no answer of a service: a bug, or the network's
        text = f"the service refused: {type(exc).__name__} {code}"
        raise StorageError(text, backend=store.name, operation="purge") from exc


def _demand_no_fallback(store: BlobStore) -> None:
    if store.backend.read_fallback is not None:
        raise ConfigError(
            f"the backend falls back to {store.backend.read_fallback!r}, where its deletes would go too",
            backend=store.name,
            hint="finish `tandem migrate`, or remove read_fallback from the stack's file",
        )


class _Everything:
    """What is in one bucket, as its service lists and removes it with versions."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        driver = store.backend.driver
        self._pages = {"s3": self._s3, "gcs": self._gcs, "azure": self._azure}.get(driver, self._plain)
        self._remove = {"s3": self._s3_remove, "gcs": self._gcs_remove, "azure": self._azure_remove}.get(
            driver, self._plain_remove
        )

    def pages(self) -> AsyncGenerator[list[_Entry], None]:
        """Everything, up to `PAGE` entries at a time; no page is empty."""
        return self._pages()

    async def remove(self, entries: Sequence[_Entry]) -> None:
        """Remove what a page listed."""
        await self._remove(entries)

    # services without versions

    async def _plain(self) -> AsyncGenerator[list[_Entry], None]:
        cursor = None
        while True:
            page = await self._store.list_page(limit=PAGE, cursor=cursor)
            if page.objects:
                yield [_Entry(info.path, info.size, listed=info) for info in page.objects]
            if (cursor := page.cursor) is None:
                return

    async def _plain_remove(self, entries: Sequence[_Entry]) -> None:
        results = await self._store.delete_batch([entry.listed or entry.path for entry in entries])
        for result in results:
            if result.error is not None:
                raise result.error

    # S3

    async def _s3(self) -> AsyncGenerator[list[_Entry], None]:
        marks: dict[str, str] = {}
        while True:
            answer = await self._raw.list_object_versions(Bucket=self._bucket, MaxKeys=PAGE, **marks)
            page = [
                _Entry(found["Key"], found.get("Size", 0), "Size" in found and found["IsLatest"], found["VersionId"])
                for found in [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
            ]
            if page:
                yield page
            if not answer.get("IsTruncated"):
                return
            marks = {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer.get("NextVersionIdMarker", "")}

    async def _s3_remove(self, entries: Sequence[_Entry]) -> None:
        objects = [{"Key": entry.path, "VersionId": entry.id} for entry in entries]
        answer = await self._raw.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", ()):
            kind = PermissionDeniedError if error["Code"] == "AccessDenied" else StorageError
            raise kind(f"a version can not be deleted: {error['Code']}", backend=self._store.name, path=error["Key"])

    # Google Cloud Storage

    async def _gcs(self) -> AsyncGenerator[list[_Entry], None]:
        iterator = await run_sync(
            lambda: self._raw.list_blobs(self._bucket, versions=True, page_size=PAGE, fields=None).pages
        )
        while (page := await run_sync(lambda: next(iterator, None))) is not None:
            entries = [_Entry(blob.name, blob.size or 0, blob.time_deleted is None, blob.generation) for blob in page]
            if entries:
                yield entries

    async def _gcs_remove(self, entries: Sequence[_Entry]) -> None:
        bucket = self._raw.bucket(self._bucket)
        await _each(entries, lambda entry: run_sync(lambda: bucket.delete_blob(entry.path, generation=entry.id)))

    # Azure Blob Storage

    async def _azure(self) -> AsyncGenerator[list[_Entry], None]:
        container = self._raw.get_container_client(self._bucket)
        found: list[_Entry] = []
        async for blob in container.list_blobs(include=["snapshots", "versions"]):
            if blob.snapshot:
                continue  # goes with its blob
            current = blob.version_id is None or bool(blob.is_current_version)
            found.append(_Entry(blob.name, blob.size or 0, current, None if current else blob.version_id))
            if len(found) == PAGE:
                yield found
                found = []
        if found:
            yield found

    async def _azure_remove(self, entries: Sequence[_Entry]) -> None:
        container = self._raw.get_container_client(self._bucket)
        # a blob before its versions: deleting it makes one more, which the next listing shows
        await _each([entry for entry in entries if entry.current], lambda entry: _gone(container, entry.path))
        versions = [entry for entry in entries if not entry.current]
        await _each(versions, lambda entry: container.delete_blob(entry.path, version_id=entry.id))

    @property
    def _raw(self) -> Any:
        return self._store.raw

    @property
    def _bucket(self) -> str:
        settings = self._store.backend.settings
        return str(getattr(settings, "bucket", None) or settings.container)


async def _gone(container: Any, path: str) -> None:
    await container.delete_blob(path, delete_snapshots="include")


async def _each(entries: Sequence[_Entry], remove: Callable[[_Entry], Any]) -> None:
    """Call *remove* for each, several at once; the first failure is raised, without the group around it."""
    failures: list[Exception] = []
    slots = anyio.Semaphore(AT_ONCE)

    async def one(entry: _Entry) -> None:
        async with slots:
            try:
                await remove(entry)
            except Exception as exc:  # noqa: BLE001 - raised below
                failures.append(exc)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for entry in entries:
            tasks.start_soon(one, entry)
    if failures:
        raise failures[0]
