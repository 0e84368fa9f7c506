"""The interface that applications are typed against; signatures as in lexigram-contracts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.health import HealthCheckResult
    from runtime.models import FileInfo, Uploadable, UploadOptions


@runtime_checkable
class BlobStoreProtocol(Protocol):
    """One named backend, whichever service it is on."""

    async def upload(
        self, path: str, data: Uploadable, content_type: UploadOptions | str | None = None, **options: Any
    ) -> FileInfo:
        """Write one object, all or nothing."""
        ...

    async def download(self, path: str) -> bytes:
        """Read one object whole."""
        ...

    def stream(self, path: str, chunk_size: int = 8192) -> AsyncIterator[bytes]:
        """Read one object in chunks of *chunk_size* bytes (the last may be shorter)."""
        ...

    async def delete(self, path: str) -> None:
        """Remove one object; a missing one is no error."""
        ...

    async def exists(self, path: str) -> bool:
        """Whether an object is at *path*."""
        ...

    async def info(self, path: str) -> FileInfo:
        """What the service knows of one object."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[FileInfo]:
        """Every object whose path starts with the string *prefix*, in order."""
        ...

    async def get_url(self, path: str) -> str:
        """The object's unsigned URL; it grants nothing."""
        ...

    async def get_presigned_url(
        self, path: str, expires_in: timedelta = timedelta(hours=1), method: str = "GET"
    ) -> str:
        """A URL that lets its holder GET or PUT one object until it expires."""
        ...

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:  # noqa: ASYNC109 - the seed's signature
        """Whether the bucket answers, within *timeout* seconds."""
        ...
