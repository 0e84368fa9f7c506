"""Readers of an object that comes over the wire: resumed where it breaks, trimmed where a server sent too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.driver import ByteRange, ObjectReader
from runtime.drivers._wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runtime.driver import Bytes
    from runtime.drivers._wire.answer import Answer
    from runtime.models import FileInfo

ATTEMPTS: Final = 5
"""Connections in a row that may break without a byte, before it is given up."""

_PIECE: Final = 1024 * 1024


class WireReader(ObjectReader):
    """One object being read; a connection that breaks is replaced, from the byte where it broke.

    Args:
        info: What the service says of the object.
        answer: The answer, its body not read; None when there is nothing to read.
        reopen: Asks for the rest after so many bytes, of the same version of the object.
    """

    def __init__(
        self, info: FileInfo, answer: Answer | None, reopen: Callable[[int], Awaitable[Answer]] | None = None
    ) -> None:
        self.info = info
        self._answer = answer
        self._reopen = reopen

    async def read(self) -> bytes:
        if self._answer is None:
            return b""
        try:
            return await self._answer.read()
        except WireError as exc:
            if self._reopen is None:
                raise
            self._answer = None
            try:
                self._answer = await self._reopen(0)
            except WireError as again:
                raise again from exc
        return b"".join([chunk async for chunk in self.chunks(_PIECE)])

    async def chunks(self, size_hint: int) -> AsyncIterator[bytes]:
        done, failures = 0, 0
        try:
            while self._answer is not None:
                try:
                    while piece := await self._answer.take(size_hint):
                        done += len(piece)
                        failures = 0
                        yield piece
                except WireError:
                    failures += 1
                    if failures == ATTEMPTS or self._reopen is None:
                        raise
                else:
                    return
                self._answer = None
                self._answer = await self._reopen(done)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()


class Trimmed(ObjectReader):
    """The part of an object that was asked for, where a server sent all of it, which RFC 9110 allows."""

    def __init__(self, reader: ObjectReader, wanted: ByteRange) -> None:
        self.info = reader.info
        self._reader = reader
        self._wanted = wanted

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks(_PIECE)])

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        start, end = self._wanted
        done = 0
        async for piece in self._reader.chunks(size_hint):
            cut = piece[max(0, start - done) : None if end is None else max(0, end - done)]
            done += len(piece)
            if cut:
                yield cut
            if end is not None and done >= end:
                break
        await self.aclose()

    async def aclose(self) -> None:
        await self._reader.aclose()


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
