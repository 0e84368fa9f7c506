from __future__ import annotations

import asyncio
import gc
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import multipart
from runtime.checksums import running
from runtime.driver import Bytes, Capabilities
from runtime.drivers.memory import MemoryDriver
from runtime.errors import (
    AlreadyExistsError,
    NotSupportedError,
    PreconditionFailedError,
    QuotaExceededError,
    StorageUnavailableError,
)
from runtime.models import FileInfo
from runtime.multipart import plan_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from runtime.config import NamedStorageConfig
    from runtime.models import UnfinishedUpload, UploadOptions
    from runtime.store import BlobStore
    from tests.runtime.conftest import StoreFactory

MIB = 1024 * 1024
S3 = Capabilities(min_part_size=5 * MIB, max_part_size=5 * 1024 * MIB)


class Watched(MemoryDriver):
    """The memory driver, with a record of its parts and with faults on demand."""

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        self.sizes: dict[int, int] = {}
        self.in_flight = 0
        self.most_in_flight = 0
        self.aborts = 0
        self.seconds = 0.0
        self.broken: Callable[[str], BaseException | None] = lambda _: None
        self.hanging: set[str] = set()
        self.reached = anyio.Event()

    async def _step(self, step: str) -> None:
        await anyio.sleep(self.seconds)
        if step in self.hanging:
            self.reached.set()
            await anyio.sleep(0.05 if step == "start" else 5)
        if (error := self.broken(step)) is not None:
            raise error

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        upload_id = await super().start_multipart(path, options)
        await self._step("start")
        return upload_id

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._step(f"part {number}")
            self.sizes[number] = sum(map(len, data))
            return await super().put_part(path, upload_id, number, data, checksum)
        finally:
            self.in_flight -= 1

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        await self._step("complete")
        return await super().complete_multipart(path, upload_id, parts, size, options)

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        self.aborts += 1
        await self._step("abort")
        await super().abort_multipart(path, upload_id)

    @property
    def open_uploads(self) -> int:
        return len(self._uploads)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "ABORT_DELAYS", (0, 0, 0, 0))


@pytest.fixture
async def watched(open_store: StoreFactory) -> BlobStore:
    return await open_store(Watched, part_size=1000, concurrency=3)


def driver_of(store: BlobStore) -> Watched:
    assert isinstance(store.driver, Watched)
    return store.driver


async def content(size: int, piece: int = 333) -> AsyncIterator[bytes]:
    for begin in range(0, size, piece):
        await anyio.lowlevel.checkpoint()
        yield bytes([begin % 251]) * min(piece, size - begin)


async def failing(after: int) -> AsyncIterator[bytes]:
    async for piece in content(after):
        yield piece
    raise ZeroDivisionError("the caller's own trouble")


# sizes of parts


@given(st.integers(0, 10_000 * 5 * 1024 * MIB), st.integers(1, 6 * 1024 * MIB))
def test_every_size_that_is_known_fits_into_the_parts_allowed(size: int, part_size: int) -> None:
    plan = plan_parts(size, part_size, S3)
    assert S3.min_part_size <= plan.first <= S3.max_part_size
    assert -(-size // plan.first) <= S3.max_parts
    assert plan.first == min(max(part_size, S3.min_part_size), S3.max_part_size) or plan.first % MIB == 0


def test_parts_keep_the_configured_size_while_that_suffices() -> None:
    assert plan_parts(8 * MIB * 10_000, 8 * MIB, S3).first == 8 * MIB
    assert plan_parts(8 * MIB * 10_000 + 1, 8 * MIB, S3).first == 9 * MIB


def test_an_object_larger_than_the_service_takes_is_refused_before_it_is_read() -> None:
    with pytest.raises(NotSupportedError, match="more than this service takes"):
        plan_parts(10_000 * 5 * 1024 * MIB + 1, 8 * MIB, S3)


def test_parts_of_an_unknown_size_grow_so_that_5_tib_fit() -> None:
    plan = plan_parts(None, 8 * MIB, S3)
    sizes = [plan.size_of(number) for number in range(1, 10_001)]
    assert sizes[0] == 8 * MIB
    assert sizes == sorted(sizes)
    assert max(sizes) <= S3.max_part_size
    assert sum(sizes) > 5 * 1024 * 1024 * MIB


def test_parts_do_not_grow_where_the_service_wants_them_equal() -> None:
    plan = plan_parts(None, 8 * MIB, replace(S3, equal_parts=True))
    assert {plan.size_of(number) for number in (1, 5_000, 10_000)} == {8 * MIB}
    with pytest.raises(NotSupportedError, match=r"more than 10,000 parts.*transfer\.part_size"):
        plan.size_of(10_001)


@pytest.mark.parametrize(("size", "expected"), [(999, []), (1000, []), (1001, [1000, 1]), (3000, [1000] * 3)])
async def test_parts_have_exactly_the_configured_size(watched: BlobStore, size: int, expected: list[int]) -> None:
    info = await watched.upload("a", content(size))
    driver = driver_of(watched)
    assert [driver.sizes[number] for number in sorted(driver.sizes)] == expected
    assert info.size == size
    assert await watched.download("a") == b"".join([piece async for piece in content(size)])
    assert driver.open_uploads == driver.aborts == 0


async def test_parts_that_arrive_out_of_order_are_put_in_order(
    watched: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_part = watched.driver.put_part

    async def slow_when_odd(path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None) -> str:
        await anyio.sleep(0.01 * (number % 2))
        return await put_part(path, upload_id, number, data, checksum)

    monkeypatch.setattr(watched.driver, "put_part", slow_when_odd)
    data = bytes(range(251)) * 40
    await watched.upload("a", data)
    assert list(driver_of(watched).sizes) != sorted(driver_of(watched).sizes), "else this test shows nothing"
    assert await watched.download("a") == data


async def test_a_source_may_use_its_buffer_again_while_parts_are_on_their_way(watched: BlobStore) -> None:
    def pieces() -> Any:
        buffer = bytearray(3000)
        for number in range(10):
            buffer[:] = bytes([number]) * 3000
            yield buffer

    driver_of(watched).seconds = 0.002
    await watched.upload("a", pieces())
    assert await watched.download("a") == b"".join(bytes([number]) * 3000 for number in range(10))


# memory and concurrency


async def test_no_more_parts_are_in_flight_than_configured(watched: BlobStore) -> None:
    driver_of(watched).seconds = 0.002
    await watched.upload("a", b"x" * 50_000)
    assert driver_of(watched).most_in_flight == 3


async def test_one_part_at_a_time_where_the_service_takes_them_in_order_only(
    watched: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched.driver, "capabilities", replace(Watched.capabilities, parallel_parts=False))
    driver_of(watched).seconds = 0.002
    await watched.upload("a", b"x" * 20_000)
    assert driver_of(watched).most_in_flight == 1
    assert list(driver_of(watched).sizes) == list(range(1, 21))


class Forgetful(Watched):
    """Keeps no content, so that what memory there is was the upload's."""

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        await anyio.sleep(0.2 if number == 1 else 0.001)  # one slow part must not let others pile up
        assert data
        return await super().put_part(path, upload_id, number, [], checksum)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        return await super().complete_multipart(path, upload_id, parts, size * 0, options)


@pytest.mark.parametrize("concurrency", [1, 2, 4])
async def test_memory_is_bounded_by_part_size_times_concurrency(open_store: StoreFactory, concurrency: int) -> None:
    part = MIB
    store = await open_store(Forgetful, part_size=part, concurrency=concurrency)
    running("crc32c")  # imports what computes it
    gc.collect()
    tracemalloc.start()
    try:
        await store.upload("a", content(40 * part, piece=50_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < part * (concurrency + 0.5), f"{peak:,} bytes for parts of {part:,} x {concurrency}"


# all or nothing


async def left_as_it_was(store: BlobStore) -> bool:
    return await store.download("a") == b"old" and driver_of(store).open_uploads == 0


async def test_an_error_of_the_source_reaches_the_caller_as_it_was_raised(watched: BlobStore) -> None:
    await watched.upload("a", b"old")
    for size in (0, 500, 1000, 1001, 7000):
        with pytest.raises(ZeroDivisionError, match="own trouble") as caught:
            await watched.upload("a", failing(size))
        assert caught.value.__cause__ is None
        assert await left_as_it_was(watched)


async def test_an_error_of_a_sync_source_reaches_the_caller_as_it_was_raised(watched: BlobStore) -> None:
    await watched.upload("a", b"old")

    def source() -> Any:
        yield b"x" * 5000
        raise FileNotFoundError("on the caller's disk")

    with pytest.raises(FileNotFoundError, match="on the caller's disk") as caught:
        await watched.upload("a", source())
    assert type(caught.value) is FileNotFoundError, "it is not an object that is missing"
    assert await left_as_it_was(watched)


@pytest.mark.parametrize("step", ["start", "part 1", "part 3", "complete"])
async def test_an_error_of_the_service_leaves_the_old_object_and_no_upload(watched: BlobStore, step: str) -> None:
    await watched.upload("a", b"old")
    driver_of(watched).broken = lambda now: StorageUnavailableError("gone away") if now == step else None
    with pytest.raises(StorageUnavailableError, match="gone away") as caught:
        await watched.upload("a", content(7000))
    assert (caught.value.backend, caught.value.operation, caught.value.path) == ("avatars", "upload", "a")
    assert await watched.download("a") == b"old"
    if step != "start":  # the driver of this test opened an upload and then failed to tell its id
        assert driver_of(watched).open_uploads == 0


@pytest.mark.parametrize("step", ["start", "part 2", "complete"])
async def test_a_cancelled_upload_leaves_the_old_object_and_no_upload(watched: BlobStore, step: str) -> None:
    await watched.upload("a", b"old")
    driver = driver_of(watched)
    driver.hanging = {step}
    task = asyncio.create_task(watched.upload("a", content(7000)))
    await driver.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert driver.aborts == 1
    assert await left_as_it_was(watched)


async def test_an_upload_in_a_cancelled_scope_leaves_the_old_object_and_no_upload(watched: BlobStore) -> None:
    await watched.upload("a", b"old")
    driver = driver_of(watched)
    for step in ("start", "part 2", "complete"):
        driver.hanging, driver.reached = {step}, anyio.Event()
        with anyio.move_on_after(0.02) as scope:
            await watched.upload("a", content(7000))
        assert scope.cancelled_caught
        assert await left_as_it_was(watched)


class Lingering(MemoryDriver):
    """A part that was given up still arrives a little later, and brings an aborted upload back."""

    parts_linger = True
    under_way: anyio.Event
    aborted: anyio.Event

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        begun = self._begun[upload_id]
        try:
            if number == 2:
                self.under_way.set()
                await anyio.sleep_forever()
        except asyncio.CancelledError:
            self.late = asyncio.create_task(self._arrive(begun))
            raise
        return await super().put_part(path, upload_id, number, data, checksum)

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        await super().abort_multipart(path, upload_id)
        self.aborted.set()

    async def _arrive(self, begun: UnfinishedUpload) -> None:
        await self.aborted.wait()
        self._uploads[begun.upload_id], self._begun[begun.upload_id] = {2: b"late"}, begun


async def test_a_part_that_arrives_after_the_abort_is_aborted_too(open_store: StoreFactory) -> None:
    store = await open_store(Lingering)
    driver = store.driver
    assert isinstance(driver, Lingering)
    driver.under_way, driver.aborted = anyio.Event(), anyio.Event()
    task = asyncio.create_task(store.upload("a", content(7000)))
    await driver.under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await driver.late
    assert not await driver.list_multiparts("")


async def test_a_second_cancellation_does_not_stop_the_abort(watched: BlobStore) -> None:
    await watched.upload("a", b"old")
    driver = driver_of(watched)
    driver.hanging = {"part 2"}
    slow_abort = driver.abort_multipart
    aborting = anyio.Event()

    async def abort(path: str, upload_id: str) -> None:
        aborting.set()
        await anyio.sleep(0.05)
        await slow_abort(path, upload_id)

    driver.__dict__["abort_multipart"] = abort
    task = asyncio.create_task(watched.upload("a", content(7000)))
    await driver.reached.wait()
    task.cancel()
    await aborting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await left_as_it_was(watched)


async def test_an_abort_is_repeated_until_it_succeeds(watched: BlobStore) -> None:
    await watched.upload("a", b"old")
    driver = driver_of(watched)
    driver.broken = lambda step: OSError("down") if step == "abort" and driver.aborts < 3 else None
    with pytest.raises(ZeroDivisionError):
        await watched.upload("a", failing(7000))
    assert driver.aborts == 3
    assert await left_as_it_was(watched)


async def test_an_abort_that_never_succeeds_is_told_on_the_error_and_in_the_log(
    watched: BlobStore, caplog: pytest.LogCaptureFixture
) -> None:
    driver_of(watched).broken = lambda step: OSError("secret detail") if step == "abort" else None
    with pytest.raises(ZeroDivisionError) as caught:
        await watched.upload("a", failing(7000))
    assert caught.value.__notes__ == [
        "parts of the unfinished upload 'upload-1' to 'a' may be left in the bucket (OSError)"
    ]
    assert "upload-1" in caplog.text
    assert "secret detail" not in caplog.text


async def test_an_abort_that_hangs_is_given_up(watched: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "CLEAN_UP_SECONDS", 0.05)
    driver_of(watched).hanging = {"abort"}
    with anyio.fail_after(2), pytest.raises(ZeroDivisionError) as caught:
        await watched.upload("a", failing(7000))
    assert "TimeoutError" in caught.value.__notes__[0]


# conditions


async def test_the_conditions_hold_for_uploads_in_parts(watched: BlobStore) -> None:
    info = await watched.upload("a", b"old")
    with pytest.raises(AlreadyExistsError):
        await watched.upload("a", content(7000), if_not_exists=True)
    with pytest.raises(PreconditionFailedError):
        await watched.upload("a", content(7000), if_match="another")
    assert await left_as_it_was(watched)
    await watched.upload("a", content(7000), if_match=info.etag)
    assert (await watched.info("a")).size == 7000


async def test_of_two_uploads_in_parts_that_want_a_new_object_one_wins(watched: BlobStore) -> None:
    results = await asyncio.gather(
        *(watched.upload("new", content(5000 + n), if_not_exists=True) for n in range(6)), return_exceptions=True
    )
    assert sum(isinstance(result, FileInfo) for result in results) == 1
    assert sum(isinstance(result, AlreadyExistsError) for result in results) == 5
    assert driver_of(watched).open_uploads == 0


async def test_the_size_limit_stops_a_stream_while_it_is_read(open_store: StoreFactory) -> None:
    store = await open_store(Watched, part_size=MIB // 2, service={"max_file_size_mb": 2})
    produced = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 100_000
            yield b"x" * 100_000

    with pytest.raises(QuotaExceededError, match="larger than the 2 MiB"):
        await store.upload("a", endless())
    assert produced < 4 * MIB
    assert not await store.exists("a")
    assert driver_of(store).open_uploads == 0
    await store.upload("a", content(2 * MIB, 100_000))
