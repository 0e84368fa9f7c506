"""Emptying buckets for good, on the servers, seen by the clouds' own clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import runtime
from runtime.config import StorageConfig
from runtime.errors import ConfigError, StorageError
from runtime.models import UploadOptions
from runtime.purging import Contents, contents, purge
from tests.places import place

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory

pytestmark = pytest.mark.anyio

OPTIONS = UploadOptions(content_type="text/plain")


@pytest.mark.parametrize("kind", ["memory", "local", "ministack", "versitygw-auto", "fake-gcs-server", "azurite"])
async def test_everything_goes_and_is_told(kind: str, server: ServerFactory, tmp_path: Path) -> None:
    config = StorageConfig(backends=(place(server, kind, tmp_path),))
    async with runtime.open_storage(config) as storage:
        store = storage.primary
        for number in range(23):
            await store.upload(f"a/{number}", b"x" * 10)
        upload_id = await store.driver.start_multipart("unfinished", OPTIONS)
        await store.driver.put_part("unfinished", upload_id, 1, [b"x" * 100])
        uploads = int(store.capabilities.list_multiparts)
        assert await contents(store) == Contents(23, 230, uploads=uploads)
        some = await contents(store, most=5)
        assert not some.complete
        told: list[int] = []
        assert await purge(store, lambda done: told.append(done.objects)) == Contents(23, 230, uploads=uploads)
        assert told[-1] == 23
        assert not await contents(store)
        assert await purge(store) == Contents(), "a second one finds nothing"


async def test_former_versions_of_s3_go_too(server: ServerFactory, tmp_path: Path) -> None:
    config = StorageConfig(backends=(place(server, "ministack", tmp_path),))
    async with runtime.open_storage(config) as storage:
        store, bucket = storage.primary, storage.primary.backend.settings.bucket
        raw: Any = store.raw
        await raw.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for number in range(3):
            await store.upload("a", b"x" * number)
        await store.upload("b", b"deleted")
        await store.delete("b")
        assert await contents(store) == Contents(1, 2, versions=4, versions_size=8)
        assert (await purge(store)).versions == 4
        answer = await raw.list_object_versions(Bucket=bucket)
        assert not answer.get("Versions")
        assert not answer.get("DeleteMarkers")
        await raw.delete_bucket(Bucket=bucket)
        with pytest.raises(StorageError):
            await purge(store)


async def test_snapshots_of_azure_go_too(server: ServerFactory, tmp_path: Path) -> None:
    config = StorageConfig(backends=(place(server, "azurite", tmp_path),))
    async with runtime.open_storage(config) as storage:
        store = storage.primary
        await store.upload("a", b"first")
        raw: Any = store.raw
        container = raw.get_container_client(store.backend.settings.container)
        await container.get_blob_client("a").create_snapshot()
        await purge(store)
        assert [blob.name async for blob in container.list_blobs(include=["snapshots"])] == []


async def test_backend_that_falls_back_is_refused(server: ServerFactory, tmp_path: Path) -> None:
    """Its deletes would go to the other backend too."""
    old, new = place(server, "memory", tmp_path, "old"), place(server, "memory", tmp_path, "new", read_fallback="old")
    async with runtime.open_storage(StorageConfig(backends=(new, old))) as storage:
        await storage["old"].upload("a", b"kept")
        with pytest.raises(ConfigError, match="falls back to 'old'"):
            await purge(storage["new"])
        assert await storage["old"].exists("a")
