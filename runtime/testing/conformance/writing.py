"""Everything that can be uploaded, in one call or in parts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from runtime.errors import InvalidOptionError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import async_pieces, in_parallel, paths_of, payload, sync_pieces
from runtime.testing.conformance.watching import Watched, part_size, through

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from runtime.store import BlobStore

TEXT = "naïve café, 東京 😀"


class Writing(Suite):
    """`upload` of every kind of input and size."""

    async def test_bytes_and_their_relatives_are_uploaded(self, store: BlobStore) -> None:
        data = payload(5000)
        for kind in (bytes, bytearray, memoryview):
            await store.upload(f"kinds/{kind.__name__}", kind(data))
            assert await store.download(f"kinds/{kind.__name__}") == data, kind.__name__

    async def test_text_is_uploaded_as_utf_8(self, store: BlobStore) -> None:
        info = await store.upload("text.txt", TEXT)
        assert await store.download("text.txt") == TEXT.encode()
        assert info.size == len(TEXT.encode())

    async def test_file_at_a_path_is_uploaded(self, store: BlobStore, tmp_path: Path) -> None:
        file = tmp_path / "data.bin"
        file.write_bytes(payload(70_000))
        await store.upload("from-path", file)
        assert await store.download("from-path") == payload(70_000)

    async def test_open_file_is_read_from_where_it_stands_and_left_open(self, store: BlobStore, tmp_path: Path) -> None:
        (tmp_path / "data.bin").write_bytes(b"header" + payload(1000))
        with (tmp_path / "data.bin").open("rb") as file:
            file.seek(6)
            await store.upload("from-file", file)
            assert not file.closed, "the caller's file belongs to the caller"
        assert await store.download("from-file") == payload(1000)

    async def test_file_in_memory_is_uploaded_and_left_open(self, store: BlobStore) -> None:
        file = io.BytesIO(payload(1000))
        await store.upload("from-bytesio", file)
        assert not file.closed
        assert await store.download("from-bytesio") == payload(1000)

    async def test_sync_and_async_iterators_are_uploaded(self, store: BlobStore) -> None:
        data = payload(33_333)
        await store.upload("sync", sync_pieces(data, 1000))
        await store.upload("async", async_pieces(data, 1000))
        assert await store.download("sync") == data
        assert await store.download("async") == data

    async def test_iterators_may_give_single_and_no_bytes(self, store: BlobStore) -> None:
        def uneven() -> Iterator[bytes]:
            yield b""
            yield from (b"%d" % digit for digit in range(10))
            yield b""
            yield b"end"
            yield b""

        async def nothing() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b""

        await store.upload("uneven", uneven())
        assert await store.download("uneven") == b"0123456789end"
        await store.upload("nothing", nothing())
        assert await store.download("nothing") == b""

    async def test_what_can_not_be_uploaded_raises_type_error_and_writes_nothing(self, store: BlobStore) -> None:
        for data in (None, 5, {"a": 1}, io.StringIO("text")):
            with pytest.raises(TypeError):
                await store.upload("wrong", data)  # type: ignore[arg-type] # this is what must be refused
        assert await paths_of(store) == []

    async def test_upload_replaces_content_and_all_attributes(self, store: BlobStore) -> None:
        await store.upload(
            "replaced", b"old", content_type="text/html", metadata={"old": "1"}, cache_control="no-store"
        )
        await store.upload("replaced", b"new content", content_type="text/plain")
        info = await store.info("replaced")
        assert await store.download("replaced") == b"new content"
        assert (info.size, info.content_type, info.metadata or {}) == (11, "text/plain", {})
        assert info.cache_control is None, "the old version's cache_control was kept"

    async def test_replacing_by_less_leaves_nothing_of_the_longer_content(self, store: BlobStore) -> None:
        await store.upload("shrinks", payload(10_000))
        await store.upload("shrinks", b"short")
        assert await store.download("shrinks") == b"short"
        assert (await store.info("shrinks")).size == 5

    async def test_objects_around_the_size_of_a_part_round_trip(self, store: BlobStore, parts: BlobStore) -> None:
        for more in (-1, 0, 1):
            data = payload(part_size(parts) + more)
            info = await parts.upload("around", data)
            assert info.size == len(data), f"part size {more:+d}"
            assert await store.download("around") == data, f"part size {more:+d}"

    async def test_large_bytes_are_sent_in_parts_and_read_back_whole(self, store: BlobStore) -> None:
        watched = Watched(store.driver)
        parts = await through(store, watched)
        data = payload(2 * part_size(parts) + 12_345)
        info = await parts.upload("large.bin", data)
        assert len(watched.started) == 1, "an object larger than a part is sent in parts"
        assert not watched.open_uploads
        assert info.size == len(data)
        assert await store.download("large.bin") == data
        assert (await store.info("large.bin")).etag == info.etag

    async def test_iterator_of_unknown_size_is_sent_in_parts(self, store: BlobStore, parts: BlobStore) -> None:
        data = payload(2 * part_size(parts) + 1)
        info = await parts.upload("unknown.bin", async_pieces(data, 99_991))
        assert info.size == len(data)
        assert await store.download("unknown.bin") == data

    async def test_iterator_whose_size_is_told_has_to_have_it(self, store: BlobStore, parts: BlobStore) -> None:
        large = payload(2 * part_size(parts) + 1)
        for data in (large, large[:1000], b""):
            await parts.upload("told", async_pieces(data, 99_991), size=len(data))
            assert await store.download("told") == data
            for size in {len(data) + 1, max(len(data) - 1, 0)} - {len(data)}:
                with pytest.raises(InvalidOptionError, match="bytes came"):
                    await parts.upload("told", async_pieces(data, 99_991), size=size)
                assert await store.download("told") == data, "an upload that was refused replaced the object"
        assert await self.leftovers(store) == []

    async def test_large_file_is_sent_in_parts(self, store: BlobStore, parts: BlobStore, tmp_path: Path) -> None:
        data = payload(part_size(parts) + 4321)
        (tmp_path / "large").write_bytes(data)
        await parts.upload("large-file", tmp_path / "large")
        assert await store.download("large-file") == data

    async def test_etag_changes_when_content_in_parts_does(self, store: BlobStore, parts: BlobStore) -> None:
        size = part_size(parts) + 100
        first = await parts.upload("tagged", payload(size, 1))
        second = await parts.upload("tagged", payload(size, 2))
        assert first.etag != second.etag
        assert (await store.info("tagged")).etag == second.etag

    async def test_attributes_survive_an_upload_in_parts(self, store: BlobStore, parts: BlobStore) -> None:
        await parts.upload(
            "attributed",
            payload(part_size(parts) + 1),
            content_type="video/mp4",
            metadata={"owner": "7"},
            cache_control="private",
            content_disposition='attachment; filename="a.mp4"',
        )
        info = await store.info("attributed")
        assert (info.content_type, info.metadata, info.cache_control, info.content_disposition) == (
            "video/mp4",
            {"owner": "7"},
            "private",
            'attachment; filename="a.mp4"',
        )

    async def test_reading_ahead_of_the_service_is_bounded(self, store: BlobStore) -> None:
        watched = Watched(store.driver)
        concurrency = 2
        parts = await through(store, watched, concurrency)
        piece = 64 * 1024
        total = max(6 * part_size(parts), 8 * piece)
        bound = part_size(parts) * (concurrency + 1) + 2 * piece
        taken = ahead = 0

        async def source() -> AsyncIterator[bytes]:
            nonlocal taken, ahead
            for start in range(0, total, piece):
                taken += piece
                ahead = max(ahead, taken - watched.bytes_in)
                yield payload(piece, start)

        await parts.upload("bounded", source())
        assert (await store.info("bounded")).size == taken
        assert ahead <= bound, f"{ahead:,} bytes were read before the service had them, {bound:,} are allowed"

    async def test_many_writers_at_once_each_write_their_own_object(self, store: BlobStore) -> None:
        async def write(number: int) -> None:
            data = payload(4096, number)
            await store.upload(f"parallel/{number:02}", data)
            assert await store.download(f"parallel/{number:02}") == data

        await in_parallel(write, range(20))
        assert await paths_of(store, "parallel/") == [f"parallel/{number:02}" for number in range(20)]
