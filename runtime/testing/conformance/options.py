"""Options of an upload: each is honoured or refused, never dropped."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import zlib
from typing import TYPE_CHECKING

import pytest

from runtime.errors import (
    AlreadyExistsError,
    ChecksumMismatchError,
    InvalidOptionError,
    NotSupportedError,
    PreconditionFailedError,
)
from runtime.models import UploadOptions
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import async_pieces, in_parallel, part_size, paths_of, payload, refused

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


class Options(Suite):
    """`UploadOptions`, one by one."""

    async def test_content_type_is_kept(self, store: BlobStore) -> None:
        for number, value in enumerate(("image/jpeg", "text/html; charset=utf-8", "application/vnd.api+json")):
            await store.upload(f"typed-{number}", b"x", content_type=value)
            assert (await store.info(f"typed-{number}")).content_type == value

    async def test_content_type_is_guessed_from_the_suffix(self, store: BlobStore) -> None:
        for path, expected in {
            "a/photo.JPG": "image/jpeg",
            "page.html": "text/html",
            "data.json": "application/json",
            "archive.tar.gz": "application/gzip",
            "no-suffix": "application/octet-stream",
        }.items():
            await store.upload(path, b"x")
            assert (await store.info(path)).content_type == expected, path

    async def test_explicit_content_type_wins_over_the_suffix(self, store: BlobStore) -> None:
        await store.upload("page.html", b"x", content_type="text/plain")
        assert (await store.info("page.html")).content_type == "text/plain"

    async def test_all_attributes_round_trip(self, store: BlobStore) -> None:
        await store.upload(
            "attributes.bin",
            b"content",
            content_type="application/pdf",
            metadata={"department": "finance", "note": "a b=c; d"},
            cache_control="public, max-age=3600",
            content_disposition='attachment; filename="report.pdf"',
        )
        info = await store.info("attributes.bin")
        assert info.content_type == "application/pdf"
        assert info.metadata == {"department": "finance", "note": "a b=c; d"}
        assert info.cache_control == "public, max-age=3600"
        assert info.content_disposition == 'attachment; filename="report.pdf"'

    async def test_options_may_come_as_one_value_or_unpacked(self, store: BlobStore) -> None:
        options = UploadOptions(content_type="application/pdf", metadata={"a": "b"}, cache_control="no-store")
        await store.upload("one-value", b"x", options)
        await store.upload("unpacked", b"x", **options.__dict__)
        for path in ("one-value", "unpacked"):
            info = await store.info(path)
            assert (info.content_type, info.metadata, info.cache_control) == ("application/pdf", {"a": "b"}, "no-store")

    async def test_unknown_option_raises_type_error_and_writes_nothing(self, store: BlobStore) -> None:
        with pytest.raises(TypeError):
            await store.upload("target", b"x", cache_contol="no-store")
        assert not await store.exists("target")

    async def test_metadata_names_are_lower_case(self, store: BlobStore) -> None:
        await store.upload("target", b"x", metadata={"Content-Owner": "Seven", "x_y": "UPPER stays"})
        assert (await store.info("target")).metadata == {"content-owner": "Seven", "x_y": "UPPER stays"}

    async def test_metadata_that_no_service_keeps_is_refused(self, store: BlobStore) -> None:
        for metadata in (
            {"": "v"},
            {"na me": "v"},
            {"naïve": "v"},
            {"n": "väl"},
            {"n": " v"},
            {"n": "v\nx: y"},
            {"n": "v" * 3000},
        ):
            with pytest.raises(InvalidOptionError):
                await store.upload("target", b"x", metadata=metadata)
        with pytest.raises(ValueError, match="upper and lower case"):
            await store.upload("target", b"x", metadata={"a": "1", "A": "2"})
        assert not await store.exists("target")

    async def test_headers_with_line_breaks_are_refused(self, store: BlobStore) -> None:
        for name in ("content_type", "cache_control", "content_disposition", "content_encoding"):
            with pytest.raises(InvalidOptionError):
                await store.upload("target", b"x", **{name: "a/b\r\nx-evil: 1"})
        assert not await store.exists("target")

    async def test_content_encoding_is_kept_and_bytes_are_not_decoded(self, store: BlobStore) -> None:
        packed = gzip.compress(b"text " * 100)
        await store.upload("page.html", packed, content_encoding="gzip")
        assert (await store.info("page.html")).content_encoding == "gzip"
        assert await store.download("page.html") == packed, "the stored bytes come back, not what they unpack to"
        assert b"".join([chunk async for chunk in store.stream("page.html")]) == packed

    async def test_public_is_honoured_where_declared_and_refused_elsewhere(self, store: BlobStore) -> None:
        declared = store.backend.expect is not None and store.backend.expect.public
        if not (store.capabilities.public and declared):
            with refused("public"):
                await store.upload("open.txt", b"for all", public=True)
            assert not await store.exists("open.txt")
            return
        await store.upload("open.txt", b"for all", public=True)
        answer = await self.http("GET", await store.get_url("open.txt"))
        assert (answer.status, answer.content) == (200, b"for all")

    async def test_storage_class_is_honoured_or_refused(self, store: BlobStore) -> None:
        if not store.capabilities.storage_class:
            with refused("storage_class"):
                await store.upload("target", b"x", storage_class=self.storage_class)
            assert not await store.exists("target")
            return
        await store.upload("target", b"x", storage_class=self.storage_class)
        assert await store.download("target") == b"x"

    async def test_tags_are_honoured_or_refused(self, store: BlobStore) -> None:
        if not store.capabilities.tags:
            with refused("tags"):
                await store.upload("target", b"x", tags={"team": "media"})
            assert not await store.exists("target")
            return
        await store.upload("target", b"x", tags={"team": "media", "a b": "c+d"})
        assert await store.download("target") == b"x"

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
