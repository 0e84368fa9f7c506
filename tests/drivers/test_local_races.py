"""A directory that many tasks write at once, some of which are cancelled, and objects in parts."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.config import NamedStorageConfig, StorageLocalConfig
from runtime.drivers.local import driver_class, work
from runtime.drivers.local.stage import Staged, Stop, StoppedError, passing
from runtime.drivers.local.work import Work
from runtime.errors import StorageTimeoutError
from runtime.models import UploadOptions
from runtime.store import BlobStore
from runtime.testing.conformance.support import digits, in_parallel, paths_of, payload
from tests.drivers.folders import open_local, unfinished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


OPTIONS = UploadOptions(content_type="text/plain")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[BlobStore]:
    async with open_local(root) as opened:
        yield opened


async def test_object_that_goes_aside_is_to_be_found_at_every_moment(store: BlobStore) -> None:
    done = False

    async def read() -> None:
        while not done:
            assert await store.download("x") == b"object"
            assert (await store.info("x")).metadata == {"a": "b"}

    async def write() -> None:
        nonlocal done
        try:
            for _ in range(30):
                await store.upload("x/y", b"below")
                await store.delete("x/y")
                await store.upload("x", b"object", metadata={"a": "b"})
        finally:
            done = True

    await store.upload("x", b"object", metadata={"a": "b"})
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(read)
            tasks.start_soon(write)
    assert await paths_of(store) == ["x"]


async def test_writers_and_deleters_of_neighbours_do_not_lose_their_folder(store: BlobStore) -> None:
    async def churn(number: int) -> None:
        for _ in range(25):
            await store.upload(f"deep/er/{number}", b"x")
            assert await store.download(f"deep/er/{number}") == b"x"
            await store.delete(f"deep/er/{number}")

    await in_parallel(churn, range(6))
    assert await paths_of(store) == []


async def test_cancelled_put_writes_nothing_behind_the_callers_back(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("target", b"old")
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    seal = Staged.seal

    def slow(staged: Staged, *arguments: frozenset[int]) -> os.stat_result:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.3)
        return seal(staged, *arguments)

    monkeypatch.setattr(Staged, "seal", slow)
    task = asyncio.create_task(store.upload("target", payload(1000)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    monkeypatch.undo()
    assert await store.download("target") == b"old"
    await asyncio.sleep(0.5)
    assert await store.download("target") == b"old"
    assert unfinished(store.raw) == []


async def test_cancelling_before_a_thread_begins_does_not_hang(store: BlobStore) -> None:
    await store.upload("target", b"old")
    for _ in range(50):
        task = asyncio.create_task(store.upload("target", b"x"))
        await asyncio.sleep(0)
        task.cancel()
        with anyio.fail_after(10), pytest.raises(asyncio.CancelledError):
            await task
    assert unfinished(store.raw) == []
    assert await store.download("target") in {b"old", b"x"}


# parts in every order


async def test_parts_in_any_order_of_any_size_and_sent_twice_make_the_object(store: BlobStore) -> None:
    driver = store.driver
    sizes = {1: 1000, 2: 70_000, 3: 10, 4: 300_000, 5: 1}
    for order in ((5, 4, 3, 2, 1), (2, 1, 4, 3, 5), (1, 3, 5, 2, 4), (1, 2, 2, 3, 4, 4, 5)):
        upload_id = await driver.start_multipart("parts", OPTIONS)
        tokens = {n: await driver.put_part("parts", upload_id, n, [digits(sizes[n], n)]) for n in order}
        listed = [tokens[number] for number in sorted(tokens)]
        await driver.complete_multipart("parts", upload_id, listed, sum(sizes.values()), OPTIONS)
        assert await store.download("parts") == b"".join(digits(sizes[n], n) for n in sorted(sizes)), order
        assert unfinished(store.raw) == []


async def test_part_sent_again_with_another_size_replaces_the_first(store: BlobStore) -> None:
    driver = store.driver
    upload_id = await driver.start_multipart("parts", OPTIONS)
    tokens = [await driver.put_part("parts", upload_id, n, [digits(100, n)]) for n in (1, 2, 3)]
    tokens[1] = await driver.put_part("parts", upload_id, 2, [digits(50, 7)])
    await driver.complete_multipart("parts", upload_id, tokens, 250, OPTIONS)
    assert await store.download("parts") == digits(100, 1) + digits(50, 7) + digits(100, 3)


def test_blocks_that_pass_are_the_bytes_of_the_file_up_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data := digits(700_001, 3))
    stop = Stop()
    with (tmp_path / "file").open("rb") as file:
        for start, end in ((0, 700_001), (5, 600_000), (262_144, 524_288), (9, 10_000_000), (8, 8), (800_000, 900_000)):
            blocks = [bytes(block) for block in passing(file.fileno(), start, end, stop)]
            assert b"".join(blocks) == data[start:end]
        stop.ask()
        with pytest.raises(StoppedError):
            next(passing(file.fileno(), 0, 10, stop))


async def test_parts_that_are_not_what_was_announced_make_no_object(store: BlobStore) -> None:
    driver = store.driver
    upload_id = await driver.start_multipart("parts", OPTIONS)
    token = await driver.put_part("parts", upload_id, 1, [b"12345"])
    with pytest.raises(OSError, match="announced"):
        await driver.complete_multipart("parts", upload_id, [token], 6, OPTIONS)
    await driver.abort_multipart("parts", upload_id)
    assert not await store.exists("parts")


async def test_closing_gives_up_uploads_that_were_not_completed(root: Path) -> None:
    async with open_local(root) as store:
        upload_id = await store.driver.start_multipart("parts", OPTIONS)
        await store.driver.put_part("parts", upload_id, 1, [b"12345"])
        assert unfinished(root)
    assert unfinished(root) == []


@contextmanager
def held_by_another(root: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """Hold the lock of *path*, as a process that stands still does; tells when somebody waits for it."""
    waits, loop = asyncio.Event(), asyncio.get_running_loop()
    with Work(str(root)).locked(path) as held:
        assert held

        def look(descriptor: int) -> bool:
            loop.call_soon_threadsafe(waits.set)
            return lock_now(descriptor)

        lock_now = work._lock_now
        monkeypatch.setattr(work, "_lock_now", look)
        yield waits


@pytest.mark.parametrize("write", ["upload", "delete"])
async def test_a_write_that_waits_for_another_process_can_be_given_up(
    store: BlobStore, root: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    await store.upload("a", b"old")
    with held_by_another(root, "a", monkeypatch) as waits:
        writing = asyncio.create_task(store.upload("a", b"new") if write == "upload" else store.delete("a"))
        await asyncio.wait_for(waits.wait(), 20)
        writing.cancel()
        assert await asyncio.wait([writing], timeout=20) == ({writing}, set())
        assert writing.cancelled()
        assert await store.download("a") == b"old"
    assert unfinished(root) == []
    await store.upload("a", b"new")
    assert await store.download("a") == b"new"


async def test_a_write_that_waits_for_another_process_ends_with_its_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = StorageLocalConfig(root_dir=str(root))
    backend = NamedStorageConfig(name="files", driver="local", local=local, limits={"operation_timeout": 0.3})  # type: ignore[arg-type] # pydantic makes it
    async with BlobStore(backend, driver_class(backend)) as store:
        (root / "a").parent.mkdir(exist_ok=True)
        await open_local(root).driver.put("a", b"old", OPTIONS)
        with (
            held_by_another(root, "a", monkeypatch),
            pytest.raises(StorageTimeoutError, match=r"not done within 0\.3 s"),
        ):
            await asyncio.wait_for(store.upload("a", b"new"), 20)


def test_a_lock_ends_with_its_holder_although_a_child_was_forked_meanwhile(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_now, inherited = work._lock_now, []

    def look(descriptor: int) -> bool:
        inherited.append(os.dup(descriptor))  # what a child has of it
        return lock_now(descriptor)

    folder = Work(str(root))
    folder.prepare()
    with monkeypatch.context() as patched:
        patched.setattr(work, "_lock_now", look)
        with folder.locked("a") as held:
            assert held
    try:
        with folder.locked("a") as again:
            assert again, "the child has it"
    finally:
        for descriptor in inherited:
            os.close(descriptor)
