"""Objects as files: readers that seek, writers that commit, files of this machine."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.errors import (
    AlreadyExistsError,
    InvalidOptionError,
    InvalidPathError,
    NotFoundError,
    NotModifiedError,
    PreconditionFailedError,
    StorageError,
)
from runtime.models import UploadOptions
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import KIB, MIB, BrokenSourceError, digits, paths_of, payload
from runtime.testing.conformance.watching import Watched, part_size, through

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runtime.driver import ByteRange, Bytes, Driver, ObjectReader
    from runtime.models import FileInfo
    from runtime.store import BlobStore

PATIENCE_SECONDS = 10.0


class Counting(Watched):
    """Counts requests for objects and parts, and how many of each are on their way at once.

    Args:
        inner: The driver.
        at_once: Parts that have to be on their way together before one is sent; a slow reader of the source would
            hide that they can be. None waits longer than `PATIENCE_SECONDS`.
    """

    def __init__(self, inner: Driver, *, at_once: int = 1) -> None:
        super().__init__(inner)
        self.gets = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._at_once = at_once
        self._together = anyio.Event()

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        self.gets += 1
        return await super().get(path, byte_range)

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.in_flight >= self._at_once:
            self._together.set()
        try:
            with anyio.move_on_after(PATIENCE_SECONDS):
                await self._together.wait()
            await anyio.sleep(0.01)
            return await super().put_part(path, upload_id, number, data, checksum)
        finally:
            self.in_flight -= 1


class Replaced(Watched):
    """Replaces the object after the first range was asked for."""

    done = False

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        reader = await super().get(path, byte_range)
        if not self.done:
            self.done = True
            await self.inner.put(path, digits(reader.info.size, 7), UploadOptions(content_type="text/plain"))
        return reader


class _Seen(list[tuple[int, int]]):
    """What a progress callback was told."""

    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


async def _write_and_fail(store: BlobStore, path: str, data: bytes) -> None:
    async with store.open_writer(path) as file:
        await file.write(data)
        raise BrokenSourceError


def _unfinished(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix == ".part"]


class Files(Suite):
    """`open_reader`, `open_writer`, `download_to`, `upload_from`, and sizes of parts by the call."""

    # reading

    async def test_reader_reads_seeks_and_tells_as_a_file_does(self, store: BlobStore) -> None:
        data = payload(300 * KIB + 7)
        await store.upload("book", data)
        expected = io.BytesIO(data)
        async with store.open_reader("book", read_ahead=100 * KIB) as file:
            assert file.info.size == len(data)
            for offset, whence, size in [
                (0, os.SEEK_SET, 10),
                (5, os.SEEK_CUR, 100),
                (-20, os.SEEK_END, 100),
                (200 * KIB, os.SEEK_SET, 64 * KIB),
                (10, os.SEEK_SET, 250 * KIB),
                (-7, os.SEEK_CUR, 7),
                (400 * KIB, os.SEEK_SET, 5),
                (0, os.SEEK_SET, -1),
            ]:
                assert await file.seek(offset, whence) == expected.seek(offset, whence)
                assert await file.read(size) == expected.read(size), f"seek({offset}, {whence}), read({size})"
                assert await file.tell() == expected.tell()
            await file.seek(1000)
            assert await file.readall() == data[1000:]
            assert await file.read(10) == b""

    async def test_reader_gives_its_bytes_in_chunks_by_iteration(self, store: BlobStore) -> None:
        data = payload(2 * MIB + 3)
        await store.upload("book", data)
        async with store.open_reader("book") as file:
            assert await file.read(10) == data[:10]
            chunks = [chunk async for chunk in file]
        assert b"".join(chunks) == data[10:]
        assert all(0 < len(chunk) <= MIB for chunk in chunks)

    async def test_reader_of_an_empty_object_is_at_its_end(self, store: BlobStore) -> None:
        await store.upload("empty", b"")
        async with store.open_reader("empty") as file:
            assert await file.read() == b""
            assert [chunk async for chunk in file] == []

    async def test_reader_reads_ahead_no_more_than_it_may(self, store: BlobStore) -> None:
        await store.upload("book", payload(2 * MIB))
        watched = Counting(store.driver)
        async with (await through(store, watched)).open_reader("book", read_ahead=128 * KIB) as file:
            for _ in range(100):
                await file.read(10 * KIB)
            assert watched.bytes_out <= 1000 * KIB + 128 * KIB
            assert watched.gets <= 12
            await file.seek(-10, os.SEEK_END)
            before = watched.bytes_out
            assert await file.read(10) == payload(2 * MIB)[-10:]
            assert watched.bytes_out == before + 10

    async def test_reader_never_mixes_two_versions(self, store: BlobStore) -> None:
        await store.upload("book", digits(300 * KIB, 1))
        async with store.open_reader("book", read_ahead=64 * KIB) as file:
            assert await file.read(10) == digits(10, 1)
            await store.upload("book", digits(300 * KIB, 2))
            with pytest.raises(PreconditionFailedError):
                await file.read()

    async def test_reader_of_a_missing_object_raises_when_it_is_entered(self, store: BlobStore) -> None:
        with pytest.raises(NotFoundError):
            async with store.open_reader("missing"):
                pytest.fail("it was opened")
        with pytest.raises(InvalidPathError):
            store.open_reader("a//b")

    async def test_closed_reader_refuses(self, store: BlobStore) -> None:
        await store.upload("book", b"0123")
        async with store.open_reader("book") as file:
            with pytest.raises(InvalidOptionError):
                await file.seek(-1)
        with pytest.raises(ValueError, match="closed"):
            await file.read(1)

    # writing

    async def test_writer_commits_when_its_block_ends(self, parts: BlobStore) -> None:
        data = payload(2 * part_size(parts) + 1000)
        async with parts.open_writer("log.txt", metadata={"by": "me"}) as file:
            buffer = bytearray(99_991)
            for start in range(0, len(data), len(buffer)):
                piece = data[start : start + len(buffer)]
                buffer[: len(piece)] = piece  # the same buffer again and again
                assert await file.write(memoryview(buffer)[: len(piece)]) == len(piece)
            assert not await parts.exists("log.txt")
        assert file.info.size == len(data)
        assert await parts.download("log.txt") == data
        info = await parts.info("log.txt")
        assert (info.content_type, info.metadata) == ("text/plain", {"by": "me"})

    async def test_writer_that_writes_nothing_makes_an_empty_object(self, store: BlobStore) -> None:
        async with store.open_writer("empty"):
            pass
        assert (await store.info("empty")).size == 0

    async def test_writer_aborts_when_its_block_raises(self, store: BlobStore) -> None:
        watched = Watched(store.driver)
        other = await through(store, watched)
        await store.upload("old", b"old")
        for path in ("old", "new"):
            for size in (10, 2 * part_size(other) + 10):
                with pytest.raises(BrokenSourceError):
                    await _write_and_fail(other, path, payload(size))
        assert await store.download("old") == b"old"
        assert await paths_of(store) == ["old"]
        assert watched.open_uploads == set()
        assert await self.leftovers(store) == []

    async def test_writer_aborts_when_its_task_is_cancelled(self, store: BlobStore) -> None:
        watched = Watched(store.driver)
        other = await through(store, watched)
        with anyio.move_on_after(5) as scope:
            async with other.open_writer("new") as file:
                await file.write(payload(2 * part_size(other) + 10))
                scope.cancel()
                await anyio.sleep(10)
        assert scope.cancelled_caught
        assert await paths_of(store) == []
        assert watched.open_uploads == set()
        assert await self.leftovers(store) == []

    async def test_writer_raises_what_the_service_refuses(self, store: BlobStore) -> None:
        with pytest.raises(InvalidPathError):
            store.open_writer("a//b")
        with pytest.raises(TypeError):
            store.open_writer("a", metadota={})
        if store.capabilities.if_not_exists:
            await store.upload("taken", b"old")
            with pytest.raises(AlreadyExistsError):
                async with store.open_writer("taken", if_not_exists=True) as file:
                    await file.write(b"new")
            assert await store.download("taken") == b"old"

    # files

    async def test_file_goes_up_and_comes_down_unchanged(self, store: BlobStore, tmp_path: Path) -> None:
        most = max(256 * KIB, store.capabilities.min_part_size)
        for size in (0, 10, most, most + 1, 3 * most + 12_345):
            (tmp_path / "up.txt").write_bytes(payload(size))
            up, down = _Seen(), _Seen()
            info = await store.upload_from(tmp_path / "up.txt", "file", part_size=most, progress=up)
            assert (info.size, info.content_type) == (size, "text/plain")
            found = await store.download_to(
                "file",
                tmp_path / "down.txt",
                part_size=most,
                concurrency=3,
                progress=down,
            )
            assert found.etag == (await store.info("file")).etag
            assert (tmp_path / "down.txt").read_bytes() == payload(size), size
            for seen in (up, down):
                assert seen == sorted(seen)
                assert all(total == size for _, total in seen)
                assert not size or seen[-1][0] == size
        assert _unfinished(tmp_path) == []

    async def test_parts_and_parallelism_can_be_chosen_by_the_call(self, store: BlobStore, tmp_path: Path) -> None:
        size = max(256 * KIB, store.capabilities.min_part_size)
        limit = 3 if store.capabilities.parallel_parts else 1
        watched = Counting(store.driver, at_once=limit)
        other = await through(store, watched, concurrency=1)
        (tmp_path / "up").write_bytes(payload(4 * size))
        await other.upload_from(tmp_path / "up", "file", part_size=size, concurrency=3)
        assert watched.most_in_flight == limit
        watched.most_in_flight = 0
        await other.upload("file", payload(4 * size), part_size=2 * size, concurrency=1)
        assert watched.most_in_flight == 1
        assert await store.download("file") == payload(4 * size)
        with pytest.raises(InvalidOptionError):
            await store.upload("file", b"x", part_size=0)
        for wrong in (0, 65):
            with pytest.raises(InvalidOptionError):
                await store.upload("file", b"x", concurrency=wrong)

    async def test_download_of_an_object_that_is_replaced_meanwhile_leaves_no_file(
        self, store: BlobStore, tmp_path: Path
    ) -> None:
        await store.upload("file", digits(MIB, 1))
        (tmp_path / "down").write_bytes(b"old")
        other = await through(store, Replaced(store.driver))
        with pytest.raises(PreconditionFailedError):
            await other.download_to("file", tmp_path / "down", part_size=256 * KIB)
        assert (tmp_path / "down").read_bytes() == b"old"
        assert _unfinished(tmp_path) == []

    async def test_download_to_a_file_keeps_conditions_and_other_files(self, store: BlobStore, tmp_path: Path) -> None:
        info = await store.upload("file", b"new")
        etag = info.etag or (await store.info("file")).etag
        target = tmp_path / "down"
        with pytest.raises(NotModifiedError):
            await store.download_to("file", target, if_none_match=etag)
        assert not target.exists()
        target.write_bytes(b"old")
        with pytest.raises(AlreadyExistsError):
            await store.download_to("file", target, replace=False)
        assert target.read_bytes() == b"old"
        await store.download_to("file", target, if_match=etag)
        assert target.read_bytes() == b"new"

    async def test_trouble_with_the_callers_file_is_not_the_services(self, store: BlobStore, tmp_path: Path) -> None:
        await store.upload("file", b"x")
        with pytest.raises(FileNotFoundError) as down:
            await store.download_to("file", tmp_path / "no-folder/down")
        with pytest.raises(FileNotFoundError) as up:
            await store.upload_from(tmp_path / "no-file", "other")
        assert not isinstance(down.value, StorageError)
        assert not isinstance(up.value, StorageError)
        with pytest.raises(NotFoundError):
            await store.download_to("missing", tmp_path / "down")
        assert not (tmp_path / "down").exists()

    async def test_file_that_changes_while_it_is_sent_is_not_written(self, store: BlobStore, tmp_path: Path) -> None:
        source = tmp_path / "up"
        size = max(256 * KIB, store.capabilities.min_part_size)
        source.write_bytes(payload(3 * size))

        class Meanwhile(Watched):
            async def put_part(
                self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
            ) -> str:
                os.utime(source, (1, number))
                return await super().put_part(path, upload_id, number, data, checksum)

            async def complete_multipart(self, *arguments: object) -> FileInfo:
                pytest.fail(f"it was written: {arguments}")

        watched = Meanwhile(store.driver)
        other = await through(store, watched)
        with pytest.raises(StorageError, match="changed"):
            await other.upload_from(source, "file", part_size=size)
        assert watched.open_uploads == set()
        assert await paths_of(store) == []
