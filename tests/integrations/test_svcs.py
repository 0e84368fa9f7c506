from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pytest
import svcs

import runtime
from runtime.errors import StorageUnavailableError
from runtime.injection import Named
from runtime.integrations.svcs import register
from runtime.kv import KVStoreProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG = {
    "backends": [{"name": "avatars", "driver": "memory"}, {"name": "media", "driver": "memory", "primary": True}],
    "kv": [{"name": "sessions"}, {"name": "far", "driver": "redis", "redis": {"url": "redis://127.0.0.1:1"}}],
}


@pytest.fixture
async def storage() -> AsyncIterator[runtime.Storage]:
    async with runtime.open_storage(CONFIG) as opened:
        yield opened


@pytest.fixture
def container(storage: runtime.Storage) -> svcs.Container:
    registry = svcs.Registry()
    register(registry, storage)
    return svcs.Container(registry)


async def test_stores_are_had_by_the_annotations_that_inject_them(
    container: svcs.Container, storage: runtime.Storage
) -> None:
    assert await container.aget(runtime.Storage) is storage
    assert await container.aget_abstract(runtime.BlobStoreProtocol) is storage["media"]
    assert await container.aget(runtime.BlobStore) is storage["media"]
    assert await container.aget_abstract(Annotated[runtime.BlobStoreProtocol, Named("avatars")]) is storage["avatars"]
    assert await container.aget_abstract(KVStoreProtocol) is storage.kv["sessions"]
    assert await container.aget_abstract(Annotated[KVStoreProtocol, Named("far")]) is storage.kv["far"]


async def test_an_unknown_name_is_not_found(container: svcs.Container) -> None:
    with pytest.raises(svcs.exceptions.ServiceNotFoundError):
        await container.aget_abstract(Annotated[KVStoreProtocol, Named("other")])


async def test_a_container_does_not_close_what_the_application_opened(
    container: svcs.Container, storage: runtime.Storage
) -> None:
    await container.aget(runtime.BlobStore)
    await container.aclose()
    assert not await storage["media"].exists("a")


async def test_pings_tell_which_store_does_not_answer(container: svcs.Container) -> None:
    failed = []
    for ping in container.get_pings():
        try:
            await ping.aping()
        except StorageUnavailableError as exc:
            failed.append(exc.backend)
    assert len(container.get_pings()) == 9
    assert failed == ["far"]


async def test_a_storage_that_is_not_open_can_not_be_registered() -> None:
    with pytest.raises(StorageUnavailableError, match="not open"):
        register(svcs.Registry(), runtime.open_storage(CONFIG))
