"""Reading bytes that come from elsewhere in parts of an exact size, each a list of pieces that are not joined.

An error of the source reaches the caller as it was raised (`Source.failure`), and what was read until
then is never taken for the whole. `runtime.sources` chooses the class for what the caller gave.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from inspect import isasyncgen, isgenerator
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from anyio.to_thread import run_sync

from runtime.errors import InvalidOptionError, QuotaExceededError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

    from runtime.driver import Bytes

MIB: Final = 1024 * 1024
_END: Final = object()
SMALL: Final = 64 * 1024
"""Bytes that are sent, hashed or written by themselves; fewer are put together, up to a block."""

BLOCK: Final = MIB


def too_large(limit: int) -> QuotaExceededError:
    """The refusal of an upload above the service's own limit of *limit* bytes."""
    return QuotaExceededError(
        f"the upload is larger than the {limit // MIB} MiB that this application allows",
        hint="service.max_file_size_mb",
    )


class Cutter:
    """Pieces of any size in, lists of pieces with an exact number of bytes out.

    A large piece is handed on as it is: putting a part together costs more than sending it. Small ones are put
    together in blocks. What is cut off a piece is copied, as it would keep all of the piece in memory, unless a part
    lies wholly within one.
    """

    __slots__ = ("_block", "_cut", "_rest", "_size", "_whole")

    def __init__(self) -> None:
        self._whole: list[Bytes] = []
        self._block = bytearray()
        self._size = 0
        self._rest = memoryview(b"")
        self._cut = False

    def push(self, piece: Bytes) -> None:
        """Add the next piece; only after `pop` gave None. It must not change any more."""
        self._rest = memoryview(piece)
        self._cut = False

    def pop(self, size: int) -> list[Bytes] | None:
        """The next *size* bytes, or None when another piece is needed for them."""
        rest, room = self._rest, size - self._size
        if len(rest) > room:
            self._add(rest[:room], copied=room < size)
            self._rest, self._cut = rest[room:], True
        else:
            self._add(rest, copied=self._cut and len(rest) < size)
            self._rest = memoryview(b"")
        return self.flush() if self._size == size else None

    def _add(self, piece: memoryview, *, copied: bool) -> None:
        self._size += len(piece)
        if len(piece) < SMALL:
            self._block += piece
            if len(self._block) >= BLOCK:
                self._close_block()
        else:
            self._close_block()
            self._whole.append(bytes(piece) if copied else piece)

    def _close_block(self) -> None:
        if self._block:
            self._whole.append(self._block)
            self._block = bytearray()

    def flush(self) -> list[Bytes]:
        """What is left, when no more pieces come."""
        self._close_block()
        whole = self._whole
        self._whole, self._size = [], 0
        return whole

    def __bool__(self) -> bool:
        return bool(self._size or self._rest)


def joined(pieces: list[Bytes]) -> Bytes:
    """The bytes of *pieces* in one buffer; the list is empty then, so that they are never in memory twice."""
    if len(pieces) == 1:
        return pieces.pop()
    whole, end = bytearray(sum(map(len, pieces))), 0
    pieces.reverse()
    with memoryview(whole) as view:
        while pieces:
            piece = pieces.pop()
            view[end : end + len(piece)] = piece
            end += len(piece)
    return whole


class Span(NamedTuple):
    """Bytes of a source that are still to be read: *size* of them, from *start* on. Without bytes it is false."""

    start: int
    size: int

    def __bool__(self) -> bool:
        return self.size > 0


class Source(ABC):
    """Bytes that are read once, from begin to end; where `spans`, also several pieces at once from anywhere.

    Attributes:
        size: Bytes to come, where that can be known beforehand; a hint, as a file may grow.
        count: Bytes read so far.
        limit: Bytes that may be read; more raise `QuotaExceededError`.
        expected: Bytes that have to come, no more and no fewer; None for any number.
        failure: What the source itself raised.
        spans: Whether `read_at` can be used; known when it is open.
    """

    spans = False

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self.count = 0
        self.limit: int | None = None
        self.expected: int | None = None
        self.failure: BaseException | None = None

    async def read(self, size: int) -> list[Bytes]:
        """Exactly *size* bytes, fewer only at the end; no piece of them is empty or changes any more."""
        try:
            part = await self._take(size)
        except BaseException as exc:
            self.failure = exc
            raise
        return self._counted(part)

    def _counted(self, part: list[Bytes]) -> list[Bytes]:
        self.count += sum(map(len, part))
        if self.limit is not None and self.count > self.limit:
            raise too_large(self.limit)
        if self.expected is not None and self.count > self.expected:
            raise InvalidOptionError(f"more than the {self.expected:,} bytes came that were told", hint="size")
        return part

    def demand_all(self) -> None:
        """Raise unless as many bytes came as were told; asked before the object becomes visible."""
        if self.expected is not None and self.count < self.expected:
            raise InvalidOptionError(f"{self.count:,} of the {self.expected:,} bytes came that were told", hint="size")

    async def read_at(self, span: Span) -> list[Bytes]:
        """The bytes of *span*; only where `spans`."""
        try:
            part = await self._take_at(span)
        except BaseException as exc:
            self.failure = self.failure or exc
            raise
        return self._counted(part)

    async def verify(self) -> None:  # noqa: B027 - most sources can not change
        """Raise when what was read is no longer what the source holds; asked before the object becomes visible."""

    async def more(self) -> bool:
        """Whether any byte is left."""
        try:
            return await self._more()
        except BaseException as exc:
            self.failure = exc
            raise

    async def open(self) -> None:  # noqa: B027 - most sources have nothing to open
        """Open what must be opened, before the first read."""

    async def close(self) -> None:  # noqa: B027 - most sources own nothing
        """Close what this source opened itself, and generators that were not read to their end."""

    @abstractmethod
    async def _take(self, size: int) -> list[Bytes]: ...

    @abstractmethod
    async def _more(self) -> bool: ...

    async def _take_at(self, span: Span) -> list[Bytes]:
        raise NotImplementedError(span)


class Memory(Source):
    """Bytes that are here already; parts are views of them."""

    def __init__(self, data: Bytes) -> None:
        super().__init__(len(data))
        self._rest = memoryview(data)

    async def _take(self, size: int) -> list[Bytes]:
        part, self._rest = self._rest[:size], self._rest[size:]
        return [part] if part else []

    async def _more(self) -> bool:
        return bool(self._rest)


class Pieces(Source):
    """A source that gives pieces of its own size: the part that sync and async iterators share."""

    def __init__(self) -> None:
        super().__init__()
        self._cutter = Cutter()
        self._ended = False
        self._number = 0

    def _push(self, piece: object) -> None:
        self._number += 1
        if isinstance(piece, bytes):
            self._cutter.push(piece)
            return
        try:
            view = memoryview(piece)  # type: ignore[arg-type] # what is no buffer raises, and that is the question
        except TypeError:
            message = f"the iterator's piece {self._number} is {type(piece).__name__}, not bytes"
            raise TypeError(message) from None
        self._cutter.push(view.tobytes())  # iterators reuse their buffers


class AsyncPieces(Pieces):
    """An async iterator of bytes."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        super().__init__()
        self._iterator: AsyncIterator[bytes] = aiter(pieces)

    async def _take(self, size: int) -> list[Bytes]:
        while (part := self._cutter.pop(size)) is None:
            if not await self._pull():
                return self._cutter.flush()
        return part

    async def _more(self) -> bool:
        while not self._cutter:
            if not await self._pull():
                return False
        return True

    async def _pull(self) -> bool:
        if self._ended:
            return False
        piece: Any = await anext(self._iterator, _END)
        if piece is _END:
            self._ended = True
            return False
        self._push(piece)
        return True

    async def close(self) -> None:
        """Close a generator that was not read to its end."""
        if isasyncgen(self._iterator):
            await self._iterator.aclose()


class Threaded(Source):
    """A source that blocks, and so is read in worker threads, one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._reading = Lock()

    async def _take(self, size: int) -> list[Bytes]:
        return await run_sync(self._locked, self._take_now, size, abandon_on_cancel=True)

    async def _more(self) -> bool:
        return await run_sync(self._locked, self._more_now, abandon_on_cancel=True)

    async def close(self) -> None:
        """Wait for the reading thread, then give back what is our own."""
        # A cancelled read may still run in its thread: wait, so that it does not touch the caller's file later.
        await run_sync(self._locked, self._release, abandon_on_cancel=True)

    def _locked(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._reading:
            return function(*arguments)

    @abstractmethod
    def _take_now(self, size: int) -> list[Bytes]: ...

    @abstractmethod
    def _more_now(self) -> bool: ...

    def _release(self) -> None:
        """Give back what is our own; runs when no read does."""


class SyncPieces(Threaded, Pieces):
    """A sync iterator of bytes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._iterator: Iterator[bytes] = iter(pieces)

    def _take_now(self, size: int) -> list[Bytes]:
        while (part := self._cutter.pop(size)) is None:
            if not self._pull():
                return self._cutter.flush()
        return part

    def _more_now(self) -> bool:
        while not self._cutter:
            if not self._pull():
                return False
        return True

    def _pull(self) -> bool:
        if self._ended:
            return False
        piece: Any = next(self._iterator, _END)
        if piece is _END:
            self._ended = True
            return False
        self._push(piece)
        return True

    def _release(self) -> None:
        if isgenerator(self._iterator):
            self._iterator.close()
