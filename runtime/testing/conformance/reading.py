"""Reading whole objects, ranges, and what is known of an object."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from runtime.driver import ByteRange
from runtime.errors import InvalidOptionError, NotFoundError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import in_parallel, payload

if TYPE_CHECKING:
    from runtime.store import BlobStore

CLOCKS_AGREE_WITHIN = timedelta(minutes=5)
RANGES = [
    ((0, 1), "the first byte"),
    ((0, 100), "the beginning"),
    ((100, 200), "the middle"),
    ((999, 1000), "the last byte"),
    ((900, None), "from the middle to the end"),
    ((0, None), "everything, as an open range"),
    ((0, 1000), "everything, as a closed range"),
    ((990, 2000), "beyond the end"),
    ((1000, None), "from the end on"),
    ((1000, 1001), "one byte behind the end"),
    ((5000, 6000), "far behind the end"),
    ((10, 10), "nothing"),
]


class Reading(Suite):
    """`download`, `info` and `exists`."""

    async def test_download_gives_exactly_the_bytes_that_were_uploaded(self, store: BlobStore) -> None:
        data = bytes(range(256)) * 17
        await store.upload("all-bytes.bin", data)
        assert await store.download("all-bytes.bin") == data

    async def test_empty_object_is_an_object(self, store: BlobStore) -> None:
        info = await store.upload("empty", b"")
        assert info.size == 0
        assert await store.download("empty") == b""
        assert await store.exists("empty")
        assert (await store.info("empty")).size == 0

    async def test_missing_object_raises_not_found(self, store: BlobStore) -> None:
        for call in (store.download, store.info):
            with pytest.raises(NotFoundError):
                await call("missing/object.txt")
        with pytest.raises(NotFoundError):
            await store.download("missing/object.txt", range=(0, 10))
        with pytest.raises(NotFoundError):
            await store.download("missing/object.txt", range=(3, 3))

    async def test_exists_tells_objects_from_missing_ones(self, store: BlobStore) -> None:
        assert not await store.exists("here")
        await store.upload("here", b"x")
        assert await store.exists("here")
        assert not await store.exists("her")
        assert not await store.exists("here/below")

    async def test_start_of_a_path_is_no_object(self, store: BlobStore) -> None:
        await store.upload("folder/below/object", b"x")
        for path in ("folder", "folder/below"):
            assert not await store.exists(path), f"{path!r} exists, but only objects below it were written"
            with pytest.raises(NotFoundError):
                await store.info(path)
            with pytest.raises(NotFoundError):
                await store.download(path)
            with pytest.raises(NotFoundError):
                [_ async for _ in store.stream(path)]

    async def test_ranges_are_read_as_half_open_intervals(self, store: BlobStore) -> None:
        data = payload(1000)
        await store.upload("ranges", data)
        for (start, end), what in RANGES:
            got = await store.download("ranges", range=ByteRange(start, end))
            assert got == data[start:end], f"{what}: range ({start}, {end}) gave {len(got)} bytes"

    async def test_ranges_of_an_empty_object_are_empty(self, store: BlobStore) -> None:
        await store.upload("empty", b"")
        for wanted in ((0, None), (0, 10), (5, None)):
            assert await store.download("empty", range=wanted) == b"", f"range {wanted}"

    async def test_impossible_ranges_are_refused(self, store: BlobStore) -> None:
        await store.upload("ranges", b"0123456789")
        for wanted in ((-1, None), (5, 4)):
            with pytest.raises(InvalidOptionError):
                await store.download("ranges", range=wanted)

    async def test_info_tells_path_size_type_and_time(self, store: BlobStore) -> None:
        before = datetime.now(UTC)
        await store.upload("docs/report.pdf", payload(1234), content_type="application/pdf")
        info = await store.info("docs/report.pdf")
        assert (info.path, info.size, info.content_type) == ("docs/report.pdf", 1234, "application/pdf")
        assert info.last_modified.utcoffset() == timedelta(0), "last_modified is an aware UTC time"
        assert abs(info.last_modified - before) < CLOCKS_AGREE_WITHIN

    async def test_info_equals_what_upload_returned(self, store: BlobStore) -> None:
        given = await store.upload(
            "same.txt", b"same", content_type="text/plain", metadata={"k": "v"}, cache_control="no-store"
        )
        found = await store.info("same.txt")
        for name in ("path", "size", "content_type", "etag", "metadata", "cache_control", "version"):
            assert getattr(given, name) == getattr(found, name), name
        assert abs(given.last_modified - found.last_modified) < CLOCKS_AGREE_WITHIN

    async def test_last_modified_never_goes_back(self, store: BlobStore) -> None:
        first = await store.upload("clock", b"1")
        first = await store.info(first)
        await store.upload("clock", b"2")
        assert (await store.info("clock")).last_modified >= first.last_modified

    async def test_etag_is_a_bare_opaque_string(self, store: BlobStore) -> None:
        await store.upload("tagged", b"x")
        etag = (await store.info("tagged")).etag
        assert etag, "every object has an etag"
        assert '"' not in etag, "an etag is given without its quotes"

    async def test_etag_changes_when_content_of_the_same_size_does(self, store: BlobStore) -> None:
        tags = []
        for content in (b"aaaa", b"bbbb", b"cccc"):
            await store.upload("tagged", content)
            tags.append((await store.info("tagged")).etag)
        assert len(set(tags)) == 3, f"three contents written one right after the other have the etags {tags}"

    async def test_etag_stays_when_nothing_is_written(self, store: BlobStore) -> None:
        uploaded = await store.upload("tagged", b"x")
        await store.download("tagged")
        assert {(await store.info("tagged")).etag, (await store.info("tagged")).etag} == {uploaded.etag}

    async def test_version_where_there_is_one_is_new_with_every_write(self, store: BlobStore) -> None:
        versions = []
        for content in (b"same", b"same", b"other"):
            given = await store.upload("versioned", content)
            found = await store.info("versioned")
            assert found.version == given.version
            versions.append(found.version)
        if versions[0] is None:
            assert versions == [None] * 3, "a service has versions or it has none"
        else:
            assert len(set(versions)) == 3, "two writes have the same version"

    async def test_listed_objects_are_accepted_in_place_of_paths(self, store: BlobStore) -> None:
        await store.upload("listed/object", b"content")
        (info,) = [info async for info in store.list("listed/")]
        assert await store.download(info) == b"content"
        assert await store.exists(info)
        assert (await store.info(info)).path == "listed/object"
        assert b"".join([chunk async for chunk in store.stream(info)]) == b"content"

    async def test_many_readers_at_once_get_the_same_bytes(self, store: BlobStore) -> None:
        data = payload(300_000)
        await store.upload("shared", data)

        async def read(_number: int) -> None:
            assert await store.download("shared") == data

        await in_parallel(read, range(24))
