"""What others put into the directory: files, links, pipes."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.drivers.local.files import Files
from runtime.errors import (
    NotFoundError,
    PermissionDeniedError,
)
from runtime.testing.conformance.support import paths_of
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


# files of others


async def test_files_of_others_are_objects_with_guessed_types(store: BlobStore, root: Path) -> None:
    (root / "theirs").mkdir()
    for name in ("photo.jpg", "100%.txt", "a%20b.txt", "x%=", "c%+"):
        (root / "theirs" / name).write_text(name)
    names = ["100%.txt", "a%20b.txt", "c%+", "photo.jpg", "x%="]
    listed = [info async for info in store.list("theirs/")]
    assert sorted(info.path for info in listed) == sorted({"theirs/x" if n == "x%=" else f"theirs/{n}" for n in names})
    assert (await store.info("theirs/photo.jpg")).content_type == "image/jpeg"
    for info in listed:
        assert (await store.download(info)).decode() in names
        await store.delete(info)
    assert ordinary(root) == [".gitkeep"]


async def test_file_of_others_is_replaced_and_not_doubled(store: BlobStore, root: Path) -> None:
    (root / "a%20b.txt").write_text("theirs")
    await store.upload("a%20b.txt", b"ours")
    assert await paths_of(store) == ["a%20b.txt"]
    assert await store.download("a%20b.txt") == b"ours"


async def test_etag_of_a_file_of_others_follows_its_content(store: BlobStore, root: Path) -> None:
    (root / "notes.txt").write_text("one")
    first = await store.info("notes.txt")
    (root / "notes.txt").write_text("two")
    second = await store.info("notes.txt")
    assert first.etag
    assert first.etag != second.etag
    await store.upload("notes.txt", b"three", if_match=second.etag)


async def test_object_that_others_edit_loses_its_attributes_and_never_serves_stale_ones(
    store: BlobStore, root: Path
) -> None:
    before = await store.upload("page.html", b"<p>ours</p>", content_type="text/x-ours", metadata={"a": "b"})
    (root / "page.html").write_bytes(b"<p>THEM</p>")  # of the same size
    after = await store.info("page.html")
    assert (after.content_type, after.metadata or {}) == ("text/html", {})
    assert after.etag != before.etag


async def test_attributes_survive_a_copy_of_the_root_without_times(
    store: BlobStore, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await store.upload("a/object", b"content", content_type="text/x-ours", metadata={"a": "b"})
    shutil.copytree(root, tmp_path / "moved", copy_function=shutil.copyfile)
    async with open_local(tmp_path / "moved") as moved:
        after = await moved.info("a/object")
        (listed,) = [info async for info in moved.list()]
    assert (after.content_type, after.metadata, after.etag) == ("text/x-ours", {"a": "b"}, before.etag)
    assert (listed.content_type, listed.etag) == ("text/x-ours", before.etag)
    monkeypatch.setattr(Files, "_hash", None)  # once is enough: the new time was written down
    async with open_local(tmp_path / "moved") as moved:
        assert (await moved.info("a/object")).metadata == {"a": "b"}


async def test_names_that_are_not_utf_8_are_left_out(store: BlobStore, root: Path) -> None:
    with open(os.fsencode(root) + b"/\xff\xfe", "wb"):  # noqa: PTH123, ASYNC230 - pathlib has no bytes; one empty file
        pass
    await store.upload("valid", b"x")
    assert await paths_of(store) == ["valid"]


async def test_pipes_and_sockets_are_no_objects_and_block_nobody(store: BlobStore, root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert await paths_of(store) == []
    with anyio.fail_after(5), pytest.raises(NotFoundError):
        await store.download("pipe")


# links


@pytest.fixture
def outside(tmp_path: Path, root: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    (root / "folder-link").symlink_to(folder)
    (root / "file-link").symlink_to(folder / "secret")
    (root / "inside").mkdir()
    (root / "inside/deep-link").symlink_to("../../outside")
    (root / "dangling").symlink_to(folder / "new")
    return folder


LINKED = ("folder-link/secret", "file-link", "inside/deep-link/secret", "dangling", "folder-link/new")


@pytest.mark.parametrize("path", LINKED)
async def test_symbolic_links_are_never_read_through(store: BlobStore, outside: Path, path: str) -> None:
    assert await paths_of(store) == []
    assert not await store.exists(path)
    for call in (store.download, store.info):
        with pytest.raises(NotFoundError):
            await call(path)
    await store.delete(path)
    assert (outside / "secret").read_text() == "secret"


@pytest.mark.parametrize("path", LINKED)
async def test_symbolic_links_are_never_written_through(store: BlobStore, outside: Path, root: Path, path: str) -> None:
    await store.upload("source", b"evil")
    with pytest.raises(PermissionDeniedError, match="symbolic link"):
        await store.upload(path, b"evil")
    with pytest.raises(PermissionDeniedError, match="symbolic link"):
        await store.copy("source", path)
    assert ordinary(outside) == ["secret"]
    assert (root / "file-link").is_symlink()
    assert unfinished(root) == []


async def test_root_itself_may_be_a_link(tmp_path: Path, root: Path) -> None:
    (tmp_path / "current").symlink_to(root)
    async with open_local(tmp_path / "current") as store:
        await store.upload("x", b"x")
        assert await paths_of(store) == ["x"]
