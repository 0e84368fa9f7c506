"""The promise of `update` at full size: 32 workers, 50 increments each, and not one lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.config import NamedStorageConfig, StorageLocalConfig, StorageMemoryConfig
from runtime.drivers.local import LocalDriver
from runtime.drivers.memory import MemoryDriver
from runtime.store import BlobStore

if TYPE_CHECKING:
    from pathlib import Path

WORKERS, INCREMENTS = 32, 50


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("driver", ["memory", "local"])
async def test_32_workers_with_50_increments_each_end_at_exactly_1600(driver: str, tmp_path: Path) -> None:
    backend = (
        NamedStorageConfig(name="counters", driver="memory", memory=StorageMemoryConfig())
        if driver == "memory"
        else NamedStorageConfig(name="counters", driver="local", local=StorageLocalConfig(root_dir=str(tmp_path)))
    )
    async with BlobStore(backend, (MemoryDriver if driver == "memory" else LocalDriver)(backend)) as store:

        async def count() -> None:
            for _ in range(INCREMENTS):
                await store.update("counter", lambda old: str(int(old or b"0") + 1))

        async with anyio.create_task_group() as tasks:
            for _ in range(WORKERS):
                tasks.start_soon(count)
        assert await store.download("counter") == b"1600"
