"""Making one place hold what another one holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from runtime.config import NamedStorageConfig, StorageMemoryConfig
from runtime.drivers.memory import MemoryDriver
from runtime.errors import (
    AlreadyExistsError,
    InvalidOptionError,
    NotSupportedError,
    PreconditionFailedError,
    StorageUnavailableError,
)
from runtime.store import BlobStore
from runtime.sync import sync
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import BrokenSourceError, fill, paths_of, payload
from runtime.testing.conformance.watching import Watched, part_size, through

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runtime.driver import Bytes
    from runtime.models import FileInfo, UploadOptions
    from runtime.sync import SyncResult


class Refusing(Watched):
    """Fails every write of one path."""

    path = ""
    error: type[Exception] = StorageUnavailableError

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        if path == self.path:
            raise self.error("not this one")
        return await super().put(path, data, options)


def write(folder: Path, **files: str) -> Path:
    """Files that are a day old, dots in the names instead of slashes."""
    for name, content in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        os.utime(file, (1_600_000_000, 1_600_000_000))
    return folder


def steps(result: SyncResult) -> list[tuple[str, str, str]]:
    """The plan, short."""
    return [(step.action, step.path, step.reason) for step in result.plan]


class Syncing(Suite):
    """`runtime.sync`."""

    @pytest.fixture
    async def elsewhere(self) -> AsyncIterator[BlobStore]:
        """Another backend, on another driver than most."""
        backend = NamedStorageConfig(name="elsewhere", driver="memory", memory=StorageMemoryConfig())
        async with BlobStore(backend, MemoryDriver(backend)) as store:
            yield store

    async def test_sync_brings_what_is_missing_or_differs_and_nothing_else(
        self, store: BlobStore, tmp_path: Path
    ) -> None:
        write(tmp_path / "site", a="one", b="two", sub__c="three")
        first = await sync(tmp_path / "site", (store, "site"))
        assert steps(first) == [
            ("copy", "a", "missing"),
            ("copy", "b", "missing"),
            ("copy", "sub/c", "missing"),
        ]
        assert first.done == first.plan
        assert await paths_of(store) == ["site/a", "site/b", "site/sub/c"]
        write(tmp_path / "site", b="other")
        second = await sync(tmp_path / "site", (store, "site/"))
        assert steps(second) == [("copy", "b", "differs")]
        assert second.unchanged == 2
        assert await store.download("site/b") == b"other"

    async def test_sync_brings_objects_into_a_folder(self, store: BlobStore, tmp_path: Path) -> None:
        await fill(store, ["site/a", "site/sub/b", "sitemap"], b"x")
        result = await sync((store, "site"), tmp_path / "down")
        assert [step.path for step in result.done] == ["a", "sub/b"]
        assert (tmp_path / "down/sub/b").read_bytes() == b"x"
        assert not (await sync((store, "site"), tmp_path / "down")).plan
        (tmp_path / "down/extra").write_bytes(b"x")
        assert steps(await sync((store, "site"), tmp_path / "down", prune=True)) == [("delete", "extra", "extra")]
        assert not (tmp_path / "down/extra").exists()

    async def test_sync_streams_between_backends_and_keeps_attributes(
        self, store: BlobStore, elsewhere: BlobStore
    ) -> None:
        size = part_size(store) if store.capabilities.min_part_size > 1 else 300_000
        await store.upload("large", payload(size + 10), "image/png", metadata={"by": "me"}, cache_control="no-store")
        await sync(store, (elsewhere, "copy"))
        assert await elsewhere.download("copy/large") == payload(size + 10)
        info = await elsewhere.info("copy/large")
        assert (info.content_type, info.metadata, info.cache_control) == ("image/png", {"by": "me"}, "no-store")
        await sync((elsewhere, "copy"), (store, "back"))
        assert await store.download("back/large") == payload(size + 10)
        assert (await store.info("back/large")).metadata == {"by": "me"}
        assert not (await sync((elsewhere, "copy"), (store, "back"), compare="checksum")).plan

    async def test_copy_and_move_to_another_backend_keep_content_and_attributes(
        self, store: BlobStore, elsewhere: BlobStore
    ) -> None:
        data = payload(part_size(store) + 10 if store.capabilities.min_part_size > 1 else 300_000)
        given: dict[str, Any] = {"content_type": "image/png", "metadata": {"by": "me"}, "cache_control": "no-store"}
        for here, there in ((store, elsewhere), (elsewhere, store)):
            await here.upload("one", data, **given)
            info = await here.copy("one", "copied", to=there)
            assert (info.path, info.size, info.etag) == ("copied", len(data), (await there.info("copied")).etag)
            guarded = there.capabilities.if_not_exists
            await here.move("one", "moved", to=there, if_not_exists=guarded)
            assert not await here.exists("one")
            for path in ("copied", "moved"):
                assert await there.download(path) == data
                info = await there.info(path)
                assert {name: getattr(info, name) for name in given} == given, f"of {path} in {there.name}"
            await here.upload("one", b"another")
            with pytest.raises(AlreadyExistsError if guarded else NotSupportedError):
                await here.move("one", "moved", to=there, if_not_exists=True)
            assert await here.download("one") == b"another", "a move that was refused removed its source"
            assert await there.download("moved") == data

    async def test_sync_inside_a_backend_copies_there(self, store: BlobStore) -> None:
        await fill(store, ["a/1", "a/2"])
        watched = Watched(store.driver)
        other = await through(store, watched)
        await sync((other, "a"), (other, "b"))
        assert await paths_of(store) == ["a/1", "a/2", "b/1", "b/2"]
        assert (watched.bytes_in, watched.bytes_out) == (0, 0)

    async def test_sync_removes_only_when_asked_and_only_after_copying(self, store: BlobStore, tmp_path: Path) -> None:
        write(tmp_path / "site", a="one", b="two")
        await fill(store, ["site/a-old", "site/z-old", "other"])
        assert {step.action for step in (await sync(tmp_path / "site", (store, "site"))).plan} == {"copy"}
        assert await store.exists("site/a-old")
        order: list[str] = []
        write(tmp_path / "site", c="three")
        result = await sync(
            tmp_path / "site",
            (store, "site"),
            prune=True,
            on_step=lambda step, _: order.append(step.path),
        )
        assert order == ["c", "a-old", "z-old"]
        assert result.done == result.plan
        assert await paths_of(store) == ["other", "site/a", "site/b", "site/c"]

    async def test_sync_with_a_failed_copy_tries_the_others_and_removes_nothing(
        self, store: BlobStore, tmp_path: Path
    ) -> None:
        write(tmp_path / "site", a="one", b="two", c="three")
        await fill(store, ["old"])
        driver = Refusing(store.driver)
        driver.path = "b"
        driver.repeats = True  # type: ignore[misc] # of this one only: it fails for good
        result = await sync(tmp_path / "site", await through(store, driver), prune=True)
        assert [(step.path, type(error)) for step, error in result.failed] == [("b", StorageUnavailableError)]
        assert await paths_of(store) == ["a", "c", "old"]
        resumed = await sync(tmp_path / "site", store, prune=True)
        assert [step.path for step in resumed.done] == ["b", "old"]
        assert await paths_of(store) == ["a", "b", "c"]

    async def test_sync_that_was_interrupted_goes_on_where_it_was(self, store: BlobStore, tmp_path: Path) -> None:
        write(tmp_path / "site", a="one", b="two", c="three")
        driver = Refusing(store.driver)
        driver.path, driver.error = "b", BrokenSourceError
        with pytest.raises(ExceptionGroup):
            await sync(tmp_path / "site", await through(store, driver), concurrency=1)
        resumed = await sync(tmp_path / "site", store)
        assert resumed.unchanged >= 1
        assert "a" not in [step.path for step in resumed.plan]
        assert await paths_of(store) == ["a", "b", "c"]

    async def test_dry_run_and_max_delete_change_nothing(self, store: BlobStore, tmp_path: Path) -> None:
        write(tmp_path / "site", a="one")
        await fill(store, ["old/1", "old/2"])
        result = await sync(tmp_path / "site", store, prune=True, dry_run=True)
        assert steps(result) == [
            ("copy", "a", "missing"),
            ("delete", "old/1", "extra"),
            ("delete", "old/2", "extra"),
        ]
        assert result.done == ()
        with pytest.raises(PreconditionFailedError, match="2 objects"):
            await sync(tmp_path / "site", store, prune=True, max_delete=1)
        assert await paths_of(store) == ["old/1", "old/2"]
        await sync(tmp_path / "site", store, prune=True, max_delete=2)
        assert await paths_of(store) == ["a"]

    async def test_sync_compares_as_it_is_told(self, store: BlobStore, elsewhere: BlobStore, tmp_path: Path) -> None:
        write(tmp_path / "site", a="one")
        await store.upload("a", b"two")
        assert not (await sync(tmp_path / "site", store, compare="modified", dry_run=True)).plan
        assert not (await sync(tmp_path / "site", store, compare="size", dry_run=True)).plan
        assert (await sync(tmp_path / "site", store, compare="checksum", dry_run=True)).plan
        os.utime(tmp_path / "site/a", (4_000_000_000, 4_000_000_000))
        assert (await sync(tmp_path / "site", store, compare="modified", dry_run=True)).plan
        await store.upload("x/a", b"same")
        await store.copy("x/a", "y/a")
        assert not (await sync((store, "x"), (store, "y"), compare="checksum", dry_run=True)).plan
        with pytest.raises(InvalidOptionError):
            await sync(tmp_path / "site", store, compare="etag")
        if store.backend.driver != elsewhere.backend.driver:
            with pytest.raises(InvalidOptionError):
                await sync(elsewhere, store, compare="etag")

    async def test_sync_refuses_places_that_overlap_or_are_not_there(self, store: BlobStore, tmp_path: Path) -> None:
        pairs: list[tuple[Any, Any]] = [
            (store, store),
            ((store, "a"), store),
            ((store, "a"), (store, "a/b")),
            (tmp_path, tmp_path / "other"),
        ]
        for source, destination in pairs:
            with pytest.raises(InvalidOptionError):
                await sync(source, destination)
        await fill(store, ["kept"])
        with pytest.raises(FileNotFoundError):  # a folder that is not mounted is no reason to remove everything
            await sync(tmp_path / "missing", store, prune=True)
        assert await paths_of(store) == ["kept"]
