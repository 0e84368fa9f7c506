from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.config import NamedStorageConfig, StorageMemoryConfig
from runtime.drivers.memory import MemoryDriver
from runtime.errors import (
    AlreadyExistsError,
    ChecksumMismatchError,
    NotFoundError,
    NotSupportedError,
    PreconditionFailedError,
)
from runtime.models import UploadOptions

if TYPE_CHECKING:
    from runtime.models import ObjectPage
    from runtime.store import BlobStore

PATHS = st.lists(st.text(alphabet="ab/é😀-", min_size=1, max_size=5), max_size=12, unique=True)
PLAIN = UploadOptions(content_type="text/plain")


def driver() -> MemoryDriver:
    return MemoryDriver(NamedStorageConfig(name="m", driver="memory", memory=StorageMemoryConfig()))


async def everything(memory: MemoryDriver, prefix: str, delimiter: str, limit: int) -> tuple[list[str], list[str]]:
    paths: list[str] = []
    prefixes: list[str] = []
    page: ObjectPage | None = None
    while page is None or page.cursor is not None:
        page = await memory.list_objects(prefix, delimiter=delimiter, cursor=page.cursor if page else None, limit=limit)
        assert len(page.objects) + len(page.prefixes) <= limit
        paths += [info.path for info in page.objects]
        prefixes += page.prefixes
    return paths, prefixes


@given(paths=PATHS, prefix=st.text(alphabet="ab/é", max_size=3), delimiter=st.sampled_from(["", "/", "b", "ab"]))
@pytest.mark.parametrize("limit", [1, 2, 1000])
async def test_a_listing_is_the_same_at_every_page_size(
    paths: list[str], prefix: str, delimiter: str, limit: int
) -> None:
    memory = driver()
    for path in paths:
        await memory.put(path, b"", PLAIN)
    matching = sorted((path for path in paths if path.startswith(prefix)), key=lambda path: path.encode())
    rolled_up = {
        path: prefix + path[len(prefix) :].partition(delimiter)[0] + delimiter
        for path in matching
        if delimiter and delimiter in path[len(prefix) :]
    }
    expected = [path for path in matching if path not in rolled_up], list(dict.fromkeys(rolled_up.values()))
    assert await everything(memory, prefix, delimiter, limit) == expected


@given(paths=PATHS, start_after=st.text(alphabet="ab/é😀", max_size=4))
async def test_a_listing_starts_after_any_string(paths: list[str], start_after: str) -> None:
    memory = driver()
    for path in paths:
        await memory.put(path, b"", PLAIN)
    page = await memory.list_objects("", start_after=start_after)
    expected = sorted((path for path in paths if path.encode() > start_after.encode()), key=str.encode)
    assert [info.path for info in page.objects] == expected


async def test_a_page_is_not_disturbed_by_what_happens_before_it(store: BlobStore) -> None:
    for path in "bcd":
        await store.upload(path, b"")
    first = await store.list_page(limit=2)
    await store.upload("a", b"")
    await store.delete("b")
    await store.upload("e", b"")
    rest = await store.list_page(cursor=first.cursor)
    assert [info.path for info in rest.objects] == ["d", "e"]


async def test_an_etag_is_that_of_the_content_however_it_came(store: BlobStore) -> None:
    whole = await store.upload("a", b"x" * 900)
    parts = await store.upload("b", (b"x" for _ in range(900)))
    other = await store.upload("c", b"y" * 900)
    many = await store.upload("d", b"x" * 4000)
    streamed = await store.upload("e", (b"x" * 100 for _ in range(40)))
    assert whole.etag == parts.etag
    assert many.etag == streamed.etag
    assert len({whole.etag, other.etag, many.etag}) == 3


async def test_what_a_caller_changes_in_its_info_changes_nothing_in_the_store(store: BlobStore) -> None:
    given_metadata = {"a": "1"}
    info = await store.upload("a", b"x", metadata=given_metadata)
    given_metadata["a"] = "2"
    assert info.metadata == {"a": "1"}
    for told in (info, await store.info("a"), (await store.list_page()).objects[0], await store.copy("a", "b")):
        assert told.metadata is not None
        told.metadata["a"] = "3"
    assert (await store.info("a")).metadata == (await store.info("b")).metadata == {"a": "1"}


async def test_a_mutable_buffer_is_copied(store: BlobStore) -> None:
    data = bytearray(b"before")
    await store.upload("a", data)
    data[:] = b"after!"
    assert await store.download("a") == b"before"


async def test_conditions_are_kept(store: BlobStore) -> None:
    info = await store.upload("a", b"1", if_not_exists=True)
    with pytest.raises(AlreadyExistsError):
        await store.upload("a", b"2", if_not_exists=True)
    for path, etag in (("a", "other"), ("missing", info.etag)):
        with pytest.raises(PreconditionFailedError):
            await store.upload(path, b"2", if_match=etag)
        with pytest.raises(PreconditionFailedError):
            await store.delete(path, if_match=etag)
    newer = await store.upload("a", b"2", if_match=info.etag)
    await store.delete("a", if_match=newer.etag)
    assert not await store.exists("a")


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("md5", hashlib.md5(b"hello", usedforsecurity=False).digest()),
        ("sha256", hashlib.sha256(b"hello").digest()),
        ("crc32", zlib.crc32(b"hello").to_bytes(4, "big")),
    ],
)
async def test_a_checksum_is_verified_before_the_object_is_visible(
    store: BlobStore, algorithm: str, digest: bytes
) -> None:
    checksum = f"{algorithm}:{b64encode(digest).decode()}"
    assert (await store.upload("a", b"hello", checksum=checksum)).checksum == checksum
    for wrong in (b"hellO", b"hello" * 1000):
        with pytest.raises(ChecksumMismatchError):
            await store.upload("b", wrong, checksum=checksum)
    assert not await store.exists("b")


async def test_a_copy_is_a_newer_object_with_the_same_attributes(store: BlobStore) -> None:
    info = await store.upload("a", b"x", "text/css", metadata={"a": "1"}, cache_control="no-store")
    copy = await store.copy("a", "b")
    same = ("size", "content_type", "etag", "metadata", "cache_control", "checksum")
    assert [getattr(copy, name) for name in same] == [getattr(info, name) for name in same]
    assert copy.path == "b"
    assert copy.version != info.version
    assert copy.last_modified >= info.last_modified


async def test_two_openings_are_two_stores() -> None:
    one, other = driver(), driver()
    await one.put("a", b"", PLAIN)
    with pytest.raises(NotFoundError):
        await other.head("a")


async def test_parts_of_an_unknown_upload_are_refused() -> None:
    memory = driver()
    with pytest.raises(NotFoundError, match="no multipart upload 'x' is open"):
        await memory.put_part("a", "x", 1, [b""])
    await memory.abort_multipart("a", "x")


async def test_parts_that_do_not_add_up_are_refused_and_stay_open() -> None:
    memory = driver()
    upload_id = await memory.start_multipart("a", PLAIN)
    token = await memory.put_part("a", upload_id, 1, [b"123"])
    with pytest.raises(ChecksumMismatchError, match="3 bytes, 4 were announced"):
        await memory.complete_multipart("a", upload_id, [token], 4, PLAIN)
    assert (await memory.complete_multipart("a", upload_id, [token], 3, PLAIN)).size == 3


async def test_addresses_are_those_of_no_web_server(store: BlobStore) -> None:
    assert await store.get_url("ü/b c?.txt") == "memory:%C3%BC/b%20c%3F.txt"
    assert store.capabilities.presign == frozenset()
    with pytest.raises(NotSupportedError):
        await store.get_presigned_url("a")


async def test_what_is_stored_can_be_looked_at(store: BlobStore) -> None:
    await store.upload("a", b"x" * 2500)
    assert store.raw == {"a": b"x" * 2500}
    assert (await store.describe())["bytes"] == 2500
