"""The driver ``toy_protocol``: an object with the methods of BlobStoreProtocol and nothing more.

It imports nothing of Tandem, as the driver of a lexigram plug-in would not; its values are its own.

    - {name: plain, driver: toy_protocol, toy_protocol: {greeting: hello}}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True)
class FileInfo:
    path: str
    size: int
    content_type: str
    last_modified: datetime
    created_at: datetime | None = None
    etag: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True)
class Health:
    component: str
    status: str = "healthy"
    details: dict[str, Any] = field(default_factory=dict)

    def is_healthy(self) -> bool:
        return self.status == "healthy"


class PlainStore:
    def __init__(self, name: str, greeting: str) -> None:
        self._name = name
        self._greeting = greeting
        self._objects: dict[str, tuple[bytes, FileInfo]] = {}

    async def upload(self, path: str, data: Any, content_type: Any = None, **options: Any) -> FileInfo:
        content = data if isinstance(data, bytes) else str(data).encode()
        kind = content_type or "application/octet-stream"
        info = FileInfo(path, len(content), kind, datetime.now(UTC), metadata=options.get("metadata"))
        self._objects[path] = (content, info)
        return info

    async def download(self, path: str) -> bytes:
        return self._objects[path][0]

    async def stream(self, path: str, chunk_size: int = 8192) -> AsyncIterator[bytes]:
        content = self._objects[path][0]
        for begin in range(0, len(content), chunk_size):
            yield content[begin : begin + chunk_size]

    async def delete(self, path: str) -> None:
        self._objects.pop(path, None)

    async def exists(self, path: str) -> bool:
        return path in self._objects

    async def info(self, path: str) -> FileInfo:
        return self._objects[path][1]

    async def list(self, prefix: str = "") -> AsyncIterator[FileInfo]:
        for path in sorted(self._objects):
            if path.startswith(prefix):
                yield self._objects[path][1]

    async def get_url(self, path: str) -> str:
        return f"plain:{path}"

    async def get_presigned_url(
        self, path: str, expires_in: timedelta = timedelta(hours=1), method: str = "GET"
    ) -> str:
        return f"plain:{path}?for={expires_in.total_seconds():g}&method={method}"

    async def health_check(self, timeout: float = 5.0) -> Health:  # noqa: ASYNC109 - the protocol's
        return Health(self._name, details={"greeting": self._greeting, "timeout": timeout})


def open_store(config: Any) -> PlainStore:
    """What the entry point names: called with the backend's entry of the contract."""
    return PlainStore(config.name, config.settings["greeting"])
