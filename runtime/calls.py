"""What every call of a driver goes through, in a fixed order.

1. attempts: what failed for a reason that may pass, and can be sent again, is sent again after a random pause
   (`RetryConfig`); what the service asks to wait for is waited for;
2. a slot: at most ``limits.requests`` calls of one backend are in flight;
3. the attempt's own time, ``limits.attempt_timeout``.

Around it, once for the whole operation, stand its checks, the hooks, ``limits.operation_timeout`` and the
translation of errors (`runtime.operation`). A driver that does 1 or 3 itself, because it sees more than a call
that failed, says so (`Driver.repeats`, `Driver.timed`) and reads the same settings: nothing is done twice.
"""
# ruff: noqa: D102 - a driver around a driver: runtime.driver documents its methods, too

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from runtime.driver import ByteRange, Driver, ObjectReader
from runtime.errors import RateLimitedError, StorageError, StorageTimeoutError
from runtime.operation import kind_of
from runtime.versions import demand_same, pause_before

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from runtime.config import NamedStorageConfig, RetryConfig
    from runtime.driver import Bytes, Capabilities, DeleteFailure
    from runtime.live import LiveSettings
    from runtime.models import FileInfo, ObjectPage, PresignedRequest, UnfinishedUpload, UploadOptions

T = TypeVar("T")


class Slots:
    """A limit that costs next to nothing while it is not reached; who waits gets its turn in order.

    Args:
        count: How many may hold one.
    """

    __slots__ = ("_free", "_waiting")

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[anyio.Event] = deque()

    def take(self) -> bool:
        """Take one, when one is free."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def wait(self) -> None:
        """Take one as soon as it is given back."""
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.give()
            else:
                self._waiting.remove(turn)
            raise

    def give(self) -> None:
        """Give one back."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1


class Attempts:
    """How often one call may still be tried.

    Args:
        driver: Whose call it is.
        retry: How often, and how long.
        safe: Whether it may be sent again although the first one may have arrived.
        begin: When the first one began, by `monotonic`.
    """

    __slots__ = ("_begin", "_driver", "_retry", "_safe", "count")

    def __init__(self, driver: Driver, retry: RetryConfig, *, safe: bool, begin: float) -> None:
        self._driver = driver
        self._retry = retry
        self._safe = safe
        self._begin = begin
        self.count = 1

    async def pause(self, error: Exception) -> None:
        """Wait before the next attempt, or raise *error* when there is none."""
        pause = pause_before(self.count, self._retry.pause, self._retry.longest_pause)
        pause = max(pause, self._driver.retry_after(error) or 0.0)
        last = self.count >= self._retry.attempts or monotonic() - self._begin + pause > self._retry.budget
        if last or not self._again(error):
            if self.count > 1:
                error.add_note(f"tried {self.count} times in {monotonic() - self._begin:.1f} s")
            raise error
        self.count += 1
        await anyio.sleep(pause)

    def _again(self, error: Exception) -> bool:
        kind = kind_of(error, self._driver)
        if kind is None:
            return False
        if not self._safe:
            return issubclass(kind, RateLimitedError)  # refused for sure, so nothing was done
        return error.retryable if isinstance(error, StorageError) else kind.retryable_by_default


class Calls(Driver):
    """A driver whose every call is limited, timed and repeated.

    Args:
        driver: The service's own part.
        backend: Whose `retry` and `limits` apply.
    """

    def __init__(self, driver: Driver, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        self._driver = driver
        self._slots = Slots(backend.limits.requests)
        self._seconds = None if driver.timed else backend.limits.attempt_timeout
        self._once = driver.repeats or backend.retry.attempts == 1
        self.own_checksum = driver.own_checksum
        self.parts_linger = driver.parts_linger

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override] # read anew, as the driver may learn what it can do
        return self._driver.capabilities

    async def _call(self, function: Callable[..., Awaitable[T]], *arguments: Any, safe: bool = True) -> T:
        if self._once:
            return await self._attempt(function, *arguments)
        begin, attempts = monotonic(), None
        while True:
            try:
                return await self._attempt(function, *arguments)
            except Exception as exc:  # noqa: BLE001 - raised by `pause` unless there is another attempt
                attempts = attempts or self.attempts(safe=safe, begin=begin)
                await attempts.pause(exc)

    async def _attempt(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        slots = self._slots
        if not slots.take():
            await slots.wait()
        try:
            return await (function(*arguments) if self._seconds is None else self.in_time(function, *arguments))
        finally:
            slots.give()

    def attempts(self, *, safe: bool, begin: float) -> Attempts:
        """The attempts at one thing that was begun then."""
        return Attempts(self._driver, self.backend.retry, safe=safe, begin=begin)

    async def in_turn(self, function: Callable[[], Awaitable[T]]) -> T:
        """One attempt at something that is no call of the driver."""
        return await self._attempt(function)

    async def in_time(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """What *function* gives within the time of one attempt."""
        if self._seconds is None:
            return await function(*arguments)
        with anyio.move_on_after(self._seconds):
            return await function(*arguments)
        raise StorageTimeoutError(f"no answer within {self._seconds:g} s", hint="limits.attempt_timeout")

    # reading

    async def head(self, path: str) -> FileInfo:
        return await self._call(self._driver.head, path)

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        reader = await self._call(self._driver.get, path, byte_range)
        return reader if self._driver.repeats else Resumed(self, path, byte_range, reader)

    async def get_more(self, path: str, byte_range: ByteRange, known: FileInfo) -> ObjectReader:
        reader = await self._call(self._driver.get_more, path, byte_range, known)
        return reader if self._driver.repeats else Resumed(self, path, byte_range, reader)

    async def content(self, path: str, byte_range: ByteRange | None = None) -> bytes | None:
        return await self._call(self._driver.content, path, byte_range)

    async def whole(self, reader: ObjectReader) -> bytes:
        """All that *reader* gives, as one call."""
        return await (reader.read() if isinstance(reader, Resumed) else self._attempt(reader.read))

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        async def page() -> ObjectPage:
            return await self._driver.list_objects(
                prefix, delimiter=delimiter, start_after=start_after, cursor=cursor, limit=limit
            )

        return await self._call(page)

    # writing

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        free = options.if_match is None and not options.if_not_exists
        return await self._call(self._driver.put, path, data, options, safe=free)

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        return await self._call(self._driver.start_multipart, path, options, safe=False)  # a second one would be left

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        return await self._call(self._driver.put_part, path, upload_id, number, data, checksum)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        return await self._call(
            self._driver.complete_multipart, path, upload_id, parts, size, options, safe=False
        )  # the upload is gone when the first one arrived

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        await self._attempt(self._driver.abort_multipart, path, upload_id)  # `send` repeats it

    async def list_multiparts(self, prefix: str) -> Sequence[UnfinishedUpload]:
        return await self._call(self._driver.list_multiparts, prefix)

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        async def delete() -> None:
            await self._driver.delete(path, if_match=if_match)

        await self._call(delete, safe=if_match is None)

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        return await self._call(self._driver.delete_batch, paths)

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        if if_match is None and not if_not_exists:
            return await self._call(self._driver.copy, source, destination)

        async def copy() -> FileInfo:
            return await self._driver.copy(source, destination, if_not_exists=if_not_exists, if_match=if_match)

        return await self._call(copy, safe=False)

    # addresses and state

    def url(self, path: str) -> str:
        return self._driver.url(path)

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        async def sign() -> PresignedRequest:
            return await self._driver.presign(path, method=method, expires_in=expires_in, content_type=content_type)

        return await self._call(sign)

    async def check(self) -> Mapping[str, Any]:
        return await self._attempt(self._driver.check)  # a health report tells how it is now

    async def live_settings(self) -> LiveSettings:
        return await self._call(self._driver.live_settings)

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return self._driver.error_type(error)


class Resumed(ObjectReader):
    """An object being read; where its connection breaks, the rest of the same version is asked for.

    Args:
        calls: What is asked for the rest.
        path: Which object.
        byte_range: What of it was asked for.
        reader: The first connection.
    """

    def __init__(self, calls: Calls, path: str, byte_range: ByteRange | None, reader: ObjectReader) -> None:
        self.info = reader.info
        self._calls = calls
        self._path = path
        self._range = byte_range or ByteRange(0)
        self._reader = reader
        self._given_back = False

    async def read(self) -> bytes:
        attempts = self._calls.attempts(safe=True, begin=monotonic())
        while True:
            try:
                return await self._calls.in_turn(self._reader.read)
            except Exception as exc:  # noqa: BLE001 - raised by `pause` unless there is another attempt
                await self._again(attempts, exc, 0)

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        attempts = self._calls.attempts(safe=True, begin=monotonic())
        done, ended = 0, False
        while not ended:
            try:
                pieces = aiter(self._reader.chunks(size_hint))
                while not ended:
                    piece = await self._calls.in_time(anext, pieces, None)
                    if piece is None:
                        ended = True
                    else:
                        done += len(piece)
                        yield piece
            except Exception as exc:  # noqa: BLE001 - as above
                await self._again(attempts, exc, done)

    async def _again(self, attempts: Attempts, error: Exception, done: int) -> None:
        await self.aclose()
        await attempts.pause(error)
        reader = await self._calls.get(self._path, ByteRange(self._range.start + done, self._range.end))
        try:
            demand_same(self.info, reader.info)
        except BaseException:
            await reader.aclose()
            raise
        self._reader, self._given_back = reader, False

    async def aclose(self) -> None:
        if not self._given_back:
            self._given_back = True
            await self._reader.aclose()
