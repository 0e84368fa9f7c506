from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.config import NamedStorageConfig, StorageMemoryConfig
from runtime.drivers.memory import driver_class
from runtime.store import BlobStore
from runtime.testing.conformance import BlobStoreConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestMemory(BlobStoreConformance):
    keeps_objects_in_this_process = True

    @pytest.fixture
    async def store(self) -> AsyncIterator[BlobStore]:
        backend = NamedStorageConfig(name="memory", driver="memory", memory=StorageMemoryConfig())
        async with BlobStore(backend, driver_class(backend)) as store:
            yield store

    async def leftovers(self, store: BlobStore) -> list[str]:
        return [] if (await store.describe())["open_uploads"] == 0 else ["an open upload"]
