"""Readers of an object: one for each way its bytes arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.driver import ObjectReader
from runtime.drivers._s3_errors import OBSTORE_ERRORS, from_obstore
from runtime.drivers._s3_headers import info_from_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse
    from obstore import GetResult

    from runtime.models import FileInfo


class NoBytes(ObjectReader):
    """A range that holds no byte of the object."""

    def __init__(self, info: FileInfo) -> None:
        self.info = info

    async def read(self) -> bytes:
        return b""

    async def chunks(self, size_hint: int) -> AsyncIterator[bytes]:
        return
        yield b""


class ObstoreReader(ObjectReader):
    """An object that obstore reads."""

    __slots__ = ("_result", "info")

    def __init__(self, info: FileInfo, result: GetResult) -> None:
        self.info = info
        self._result = result

    async def read(self) -> bytes:
        try:
            return (await self._result.bytes_async()).to_bytes()
        except OBSTORE_ERRORS as exc:
            raise from_obstore(exc) from exc

    async def chunks(self, size_hint: int) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._result.stream(min_chunk_size=size_hint):
                yield chunk
        except OBSTORE_ERRORS as exc:
            raise from_obstore(exc) from exc

    async def aclose(self) -> None:
        self._result = None  # the connection goes with the last reference


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
