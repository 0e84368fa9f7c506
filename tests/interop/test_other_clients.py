"""Objects of others are ours, and ours are theirs: bytes, headers, metadata and names, both ways, small and large."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

import runtime
from runtime.testing.conformance.support import payload
from runtime.testing.fixtures import ServerFactory, give_up
from runtime.testing.servers import ServerUnavailableError
from tests.interop.clients import MIB, PART, Attributes, Azure, Boto3, Client, Google, Rclone, without_notes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = gzip.compress(b"<p>Hello, " + b"world " * 500)

SAID = Attributes(
    content_type="text/html; charset=utf-8",
    cache_control="private, max-age=60",
    content_disposition='attachment; filename="a b.html"',
    content_encoding="gzip",
    metadata={"owner": "media team", "trace_id": "0x1F/+=%20"},
)

NAMES = [
    "plain.txt",
    "with space/and  two.txt",
    "ünïcödé/日本語.txt",
    "cafe\u0301.txt",  # decomposed: a name is not normalised
    "plus+a=b&c.txt",
    "per%41cent/100%.txt",
    "quote'\"<>{}|^`[].txt",
    "semi;comma,colon:at@bang!star*tilde~.txt",
    "question?hash#.txt",
    "😀.bin",
    "deep/er/and/deep/er/x",
]


def _rclone() -> str:
    """rclone on PATH, under the rule of the servers: absent skips, or fails where servers are required."""
    found = shutil.which("rclone")
    if found is None:
        give_up(ServerUnavailableError("rclone is not available here", hint="apt-get install rclone"))
    return found


Make = Callable[[ServerFactory, str, Path], Client]


@dataclass(frozen=True)
class Case:
    """One client, the server that it talks to, and our driver for the same bucket."""

    driver: str
    make: Make
    more: tuple[tuple[str, Any], ...] = ()


CASES = {
    "boto3-ministack": Case("s3", lambda server, bucket, _: Boto3(server("ministack"), bucket)),
    "boto3-versitygw": Case("s3", lambda server, bucket, _: Boto3(server("versitygw"), bucket)),
    "boto3-r2-versitygw": Case("r2", lambda server, bucket, _: Boto3(server("versitygw-auto"), bucket)),
    "rclone-ministack": Case("s3", lambda server, bucket, tmp: Rclone(server("ministack"), bucket, _rclone(), tmp)),
    "rclone-versitygw": Case("s3", lambda server, bucket, tmp: Rclone(server("versitygw"), bucket, _rclone(), tmp)),
    "google-fake-gcs-server": Case("gcs", lambda server, bucket, _: Google(server("fake-gcs-server"), bucket)),
    "azure-azurite": Case("azure", lambda server, bucket, _: Azure(server("azurite"), bucket)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def other(case: Case, server: ServerFactory, tmp_path: Path) -> Iterator[Client]:
    client = case.make(server, f"tandem-{uuid4().hex[:16]}", tmp_path)
    yield client
    client.close()


@pytest.fixture
async def store(case: Case, other: Client) -> AsyncIterator[runtime.BlobStore]:
    backend = {"name": "shared", "driver": case.driver, case.driver: other.settings, "transfer": {"part_size": PART}}
    async with runtime.open_storage({"backends": [backend]}) as storage:
        yield storage["shared"]


def said(info: runtime.FileInfo) -> Attributes:
    headers = (info.cache_control, info.content_disposition, info.content_encoding)
    return Attributes(info.content_type, *headers, without_notes(info.metadata or {}))


def options(attributes: Attributes) -> runtime.UploadOptions:
    return runtime.UploadOptions(**vars(attributes))


async def test_all_that_others_say_of_an_object_is_read_here(store: runtime.BlobStore, other: Client) -> None:
    other.write("theirs/page.html", PAGE, SAID)
    assert await store.download("theirs/page.html") == PAGE
    assert said(await store.info("theirs/page.html")) == SAID
    (listed,) = [info async for info in store.list("theirs/")]
    assert (listed.path, listed.size) == ("theirs/page.html", len(PAGE))
    assert listed.etag == (await store.info("theirs/page.html")).etag


async def test_all_that_we_say_of_an_object_is_read_by_others(store: runtime.BlobStore, other: Client) -> None:
    await store.upload("ours/page.html", PAGE, options(SAID))
    assert other.read("ours/page.html") == (PAGE, SAID)
    assert other.names() == ["ours/page.html"]


async def test_names_of_others_are_ours(store: runtime.BlobStore, other: Client) -> None:
    for name in NAMES:
        other.write(name, name.encode(), Attributes("text/plain"))
    assert {info.path async for info in store.list()} == set(NAMES)
    for name in NAMES:
        assert await store.download(name) == name.encode(), name
        assert await store.exists(name), name
    results = await store.delete_batch(NAMES)
    assert [result.error for result in results] == [None] * len(NAMES)
    assert other.names() == []


async def test_names_of_ours_are_theirs(store: runtime.BlobStore, other: Client) -> None:
    for name in NAMES:
        await store.upload(name, name.encode())
    assert set(other.names()) == set(NAMES)
    for name in NAMES:
        assert other.read(name)[0] == name.encode(), name
        other.delete(name)
    assert [info.path async for info in store.list()] == []


async def test_large_objects_in_parts_of_others_are_read_here(store: runtime.BlobStore, other: Client) -> None:
    content = payload(2 * PART + 12_345)
    plain = replace(SAID, content_encoding=None)
    other.write("large.bin", content, plain)
    info = await store.info("large.bin")
    assert (info.size, said(info)) == (len(content), plain)
    chunks = [chunk async for chunk in store.stream("large.bin", MIB)]
    assert b"".join(chunks) == content
    begin, end = PART - 100, PART + 100  # over the edge of a part
    assert await store.download("large.bin", range=(begin, end)) == content[begin:end]


async def test_large_objects_in_parts_of_ours_are_read_by_others(store: runtime.BlobStore, other: Client) -> None:
    content = payload(2 * PART + 12_345)
    plain = replace(SAID, content_encoding=None)
    pieces = (content[at : at + 70_000] for at in range(0, len(content), 70_000))
    await store.upload("large.bin", pieces, options(plain))
    assert other.read("large.bin") == (content, plain)


async def test_copies_of_ours_keep_what_others_said(store: runtime.BlobStore, other: Client) -> None:
    other.write("a/from the others+.html", PAGE, SAID)
    await store.copy("a/from the others+.html", "b/ünser.html")
    assert other.read("b/ünser.html") == (PAGE, SAID)
    await store.move("b/ünser.html", "c/moved.html")
    assert set(other.names()) == {"a/from the others+.html", "c/moved.html"}


async def test_copies_of_others_keep_what_we_said(store: runtime.BlobStore, other: Client) -> None:
    await store.upload("a/from us+ü.html", PAGE, options(SAID))
    other.copy("a/from us+ü.html", "b/their copy.html")
    assert said(await store.info("b/their copy.html")) == SAID
    assert await store.download("b/their copy.html") == PAGE


async def test_what_others_overwrite_is_another_version_here(store: runtime.BlobStore, other: Client) -> None:
    before = await store.upload("shared.txt", b"one", "text/plain")
    other.write("shared.txt", b"two", Attributes("text/x-two"))
    after = await store.info("shared.txt")
    assert after.etag != before.etag
    assert (await store.download("shared.txt"), after.content_type) == (b"two", "text/x-two")
    with pytest.raises(runtime.PreconditionFailedError):
        await store.upload("shared.txt", b"three", if_match=before.etag)
    assert other.read("shared.txt")[0] == b"two"
    other.delete("shared.txt")
    assert not await store.exists("shared.txt")
