from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from runtime.config import ExpectConfig, NamedStorageConfig, StorageMemoryConfig, StorageOperationConfig, TransferConfig
from runtime.drivers.memory import MemoryDriver
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from runtime.driver import Driver
    from runtime.hooks import Hook


class StoreFactory(Protocol):
    async def __call__(
        self,
        driver_class: type[Driver] = MemoryDriver,
        *,
        part_size: int = 1000,
        concurrency: int = 3,
        service: dict[str, Any] | None = None,
        expect: dict[str, Any] | None = None,
        hooks: Iterable[Hook] = (),
    ) -> BlobStore: ...


@pytest.fixture
async def open_store() -> AsyncIterator[StoreFactory]:
    async with AsyncExitStack() as opened:

        async def make(
            driver_class: type[Driver] = MemoryDriver,
            *,
            part_size: int = 1000,
            concurrency: int = 3,
            service: dict[str, Any] | None = None,
            expect: dict[str, Any] | None = None,
            hooks: Iterable[Hook] = (),
        ) -> BlobStore:
            backend = NamedStorageConfig(
                name="avatars",
                driver="memory",
                memory=StorageMemoryConfig(),
                transfer=TransferConfig.model_construct(part_size=part_size, concurrency=concurrency),
                expect=ExpectConfig(**expect) if expect else None,
            )
            limits = StorageOperationConfig(**service) if service else None
            store = BlobStore(backend, driver_class(backend), service=limits, hooks=hooks)
            return await opened.enter_async_context(store)

        yield make


@pytest.fixture
async def store(open_store: StoreFactory) -> BlobStore:
    return await open_store()
