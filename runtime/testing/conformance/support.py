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

from runtime.errors import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping

    from runtime.models import ObjectPage
    from runtime.store import BlobStore

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
