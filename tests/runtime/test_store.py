from __future__ import annotations

import asyncio
import traceback
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runtime.driver import ByteRange, DeleteFailure, ObjectReader
from runtime.drivers.memory import MemoryDriver
from runtime.errors import (
    InvalidOptionError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from runtime.models import DeleteResult, FileInfo, UploadOptions
from runtime.protocols import BlobStoreProtocol
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from runtime.driver import Bytes
    from tests.runtime.conftest import StoreFactory

SIGNED = "https://bucket.example/a?X-Amz-Signature=deadbeef"


class VendorError(Exception):
    """As SDKs raise it: the message holds whatever was at hand."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} for {SIGNED}")
        self.status = status


class Vendor(MemoryDriver):
    """A driver whose service answers with what a test wants."""

    broken: BaseException | None = None

    def error_type(self, error: Exception) -> type[StorageError] | None:
        kinds: dict[int, type[StorageError]] = {403: PermissionDeniedError, 404: NotFoundError}
        return kinds.get(error.status) if isinstance(error, VendorError) else None

    def error_detail(self, error: Exception) -> str | None:
        return f"{error.status} Code" if isinstance(error, VendorError) and error.status == 403 else None

    async def head(self, path: str) -> FileInfo:
        if self.broken is not None:
            raise self.broken
        return await super().head(path)

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        await self.head(path)
        return await super().get(path, byte_range)


@pytest.fixture
async def vendor(open_store: StoreFactory) -> BlobStore:
    store = await open_store(Vendor)
    await store.upload("a", b"0123456789")
    return store


def break_with(store: BlobStore, error: BaseException) -> None:
    assert isinstance(store.driver, Vendor)
    store.driver.broken = error


# errors


async def test_a_vendors_error_is_translated_and_keeps_its_cause(vendor: BlobStore) -> None:
    error = VendorError(403)
    break_with(vendor, error)
    with pytest.raises(PermissionError) as caught:
        await vendor.download("a")
    assert isinstance(caught.value, PermissionDeniedError)
    assert caught.value.__cause__ is error
    assert (caught.value.backend, caught.value.operation, caught.value.path) == ("avatars", "download", "a")
    assert str(caught.value) == (
        "download: The credentials are known and may not do this: VendorError 403 Code [avatars/a]"
    )


@pytest.mark.parametrize("status", [403, 404])
async def test_no_text_of_the_vendor_is_in_a_message(vendor: BlobStore, status: int) -> None:
    break_with(vendor, VendorError(status))
    with pytest.raises(StorageError) as caught:
        await vendor.info("a")
    own = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)
    assert "Signature" not in own
    assert "example" not in own


@pytest.mark.parametrize("error", [VendorError(500), KeyError("a bug"), TypeError("a bug")])
async def test_what_the_driver_does_not_know_is_a_bug_and_passes_untouched(vendor: BlobStore, error: Exception) -> None:
    break_with(vendor, error)
    with pytest.raises(type(error)) as caught:
        await vendor.info("a")
    assert caught.value is error
    assert caught.value.__cause__ is None


async def test_an_error_of_our_own_is_filled_in_not_wrapped(vendor: BlobStore) -> None:
    error = NotSupportedError("not today")
    break_with(vendor, error)
    with pytest.raises(NotSupportedError) as caught:
        await vendor.info("a")
    assert caught.value is error
    assert str(error) == "info: not today [avatars/a]"


async def test_what_the_callers_source_raises_is_not_the_services_error(vendor: BlobStore, store: BlobStore) -> None:
    for error in (VendorError(404), NotFoundError("elsewhere", backend="other", operation="stream", path="b")):

        def source(size: int, error: Exception = error) -> Iterator[bytes]:
            yield b"x" * size
            raise error

        for size in (0, 500, 1000, 5000):
            with pytest.raises(type(error)) as caught:
                await vendor.upload("a", source(size))
            assert caught.value is error
    with pytest.raises(NotFoundError) as missing:
        await vendor.upload("a", store.stream("not there"))
    assert (missing.value.operation, missing.value.path) == ("stream", "not there")
    assert await vendor.download("a") == b"0123456789"


async def test_a_timeout_below_is_a_storage_timeout(vendor: BlobStore) -> None:
    break_with(vendor, TimeoutError())
    with pytest.raises(StorageTimeoutError) as caught:
        await vendor.info("a")
    assert caught.value.retryable


async def test_a_cancellation_passes_through(vendor: BlobStore) -> None:
    break_with(vendor, asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await vendor.info("a")


async def test_exists_is_no_answer_when_access_is_denied(vendor: BlobStore) -> None:
    assert await vendor.exists("a")
    break_with(vendor, VendorError(404))
    assert not await vendor.exists("a")
    break_with(vendor, VendorError(403))
    with pytest.raises(PermissionDeniedError):
        await vendor.exists("a")


CALLS: dict[str, Callable[[BlobStore, Any], Any]] = {
    "upload": lambda store, path: store.upload(path, b"x"),
    "download": lambda store, path: store.download(path),
    "stream": lambda store, path: anext(store.stream(path)),
    "info": lambda store, path: store.info(path),
    "exists": lambda store, path: store.exists(path),
    "delete": lambda store, path: store.delete(path),
    "delete_batch": lambda store, path: store.delete_batch(["fine", path]),
    "copy": lambda store, path: store.copy("a", path),
    "move": lambda store, path: store.move("a", path),
    "copy_batch": lambda store, path: store.copy_batch([("a", "b"), ("a", path)]),
    "get_url": lambda store, path: store.get_url(path),
    "get_presigned_url": lambda store, path: store.get_presigned_url(path),
    "presign": lambda store, path: store.presign(path),
}


@pytest.mark.parametrize("operation", CALLS)
async def test_a_wrong_path_is_refused_by_every_operation_before_any_io(vendor: BlobStore, operation: str) -> None:
    async def touched(*_: object, **__: object) -> None:
        raise AssertionError("the driver was called")

    for name in ("put", "get", "head", "delete", "delete_batch", "copy", "presign"):
        vendor.driver.__dict__[name] = touched
    with pytest.raises(InvalidPathError) as caught:
        await CALLS[operation](vendor, "a/../../etc/passwd")
    assert (caught.value.backend, caught.value.operation) == ("avatars", operation)


@pytest.mark.parametrize("operation", CALLS)
async def test_a_store_that_is_not_open_says_so(store: BlobStore, operation: str) -> None:
    await store.close()
    with pytest.raises(StorageUnavailableError, match="not open") as caught:
        await CALLS[operation](store, "a")
    assert not caught.value.retryable


async def test_opening_and_closing_twice_does_it_once(store: BlobStore) -> None:
    calls = []

    async def note() -> None:
        calls.append("x")

    store.driver.__dict__.update(open=note, close=note)
    await store.open()
    assert calls == []
    await store.close()
    await store.close()
    assert calls == ["x"]


async def test_a_store_is_what_applications_are_typed_against(store: BlobStore) -> None:
    assert isinstance(store, BlobStoreProtocol)
    assert issubclass(BlobStore, BlobStoreProtocol)


# reading


async def test_a_range_is_read_by_download_and_stream(store: BlobStore) -> None:
    await store.upload("a", b"0123456789")
    expected = {(0, 4): b"0123", (3, None): b"3456789", (9, 100): b"9", (10, None): b"", (100, 200): b"", (5, 5): b""}
    for wanted, content in expected.items():
        assert await store.download("a", range=wanted) == content
        assert b"".join([chunk async for chunk in store.stream("a", 3, range=wanted)]) == content


@pytest.mark.parametrize(
    ("wanted", "error"),
    [((-1, None), InvalidOptionError), ((5, 4), InvalidOptionError), ((1.5, 2), TypeError), (5, TypeError)],
)
async def test_a_range_that_makes_no_sense_is_refused(store: BlobStore, wanted: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await store.download("a", range=wanted)
    with pytest.raises(error):
        store.stream("a", range=wanted)


async def test_an_empty_range_is_not_asked_for_as_no_service_can_say_it(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("a", b"0123456789")
    monkeypatch.setattr(store.driver, "get", None)
    assert await store.download("a", range=(3, 3)) == b""
    assert [chunk async for chunk in store.stream("a", range=(3, 3))] == []


async def test_an_empty_range_of_a_missing_object_is_missing(store: BlobStore) -> None:
    with pytest.raises(NotFoundError):
        await store.download("missing", range=(3, 3))


@pytest.mark.parametrize("size", [1, 3, 4096, 10_000, 20_000, 20_001])
async def test_a_stream_has_chunks_of_exactly_the_size(store: BlobStore, size: int) -> None:
    data = bytes(range(200)) * 100
    await store.upload("a", data)
    chunks = [chunk async for chunk in store.stream("a", size)]
    assert b"".join(chunks) == data
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    assert all(type(chunk) is bytes for chunk in chunks)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None])
async def test_a_chunk_size_that_makes_no_sense_is_refused_at_once(store: BlobStore, size: Any) -> None:
    with pytest.raises((InvalidOptionError, TypeError), match="chunk_size"):
        store.stream("a", size)


class Line(ObjectReader):
    """A reader that knows whether its connection was given back."""

    def __init__(self, info: FileInfo) -> None:
        self.info = info
        self.closed = 0

    async def read(self) -> bytes:
        raise ConnectionResetError

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        while True:
            await anyio.lowlevel.checkpoint()
            yield b"x" * min(size_hint, 100)

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed += 1


@pytest.fixture
async def line(store: BlobStore) -> Line:
    reader = Line(await store.upload("a", b"x"))

    async def get(*_: object) -> ObjectReader:
        return reader

    store.driver.__dict__["get"] = get
    return reader


async def test_a_stream_that_is_left_early_gives_the_connection_back(store: BlobStore, line: Line) -> None:
    async with aclosing(store.stream("a", 10)) as chunks:
        async for chunk in chunks:
            assert chunk == b"x" * 10
            break
    assert line.closed == 1


async def test_a_stream_that_is_cancelled_gives_the_connection_back(store: BlobStore, line: Line) -> None:
    async def read() -> None:
        async for _ in store.stream("a", 10):
            pass

    task = asyncio.create_task(read())
    await anyio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert line.closed == 1


async def test_a_download_that_fails_gives_the_connection_back(store: BlobStore, line: Line) -> None:
    with pytest.raises(ConnectionResetError):
        await store.download("a")
    assert line.closed == 1


async def test_a_listing_crosses_pages_and_keeps_to_its_limit(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.store.PAGE", 3)
    paths = [f"p/{number:02}" for number in range(10)]
    for path in paths:
        await store.upload(path, b"")
    assert [info.path async for info in store.list("p/")] == paths
    for limit in (0, 1, 3, 4, 10, 11):
        assert [info.path async for info in store.list("p/", limit=limit)] == paths[:limit]
    assert [info.path async for info in store.list("p/", start_after="p/06")] == paths[7:]


async def test_a_listing_is_checked_at_once(store: BlobStore) -> None:
    for arguments in ({"prefix": 3}, {"start_after": "\ud800"}, {"delimiter": 3}, {"limit": -1}, {"limit": "1"}):
        wrong: Any = arguments
        with pytest.raises((InvalidPathError, InvalidOptionError, TypeError)):
            store.list(**wrong)
    with pytest.raises(InvalidOptionError, match="1 to 1,000"):
        await store.list_page(limit=1001)


# removing and copying


async def test_delete_is_silent_about_a_missing_object_unless_it_must_exist(store: BlobStore) -> None:
    await store.delete("missing")
    with pytest.raises(NotFoundError) as caught:
        await store.delete("missing", must_exist=True)
    assert caught.value.operation == "delete"


async def test_a_listed_object_with_a_strange_name_can_be_read_copied_and_removed(store: BlobStore) -> None:
    await store.driver.put("a//b/", b"strange", UploadOptions(content_type="text/plain"))
    [listed] = [info async for info in store.list()]
    assert await store.download(listed) == b"strange"
    assert (await store.info(listed)).path == "a//b/"
    assert (await store.copy(listed, "sane")).path == "sane"
    assert await store.get_url(listed) == "memory:a//b/"
    await store.delete(listed)
    assert [info.path async for info in store.list()] == ["sane"]


async def test_a_batch_gives_a_result_for_each_path(open_store: StoreFactory) -> None:
    class Picky(Vendor):
        async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
            assert len(paths) <= 1000
            return [DeleteFailure(path, VendorError(403)) for path in paths if path.startswith("locked")]

    store = await open_store(Picky)
    results = await store.delete_batch(["a", "locked/1", "a", *(f"n/{n}" for n in range(2500)), "locked/2"])
    assert len(results) == 2504
    assert results[0] == results[2] == DeleteResult("a")
    failed = [result for result in results if result.error]
    assert [result.path for result in failed] == ["locked/1", "locked/2"]
    for result in failed:
        assert isinstance(result.error, PermissionDeniedError)
        assert isinstance(result.error.__cause__, VendorError)
        assert (result.error.backend, result.error.operation, result.error.path) == (
            "avatars",
            "delete_batch",
            result.path,
        )


async def test_a_bug_in_a_batch_is_raised(open_store: StoreFactory) -> None:
    class Buggy(Vendor):
        async def delete(self, path: str, *, if_match: str | None = None) -> None:
            raise ZeroDivisionError(path, if_match)

    store = await open_store(Buggy)
    with pytest.raises(ZeroDivisionError):
        await store.delete_batch(["a"])


async def test_copying_or_moving_an_object_onto_itself_changes_nothing(store: BlobStore) -> None:
    info = await store.upload("a", b"x")
    assert await store.copy("a", "a") == info
    assert await store.move("a", "a") == info
    assert await store.download("a") == b"x"
    with pytest.raises(NotFoundError):
        await store.copy("missing", "missing")


async def test_a_move_whose_removal_fails_says_that_both_are_there(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise NotSupportedError("locked")

    await store.upload("a", b"x")
    monkeypatch.setattr(store.driver, "delete", refuse)
    with pytest.raises(NotSupportedError) as caught:
        await store.move("a", "b")
    assert caught.value.__notes__ == ["'b' was written, 'a' was not removed"]
    assert await store.exists("a")
    assert await store.exists("b")


async def test_a_batch_of_copies_gives_the_destinations_and_runs_a_chain_in_order(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = store.driver.copy

    async def slow_from_b(source: str, destination: str) -> FileInfo:
        await anyio.sleep(0.01 if source == "b" else 0)
        return await copy(source, destination)

    monkeypatch.setattr(store.driver, "copy", slow_from_b)
    await store.upload("a", b"1")
    await store.upload("b", b"2")
    assert await store.copy_batch([("b", "c"), ("a", "b"), ("b", "d")]) == ["c", "b", "d"]
    contents = {path: await store.download(path) for path in "abcd"}
    assert contents == {"a": b"1", "b": b"1", "c": b"2", "d": b"1"}
    assert await store.copy_batch([]) == []


async def test_the_first_failure_of_a_batch_of_copies_names_its_path(store: BlobStore) -> None:
    await store.upload("a", b"1")
    with pytest.raises(NotFoundError) as caught:
        await store.copy_batch([("a", "x"), ("a", "y"), ("missing", "z")])
    assert (caught.value.path, caught.value.operation) == ("missing", "copy_batch")
    assert "of 3 objects were copied" in caught.value.__notes__[0]


async def test_a_batch_that_breaks_off_tells_what_is_gone_and_what_is_not(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, requests = store.driver.delete_batch, 0

    async def breaks(paths: Sequence[str]) -> Sequence[DeleteFailure]:
        nonlocal requests
        requests += 1
        if requests > 1:
            raise StorageUnavailableError("gone")
        return await delete(paths)

    for name in "abcde":
        await store.upload(name, b"x")
    monkeypatch.setattr("runtime.store.PAGE", 2)
    monkeypatch.setattr(store.driver, "delete_batch", breaks)
    results = await store.delete_batch("abcde")
    told = [(result.path, type(result.error)) for result in results]
    assert told == [(name, type(None) if name in "ab" else StorageUnavailableError) for name in "abcde"]
    assert [info.path async for info in store.list()] == ["c", "d", "e"]
    with pytest.raises(StorageUnavailableError):
        await store.delete_batch("cde")


# health


async def test_a_healthy_store_tells_facts(store: BlobStore) -> None:
    result = await store.health_check()
    assert result.is_healthy()
    assert result.component == "avatars"
    assert result.error is None
    assert result.checked_at is not None
    assert result.checked_at.tzinfo is not None
    assert result.details is not None
    assert result.details["driver"] == "memory"


@pytest.mark.parametrize("error", [VendorError(403), VendorError(500), ZeroDivisionError("secret"), TimeoutError()])
async def test_health_check_never_raises_and_tells_no_secret(vendor: BlobStore, error: Exception) -> None:
    async def check() -> Any:
        raise error

    vendor.driver.__dict__["check"] = check
    result = await vendor.health_check()
    assert not result.is_healthy()
    assert result.error
    assert "secret" not in result.error
    assert "Signature" not in result.error
    with pytest.raises(Exception):  # noqa: B017, PT011 - the same trouble, whatever it is, is raised by describe
        await vendor.describe()


async def test_health_check_keeps_its_timeout(store: BlobStore) -> None:
    async def check() -> Any:
        await anyio.sleep(10)

    store.driver.__dict__["check"] = check
    result = await store.health_check(timeout=0.02)
    assert not result.is_healthy()
    assert result.error == "StorageTimeoutError: no answer within 0.02 s [avatars]"
    assert 10 < result.duration_ms < 2000


async def test_health_check_of_a_closed_store_is_unhealthy(store: BlobStore) -> None:
    await store.close()
    result = await store.health_check()
    assert not result.is_healthy()
    assert "not open" in (result.error or "")


async def test_a_cancelled_health_check_is_cancelled(store: BlobStore) -> None:
    async def check() -> Any:
        await anyio.sleep(10)

    store.driver.__dict__["check"] = check
    task = asyncio.create_task(store.health_check())
    await anyio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
