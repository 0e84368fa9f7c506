"""The conformance suite on a directory, and what only a directory has: other people's files, links, a root."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from runtime.drivers.local import LocalDriver, listing
from runtime.drivers.local.stage import Staged
from runtime.errors import (
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    StorageError,
)
from runtime.testing.conformance import BlobStoreConformance
from runtime.testing.conformance.support import async_pieces, in_parallel, paths_of, payload
from tests.drivers.folders import open_local, ordinary, unfinished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runtime.store import BlobStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / ".gitkeep").touch()
    return folder


@pytest.fixture
async def store(root: Path) -> AsyncIterator[BlobStore]:
    async with open_local(root) as opened:
        yield opened


class TestLocal(BlobStoreConformance):
    creates_missing_bucket = True

    @pytest.fixture
    async def store(self, root: Path) -> AsyncIterator[BlobStore]:
        async with open_local(root) as opened:
            yield opened

    async def leftovers(self, store: BlobStore) -> list[str]:
        return unfinished(store.raw)


# what people see on the disk


async def test_ordinary_paths_are_ordinary_files(store: BlobStore, root: Path) -> None:
    for path in ("u/1.jpg", "docs/2026/Report final.pdf", "README", "ü/東京.txt"):
        await store.upload(path, path)
        assert (root / path).read_text() == path
    assert ordinary(root) == [".gitkeep", "README", "docs/2026/Report final.pdf", "u/1.jpg", "ü/東京.txt"]


async def test_gitkeep_of_the_root_is_no_object_and_survives_everything(store: BlobStore, root: Path) -> None:
    assert await paths_of(store) == []
    assert not await store.exists(".gitkeep")
    await store.upload(".gitkeep", b"an object of that name is another file")
    assert await paths_of(store) == [".gitkeep"]
    await store.delete(".gitkeep")
    assert (root / ".gitkeep").read_bytes() == b""
    assert await paths_of(store) == []


async def test_gitkeep_of_others_below_the_root_is_an_object(store: BlobStore, root: Path) -> None:
    (root / "kept").mkdir()
    (root / "kept/.gitkeep").touch()
    assert await paths_of(store) == ["kept/.gitkeep"]


async def test_folders_of_deleted_objects_vanish_up_to_the_root(store: BlobStore, root: Path) -> None:
    await store.upload("a/b/c", b"x")
    await store.upload("a/kept", b"x")
    await store.delete("a/b/c")
    assert ordinary(root) == [".gitkeep", "a/kept"]
    assert not (root / "a/b").exists()
    await store.delete("a/kept")
    assert not (root / "a").exists()
    assert ordinary(root) == [".gitkeep"]


# the root, its limits, and being cheap


async def test_missing_root_is_unhealthy_says_what_to_do_and_is_made_by_an_upload(tmp_path: Path) -> None:
    missing = tmp_path / "not" / "there"
    async with open_local(missing) as store:
        health = await store.health_check()
        assert not health.is_healthy()
        assert str(missing) in (health.message or "")
        assert "mkdir" in (health.message or "")
        assert not missing.exists(), "looking makes nothing"
        await store.upload("a/b", b"x")
        assert (await store.health_check()).is_healthy()
        assert (missing / "a/b").read_bytes() == b"x"


async def test_health_tells_the_root_and_the_room_that_is_left(store: BlobStore, root: Path) -> None:
    details = (await store.health_check()).details or {}
    assert details["root_dir"] == str(root)
    assert details["free_bytes"] > 0


async def test_url_is_below_the_base_url(tmp_path: Path) -> None:
    async with open_local(tmp_path, base_url="https://files.example.com/media/") as store:
        assert await store.get_url("a b/ü.jpg") == "https://files.example.com/media/a%20b/%C3%BC.jpg"


async def test_full_disk_is_quota_exceeded_and_leaves_nothing(
    store: BlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("target", b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Staged, "write", full)
    with pytest.raises(QuotaExceededError):
        await store.upload("target", b"new")
    with pytest.raises(QuotaExceededError):
        await store.upload("large", async_pieces(payload(20_000_000), 1_000_000))
    assert unfinished(root) == []
    assert await store.download("target") == b"old"
    assert await paths_of(store) == ["target"]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, QuotaExceededError),
        (errno.EDQUOT, QuotaExceededError),
        (errno.EACCES, PermissionDeniedError),
        (errno.EROFS, PermissionDeniedError),
        (errno.ENOENT, NotFoundError),
        (errno.EIO, StorageError),
    ],
)
def test_errors_of_the_system_are_classified_by_number(tmp_path: Path, number: int, kind: type[StorageError]) -> None:
    driver = open_local(tmp_path).driver
    assert driver.error_type(OSError(number, "text that nobody reads")) is kind
    assert driver.error_type(ZeroDivisionError()) is None


async def test_listing_enters_only_folders_that_can_match(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("a/1", "ab/1", "ab/x/1", "abc/1", "b/1", "b/c/d"):
        await store.upload(path, b"x")
    entered: list[str] = []
    entries = listing.Walk._entries

    def spy(walk: listing.Walk, parts: tuple[str, ...]) -> object:
        entered.append("/".join(parts))
        return entries(walk, parts)

    monkeypatch.setattr(listing.Walk, "_entries", spy)
    assert await paths_of(store, "ab/x") == ["ab/x/1"]
    assert entered == ["", "ab", "ab/x"]
    entered.clear()
    assert await paths_of(store, start_after="abc/0") == ["abc/1", "b/1", "b/c/d"]
    assert entered == ["", "abc", "b", "b/c"]
    entered.clear()
    page = await store.list_page(delimiter="/")
    assert list(page.prefixes) == ["a/", "ab/", "abc/", "b/"]
    assert "ab/x" not in entered
    assert "b/c" not in entered


async def test_no_descriptor_is_left_open(store: BlobStore) -> None:
    async def work(number: int) -> None:
        await store.upload(f"d/{number}", payload(300_000))
        await store.download(f"d/{number}")
        [_ async for _ in store.stream(f"d/{number}", 100_000)]
        await store.copy(f"d/{number}", f"e/{number}")
        await store.delete(f"d/{number}")
        with pytest.raises(NotFoundError):
            await store.download(f"d/{number}")

    await work(0)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the count is all
    await in_parallel(work, range(1, 20))
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208 - as above; the thread pool may have grown


async def test_raw_is_the_root(store: BlobStore, root: Path) -> None:
    assert store.raw == root
    assert isinstance(store.driver, LocalDriver)
