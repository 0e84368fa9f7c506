"""Readers of an object: one for each way its bytes arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import obstore

from runtime.driver import ObjectReader
from runtime.drivers._s3_errors import OBSTORE_ERRORS, from_obstore
from runtime.drivers._s3_headers import info_from_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse
    from obstore import GetResult
    from obstore.store import S3Store

    from runtime.driver import ByteRange
    from runtime.models import FileInfo

ENDLESS: Final = 1 << 43
"""More bytes than an object can have; a range that is longer than its object ends with it."""


async def read_content(store: S3Store, path: str, byte_range: ByteRange | None) -> bytes:
    """The bytes of an object or a range, in one step of the event loop, where a `GetResult` needs two.

    A quarter of a small read's processor time. It is always a range, as only obstore's ranges are read so.
    """
    start, end = byte_range or (0, None)
    length = ENDLESS if end is None else end - start
    return (await obstore.get_range_async(store, path, start=start, length=length)).to_bytes()


class NoBytes(ObjectReader):
    """A range that holds no byte of the object."""

    def __init__(self, info: FileInfo) -> None:
        self.info = info

    async def read(self) -> bytes:
        return b""

    async def chunks(self, size_hint: int) -> AsyncIterator[bytes]:
        nothing: tuple[bytes, ...] = ()
        for piece in nothing:
            yield piece


class ObstoreReader(ObjectReader):
    """An object that obstore reads."""

    __slots__ = ("_result", "info")

    def __init__(self, info: FileInfo, result: GetResult) -> None:
        self.info = info
        self._result: GetResult | None = result

    async def read(self) -> bytes:
        try:
            return (await self._open().bytes_async()).to_bytes()
        except OBSTORE_ERRORS as exc:
            raise from_obstore(exc) from exc

    async def chunks(self, size_hint: int) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._open().stream(min_chunk_size=size_hint):
                yield chunk
        except OBSTORE_ERRORS as exc:
            raise from_obstore(exc) from exc

    async def aclose(self) -> None:
        self._result = None  # the connection goes with the last reference

    def _open(self) -> GetResult:
        if self._result is None:
            raise ValueError("this reader is closed")
        return self._result


class ResponseReader(ObjectReader):
    """An object that a request of our own reads."""

    def __init__(self, path: str, response: ClientResponse) -> None:
        self.info = info_from_headers(path, response.headers)
        self._response = response

    async def read(self) -> bytes:
        try:
            return await self._response.read()
        finally:
            self._response.release()

    async def chunks(self, size_hint: int) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_chunked(size_hint):
                yield chunk
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        self._response.close()  # not release: the rest may be gigabytes
