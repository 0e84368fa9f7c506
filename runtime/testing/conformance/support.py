"""What the tests share: content, drivers that watch another driver, plain HTTP."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import pytest

from runtime.config import TransferConfig
from runtime.driver import Driver, ObjectReader
from runtime.errors import NotSupportedError
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from runtime.driver import ByteRange, Bytes, DeleteFailure
    from runtime.errors import StorageError
    from runtime.models import FileInfo, ObjectPage, PresignedRequest, UploadOptions

KIB = 1024
MIB = 1024 * 1024
IN_FLIGHT = 8
HTTP_TIMEOUT_SECONDS = 30.0


def payload(size: int, seed: int = 0) -> bytes:
    """*size* bytes in which every shift shows: the period of 251 divides no size of a part."""
    pattern = bytes((value + seed) % 251 for value in range(251))
    return (pattern * (size // 251 + 1))[:size]


def digits(size: int, seed: int = 0) -> bytes:
    """*size* bytes of one repeated digit, to tell whole contents from mixed ones."""
    return str(seed % 10).encode() * size


def sync_pieces(data: bytes, size: int) -> Iterator[bytes]:
    """*data* from a sync generator, *size* bytes at a time."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def async_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    """*data* from an async generator, *size* bytes at a time."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


class BrokenSourceError(Exception):
    """What the tests' own sources raise."""


def broken_pieces(data: bytes, size: int) -> Iterator[bytes]:
    """*data*, and then a failure of the caller's own."""
    yield from sync_pieces(data, size)
    raise BrokenSourceError


async def broken_async_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    """*data*, and then a failure of the caller's own."""
    async for piece in async_pieces(data, size):
        yield piece
    raise BrokenSourceError


async def paths_of(store: BlobStore, prefix: str = "", **options: Any) -> list[str]:
    """The paths of a whole listing."""
    return [info.path async for info in store.list(prefix, **options)]


async def pages_of(store: BlobStore, prefix: str = "", **options: Any) -> list[ObjectPage]:
    """All pages of a listing, which must come to an end."""
    pages, cursor = [], None
    for _ in range(1000):
        page = await store.list_page(prefix, cursor=cursor, **options)
        pages.append(page)
        cursor = page.cursor
        if cursor is None:
            return pages
    pytest.fail(f"listing {prefix!r} with {options} gave 1,000 pages and no end")


async def in_parallel(work: Callable[[Any], Awaitable[object]], items: Iterable[Any]) -> None:
    """Do *work* for every item, a few at once; the first failure is raised as it is."""
    slots = anyio.Semaphore(IN_FLIGHT)
    failures: list[Exception] = []

    async def run(item: object) -> None:
        async with slots:
            try:
                await work(item)
            except Exception as exc:  # noqa: BLE001 - raised below, without the group around it
                failures.append(exc)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for item in items:
            tasks.start_soon(run, item)
    if failures:
        raise failures[0]


async def fill(store: BlobStore, paths: Iterable[str], content: bytes = b".") -> None:
    """Write one small object at each path."""
    await in_parallel(lambda path: store.upload(path, content), paths)


async def emptied(store: BlobStore) -> BlobStore:
    """Delete every object; for ``store`` fixtures on a bucket that tests use one after the other."""
    left = [info async for info in store.list()]
    failed = [result for result in await store.delete_batch(left) if result.error]
    assert not failed, f"the bucket can not be emptied: {failed[0].error}"
    return store


@contextmanager
def refused(option: str) -> Iterator[None]:
    """The call inside must be refused with `NotSupportedError`, as *option* is not declared as a capability."""
    try:
        yield
    except NotSupportedError:
        return
    pytest.fail(f"{option} is not in the driver's capabilities, so it must be refused; it was taken and dropped")


# drivers around a driver


class PassingReader(ObjectReader):
    """Passes everything on, and counts what it produced.

    Args:
        inner: The reader it stands before.
        watcher: What is told of every byte.
    """

    def __init__(self, inner: ObjectReader, watcher: Watched) -> None:
        self.info = inner.info
        self._inner = inner
        self._watcher = watcher

    async def read(self) -> bytes:
        data = await self._inner.read()
        self._watcher.bytes_out += len(data)
        return data

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        async for chunk in self._inner.chunks(size_hint):
            self._watcher.bytes_out += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        self._watcher.closed_readers += 1
        await self._inner.aclose()


class Watched(Driver):
    """Another driver, opened already, whose calls are counted and can be made to fail by a subclass.

    Args:
        inner: The driver.

    Attributes:
        bytes_in: Bytes that were accepted so far, in whole puts and in parts.
        bytes_out: Bytes that readers gave so far.
        closed_readers: Readers that were closed.
        started: Multipart uploads that were begun.
        ended: Multipart uploads that were completed or aborted, in that order of events.
    """

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner.backend)
        self.inner = inner
        self.capabilities = inner.capabilities
        self.bytes_in = 0
        self.bytes_out = 0
        self.closed_readers = 0
        self.started: list[str] = []
        self.ended: list[str] = []

    async def open(self) -> None:
        """The driver is open."""

    async def close(self) -> None:
        """The driver is closed by its owner."""

    @property
    def raw(self) -> Any:
        return self.inner.raw

    async def head(self, path: str) -> FileInfo:
        return await self.inner.head(path)

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        return PassingReader(await self.inner.get(path, byte_range), self)

    async def list_objects(self, prefix: str, **options: Any) -> ObjectPage:
        return await self.inner.list_objects(prefix, **options)

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        info = await self.inner.put(path, data, options)
        self.bytes_in += len(data)
        return info

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        upload_id = await self.inner.start_multipart(path, options)
        self.started.append(upload_id)
        return upload_id

    async def put_part(self, path: str, upload_id: str, number: int, data: Bytes) -> str:
        token = await self.inner.put_part(path, upload_id, number, data)
        self.bytes_in += len(data)
        return token

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        info = await self.inner.complete_multipart(path, upload_id, parts, size, options)
        self.ended.append(upload_id)
        return info

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        await self.inner.abort_multipart(path, upload_id)
        self.ended.append(upload_id)

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        await self.inner.delete(path, if_match=if_match)

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        return await self.inner.delete_batch(paths)

    async def copy(self, source: str, destination: str) -> FileInfo:
        return await self.inner.copy(source, destination)

    def url(self, path: str) -> str:
        return self.inner.url(path)

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        return await self.inner.presign(path, method=method, expires_in=expires_in, content_type=content_type)

    async def check(self) -> Mapping[str, Any]:
        return await self.inner.check()

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return self.inner.error_type(error)

    def error_detail(self, error: Exception) -> str | None:
        return self.inner.error_detail(error)

    @property
    def open_uploads(self) -> set[str]:
        """Multipart uploads that were begun and neither completed nor aborted."""
        return set(self.started) - set(self.ended)


SMALL_PART = 256 * KIB
"""Part size of `through`, where the service allows so little."""


async def through(store: BlobStore, driver: Driver | None = None, concurrency: int = 2) -> BlobStore:
    """*store* once more, with the smallest parts that are sensible and, when given, through another driver.

    Args:
        store: An opened backend; it stays the owner of its driver.
        driver: Usually a `Watched` around ``store.driver``.
        concurrency: Parts in flight.
    """
    transfer = TransferConfig.model_validate(
        {"part_size": max(SMALL_PART, store.capabilities.min_part_size), "concurrency": concurrency}
    )
    backend = store.backend.model_copy(update={"transfer": transfer})
    return await BlobStore(backend, driver or Watched(store.driver)).open()


def part_size(store: BlobStore) -> int:
    """Bytes of one part of *store*."""
    return int(store.backend.transfer.part_size)


# plain HTTP


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered.

    Attributes:
        status: HTTP status.
        headers: Headers, names in lower case.
        content: The body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False)


def _send(method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Response:
    # not urllib.request: it adds a content type of its own to every body, and follows redirects
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.netloc, timeout=HTTP_TIMEOUT_SECONDS)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request(method, target, body=content, headers=dict(headers))
        answer = connection.getresponse()
        return Response(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
    finally:
        connection.close()


async def send_http(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
) -> Response:
    """Send one request with nothing but the standard library, as any HTTP client would."""
    return await anyio.to_thread.run_sync(_send, method, url, headers or {}, content)
