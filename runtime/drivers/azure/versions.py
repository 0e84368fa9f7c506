"""Versions and snapshots of Azure: what a container keeps of every blob, and its removal.

What soft delete keeps for a while can still be restored.

Source:
    https://learn.microsoft.com/azure/storage/blobs/versioning-overview
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.driver import StoredVersion

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_PAGE = 1000


async def version_pages(container: Any) -> AsyncGenerator[list[StoredVersion], None]:
    """Every blob and every former version; *container* is the official client's."""
    found: list[StoredVersion] = []
    async for blob in container.list_blobs(include=["snapshots", "versions"]):
        if blob.snapshot:
            continue  # goes with its blob
        current = blob.version_id is None or bool(blob.is_current_version)
        found.append(StoredVersion(blob.name, blob.size or 0, current, None if current else blob.version_id))
        if len(found) == _PAGE:
            yield found
            found = []
    if found:
        yield found


async def remove_version(container: Any, version: StoredVersion) -> None:
    """Remove one of them; a current one leaves a version, which the next listing shows."""
    if version.current:
        await container.delete_blob(version.path, delete_snapshots="include")
    else:
        await container.delete_blob(version.path, version_id=version.id)
