"""All or nothing: what fails or is cancelled leaves no trace, and nobody sees half of anything."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.errors import StorageError
from runtime.models import UploadOptions
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import (
    KIB,
    BrokenSourceError,
    async_pieces,
    broken_async_pieces,
    broken_pieces,
    digits,
    in_parallel,
    paths_of,
    payload,
)
from runtime.testing.conformance.watching import Watched, part_size, through

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runtime.driver import Bytes
    from runtime.models import Uploadable
    from runtime.store import BlobStore

OLD = b"old content"
OPTIONS = UploadOptions(content_type="application/octet-stream")


class ServiceFailureError(Exception):
    """What a service of the tests raises."""


class FailingParts(Watched):
    """Refuses the second part, as a service that has a fault."""

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        if number == 2:
            raise ServiceFailureError
        return await super().put_part(path, upload_id, number, data, checksum)

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return StorageError if isinstance(error, ServiceFailureError) else super().error_type(error)


class Atomicity(Suite):
    """Uploads that do not come to their end."""

    async def _unchanged(self, store: BlobStore, path: str, *, existed: bool) -> None:
        assert await paths_of(store) == ([path] if existed else []), "a listing shows something unfinished"
        assert await store.exists(path) is existed
        if existed:
            assert await store.download(path) == OLD, "the old content was changed by an upload that failed"
            assert (await store.info(path)).content_type == "text/x-old"
        assert await self.leftovers(store) == []

    async def _fails(self, store: BlobStore, watched: Watched, data: Uploadable, *, existed: bool) -> None:
        if existed:
            await store.upload("target", OLD, content_type="text/x-old")
        with pytest.raises((BrokenSourceError, StorageError)) as caught:
            await (await through(store, watched)).upload("target", data)
        assert not watched.open_uploads, f"a multipart upload was left open after {caught.value!r}"
        await self._unchanged(store, "target", existed=existed)

    async def test_iterator_that_raises_at_once_leaves_nothing(self, store: BlobStore) -> None:
        await self._fails(store, Watched(store.driver), broken_pieces(b"", 1), existed=False)
        await self._fails(store, Watched(store.driver), broken_async_pieces(b"", 1), existed=False)

    async def test_iterator_that_raises_within_the_first_part_leaves_the_old_object(self, store: BlobStore) -> None:
        await self._fails(store, Watched(store.driver), broken_pieces(payload(1000), 100), existed=True)
        await self._fails(store, Watched(store.driver), broken_async_pieces(payload(1000), 100), existed=True)

    async def test_iterator_that_raises_after_a_part_leaves_nothing(self, store: BlobStore) -> None:
        watched = Watched(store.driver)
        data = payload(2 * part_size(await through(store)) + 100)
        await self._fails(store, watched, broken_async_pieces(data, 64 * KIB), existed=False)
        assert watched.started, "this test needs an upload in parts"

    async def test_iterator_that_raises_after_a_part_leaves_the_old_object(self, store: BlobStore) -> None:
        data = payload(2 * part_size(await through(store)) + 100)
        await self._fails(store, Watched(store.driver), broken_pieces(data, 64 * KIB), existed=True)

    async def test_error_of_the_callers_iterator_reaches_the_caller_as_it_is(self, store: BlobStore) -> None:
        with pytest.raises(BrokenSourceError):
            await store.upload("target", broken_async_pieces(b"some", 2))

    async def test_part_that_fails_leaves_nothing(self, store: BlobStore) -> None:
        data = payload(3 * part_size(await through(store)))
        await self._fails(store, FailingParts(store.driver), data, existed=False)

    async def test_part_that_fails_leaves_the_old_object(self, store: BlobStore) -> None:
        data = payload(3 * part_size(await through(store)))
        await self._fails(store, FailingParts(store.driver), async_pieces(data, 64 * KIB), existed=True)

    async def _cancelled(self, store: BlobStore, size: int, *, existed: bool, natively: bool) -> None:
        if existed:
            await store.upload("target", OLD, content_type="text/x-old")
        watched = Watched(store.driver)
        parts = await through(store, watched)
        stuck = anyio.Event()

        async def source() -> AsyncIterator[bytes]:
            yield payload(size)
            stuck.set()
            await anyio.sleep_forever()

        if natively:
            task = asyncio.create_task(parts.upload("target", source()))
            await stuck.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(parts.upload, "target", source())
                await stuck.wait()
                await self._unchanged_while_uploading(store, existed=existed)
                tasks.cancel_scope.cancel()
        assert not watched.open_uploads, "a cancelled upload left its parts in the bucket"
        await self._unchanged(store, "target", existed=existed)

    async def _unchanged_while_uploading(self, store: BlobStore, *, existed: bool) -> None:
        assert await paths_of(store) == (["target"] if existed else []), "an unfinished upload is listed"
        if existed:
            assert await store.download("target") == OLD, "an unfinished upload is already seen by readers"

    async def test_cancelled_upload_leaves_nothing(self, store: BlobStore) -> None:
        await self._cancelled(store, 1000, existed=False, natively=False)

    async def test_cancelled_upload_leaves_the_old_object(self, store: BlobStore) -> None:
        await self._cancelled(store, 1000, existed=True, natively=False)

    async def test_upload_cancelled_between_parts_leaves_nothing(self, store: BlobStore) -> None:
        size = 2 * part_size(await through(store)) + 100
        await self._cancelled(store, size, existed=False, natively=False)

    async def test_upload_cancelled_between_parts_leaves_the_old_object(self, store: BlobStore) -> None:
        size = 2 * part_size(await through(store)) + 100
        await self._cancelled(store, size, existed=True, natively=False)

    async def test_upload_in_a_cancelled_asyncio_task_leaves_the_old_object(self, store: BlobStore) -> None:
        size = 2 * part_size(await through(store)) + 100
        await self._cancelled(store, size, existed=True, natively=True)

    async def test_path_can_be_written_again_after_a_failed_upload(self, store: BlobStore) -> None:
        with pytest.raises(BrokenSourceError):
            await store.upload("target", broken_pieces(payload(1000), 100))
        await store.upload("target", b"better")
        assert await store.download("target") == b"better"

    # several at once

    async def test_racing_writers_of_one_path_leave_one_whole_content_with_its_own_attributes(
        self, store: BlobStore
    ) -> None:
        async def write(number: int) -> None:
            await store.upload("contended", digits(50_000, number), metadata={"number": str(number % 10)})

        for _ in range(3):
            await in_parallel(write, range(10))
            data = await store.download("contended")
            info = await store.info("contended")
            assert data == digits(50_000, int(data[:1])), "contents of two writers were mixed"
            assert info.metadata == {"number": data[:1].decode()}, "the attributes are those of another content"

    async def test_readers_see_the_old_or_the_new_version_and_never_a_mix(self, store: BlobStore) -> None:
        size = 200_000
        await store.upload("changing", digits(size, 0), content_type="text/x-0")
        done = False

        async def read(_number: int) -> None:
            while not done:
                data = await store.download("changing")
                assert data == digits(size, int(data[:1])), "a reader saw a mix of two versions"
                info = await store.info("changing")
                assert info.size == size

        async def write() -> None:
            nonlocal done
            try:
                for number in range(1, 10):
                    await store.upload("changing", digits(size, number), content_type=f"text/x-{number}")
            finally:
                done = True

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                for number in range(3):
                    tasks.start_soon(read, number)
        assert (await store.info("changing")).content_type == "text/x-9"

    async def test_two_uploads_in_parts_to_one_path_do_not_disturb_each_other(self, store: BlobStore) -> None:
        driver, first = store.driver, max(1000, store.capabilities.min_part_size)
        contents = {number: digits(first + 1000, number) for number in (1, 2)}
        uploads = {number: await driver.start_multipart("contended", OPTIONS) for number in contents}
        tokens = {
            number: [
                await driver.put_part("contended", uploads[number], 1, [data[:first]]),
                await driver.put_part("contended", uploads[number], 2, [data[first:]]),
            ]
            for number, data in contents.items()
        }
        for number, data in contents.items():
            await driver.complete_multipart("contended", uploads[number], tokens[number], len(data), OPTIONS)
            assert await store.download("contended") == data, "the upload that was completed last is what is there"

    # the driver's own promises about parts

    async def test_upload_that_was_aborted_can_not_be_completed(self, store: BlobStore) -> None:
        driver = store.driver
        options = OPTIONS
        upload_id = await driver.start_multipart("aborted", options)
        data = payload(max(1000, store.capabilities.min_part_size))
        token = await driver.put_part("aborted", upload_id, 1, [data])
        await driver.abort_multipart("aborted", upload_id)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the vendor's own, classified below
            await driver.complete_multipart("aborted", upload_id, [token], len(data), options)
        kind = driver.error_type(caught.value) or type(caught.value)
        assert issubclass(kind, StorageError), f"error_type does not know {caught.value!r}"
        assert not await store.exists("aborted")

    async def test_aborting_twice_is_no_error(self, store: BlobStore) -> None:
        upload_id = await store.driver.start_multipart("aborted", OPTIONS)
        await store.driver.abort_multipart("aborted", upload_id)
        await store.driver.abort_multipart("aborted", upload_id)

    async def test_parts_may_arrive_in_any_order(self, store: BlobStore) -> None:
        order = (3, 1, 2) if store.capabilities.parallel_parts else (1, 2, 3)
        driver, options = store.driver, OPTIONS
        size = max(1000, store.capabilities.min_part_size)
        contents = {number: digits(size, number) for number in (1, 2, 3)}
        upload_id = await driver.start_multipart("shuffled", options)
        tokens = {number: await driver.put_part("shuffled", upload_id, number, [contents[number]]) for number in order}
        await driver.complete_multipart("shuffled", upload_id, [tokens[n] for n in (1, 2, 3)], 3 * size, options)
        assert await store.download("shuffled") == b"".join(contents.values())

    async def test_part_is_sent_in_the_buffers_that_it_came_in(self, store: BlobStore) -> None:
        driver, options = store.driver, OPTIONS
        data = payload(max(1000, store.capabilities.min_part_size) + 400_000)
        cuts = (0, 1, 300, 300_000, len(data))
        buffers = [memoryview(data)[start:end] for start, end in pairwise(cuts)]
        upload_id = await driver.start_multipart("pieces", options)
        tokens = [await driver.put_part("pieces", upload_id, 1, [bytes(buffers[0]), *buffers[1:]])]
        tokens.append(await driver.put_part("pieces", upload_id, 2, [bytearray(b"the "), b"end"]))
        await driver.complete_multipart("pieces", upload_id, tokens, len(data) + 7, options)
        assert await store.download("pieces") == data + b"the end"
