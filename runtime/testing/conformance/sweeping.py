"""Multipart uploads that were never finished."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from runtime.models import UploadOptions
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import paths_of, payload

if TYPE_CHECKING:
    from runtime.store import BlobStore


async def abandon(store: BlobStore, path: str) -> str:
    """Begin an upload, send a part, and forget it, as a killed program does; gives its id."""
    upload_id = await store.driver.start_multipart(path, UploadOptions(content_type="text/plain"))
    await store.driver.put_part(path, upload_id, 1, [payload(store.capabilities.min_part_size + 10)])
    return upload_id


class Sweeping(Suite):
    """`sweep`."""

    async def test_sweep_finds_and_aborts_what_nobody_finished(self, store: BlobStore) -> None:
        await store.upload("kept", b"kept")
        ids = [await abandon(store, "logs/ünïcödé +&.txt"), await abandon(store, "other")]
        if not store.capabilities.list_multiparts:
            assert await store.sweep(older_than=timedelta(0)) == ()
            for path, upload_id in zip(("logs/ünïcödé +&.txt", "other"), ids, strict=True):
                await store.driver.abort_multipart(path, upload_id)
            return
        soon = timedelta(seconds=-120)  # clocks of servers differ
        found = await store.sweep(prefix="logs/", older_than=soon, dry_run=True)
        assert [(upload.path, upload.upload_id) for upload in found] == [("logs/ünïcödé +&.txt", ids[0])]
        assert found[0].started_at.tzinfo is not None
        swept = await store.sweep(older_than=soon)
        assert sorted(upload.upload_id for upload in swept) == sorted(ids)
        assert await store.sweep(older_than=soon) == ()
        assert await self.leftovers(store) == []
        assert await paths_of(store) == ["kept"]
        assert await store.download("kept") == b"kept"

    async def test_sweep_spares_what_was_begun_today(self, store: BlobStore) -> None:
        upload_id = await abandon(store, "young")
        assert await store.sweep() == (), "uploads of today may be on their way"
        await store.driver.abort_multipart("young", upload_id)

    async def test_sweep_wants_a_duration(self, store: BlobStore) -> None:
        with pytest.raises(TypeError):
            await store.sweep(older_than=3600)  # type: ignore[arg-type] # a caller's slip
