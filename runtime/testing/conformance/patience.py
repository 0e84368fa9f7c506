"""Attempts, time limits and the limit of calls in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runtime.config import LimitsConfig, RetryConfig
from runtime.errors import (
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    RateLimitedError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import KIB, async_pieces, digits, in_parallel, payload
from runtime.testing.conformance.watching import PassingReader, Watched, part_size, through

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runtime.driver import ByteRange, Bytes, ObjectReader
    from runtime.models import FileInfo, ObjectPage, UploadOptions
    from runtime.store import BlobStore

QUICK = RetryConfig(attempts=3, pause=0.001)


class Unsteady(Watched):
    """Fails a call so many times before it is made.

    Attributes:
        failures: How often, by the name of the call.
        error: What is raised.
        calls: How often each call was begun.
    """

    error: type[StorageError] = StorageUnavailableError

    def __init__(self, inner: Any, **failures: int) -> None:
        super().__init__(inner)
        self.failures = failures
        self.calls: dict[str, int] = {}

    def _step(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        if self.calls[name] <= self.failures.get(name, 0):
            raise self.error("not now")

    async def head(self, path: str) -> FileInfo:
        self._step("head")
        return await super().head(path)

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        self._step("get")
        return await super().get(path, byte_range)

    async def list_objects(self, prefix: str, **options: Any) -> ObjectPage:
        self._step("list_objects")
        return await super().list_objects(prefix, **options)

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        self._step("put")
        return await super().put(path, data, options)

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        self._step("put_part")
        return await super().put_part(path, upload_id, number, data, checksum)

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        self._step("delete")
        await super().delete(path, if_match=if_match)

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        self._step("copy")
        return await super().copy(source, destination, if_not_exists=if_not_exists, if_match=if_match)


class _Breaking(PassingReader):
    async def read(self) -> bytes:
        raise StorageUnavailableError("the connection broke")

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        async for chunk in super().chunks(size_hint):
            yield memoryview(chunk)[: len(chunk) // 2]
            raise StorageUnavailableError("the connection broke")


class Breaking(Watched):
    """Its first readers break in the middle; *between* happens then."""

    def __init__(self, inner: Any, times: int = 2) -> None:
        super().__init__(inner)
        self.times = times
        self.ranges: list[ByteRange | None] = []

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        self.ranges.append(byte_range)
        reader = await self.inner.get(path, byte_range)
        return (_Breaking if len(self.ranges) <= self.times else PassingReader)(reader, self)


class Slow(Watched):
    """Counts the calls in flight, each of which takes *seconds*."""

    def __init__(self, inner: Any, seconds: float) -> None:
        super().__init__(inner)
        self.seconds = seconds
        self.in_flight = 0
        self.most_in_flight = 0

    async def head(self, path: str) -> FileInfo:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await anyio.sleep(self.seconds)
            return await super().head(path)
        finally:
            self.in_flight -= 1


async def patient(store: BlobStore, driver: Watched, retry: RetryConfig = QUICK, **limits: Any) -> BlobStore:
    """*store* through *driver*, with other settings."""
    watched = await through(store, driver)
    update = {"retry": retry, "limits": LimitsConfig(**limits)}
    return await type(store)(watched.backend.model_copy(update=update), driver).open()


class Patience(Suite):
    """What ``retry`` and ``limits`` of a backend promise, whatever the service."""

    async def test_trouble_that_passes_is_not_seen_by_the_caller(self, store: BlobStore) -> None:
        names = ("head", "get", "list_objects", "put", "put_part", "delete", "copy")
        for error in (StorageUnavailableError, StorageTimeoutError, RateLimitedError):
            driver = Unsteady(store.driver, **dict.fromkeys(names, 2))
            driver.error = error
            other = await patient(store, driver)
            await other.upload("a", b"x")
            assert await other.download("a") == b"x"
            assert (await other.info("a")).size == 1
            await other.copy("a", "b")
            assert [info.path async for info in other.list()] == ["a", "b"]
            await other.upload("a", async_pieces(payload(2 * part_size(other) + 1), 99_991))
            assert (await store.info("a")).size == 2 * part_size(other) + 1
            await other.delete("a")
            await other.delete("b")
            assert driver.calls["get"] == 3
            assert driver.open_uploads == set()

    async def test_trouble_that_stays_is_raised_after_the_attempts(self, store: BlobStore) -> None:
        driver = Unsteady(store.driver, head=100)
        with pytest.raises(StorageUnavailableError) as caught:
            await (await patient(store, driver)).info("a")
        assert driver.calls["head"] == 3
        assert "tried 3 times" in caught.value.__notes__[0]
        driver = Unsteady(store.driver, head=100)
        with pytest.raises(StorageUnavailableError):
            await (await patient(store, driver, RetryConfig(attempts=1))).info("a")
        assert driver.calls["head"] == 1

    async def test_no_attempt_is_begun_after_the_budget(self, store: BlobStore) -> None:
        class Asking(Unsteady):
            def retry_after(self, error: Exception) -> float | None:
                return 3600.0 if isinstance(error, RateLimitedError) else None

        driver = Asking(store.driver, head=100)
        driver.error = RateLimitedError
        with anyio.fail_after(30), pytest.raises(RateLimitedError):
            await (await patient(store, driver)).info("a")
        assert driver.calls["head"] == 1

    async def test_refusals_are_not_repeated(self, store: BlobStore) -> None:
        for error in (NotFoundError, PermissionDeniedError, PreconditionFailedError):
            driver = Unsteady(store.driver, head=100)
            driver.error = error
            with pytest.raises(error):
                await (await patient(store, driver)).info("a")
            assert driver.calls["head"] == 1

    async def test_conditional_write_is_repeated_only_when_it_was_refused(self, store: BlobStore) -> None:
        if not store.capabilities.if_not_exists:
            return  # it is refused before any call: `Conditions` has the test
        driver = Unsteady(store.driver, put=1)
        with pytest.raises(StorageUnavailableError):  # it may have arrived: the answer to a second one would be wrong
            await (await patient(store, driver)).upload("a", b"x", if_not_exists=True)
        assert driver.calls["put"] == 1
        driver = Unsteady(store.driver, put=1)
        driver.error = RateLimitedError
        await (await patient(store, driver)).upload("a", b"x", if_not_exists=True)
        assert driver.calls["put"] == 2

    async def test_broken_connection_is_resumed_where_it_broke(self, store: BlobStore) -> None:
        data = payload(300 * KIB)
        await store.upload("a", data)
        driver = Breaking(store.driver)
        other = await patient(store, driver)
        assert b"".join([chunk async for chunk in other.stream("a", 64 * KIB)]) == data
        assert len(driver.ranges) == 3
        driver = Breaking(store.driver)
        other = await patient(store, driver)
        assert await other.download("a", range=(1000, 200_000)) == data[1000:200_000]
        assert len(driver.ranges) == 3

    async def test_broken_connection_never_mixes_two_versions(self, store: BlobStore) -> None:
        await store.upload("a", digits(300 * KIB, 1))
        other = await patient(store, Breaking(store.driver))
        stream = other.stream("a", 1 * KIB)
        first = await anext(stream)
        assert first == digits(KIB, 1)
        await store.upload("a", digits(300 * KIB, 2))
        with pytest.raises(PreconditionFailedError):
            [chunk async for chunk in stream]

    async def test_attempt_that_hangs_is_given_up(self, store: BlobStore) -> None:
        driver = Slow(store.driver, 60)
        with anyio.fail_after(30), pytest.raises(StorageTimeoutError) as caught:
            await (await patient(store, driver, attempt_timeout=0.01)).info("a")
        assert caught.value.path == "a"

    async def test_operation_has_its_own_time(self, store: BlobStore) -> None:
        driver = Slow(store.driver, 60)
        other = await patient(store, driver, attempt_timeout=None, operation_timeout=0.05)
        with anyio.fail_after(30), pytest.raises(StorageTimeoutError, match=r"0\.05 s") as caught:
            await other.info("a")
        assert (caught.value.path, caught.value.operation) == ("a", "info")
        other = await patient(store, Watched(store.driver), operation_timeout=60)
        await other.upload("a", b"x")
        assert await other.download("a") == b"x"

    async def test_no_more_calls_are_in_flight_than_allowed(self, store: BlobStore) -> None:
        await store.upload("a", b"x")
        driver = Slow(store.driver, 0.01)
        other = await patient(store, driver, requests=2)
        with anyio.move_on_after(0.005):  # who gives up waiting takes no turn with it
            await in_parallel(other.info, ["a"] * 8)
        await in_parallel(other.info, ["a"] * 8)
        assert driver.most_in_flight == 2
