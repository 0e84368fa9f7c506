"""The conformance suite on two backends that look like one: an empty old one, and one that has everything.

What only the two of them have (deletes, conditions, listings, presigned URLs) is in ``tests/runtime/test_fallback.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runtime.config import NamedStorageConfig, StorageLocalConfig, StorageMemoryConfig
from runtime.drivers.local import LocalDriver
from runtime.drivers.memory import MemoryDriver
from runtime.fallback import FallbackDriver
from runtime.placeholder import is_placeholder
from runtime.store import BlobStore
from runtime.testing.conformance import BlobStoreConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from runtime.driver import Bytes
    from runtime.models import FileInfo, UploadOptions

OLD = NamedStorageConfig(name="old", driver="memory", memory=StorageMemoryConfig())


class OverMemory(FallbackDriver):
    """Opens both, as the suite makes drivers from an entry alone."""

    kind: Any = MemoryDriver

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend, self.kind(backend), MemoryDriver(OLD))


class LocalOverMemory(OverMemory):
    kind = LocalDriver


class Settled(OverMemory):
    """Whatever was written is, one step later, in the old backend only: nothing but fallbacks is ever read."""

    def _settle(self, path: str) -> None:
        new, old = self.new, self.old
        assert isinstance(new, MemoryDriver)
        assert isinstance(old, MemoryDriver)
        stored = new._objects.get(path)
        if stored is not None and not is_placeholder(stored.info):
            old._store(path, new._objects.pop(path))
            new._sorted = None

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        info = await super().put(path, data, options)
        self._settle(path)
        return info

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        info = await super().complete_multipart(path, upload_id, parts, size, options)
        self._settle(path)
        return info

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        info = await super().copy(source, destination, if_not_exists=if_not_exists, if_match=if_match)
        self._settle(destination)
        return info


def memory_backend() -> NamedStorageConfig:
    return NamedStorageConfig(name="memory", driver="memory", memory=StorageMemoryConfig(), read_fallback="old")


class TestMemoryOverMemory(BlobStoreConformance):
    keeps_objects_in_this_process = True

    @pytest.fixture
    async def store(self) -> AsyncIterator[BlobStore]:
        backend = memory_backend()
        async with BlobStore(backend, OverMemory(backend)) as store:
            yield store


class TestLocalOverMemory(BlobStoreConformance):
    creates_missing_bucket = True

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[BlobStore]:
        (tmp_path / "root").mkdir()
        local = StorageLocalConfig(root_dir=str(tmp_path / "root"))
        backend = NamedStorageConfig(name="files", driver="local", local=local, read_fallback="old")
        async with BlobStore(backend, LocalOverMemory(backend)) as store:
            yield store


class TestEverythingIsOld(BlobStoreConformance):
    keeps_objects_in_this_process = True

    @pytest.fixture
    async def store(self) -> AsyncIterator[BlobStore]:
        backend = memory_backend()
        async with BlobStore(backend, Settled(backend)) as store:
            yield store
