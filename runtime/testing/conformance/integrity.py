"""Checksums: bytes that are not those that were meant are refused, on the way up and on the way down."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from runtime.checksums import DIGEST_BYTES, algorithm_of, value_of, written
from runtime.config import DRIVERS
from runtime.errors import ChecksumMismatchError, NotSupportedError
from runtime.testing.conformance.lines import BROKEN, FRAGILE, over_a_line
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import KIB, MIB, async_pieces, paths_of, payload
from runtime.testing.conformance.watching import PassingReader, Watched, part_size, through

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from runtime.driver import ByteRange, Bytes, Driver, ObjectReader
    from runtime.models import FileInfo, UploadOptions
    from runtime.store import BlobStore

NAMES_OF_CHECKSUMS = (b"x-amz-checksum", b"x-amz-sdk-checksum", b"x-goog-hash", b"content-md5", b"crc64", b'"crc32c"')


def wrong_checksum(algorithm: str) -> str:
    """A checksum that fits no content of these tests."""
    return written(algorithm, bytes([7]) * DIGEST_BYTES[algorithm])


class DamagingReader(PassingReader):
    """Gives `BROKEN` where `FRAGILE` is stored; the tests' objects hold it in one piece."""

    async def read(self) -> bytes:
        return (await super().read()).replace(FRAGILE, BROKEN)

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:  # noqa: ARG002 - all at once
        yield (await super().read()).replace(FRAGILE, BROKEN)


class Damaging(Watched):
    """A driver whose reads are damaged somewhere on the way."""

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        return DamagingReader(await self.inner.get(path, byte_range), self)


class Told(Watched):
    """Remembers what checksums a driver is handed."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.told: list[str | None] = []

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        self.told.append(options.checksum)
        return await super().put(path, data, options)

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        self.told.append(checksum)
        return await super().put_part(path, upload_id, number, data, checksum)


async def _with_checksum(store: BlobStore, wish: str) -> BlobStore:
    transfer = store.backend.transfer.model_copy(update={"checksum": wish})
    backend = store.backend.model_copy(update={"transfer": transfer})
    return await type(store)(backend, type(store.driver)(backend)).open()


class Integrity(Suite):
    """``UploadOptions.checksum``, ``transfer.checksum``, `FileInfo.checksum`."""

    @pytest.fixture
    async def checked(self, store: BlobStore) -> AsyncIterator[BlobStore]:
        """The same backend, told to compute checksums also where ``auto`` would not (compatible servers)."""
        known = DRIVERS[store.backend.driver].checksums if store.backend.driver in DRIVERS else ()
        other = await _with_checksum(store, next((name for name in ("crc32c", "md5") if name in known), "auto"))
        yield other
        await other.close()

    # what the caller gives

    async def test_right_checksum_is_accepted(self, store: BlobStore, parts: BlobStore) -> None:
        data = payload(part_size(parts) + 10)
        for algorithm in DIGEST_BYTES:
            await store.upload("small", data[:1000], checksum=value_of(algorithm, data[:1000]))
            assert await store.download("small") == data[:1000], algorithm
            await parts.upload("whole", async_pieces(data, 99_991), checksum=value_of(algorithm, data))
            assert await store.download("whole") == data, algorithm

    async def test_wrong_checksum_is_refused_and_the_old_content_stays(self, store: BlobStore) -> None:
        await store.upload("checked", b"old")
        for algorithm in DIGEST_BYTES:
            for path in ("checked", "new"):
                with pytest.raises(ChecksumMismatchError):
                    await store.upload(path, b"damaged on the way", checksum=wrong_checksum(algorithm))
        assert await store.download("checked") == b"old"
        assert await paths_of(store) == ["checked"]

    async def test_wrong_checksum_of_an_upload_in_parts_leaves_nothing(self, store: BlobStore, tmp_path: Path) -> None:
        watched = Watched(store.driver)
        parts = await through(store, watched)
        data = payload(part_size(parts) + 10)
        (tmp_path / "file").write_bytes(data)
        await store.upload("checked", b"old")
        for algorithm in DIGEST_BYTES:
            for path in ("checked", "new"):
                with pytest.raises(ChecksumMismatchError):
                    await parts.upload(path, async_pieces(data, 99_991), checksum=wrong_checksum(algorithm))
            with pytest.raises(ChecksumMismatchError):
                await parts.upload_from(tmp_path / "file", "new", checksum=wrong_checksum(algorithm))
        assert await store.download("checked") == b"old"
        assert await paths_of(store) == ["checked"]
        assert watched.open_uploads == set()
        assert await self.leftovers(store) == []

    async def test_malformed_checksum_is_refused(self, store: BlobStore) -> None:
        for value in ("sha256", "sha256:", "sha256:not base64", "sha256:AAAA", "rot13:AAAA", ":AAAA"):
            with pytest.raises(NotSupportedError):
                await store.upload("target", b"x", checksum=value)
        assert not await store.exists("target")

    # what is computed by itself

    async def test_object_has_the_checksum_of_its_bytes(self, checked: BlobStore) -> None:
        if checked.driver.own_checksum is None:
            assert (await checked.upload("plain", b"content")).size == 7
            return
        parts = await through(checked)
        for path, data in (("small", payload(1000)), ("empty", b""), ("large", payload(2 * part_size(parts) + 10))):
            given = await parts.upload(path, data)
            found = await checked.info(path)
            assert found.checksum, f"{path} has no checksum"
            assert found.checksum == value_of(algorithm_of(found.checksum), data), path
            assert given.checksum == found.checksum, path
            await checked.copy(path, f"{path}-copy")
            copied = (await checked.info(f"{path}-copy")).checksum
            assert copied == found.checksum, f"{path} was copied without its checksum"

    async def test_service_is_told_the_checksum_of_every_object_and_part(self, checked: BlobStore) -> None:
        own = checked.driver.own_checksum
        watched = Told(checked.driver)
        parts = await through(checked, watched)
        await parts.upload("small", b"content")
        assert watched.told == [None if own is None else value_of(own, b"content")]
        watched.told.clear()
        await parts.upload("large", payload(part_size(parts) + 10))
        assert len(watched.told) == 2
        if own is not None and own.startswith("crc"):
            size = part_size(parts)
            sums = {value_of(own, payload(size)), value_of(own, payload(size + 10)[size:])}
            assert set(watched.told) == sums

    async def test_nothing_is_computed_when_it_is_not_required(self, store: BlobStore) -> None:
        plain = await _with_checksum(store, "when_required")
        try:
            assert plain.driver.own_checksum is None
            async with over_a_line(plain) as found:
                other, line = found or (plain, None)
                if line is not None:
                    line.sent = []
                parts = await through(other)
                await parts.upload("small", b"content")
                await parts.upload("large", payload(part_size(parts) + 10))
                assert await other.download("small") == b"content"
                if line is not None and line.sent is not None:
                    sent = b"".join(line.sent).lower()
                    assert b"content" in sent
                    assert not [name for name in NAMES_OF_CHECKSUMS if name in sent]
        finally:
            await plain.close()

    # what is changed on the way

    async def test_bytes_that_change_on_the_way_up_are_refused_and_nothing_is_visible(self, checked: BlobStore) -> None:
        async with over_a_line(checked) as found:
            if found is None:
                assert getattr(checked.backend.settings, "endpoint_url", None) is None
                return  # the bytes never leave this process
            other, line = found
            parts = await through(other)
            await checked.upload("old", b"old")
            line.changes = "up"
            size = part_size(parts)
            for count, data in enumerate((payload(1000) + FRAGILE, payload(2 * size) + FRAGILE + payload(size)), 1):
                for path in ("old", "new"):
                    with pytest.raises(ChecksumMismatchError):
                        await parts.upload(path, async_pieces(data, 99_991))
                assert line.changed >= 2 * count, "nothing was changed, so this test shows nothing"
            line.changes = ""
            assert await checked.download("old") == b"old"
            assert await paths_of(checked) == ["old"]
            assert await self.leftovers(checked) == []

    async def test_bytes_that_change_on_the_way_down_are_found(self, checked: BlobStore, tmp_path: Path) -> None:
        async with over_a_line(checked) as found:
            other, line = found or (await through(checked, Damaging(checked.driver)), None)
            parts = await through(other, None if line else other.driver)
            for path, data in (
                ("small", payload(1000) + FRAGILE),
                ("large", payload(2 * part_size(parts)) + FRAGILE + payload(100)),
            ):
                await parts.upload(path, data)
                if line is not None:
                    line.changes = "down"
                if (await checked.info(path)).checksum is None:
                    assert checked.driver.own_checksum is None, f"{path} has no checksum"
                    continue
                await self._is_found(parts, path, tmp_path)
                if line is not None:
                    assert line.changed, "nothing was changed, so this test shows nothing"
                    line.changes = ""

    async def _is_found(self, store: BlobStore, path: str, folder: Path) -> None:
        with pytest.raises(ChecksumMismatchError):
            await store.download(path)
        with pytest.raises(ChecksumMismatchError):
            [chunk async for chunk in store.stream(path, 64 * KIB)]
        target = folder / path
        target.write_bytes(b"old")
        with pytest.raises(ChecksumMismatchError):
            await store.download_to(path, target)
        with pytest.raises(ChecksumMismatchError):
            await store.download_to(await store.info(path), target)
        assert target.read_bytes() == b"old", "a damaged file took the place of a good one"
        assert [name for name in os.listdir(folder) if name.startswith(".")] == []  # noqa: PTH208 - a few names

    async def test_ranges_are_not_checked(self, checked: BlobStore) -> None:
        await checked.upload("object", payload(100) + FRAGILE)
        damaged = await through(checked, Damaging(checked.driver))
        assert await damaged.download("object", range=(0, 100 + len(FRAGILE))) == payload(100) + BROKEN
        assert b"".join([piece async for piece in damaged.stream("object", range=(100, None))]) == BROKEN
        async with damaged.open_reader("object") as file:
            assert await file.read() == payload(100) + BROKEN

    async def test_unharmed_objects_pass_the_check_of_every_reader(self, checked: BlobStore, tmp_path: Path) -> None:
        parts = await through(checked)
        for size in (0, 1, part_size(parts), 2 * part_size(parts) + 12_345):
            data = payload(size)
            await parts.upload("object", data)
            assert await parts.download("object") == data
            for chunk_size in (8192, MIB, size or 1):
                assert b"".join([piece async for piece in parts.stream("object", chunk_size)]) == data
            await parts.download_to("object", tmp_path / "file", concurrency=3)
            assert (tmp_path / "file").read_bytes() == data
