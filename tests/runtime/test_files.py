"""Objects as files: what they cost in memory, and what the conformance suite can not see."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import threading
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from runtime.checksums import value_of
from runtime.driver import ByteRange, Bytes, ObjectReader
from runtime.drivers.memory import MemoryDriver
from runtime.errors import StorageUnavailableError
from runtime.files import Target
from runtime.models import FileInfo
from tests.drivers.folders import open_local

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from runtime.models import UploadOptions
    from tests.runtime.conftest import StoreFactory

MIB = 1024 * 1024
SIZE = 40 * MIB


class Endless(ObjectReader):
    """Bytes that are made when they are read."""

    def __init__(self, info: FileInfo, count: int) -> None:
        self.info = info
        self.count = count

    async def read(self) -> bytes:
        return bytes(self.count)

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        for start in range(0, self.count, size_hint):
            yield bytes(min(size_hint, self.count - start))


class Hollow(MemoryDriver):
    """Takes any bytes and keeps none; gives `SIZE` bytes for any path."""

    cut = 0

    async def head(self, path: str) -> FileInfo:
        return FileInfo(path, SIZE, "a/b", datetime(2026, 1, 1, tzinfo=UTC), etag="e")

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        start, end = byte_range or ByteRange(0)
        info = await self.head(path)
        return Endless(info, min(SIZE, SIZE if end is None else end) - start - self.cut)

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        assert checksum == value_of("crc32c", b"".join(data))
        return f"{path} {upload_id} {number} {sum(map(len, data))}"

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        assert parts[0] == f"{path} {upload_id} 1 {MIB}"
        del self._uploads[upload_id], self._begun[upload_id]
        return replace(await self.put(path, b"", options), size=size)


@pytest.fixture
def peak() -> Callable[[], int]:
    """Starts to measure; the call gives the most bytes that Python held since."""
    gc.collect()
    tracemalloc.start()

    def read() -> int:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    return read


async def test_writer_holds_the_parts_in_flight_and_no_more(open_store: StoreFactory, peak: Callable[[], int]) -> None:
    store = await open_store(Hollow, part_size=MIB, concurrency=2)
    async with store.open_writer("a") as file:
        for _ in range(SIZE // 50_000):
            await file.write(bytes(50_000))
    assert file.info.size == SIZE // 50_000 * 50_000
    assert peak() < 3 * MIB


async def test_file_that_is_sent_holds_the_parts_in_flight_and_no_more(
    open_store: StoreFactory, peak: Callable[[], int], tmp_path: Path
) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(SIZE)
    store = await open_store(Hollow, part_size=MIB, concurrency=3)
    assert (await store.upload_from(tmp_path / "file", "a")).size == SIZE
    assert peak() < 4.5 * MIB


async def test_download_holds_less_than_its_ranges(
    open_store: StoreFactory, peak: Callable[[], int], tmp_path: Path
) -> None:
    store = await open_store(Hollow, part_size=4 * MIB, concurrency=3)
    await store.download_to("a", tmp_path / "file")
    assert peak() < 8 * MIB
    assert os.stat(tmp_path / "file").st_size == SIZE  # noqa: PTH116 - one number


@pytest.mark.parametrize("call", ["open", "pwrite", "fsync"])
async def test_download_that_is_cancelled_leaves_its_file_alone_only_when_its_thread_has(
    open_store: StoreFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    release, done = threading.Event(), threading.Event()
    real, bad = getattr(os, call), []

    def slow(first: Any, *rest: Any) -> Any:
        if threading.current_thread() is threading.main_thread() or release.is_set():
            return real(first, *rest)
        loop.call_soon_threadsafe(begun.set)
        release.wait(20)
        try:
            return real(first, *rest)
        except OSError as exc:
            bad.append(exc)
            raise
        finally:
            done.set()

    store = await open_store(Hollow, part_size=SIZE, concurrency=1)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, slow)
        saving = asyncio.create_task(store.download_to("a", tmp_path / "file"))
        await asyncio.wait_for(begun.wait(), 20)
        saving.cancel()
        threading.Timer(0.1, release.set).start()
        assert await asyncio.wait([saving], timeout=20) == ({saving}, set())
    assert saving.cancelled()
    await asyncio.to_thread(done.wait, 20)
    assert bad == [], "the file was closed under the thread that wrote"
    assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == []  # noqa: PTH208 - names are wanted


async def test_error_of_the_callers_own_disk_is_the_callers_however_many_ranges_meet_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(4)

    def full(_target: Target, _data: Bytes, offset: int) -> None:
        together.wait(20)
        raise OSError(errno.ENOSPC, "No space left on device", str(offset))

    monkeypatch.setattr(Target, "_write", full)
    async with open_local(tmp_path / "root") as store:
        await store.upload("a", bytes(2 * MIB))
        with pytest.raises(OSError, match="No space left") as caught:
            await store.download_to("a", tmp_path / "file", part_size=256 * 1024, concurrency=4)
    assert type(caught.value) is OSError
    assert os.listdir(tmp_path) == ["root"]  # noqa: PTH208 - names are wanted


async def test_range_that_comes_too_short_is_no_success(open_store: StoreFactory, tmp_path: Path) -> None:
    store = await open_store(Hollow, part_size=4 * MIB, concurrency=3)
    store.driver.cut = 1  # type: ignore[attr-defined] # of `Hollow`
    with pytest.raises(StorageUnavailableError, match="bytes were asked for"):
        await store.download_to("a", tmp_path / "file")
    with pytest.raises(StorageUnavailableError, match="bytes were asked for"):
        await store.open_reader("a").read(8 * MIB)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names only
