"""Uploads that are interrupted at every step that they take, and clean-ups that do not succeed at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runtime.config import LimitsConfig
from runtime.errors import StorageTimeoutError, StorageUnavailableError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import async_pieces, paths_of, payload
from runtime.testing.conformance.watching import Watched, part_size, through

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.driver import Bytes
    from runtime.models import FileInfo, UploadOptions
    from runtime.store import BlobStore

OLD = b"old content"


class Interrupted(Watched):
    """Cancels a scope at its n-th step; every call of the driver is two: before it and after it.

    Attributes:
        scope: What is cancelled.
        at: At which step, from 1.
        steps: Steps so far.
    """

    def __init__(self, inner: Any, at: int) -> None:
        super().__init__(inner)
        self.scope = anyio.CancelScope()
        self.at = at
        self.steps = 0
        self.committing = False

    async def _step(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.scope.cancel()
            await anyio.lowlevel.checkpoint()

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        await self._step()
        upload_id = await super().start_multipart(path, options)
        await self._step()
        return upload_id

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        await self._step()
        token = await super().put_part(path, upload_id, number, data, checksum)
        await self._step()
        return token

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        await self._step()
        self.committing = True
        info = await super().complete_multipart(path, upload_id, parts, size, options)
        await self._step()
        return info


class StubbornAbort(Watched):
    """Fails to abort the first two times."""

    failures = 2

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.begun = anyio.Event()

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        upload_id = await super().start_multipart(path, options)
        self.begun.set()
        return upload_id

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailableError("not now")
        await super().abort_multipart(path, upload_id)


class Slow(Watched):
    """Takes its time for every part but the first."""

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        if number > 1:
            await anyio.sleep(30)
        return await super().put_part(path, upload_id, number, data, checksum)


class Interruptions(Suite):
    """`upload` that comes to no end of its own."""

    async def test_upload_cancelled_at_any_step_leaves_the_old_object_or_the_new_one(self, store: BlobStore) -> None:
        size = 2 * part_size(await through(store)) + 100
        at = 0
        while True:
            at += 1
            await store.upload("target", OLD)
            watched = Interrupted(store.driver, at)
            other = await through(store, watched)
            with watched.scope:
                await other.upload("target", payload(size))
            if watched.steps < at:
                break  # it took no more steps than that
            assert await paths_of(store) == ["target"], f"step {at}"
            whole = await store.download("target")
            allowed = {OLD, payload(size)} if watched.committing else {OLD}
            assert whole in allowed, f"cancelled at step {at}, the object is neither the old nor the new one"
            assert not watched.open_uploads, f"cancelled at step {at}, its parts were left in the bucket"
            assert await self.leftovers(store) == [], f"step {at}"
        assert at > 8, "an upload of three parts has ten steps"
        assert await store.download("target") == payload(size)

    async def test_upload_that_runs_out_of_time_leaves_the_old_object(self, store: BlobStore) -> None:
        await store.upload("target", OLD)
        watched = Slow(store.driver)
        parts = await through(store, watched)
        backend = parts.backend.model_copy(update={"limits": LimitsConfig(operation_timeout=0.3)})
        limited = await type(store)(backend, watched).open()
        with anyio.fail_after(20), pytest.raises(StorageTimeoutError):
            await limited.upload("target", async_pieces(payload(2 * part_size(limited) + 10), 99_991))
        assert watched.open_uploads == set()
        assert await store.download("target") == OLD
        assert await self.leftovers(store) == []

    async def test_abort_that_fails_is_tried_again_even_when_cancelled(self, store: BlobStore) -> None:
        watched = StubbornAbort(store.driver)
        other = await through(store, watched)
        with anyio.move_on_after(10) as scope:
            async with anyio.create_task_group() as tasks:

                async def upload() -> None:
                    async with other.open_writer("target") as file:
                        await file.write(payload(2 * part_size(other) + 10))
                        await anyio.sleep_forever()

                tasks.start_soon(upload)
                await watched.begun.wait()
                scope.cancel()
        assert watched.started
        assert watched.open_uploads == set()
        assert watched.failures == 0
        assert await paths_of(store) == []
        assert await self.leftovers(store) == []
