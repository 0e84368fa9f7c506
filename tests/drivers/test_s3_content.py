"""Small reads are one request each; what servers may answer to a range changes nothing for the caller."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest

from runtime.config import NamedStorageConfig
from runtime.drivers.s3 import S3Driver
from runtime.errors import NotFoundError
from runtime.store import BlobStore
from tests.drivers.answering import answering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.hooks import Outcome

BODY = b"content"


@contextmanager
def service(*, ranges: bool, body: bytes = BODY, status: int = 200) -> Iterator[tuple[BlobStore, list[str | None]]]:
    """A store on a server that has one object, and the ranges that it was asked for."""
    asked: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(wanted := self.headers.get("range"))
            start, end = 0, len(body)
            if wanted and ranges:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, end = int(first), min(int(last or len(body)) + 1, len(body))
            partial = bool(wanted) and ranges and status == 200
            behind = partial and start >= len(body)
            self.send_response(416 if behind else 206 if partial else status)
            sent = b"" if behind else body[start:end]
            if partial and not behind:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(sent)))
            self.send_header("ETag", '"tag"')
            self.send_header("Last-Modified", "Mon, 23 Nov 2026 08:00:00 GMT")
            self.end_headers()
            self.wfile.write(sent)

    with answering(Handler) as url:
        settings = {"bucket": "bucket", "region": "us-east-1", "access_key": "a", "secret_key": "s"}
        settings["endpoint_url"] = url
        entry = NamedStorageConfig.model_validate({"name": "x", "driver": "s3", "s3": settings})
        yield BlobStore(entry, S3Driver(entry)), asked


async def test_whole_object_is_one_request() -> None:
    with service(ranges=True) as (store, asked):
        async with store:
            assert await store.download("a") == BODY
    assert len(asked) == 1


@pytest.mark.parametrize(("wanted", "expected"), [((2, 4), BODY[2:4]), ((2, None), BODY[2:]), ((9, 12), b"")])
async def test_server_that_ignores_ranges_is_asked_once_and_its_answer_is_cut(
    wanted: tuple[int, int | None], expected: bytes
) -> None:
    with service(ranges=False) as (store, asked):
        async with store:
            assert await store.download("a", range=wanted) == expected
            chunks = [chunk async for chunk in store.stream("a", 2, range=wanted)]
            assert b"".join(chunks) == expected
    assert len(asked) == 2


async def test_object_without_bytes_has_no_range_and_is_read_all_the_same() -> None:
    with service(ranges=True, body=b"") as (store, _):
        async with store:
            assert await store.download("a") == b""


@pytest.mark.parametrize(("wanted", "expected"), [((2, 4), BODY[2:4]), ((2, None), BODY[2:]), ((2, 99), BODY[2:])])
async def test_range_is_one_request(wanted: tuple[int, int | None], expected: bytes) -> None:
    with service(ranges=True) as (store, asked):
        async with store:
            assert await store.download("a", range=wanted) == expected
    assert len(asked) == 1


async def test_missing_object_is_asked_for_once() -> None:
    with service(ranges=True, status=404) as (store, asked):
        async with store:
            with pytest.raises(NotFoundError):
                await store.download("a")
    assert len(asked) == 1


async def test_hooks_are_told_what_was_read() -> None:
    told: list[Outcome] = []
    with service(ranges=True) as (store, _):
        async with BlobStore(store.backend, store.driver, hooks=[lambda _: told.append]) as hooked:
            assert await hooked.download("a") == BODY
    assert [outcome.read.etag for outcome in told if outcome.read] == ["tag"]
