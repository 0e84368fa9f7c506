"""What only two backends together have; that they do all that one does is in ``tests/drivers/test_fallback.py``."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import runtime
from runtime.config import NamedStorageConfig, StorageConfig, StorageMemoryConfig
from runtime.drivers.memory import MemoryDriver
from runtime.errors import (
    AlreadyExistsError,
    ConfigError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionFailedError,
)
from runtime.fallback import FallbackDriver
from runtime.merging import merged_page
from runtime.models import PresignedRequest, UploadOptions
from runtime.placeholder import SIZE, content, head_or_none, hold, is_placeholder, release
from runtime.registry import DriverRegistry
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.models import FileInfo, ObjectPage


pytestmark = pytest.mark.anyio

FIRST, SECOND = b"the first version", b"a second version"


def entry(name: str, fallback: str | None = None) -> NamedStorageConfig:
    return NamedStorageConfig(name=name, driver="memory", memory=StorageMemoryConfig(), read_fallback=fallback)


class Pair:
    """Two memory backends, and the one that an application sees."""

    def __init__(self, new: type[MemoryDriver] = MemoryDriver, old: type[MemoryDriver] = MemoryDriver) -> None:
        self.backend = entry("media", "media-old")
        self.new = BlobStore(entry("new"), new(entry("new")))
        self.old = BlobStore(entry("media-old"), old(entry("media-old")))
        self.both = BlobStore(self.backend, FallbackDriver(self.backend, self.new.driver, self.old.driver))

    async def open(self) -> Pair:
        for store in (self.new, self.old, self.both):
            await store.open()
        return self


@pytest.fixture
async def pair() -> Pair:
    return await Pair().open()


async def paths(store: BlobStore, **options: Any) -> list[str]:
    return [info.path async for info in store.list(**options)]


async def test_reads_come_from_the_new_backend_and_else_from_the_old_one(pair: Pair) -> None:
    await pair.old.upload("a", FIRST, metadata={"by": "old"})
    assert await pair.both.download("a") == FIRST
    assert (await pair.both.info("a")).metadata == {"by": "old"}
    assert await pair.both.exists("a")
    assert await pair.both.download("a", range=(4, 9)) == b"first"
    assert b"".join([piece async for piece in pair.both.stream("a", 3)]) == FIRST

    await pair.both.upload("a", SECOND)
    assert await pair.both.download("a") == SECOND
    assert await pair.old.download("a") == FIRST, "writes go to the new backend only"
    assert await pair.new.download("a") == SECOND


async def test_what_neither_has_is_missing_from_the_new_one(pair: Pair) -> None:
    with pytest.raises(NotFoundError) as caught:
        await pair.both.download("a")
    assert caught.value.backend == "media"
    assert not await pair.both.exists("a")


async def test_deleted_object_does_not_come_back_from_the_old_backend(pair: Pair) -> None:
    for path in ("a", "b", "c"):
        await pair.old.upload(path, FIRST)
    await pair.both.upload("b", SECOND)
    await pair.both.delete("a")
    assert [result.error for result in await pair.both.delete_batch(["b", "c", "missing"])] == [None] * 3
    for path in ("a", "b", "c"):
        assert not await pair.both.exists(path)
    assert await paths(pair.old) == await paths(pair.new) == await paths(pair.both) == []


async def test_delete_that_the_old_backend_refuses_removes_nothing() -> None:
    class Frozen(MemoryDriver):
        async def delete(self, path: str, *, if_match: str | None = None) -> None:
            raise PermissionDeniedError(f"read only: {path} {if_match}")

    pair = await Pair(old=Frozen).open()
    await pair.old.upload("a", FIRST)
    await pair.new.upload("a", SECOND)
    with pytest.raises(PermissionDeniedError) as caught:
        await pair.both.delete("a")
    assert (caught.value.backend, caught.value.operation, caught.value.path) == ("media-old", "delete", "a")
    (result,) = await pair.both.delete_batch(["a"])
    assert isinstance(result.error, PermissionDeniedError)
    assert result.error.backend == "media-old"
    assert await pair.both.download("a") == SECOND


async def test_update_of_an_object_that_only_the_old_backend_has(pair: Pair) -> None:
    await pair.old.upload("counter", b"41", metadata={"kind": "counter"})
    await pair.both.update("counter", lambda found: str(int(found or 0) + 1))
    assert await pair.both.download("counter") == b"42"
    assert (await pair.new.info("counter")).metadata == {"kind": "counter"}
    assert await pair.old.download("counter") == b"41"


async def test_many_updates_of_one_object_that_starts_in_the_old_backend_lose_none(pair: Pair) -> None:
    await pair.old.upload("counter", b"0")

    async def work() -> None:
        for _ in range(10):
            await pair.both.update("counter", lambda found: str(int(found or 0) + 1))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(work)
    assert await pair.both.download("counter") == b"80"


async def test_conditions_hold_for_both_backends_together(pair: Pair) -> None:
    old = await pair.old.upload("a", FIRST)
    with pytest.raises(AlreadyExistsError):
        await pair.both.upload("a", SECOND, if_not_exists=True)
    with pytest.raises(PreconditionFailedError):
        await pair.both.upload("a", SECOND, if_match="another")
    with pytest.raises(PreconditionFailedError):
        await pair.both.delete("a", if_match="another")
    assert await pair.both.download("a") == FIRST
    assert await paths(pair.new) == [], "a condition that failed leaves no placeholder"

    await pair.both.upload("a", SECOND, if_match=old.etag)
    with pytest.raises(PreconditionFailedError):
        await pair.both.upload("a", FIRST, if_match=old.etag)
    with pytest.raises(PreconditionFailedError):
        await pair.both.delete("a", if_match=old.etag)
    now = await pair.both.info("a")
    await pair.both.delete("a", if_match=now.etag)
    assert not await pair.both.exists("a")


async def test_delete_of_a_version_that_only_the_old_backend_has(pair: Pair) -> None:
    old = await pair.old.upload("a", FIRST)
    await pair.both.delete("a", if_match=old.etag)
    assert await paths(pair.old) == await paths(pair.new) == []


async def test_placeholder_of_a_killed_program_is_no_object(pair: Pair) -> None:
    """Where the old backend has the object, it is there; where it has none, nothing is."""
    await pair.old.upload("a", FIRST)
    for path in ("a", "b"):
        assert await hold(pair.new.driver, path)
    assert await pair.both.download("a") == FIRST
    assert await pair.both.download("a", range=(0, 3)) == b"the"
    assert not await pair.both.exists("b")
    assert await paths(pair.both) == ["a"]
    with pytest.raises(AlreadyExistsError):
        await pair.both.upload("a", SECOND, if_not_exists=True)
    await pair.both.upload("b", SECOND, if_not_exists=True)
    await pair.both.update("a", lambda found: (found or b"") + b"!")
    assert await pair.both.download("a") == FIRST + b"!"
    assert await pair.both.download("b") == SECOND


async def test_object_of_a_placeholders_size_is_an_object(pair: Pair) -> None:
    await pair.new.upload("a", b"x" * SIZE)
    assert await paths(pair.both) == ["a"]
    assert await pair.both.download("a") == b"x" * SIZE


async def test_late_copy_neither_brings_a_deleted_object_back_nor_undoes_a_write(pair: Pair) -> None:
    """The protocol of `runtime.placeholder`, at its most unlucky: everything happens while a copy is on its way."""
    for path in ("deleted", "written"):
        await pair.old.upload(path, FIRST)
    held = {path: await hold(pair.new.driver, path) for path in ("deleted", "written")}
    await pair.both.delete("deleted")
    await pair.both.upload("written", SECOND)
    for path, etag in held.items():
        with pytest.raises(PreconditionFailedError):
            await pair.new.upload(path, FIRST, if_match=etag)
    assert not await pair.both.exists("deleted")
    assert await pair.both.download("written") == SECOND


async def test_conditional_write_that_meets_a_delete_fails_whatever_the_order() -> None:
    """Deleted between the look at the old etag and the write: the write may not bring the object back."""
    deleting: list[BlobStore] = []

    class Interrupted(MemoryDriver):
        async def put(self, path: str, data: Any, options: UploadOptions) -> FileInfo:
            if deleting and options.if_match is not None and not options.if_not_exists and bytes(data) == SECOND:
                await deleting.pop().delete(path)
            return await super().put(path, data, options)

    pair = await Pair(new=Interrupted).open()
    old = await pair.old.upload("a", FIRST)
    deleting.append(pair.both)
    with pytest.raises(PreconditionFailedError):
        await pair.both.upload("a", SECOND, if_match=old.etag)
    assert not await pair.both.exists("a")
    assert await paths(pair.both) == []


async def test_multipart_on_a_condition_is_checked_against_the_old_backend(pair: Pair) -> None:
    large = b"x" * 5000
    old = await pair.old.upload("a", FIRST)
    info = await pair.both.upload("a", large, part_size=1000, if_match=old.etag)
    assert info.size == 5000
    assert await pair.both.download("a") == large
    await pair.old.upload("b", FIRST)
    with pytest.raises(AlreadyExistsError):
        await pair.both.upload("b", large, part_size=1000, if_not_exists=True)

    def broken() -> Any:
        yield b"x" * 3000
        raise LookupError

    b = await pair.old.info("b")
    with pytest.raises(LookupError):
        await pair.both.upload("b", broken(), part_size=1000, if_match=b.etag)
    assert await pair.both.download("b") == FIRST
    assert await paths(pair.new) == ["a"]
    assert not await pair.new.driver.list_multiparts("")


async def test_copy_and_move_of_what_only_the_old_backend_has_keep_attributes(pair: Pair) -> None:
    await pair.old.upload("a", FIRST, content_type="text/x-test", metadata={"k": "v"}, cache_control="no-cache")
    await pair.both.copy("a", "b")
    await pair.both.move("a", "c")
    for path in ("b", "c"):
        info = await pair.new.info(path)
        assert (info.content_type, info.metadata, info.cache_control) == ("text/x-test", {"k": "v"}, "no-cache")
        assert await pair.new.download(path) == FIRST
    assert not await pair.both.exists("a")
    with pytest.raises(NotFoundError):
        await pair.both.copy("missing", "d")


async def test_who_began_to_read_the_old_version_gets_the_rest_of_it(pair: Pair, tmp_path: Any) -> None:
    """An object that is brought over, or overwritten, while ranges of it are read."""
    data = random.Random(1).randbytes(5000)  # noqa: S311 - content that tells every shift
    await pair.old.upload("a", data)
    async with pair.both.open_reader("a", read_ahead=1000) as file:
        head = await file.read(1000)
        await pair.new.upload("a", b"another version altogether")
        assert head + await file.read() == data

    await pair.new.delete("a")
    moved = False

    def progress(_done: int, _whole: int) -> None:
        nonlocal moved
        if not moved:
            moved = True
            driver = pair.new.driver
            assert isinstance(driver, MemoryDriver)
            driver._write("a", b"another", UploadOptions(content_type="text/plain"))

    await pair.both.download_to("a", tmp_path / "file", part_size=500, concurrency=1, progress=progress)
    assert (tmp_path / "file").read_bytes() == data
    assert await pair.both.download("a") == b"another"


class Tiny(MemoryDriver):
    """Gives pages of at most *most* entries, and now and then an empty one, as services may."""

    most = 3

    async def list_objects(self, prefix: str, **options: Any) -> ObjectPage:
        page = await super().list_objects(prefix, **{**options, "limit": min(options.get("limit", 1000), self.most)})
        if page.cursor is not None and len(page.cursor) % 3 == 0 and not options.get("cursor"):
            return replace(page, objects=(), prefixes=(), cursor=options["start_after"] or "!")
        return page


@pytest.mark.parametrize("seed", range(8))
async def test_listing_is_the_union_in_order_whatever_the_pages(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same names in every run
    pair = await Pair(new=Tiny, old=Tiny).open()
    for _ in range(60):
        path = "/".join(chance.choice("abé") * chance.randint(1, 2) for _ in range(chance.randint(1, 3)))
        size = chance.randint(1, 9)
        if chance.random() < 0.5:
            await pair.new.upload(path, b"n" * size)
        else:
            await pair.old.upload(path, b"o" * (size + 10))
    for path in chance.sample(await paths(pair.old), 5):
        await hold(pair.new.driver, path)  # nothing where the new backend has it
    await hold(pair.new.driver, "zz")  # of an object that was deleted
    both = [*(await _all(pair.old)), *(await _all(pair.new))]
    expected = {info.path: info.size for info in both if info.size != SIZE}
    assert await paths(pair.both) == sorted(expected)
    assert {info.path: info.size for info in await _all(pair.both)} == expected

    for prefix in ("", "a", "a/", "é", "zz"):
        below = [path for path in sorted(expected) if path.startswith(prefix)]
        assert await paths(pair.both, prefix=prefix) == below
        for limit in (1, 2, 7):
            assert await paths(pair.both, prefix=prefix, limit=limit) == below[:limit]
            assert await _paged(pair.both, prefix, limit, "") == below
            level = dict.fromkeys(
                prefix + part[0] + part[1] for part in (p[len(prefix) :].partition("/") for p in below)
            )
            assert await _paged(pair.both, prefix, limit, "/") == sorted(level)
        if below:
            middle = below[len(below) // 2]
            assert await paths(pair.both, prefix=prefix, start_after=middle) == below[below.index(middle) + 1 :]


async def _all(store: BlobStore) -> list[FileInfo]:
    return [info async for info in store.list()]


async def _paged(store: BlobStore, prefix: str, limit: int, delimiter: str) -> list[str]:
    found: list[str] = []
    cursor = None
    for _ in range(1000):
        page = await store.list_page(prefix, delimiter=delimiter, limit=limit, cursor=cursor)
        assert len(page.objects) + len(page.prefixes) <= limit
        found += sorted([*(info.path for info in page.objects), *page.prefixes])
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("the listing never ends")


async def test_page_asks_each_backend_for_one_page_only() -> None:
    asked: list[tuple[str, int]] = []

    async def side(name: str, prefix: str, **options: Any) -> ObjectPage:
        asked.append((name, options["limit"]))
        return await MemoryDriver(entry("x")).list_objects(prefix, **options)

    await merged_page(
        lambda prefix, **options: side("new", prefix, **options),
        lambda prefix, **options: side("old", prefix, **options),
        "", delimiter="", start_after="", cursor=None, limit=17,
    )  # fmt: skip
    assert asked == [("new", 17), ("old", 17)]


class Signing(MemoryDriver):
    capabilities = replace(MemoryDriver.capabilities, presign=frozenset({"GET", "PUT"}))

    async def presign(self, path: str, *, method: str, **_: Any) -> PresignedRequest:
        return PresignedRequest(method, f"https://{self.backend.name}/{path}", datetime.now(UTC))


async def test_presigned_get_is_for_whoever_has_the_object_and_put_for_the_new_one() -> None:
    pair = await Pair(new=Signing, old=Signing).open()
    await pair.old.upload("a", FIRST)
    assert await pair.both.get_presigned_url("a") == "https://media-old/a"
    assert await pair.both.get_presigned_url("a", method="PUT") == "https://new/a"
    assert await pair.both.get_presigned_url("missing") == "https://new/missing"
    await pair.both.upload("a", SECOND)
    assert await pair.both.get_presigned_url("a") == "https://new/a"


async def test_presigned_get_is_refused_where_the_old_backend_can_not_sign() -> None:
    pair = await Pair(new=Signing).open()
    assert pair.both.capabilities.presign == {"PUT"}
    await pair.old.upload("a", FIRST)
    with pytest.raises(NotSupportedError):
        await pair.both.get_presigned_url("a", timedelta(minutes=1))


async def test_errors_of_the_old_backend_carry_its_name() -> None:
    class Down(MemoryDriver):
        async def head(self, path: str) -> FileInfo:
            raise ZeroDivisionError(path)

        def error_type(self, error: Exception) -> Any:
            return PermissionDeniedError if isinstance(error, ZeroDivisionError) else None

    pair = await Pair(old=Down).open()
    with pytest.raises(PermissionDeniedError) as caught:
        await pair.both.info("a")
    assert (caught.value.backend, caught.value.operation) == ("media-old", "info")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_description_tells_of_both(pair: Pair) -> None:
    await pair.old.upload("a", FIRST)
    described = await pair.both.describe()
    assert described["objects"] == 0
    assert described["read_fallback"] == {"backend": "media-old", "objects": 1, "bytes": len(FIRST), "open_uploads": 0}


async def test_release_leaves_what_somebody_else_wrote(pair: Pair) -> None:
    held = await hold(pair.new.driver, "a")
    assert held is not None
    await pair.new.upload("a", FIRST)
    await release(pair.new.driver, "a", held)
    assert await pair.new.download("a") == FIRST
    assert await hold(pair.new.driver, "a") is None
    assert len(content()) == SIZE
    assert content() != content()
    await release(pair.new.driver, "gone", held)
    assert await head_or_none(pair.new.driver, "gone") is None


@pytest.fixture
async def storage() -> AsyncIterator[runtime.Storage]:
    config = StorageConfig(backends=(entry("media", "media-old"), entry("media-old"), entry("other")))
    async with runtime.open_storage(config) as storage:
        yield storage


async def test_storage_gives_a_backend_the_driver_of_its_fallback(storage: runtime.Storage) -> None:
    assert list(storage) == ["media", "media-old", "other"]
    await storage["media-old"].upload("a", FIRST)
    assert await storage["media"].download("a") == FIRST
    assert isinstance(storage["media"].driver, FallbackDriver)
    assert type(storage["other"].driver) is MemoryDriver, "without the key nothing is in between"


async def test_only_the_named_backends_and_what_they_fall_back_to(storage: runtime.Storage) -> None:
    assert [backend.name for backend in storage.config.only(["media"]).backends] == ["media", "media-old"]
    assert [backend.name for backend in storage.config.only(["other", "media-old"]).backends] == ["other", "media-old"]


@pytest.mark.parametrize(
    ("backends", "message"),
    [
        ([("a", "a")], r"backends.a.read_fallback: is the backend itself"),
        ([("media", "media-odl"), ("media-old", None)], r"no backend is called 'media-odl'.*media-old"),
        ([("a", "b"), ("b", "c"), ("c", None)], r"'b' falls back to another backend itself"),
    ],
)
async def test_wrong_fallbacks_are_refused(backends: list[tuple[str, str | None]], message: str) -> None:
    document = [{"name": name, "driver": "memory", "read_fallback": fallback} for name, fallback in backends]
    with pytest.raises(ConfigError, match=message):
        runtime.load_config({"backends": document})


async def test_store_of_a_plugin_can_not_be_a_fallback() -> None:
    whole = BlobStore(entry("x"), MemoryDriver(entry("x")))

    class Plain:
        """A store with no driver to look into."""

        def __getattr__(self, name: str) -> Any:
            if name == "driver":
                raise AttributeError(name)
            return getattr(whole, name)

    registry = DriverRegistry({"memory": lambda backend: Plain() if backend.name == "old" else MemoryDriver(backend)})
    config = StorageConfig(backends=(entry("media", "old"), entry("old")))
    with pytest.raises(ConfigError, match="'old' has a store of its own"):
        await runtime.open_storage(config, registry=registry).open()


def test_placeholder_is_told_by_size_and_type() -> None:
    now = datetime.now(UTC)
    info = runtime.FileInfo("a", SIZE, "application/vnd.tandem.placeholder", now)
    assert is_placeholder(info)
    assert not is_placeholder(replace(info, size=SIZE + 1))
    assert not is_placeholder(replace(info, content_type="text/plain"))
