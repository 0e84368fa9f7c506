"""Checksums and conditions: a write that must not happen leaves everything as it was."""

from __future__ import annotations

import base64
import functools
import hashlib
import zlib
from typing import TYPE_CHECKING

import pytest

from runtime.errors import AlreadyExistsError, ChecksumMismatchError, NotSupportedError, PreconditionFailedError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import async_pieces, in_parallel, paths_of, payload, refused
from runtime.testing.conformance.watching import part_size

if TYPE_CHECKING:
    from runtime.store import BlobStore

DIGESTS = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}
"""What the standard library can compute; other algorithms are tested with a wrong digest only."""

DIGEST_BYTES = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "md5": 16, "sha1": 20, "sha256": 32}


def checksum(algorithm: str, data: bytes) -> str:
    """``algorithm:base64`` of *data*."""
    return f"{algorithm}:{base64.b64encode(DIGESTS[algorithm](data)).decode()}"


def wrong_checksum(algorithm: str) -> str:
    """A checksum that fits no content of these tests."""
    return f"{algorithm}:{base64.b64encode(bytes([7]) * DIGEST_BYTES[algorithm]).decode()}"


class Conditions(Suite):
    """``checksum``, ``if_not_exists`` and ``if_match``."""

    # checksums

    async def test_right_checksum_is_accepted(self, store: BlobStore, parts: BlobStore) -> None:
        data = payload(part_size(parts) + 10)
        for algorithm in sorted(store.capabilities.checksums & DIGESTS.keys()):
            info = await store.upload("checked", data[:1000], checksum=checksum(algorithm, data[:1000]))
            assert info.size == 1000, algorithm
        for algorithm in sorted(DIGESTS.keys() - store.capabilities.checksums):
            with refused(f"checksum {algorithm}"):
                await store.upload("refused", data[:1000], checksum=checksum(algorithm, data[:1000]))
        assert not await store.exists("refused")

    async def test_wrong_checksum_is_refused_and_the_old_content_stays(self, store: BlobStore) -> None:
        await store.upload("checked", b"old")
        for algorithm in sorted(store.capabilities.checksums):
            with pytest.raises(ChecksumMismatchError):
                await store.upload("checked", b"damaged on the way", checksum=wrong_checksum(algorithm))
            with pytest.raises(ChecksumMismatchError):
                await store.upload("new", b"damaged on the way", checksum=wrong_checksum(algorithm))
        assert await store.download("checked") == b"old"
        assert await paths_of(store) == ["checked"]

    async def test_checksum_of_an_upload_in_parts_is_verified_or_refused(
        self, store: BlobStore, parts: BlobStore
    ) -> None:
        data = payload(part_size(parts) + 10)
        await store.upload("checked", b"old")
        for algorithm in sorted(store.capabilities.checksums):
            with pytest.raises((ChecksumMismatchError, NotSupportedError)):
                await parts.upload("checked", async_pieces(data, 99_991), checksum=wrong_checksum(algorithm))
            assert await store.download("checked") == b"old", algorithm
        for algorithm in sorted(store.capabilities.checksums & DIGESTS.keys()):
            try:
                await parts.upload("whole", async_pieces(data, 99_991), checksum=checksum(algorithm, data))
            except NotSupportedError:
                assert not await store.exists("whole"), f"{algorithm} was refused and written nevertheless"
            else:
                assert await store.download("whole") == data, algorithm
                await store.delete("whole")

    async def test_malformed_checksum_is_refused(self, store: BlobStore) -> None:
        for value in ("sha256", "sha256:", "sha256:not base64", "sha256:AAAA", "rot13:AAAA", ":AAAA"):
            with pytest.raises(NotSupportedError):
                await store.upload("target", b"x", checksum=value)
        assert not await store.exists("target")

    # conditions

    async def test_if_not_exists_writes_a_new_object_and_spares_an_old_one(self, store: BlobStore) -> None:
        if not store.capabilities.if_not_exists:
            with refused("if_not_exists"):
                await store.upload("new", b"first", if_not_exists=True)
            assert not await store.exists("new")
            return
        await store.upload("new", b"first", if_not_exists=True)
        with pytest.raises(AlreadyExistsError):
            await store.upload("new", b"second", if_not_exists=True)
        assert await store.download("new") == b"first"
        await store.delete("new")
        await store.upload("new", b"third", if_not_exists=True)
        assert await store.download("new") == b"third"

    async def test_if_not_exists_holds_for_uploads_in_parts(self, store: BlobStore, parts: BlobStore) -> None:
        data = payload(part_size(parts) + 10)
        if not store.capabilities.if_not_exists:
            with refused("if_not_exists"):
                await parts.upload("new", async_pieces(data, 99_991), if_not_exists=True)
            return
        await parts.upload("new", async_pieces(data, 99_991), if_not_exists=True)
        with pytest.raises(AlreadyExistsError):
            await parts.upload("new", async_pieces(data[::-1], 99_991), if_not_exists=True)
        assert await store.download("new") == data
        assert await self.leftovers(store) == []

    async def test_racing_creates_have_exactly_one_winner(self, store: BlobStore) -> None:
        if not store.capabilities.if_not_exists:
            with refused("if_not_exists"):
                await store.upload("race", b"x", if_not_exists=True)
            return

        async def create(number: int, path: str, winners: list[int]) -> None:
            try:
                await store.upload(path, f"writer {number}", if_not_exists=True)
            except AlreadyExistsError:
                return
            winners.append(number)

        for race in range(3):
            winners: list[int] = []

            path = f"race/{race}"
            await in_parallel(functools.partial(create, path=path, winners=winners), range(12))
            assert len(winners) == 1, f"writers {winners} were all told that they made the object"
            assert await store.download(path) == f"writer {winners[0]}".encode()

    async def test_if_match_writes_only_over_the_asked_version(self, store: BlobStore) -> None:
        first = await store.upload("versioned", b"one")
        if not store.capabilities.if_match:
            with refused("if_match"):
                await store.upload("versioned", b"two", if_match=first.etag)
            assert await store.download("versioned") == b"one"
            return
        second = await store.upload("versioned", b"two", if_match=first.etag)
        with pytest.raises(PreconditionFailedError):
            await store.upload("versioned", b"three", if_match=first.etag)
        assert await store.download("versioned") == b"two"
        await store.upload("versioned", b"four", if_match=second.etag)
        assert await store.download("versioned") == b"four"

    async def test_if_match_on_a_missing_object_writes_nothing(self, store: BlobStore) -> None:
        etag = (await store.upload("other", b"x")).etag
        if not store.capabilities.if_match:
            with refused("if_match"):
                await store.upload("missing", b"x", if_match=etag)
        else:
            with pytest.raises(PreconditionFailedError):
                await store.upload("missing", b"x", if_match=etag)
        assert not await store.exists("missing")

    async def test_if_match_holds_for_uploads_in_parts(self, store: BlobStore, parts: BlobStore) -> None:
        data = payload(part_size(parts) + 10)
        first = await store.upload("versioned", b"one")
        if not store.capabilities.if_match:
            with refused("if_match"):
                await parts.upload("versioned", data, if_match=first.etag)
            return
        second = await parts.upload("versioned", data, if_match=first.etag)
        with pytest.raises(PreconditionFailedError):
            await parts.upload("versioned", data[::-1], if_match=first.etag)
        assert await store.download("versioned") == data
        assert (await store.info("versioned")).etag == second.etag

    async def test_counter_that_many_increment_by_if_match_loses_nothing(self, store: BlobStore) -> None:
        first = await store.upload("counter", b"0")
        if not store.capabilities.if_match:
            with refused("if_match"):
                await store.upload("counter", b"1", if_match=first.etag)
            return

        async def increment(_number: int) -> None:
            while True:
                info = await store.info("counter")
                value = int(await store.download("counter"))
                try:
                    await store.upload("counter", str(value + 1), if_match=info.etag)
                except PreconditionFailedError:
                    continue
                return

        await in_parallel(increment, range(10))
        assert await store.download("counter") == b"10"

    async def test_conditions_that_exclude_each_other_are_refused(self, store: BlobStore) -> None:
        with pytest.raises(NotSupportedError):
            await store.upload("target", b"x", if_not_exists=True, if_match="abc")
        assert not await store.exists("target")
