from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.config import NamedStorageConfig, StorageLocalConfig
from runtime.drivers.local import driver_class
from runtime.store import BlobStore
from runtime.testing.conformance import BlobStoreConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def open_local(root: Path) -> BlobStore:
    backend = NamedStorageConfig(name="files", driver="local", local=StorageLocalConfig(root_dir=str(root)))
    return BlobStore(backend, driver_class(backend))


def unfinished(root: Path) -> list[str]:
    folder = root / ".tandem/temporary"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


class TestLocal(BlobStoreConformance):
    creates_missing_bucket = True

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[BlobStore]:
        root = tmp_path / "root"
        root.mkdir()
        (root / ".gitkeep").touch()
        async with open_local(root) as store:
            yield store

    async def leftovers(self, store: BlobStore) -> list[str]:
        return unfinished(store.raw)
