"""Reading objects over `HttpClient`: of a service that answers a range behind the end with 416, as gcs and azure do."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from runtime import checksums
from runtime.driver import Driver
from runtime.drivers._http import ServiceError
from runtime.drivers._wire.answer import ALL
from runtime.drivers._wire.reading import WireReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.driver import ByteRange, ObjectReader
    from runtime.drivers._http import HttpClient, Request
    from runtime.drivers._wire.answer import Answer
    from runtime.models import FileInfo

_BEHIND_THE_END: Final = 416


class HttpReading(Driver):
    """`Driver.get` and `Driver.content` by the requests and headers of one service."""

    _http: HttpClient

    @abstractmethod
    def _asked(self, path: str, start: int, end: int | None, etag: str | None = None) -> Request:
        """Asks for bytes of an object; with *etag* of that version and no other."""

    @abstractmethod
    def _told(self, path: str, headers: Mapping[str, str]) -> FileInfo:
        """What the headers of the answer say of the object."""

    @abstractmethod
    def _checksum(self, headers: Mapping[str, str]) -> str | None:
        """The checksum of the whole object that the headers of the answer tell."""

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        start, end = byte_range or (0, None)

        async def reopen(done: int) -> Answer:
            return await self._http.stream(self._asked(path, start + done, end, info.etag))

        if end is not None and end <= start:
            return WireReader(await self.head(path), None)
        try:
            answer = await self._http.stream(self._asked(path, start, end))
        except ServiceError as exc:
            if exc.status != _BEHIND_THE_END:
                raise
            return WireReader(await self.head(path), None)
        info = self._told(path, answer.headers)
        return WireReader(info, answer, reopen)

    async def content(self, path: str, byte_range: ByteRange | None = None) -> bytes | None:
        start, end = byte_range or (0, None)
        try:
            reply = await self._http.read(self._asked(path, start, end), {200, 206}, ALL)
        except ServiceError as exc:
            if exc.status != _BEHIND_THE_END or byte_range is None:
                raise
            return b""
        if byte_range is None:
            await checksums.check(self._checksum(reply.headers), reply.body)
        return reply.body
