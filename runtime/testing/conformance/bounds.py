"""Memory, and sources that give their bytes in the strangest portions."""

from __future__ import annotations

import gc
import hashlib
import tracemalloc
from typing import TYPE_CHECKING

from runtime.testing.conformance.files import Counting
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import MIB, async_pieces, paths_of, payload, sync_pieces
from runtime.testing.conformance.watching import part_size, through

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from runtime.driver import ByteRange, ObjectReader
    from runtime.store import BlobStore

SLACK = 16 * MIB
"""Memory that a transfer may take beside its parts."""


class InFlight(Counting):
    """Counts readers that were begun and not read to their end."""

    reading = 0
    most_reading = 0

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        reader = await super().get(path, byte_range)
        chunks = reader.chunks

        async def counted(size_hint: int) -> AsyncIterator[bytes]:
            async for chunk in chunks(size_hint):
                yield bytes(chunk)
            self.reading -= 1

        reader.chunks = counted  # type: ignore[method-assign] # of this one only
        return reader


class Bounds(Suite):
    """Transfers of large objects."""

    async def test_yields_of_one_byte_and_of_a_hundred_mebibytes_are_cut_into_parts(self, store: BlobStore) -> None:
        other = await through(store)
        size = part_size(other)
        data = payload(2 * size + 700)

        def single_bytes_around_the_first_part() -> Iterator[bytes]:
            yield data[: size - 300]
            yield from (data[index : index + 1] for index in range(size - 300, size + 300))
            yield data[size + 300 :]

        await other.upload("single", single_bytes_around_the_first_part())
        assert await store.download("single") == data
        whole = payload(100 * MIB)
        await other.upload("large", async_pieces(whole, len(whole)))
        info = await store.info("large")
        assert info.size == len(whole)
        got = hashlib.sha256()
        async for chunk in store.stream("large", 4 * MIB):
            got.update(chunk)
        assert got.digest() == hashlib.sha256(whole).digest()
        await store.delete("large")

    async def test_transfers_take_no_more_memory_than_their_parts(self, store: BlobStore, tmp_path: Path) -> None:
        concurrency = 2
        other = await through(store, concurrency=concurrency)
        total, piece = 40 * MIB + 2 * concurrency * part_size(other), payload(64 * 1024)
        bound = part_size(other) * concurrency + SLACK
        if self.keeps_objects_in_this_process:
            bound += 2 * total  # its parts, and what is made of them
        (tmp_path / "up").write_bytes(payload(total))

        async def source() -> AsyncIterator[bytes]:
            for _ in range(0, total, len(piece)):
                yield piece

        async def stream() -> None:
            async for _ in other.stream("object", 64 * 1024):
                pass

        transfers: dict[str, Callable[[], Awaitable[object]]] = {
            "upload": lambda: other.upload("object", source()),
            "stream": stream,
            "download_to": lambda: other.download_to("object", tmp_path / "down"),
            "upload_from": lambda: other.upload_from(tmp_path / "up", "object"),
        }
        for what, transfer in transfers.items():
            gc.collect()
            tracemalloc.start()
            try:
                await transfer()
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak <= bound, f"{what} took {peak:,} bytes, {bound:,} are allowed"

    async def test_large_object_comes_into_a_file_by_several_ranges_at_once(
        self, store: BlobStore, tmp_path: Path
    ) -> None:
        watched = InFlight(store.driver)
        other = await through(store, watched)
        data = payload(6 * part_size(other) + 11)
        await other.upload("object", data)
        target = tmp_path / "down"
        seen: list[bool] = []

        def progress(_done: int, _total: int) -> None:
            seen.append(target.exists())

        await other.download_to("object", target, concurrency=3, progress=progress)
        assert target.read_bytes() == data
        assert 1 < watched.most_reading <= 3, "ranges go several at once, and no more than asked for"
        assert not any(seen), "the file was to be seen before it was whole"
        watched.gets = 0
        await other.upload("small", data[:1000])
        await other.download_to("small", target)
        assert watched.gets == 1, "what fits into one part is asked for once"

    async def test_large_file_goes_up_by_several_parts_at_once(self, store: BlobStore, tmp_path: Path) -> None:
        watched = Counting(store.driver, at_once=2 if store.capabilities.parallel_parts else 1)
        other = await through(store, watched)
        (tmp_path / "up").write_bytes(payload(6 * part_size(other)))
        await other.upload_from(tmp_path / "up", "object", concurrency=3)
        assert (watched.most_in_flight > 1) is store.capabilities.parallel_parts
        assert await store.download("object") == payload(6 * part_size(other))

    async def test_sync_iterator_of_unknown_size_is_sent_in_parts(self, store: BlobStore, parts: BlobStore) -> None:
        data = payload(2 * part_size(parts) + 1)
        await parts.upload("unknown", sync_pieces(data, 99_991))
        assert await store.download("unknown") == data
        assert await paths_of(store) == ["unknown"]
