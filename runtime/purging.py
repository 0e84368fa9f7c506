"""Empties a bucket for good: objects, former versions and snapshots, and uploads that were never finished.

``tandem purge`` asks before it calls this; nothing else in this package removes what was not named one by one. It may
be interrupted and repeated. What the service itself keeps for a while (soft delete) can still be restored there.
"""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from runtime.errors import ConfigError, StorageError
from runtime.operation import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runtime.driver import StoredVersion
    from runtime.store import BlobStore


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

    def add(self, versions: Iterable[StoredVersion]) -> None:
        """Count some more."""
        for entry in versions:
            if entry.current:
                self.objects, self.size = self.objects + 1, self.size + entry.size
            else:
                self.versions, self.versions_size = self.versions + 1, self.versions_size + entry.size


async def contents(store: BlobStore, *, most: int | None = None) -> Contents:
    """Count what is in the bucket of an opened backend.

    Args:
        store: The backend.
        most: Stop after about so many objects and versions; then `Contents.complete` is false.
    """
    _demand_no_fallback(store)
    found = Contents(uploads=len(await store.sweep(older_than=timedelta(0), dry_run=True)))
    with _explained(store):
        async with aclosing(store.driver.versions()) as pages:
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
    while True:  # what was listed is removed before more is listed, so that no service can lose its place
        with _explained(store):
            async with aclosing(store.driver.versions()) as pages:
                page = await anext(pages, None)
            if not page:
                return done
            for failure in await store.driver.remove_versions(page):
                error = translated(failure.error, store.driver, store.name, "purge", failure.path)
                raise error from (None if error is failure.error else failure.error)
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
