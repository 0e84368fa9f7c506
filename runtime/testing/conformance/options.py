"""Options of an upload: each is honoured or refused, never dropped."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import pytest

from runtime.config import StorageOperationConfig
from runtime.errors import (
    InvalidOptionError,
    NotSupportedError,
    QuotaExceededError,
)
from runtime.models import UploadOptions
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import KIB, MIB, async_pieces, paths_of, payload, refused
from runtime.testing.conformance.watching import Watched

if TYPE_CHECKING:
    from runtime.models import Uploadable
    from runtime.store import BlobStore


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
            option: dict[str, Any] = {name: "a/b\r\nx-evil: 1"}
            with pytest.raises(InvalidOptionError):
                await store.upload("target", b"x", **option)
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

    # the application's own limits

    async def test_upload_over_the_applications_size_limit_leaves_nothing(self, store: BlobStore) -> None:
        service = StorageOperationConfig(max_file_size_mb=1)
        limited = await type(store)(store.backend, Watched(store.driver), service=service).open()
        await limited.upload("fits", payload(MIB))
        too_large: dict[str, Uploadable] = {
            "bytes": payload(MIB + 1),
            "iterator": async_pieces(payload(3 * MIB), 64 * KIB),
            "file": io.BytesIO(payload(MIB + 1)),
        }
        for kind, data in too_large.items():
            with pytest.raises(QuotaExceededError):
                await limited.upload("too-large", data)
            assert not await store.exists("too-large"), kind
        assert await self.leftovers(store) == []

    async def test_content_type_that_the_application_does_not_allow_is_refused(self, store: BlobStore) -> None:
        service = StorageOperationConfig(allowed_mime_types=("image/*", "application/pdf"))
        limited = await type(store)(store.backend, Watched(store.driver), service=service).open()
        await limited.upload("a.png", b"x")
        await limited.upload("report", b"x", content_type="application/pdf")
        for path, content_type in (("page.html", None), ("a.png", "text/html"), ("none", None)):
            with pytest.raises(NotSupportedError):
                await limited.upload(path, b"evil", content_type)
        assert await paths_of(store) == ["a.png", "report"]
        assert await store.download("a.png") == b"x"
