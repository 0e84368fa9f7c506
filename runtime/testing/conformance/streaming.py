"""Reading an object in pieces."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.errors import InvalidOptionError, InvalidPathError, NotFoundError, StorageError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import KIB, MIB, digits, payload
from runtime.testing.conformance.watching import Watched, through

if TYPE_CHECKING:
    from runtime.store import BlobStore


class Streaming(Suite):
    """`stream`."""

    async def test_chunks_have_exactly_the_asked_size_but_the_last(self, store: BlobStore) -> None:
        data = payload(10_000)
        await store.upload("chunks", data)
        for size in (1000, 4096, 9_999, 10_000, 10_001):
            chunks = [chunk async for chunk in store.stream("chunks", chunk_size=size)]
            assert b"".join(chunks) == data, f"chunk_size={size}"
            assert {len(chunk) for chunk in chunks[:-1]} <= {size}, f"chunk_size={size}"
            assert 0 < len(chunks[-1]) <= size, f"chunk_size={size}"

    async def test_chunks_of_one_byte_work(self, store: BlobStore) -> None:
        await store.upload("tiny", b"0123456789")
        assert [chunk async for chunk in store.stream("tiny", 1)] == [b"%d" % digit for digit in range(10)]

    async def test_chunk_size_is_8_kib_unless_said_otherwise(self, store: BlobStore) -> None:
        await store.upload("chunks", payload(20_000))
        assert [len(chunk) async for chunk in store.stream("chunks")] == [8192, 8192, 3616]

    async def test_stream_of_an_empty_object_has_no_chunks(self, store: BlobStore) -> None:
        await store.upload("empty", b"")
        assert [chunk async for chunk in store.stream("empty")] == []

    async def test_stream_of_a_range_gives_that_range(self, store: BlobStore) -> None:
        data = payload(50_000)
        await store.upload("chunks", data)
        chunks = [chunk async for chunk in store.stream("chunks", 1000, range=(12_345, 23_456))]
        assert b"".join(chunks) == data[12_345:23_456]

    async def test_stream_of_a_missing_object_raises_at_the_first_step(self, store: BlobStore) -> None:
        stream = store.stream("missing")
        with pytest.raises(NotFoundError):
            await anext(stream)

    async def test_wrong_arguments_of_stream_raise_before_the_first_step(self, store: BlobStore) -> None:
        with pytest.raises(InvalidPathError):
            store.stream("a//b")
        with pytest.raises(InvalidOptionError):
            store.stream("a", chunk_size=0)

    async def test_stream_that_is_left_early_gives_its_connection_back(self, store: BlobStore) -> None:
        await store.upload("large", payload(2 * MIB))
        watched = Watched(store.driver)
        again = await through(store, watched)
        for _ in range(20):  # more than any connection pool holds, if they leaked
            async with aclosing(again.stream("large", 1000)) as stream:
                async for chunk in stream:
                    assert len(chunk) == 1000
                    break
        assert watched.closed_readers == 20
        with anyio.fail_after(30):
            assert len(await store.download("large")) == 2 * MIB

    async def test_stream_reads_only_a_little_ahead_of_its_consumer(self, store: BlobStore) -> None:
        size, bound = 24 * MIB, 10 * MIB
        await store.upload("large", payload(size))
        watched = Watched(store.driver)
        again = await through(store, watched)
        async with aclosing(again.stream("large", KIB)) as stream:
            await anext(stream)
            await anyio.sleep(0.05)
            assert watched.bytes_out < bound, f"{watched.bytes_out:,} bytes were read for a chunk of 1,024"

    async def test_two_streams_of_one_object_do_not_disturb_each_other(self, store: BlobStore) -> None:
        data = payload(100_000)
        await store.upload("shared", data)
        async with aclosing(store.stream("shared", 1000)) as first, aclosing(store.stream("shared", 1000)) as second:
            got = [[await anext(first), await anext(second)] for _ in range(100)]
        assert b"".join(pair[0] for pair in got) == b"".join(pair[1] for pair in got) == data

    async def test_stream_never_mixes_two_versions_of_an_object(self, store: BlobStore) -> None:
        size = 3 * MIB
        await store.upload("replaced", digits(size, 1))
        got = bytearray()
        try:
            async with aclosing(store.stream("replaced", 64 * KIB)) as stream:
                got += await anext(stream)
                await store.upload("replaced", digits(size, 2))
                async for chunk in stream:
                    got += chunk
        except StorageError:
            return  # to say that the object was replaced is right as well
        assert bytes(got) == digits(size, 1), "a stream goes on with the version that it began with, or raises"
