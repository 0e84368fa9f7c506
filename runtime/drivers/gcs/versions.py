"""Generations of Google Cloud Storage: what a bucket keeps of every object, and its removal for good.

Source:
    https://cloud.google.com/storage/docs/object-versioning
"""

from __future__ import annotations

from asyncio import to_thread
from typing import TYPE_CHECKING, Any

from runtime.driver import StoredVersion

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_PAGE = 1000


async def version_pages(raw: Any, bucket: str) -> AsyncGenerator[list[StoredVersion], None]:
    """Every generation; *raw* is the official client, which blocks."""
    iterator = await to_thread(lambda: raw.list_blobs(bucket, versions=True, page_size=_PAGE).pages)
    while (page := await to_thread(next, iterator, None)) is not None:
        found = [StoredVersion(blob.name, blob.size or 0, blob.time_deleted is None, blob.generation) for blob in page]
        if found:
            yield found


async def remove_version(raw: Any, bucket: str, version: StoredVersion) -> None:
    """Remove one of them."""
    await to_thread(raw.bucket(bucket).delete_blob, version.path, generation=version.id)
