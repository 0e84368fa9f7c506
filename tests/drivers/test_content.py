"""Small reads of gcs and azure are one request each, held against the checksum that the service tells."""

from __future__ import annotations

from base64 import b64encode
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pytest

from runtime.checksums import value_of
from runtime.config import NamedStorageConfig
from runtime.errors import ChecksumMismatchError, NotFoundError
from runtime.registry import DriverRegistry
from tests.drivers.answering import answering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.store import BlobStore

BODY = b"content"
KEY = b64encode(b"key").decode()
SETTINGS: dict[str, dict[str, Any]] = {
    "gcs": {"bucket": "bucket", "project_id": "tandem-test"},
    "azure": {"account_name": "account", "account_key": KEY, "container": "bucket"},
}


@contextmanager
def service(driver: str, *, sum_of: bytes = BODY, status: int = 200) -> Iterator[tuple[BlobStore, list[str]]]:
    """A store on a server that has one object, and the requests that it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("range") or self.headers.get("x-ms-range") or ""
            asked.append(wanted)
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first or 0), min(int(last or len(BODY)) + 1, len(BODY))
            behind = start >= len(BODY)
            sent = b"" if behind or status != 200 else BODY[start:end]
            self.send_response(416 if behind else 206 if wanted and status == 200 else status)
            self.send_header("Content-Length", str(len(sent)))
            self.send_header("ETag", '"tag"')
            self.send_header("Last-Modified", "Mon, 23 Nov 2026 08:00:00 GMT")
            self.send_header("x-goog-generation", "1")
            if behind:
                self.send_header("x-ms-error-code", "InvalidRange")
            elif driver == "gcs":
                self.send_header("x-goog-hash", value_of("crc32c", sum_of).replace(":", "="))
            elif not wanted:
                self.send_header("Content-MD5", b64encode(md5(sum_of, usedforsecurity=False).digest()).decode())
            self.end_headers()
            self.wfile.write(sent)

    with answering(Handler) as url:
        settings = {**SETTINGS[driver], "endpoint_url": url}
        entry = NamedStorageConfig.model_validate({"name": "x", "driver": driver, driver: settings})
        yield DriverRegistry().build(entry), asked


@pytest.fixture(params=SETTINGS)
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def test_whole_object_is_one_request(driver: str) -> None:
    with service(driver) as (store, asked):
        async with store:
            assert await store.download("a") == BODY
    assert asked == [""]


async def test_whole_object_that_changed_on_the_way_is_refused(driver: str) -> None:
    with service(driver, sum_of=b"CONTENT") as (store, asked):
        async with store:
            with pytest.raises(ChecksumMismatchError):
                await store.download("a")
            assert await store.download("a", range=(0, 3)) == BODY[:3], "there is no checksum of a range"
    assert len(asked) == 2


@pytest.mark.parametrize(("wanted", "expected"), [((2, 4), BODY[2:4]), ((2, None), BODY[2:]), ((9, 12), b"")])
async def test_range_is_one_request(driver: str, wanted: tuple[int, int | None], expected: bytes) -> None:
    with service(driver) as (store, asked):
        async with store:
            assert await store.download("a", range=wanted) == expected
    assert len(asked) == 1


async def test_missing_object_is_asked_for_once(driver: str) -> None:
    with service(driver, status=404) as (store, asked):
        async with store:
            with pytest.raises(NotFoundError):
                await store.download("a")
    assert len(asked) == 1
