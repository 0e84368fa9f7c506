"""Reading bytes that come from elsewhere in parts of an exact size.

An error of the source reaches the caller as it was raised (`Source.failure`), and what was read until
then is never taken for the whole. `runtime.sources` chooses the class for what the caller gave.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from inspect import isasyncgen, isgenerator
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from anyio.to_thread import run_sync

from runtime.errors import QuotaExceededError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

    from runtime.driver import Bytes

MIB: Final = 1024 * 1024
_END: Final = object()
_LARGE: Final = 64
"""A piece of at least this fraction of a part is large."""


def too_large(limit: int) -> QuotaExceededError:
    """The refusal of an upload above the service's own limit of *limit* bytes."""
    return QuotaExceededError(
        f"the upload is larger than the {limit // MIB} MiB that this application allows",
        hint="service.max_file_size_mb",
    )


class Cutter:
    """Pieces of any size in, pieces of an exact size out; copies at most once and holds less than one of each.

    What is put together from large pieces has its room from the beginning: a `bytearray` that grows by them is moved
    again and again, takes an eighth more than it holds, and leaves holes behind that no later part fits into.
    """

    __slots__ = ("_filled", "_part", "_rest")

    def __init__(self) -> None:
        self._part = bytearray()
        self._filled = 0
        self._rest = memoryview(b"")

    def push(self, piece: Bytes) -> None:
        """Add the next piece; only after `pop` gave None. It must not change any more."""
        self._rest = memoryview(piece)

    def pop(self, size: int) -> Bytes | None:
        """The next *size* bytes, or None when another piece is needed for them."""
        rest, filled = self._rest, self._filled
        if not filled and len(rest) >= size:
            self._rest = rest[size:]
            return rest[:size]
        taken = rest[: size - filled]
        if not filled and len(taken) >= size // _LARGE:
            self._part = bytearray(size)
        self._rest = rest[len(taken) :]
        self._part[filled : filled + len(taken)] = taken
        self._filled = filled + len(taken)
        return self.flush() if self._filled == size else None

    def flush(self) -> Bytes:
        """What is left, when no more pieces come."""
        part, filled = self._part, self._filled
        self._part, self._filled = bytearray(), 0
        return part if len(part) == filled else memoryview(part)[:filled]

    def __bool__(self) -> bool:
        return bool(self._filled or self._rest)


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
        failure: What the source itself raised.
        spans: Whether `read_at` can be used; known when it is open.
    """

    spans = False

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self.count = 0
        self.limit: int | None = None
        self.failure: BaseException | None = None

    async def read(self, size: int) -> Bytes:
        """Exactly *size* bytes, fewer only at the end."""
        try:
            part = await self._take(size)
        except BaseException as exc:
            self.failure = exc
            raise
        return self._counted(part)

    def _counted(self, part: Bytes) -> Bytes:
        self.count += len(part)
        if self.limit is not None and self.count > self.limit:
            raise too_large(self.limit)
        return part

    async def read_at(self, span: Span) -> Bytes:
        """The bytes of *span*; only where `spans`."""
        try:
            part = await self._take_at(span)
        except BaseException as exc:
            self.failure = exc
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
    async def _take(self, size: int) -> Bytes: ...

    @abstractmethod
    async def _more(self) -> bool: ...

    async def _take_at(self, span: Span) -> Bytes:
        raise NotImplementedError(span)


class Memory(Source):
    """Bytes that are here already; parts are views of them."""

    def __init__(self, data: Bytes) -> None:
        super().__init__(len(data))
        self._cutter = Cutter()
        self._cutter.push(data)

    async def _take(self, size: int) -> Bytes:
        part = self._cutter.pop(size)
        return self._cutter.flush() if part is None else part

    async def _more(self) -> bool:
        return bool(self._cutter)


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

    async def _take(self, size: int) -> Bytes:
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

    async def _take(self, size: int) -> Bytes:
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
    def _take_now(self, size: int) -> Bytes: ...

    @abstractmethod
    def _more_now(self) -> bool: ...

    def _release(self) -> None:
        """Give back what is our own; runs when no read does."""


class SyncPieces(Threaded, Pieces):
    """A sync iterator of bytes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._iterator: Iterator[bytes] = iter(pieces)

    def _take_now(self, size: int) -> Bytes:
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
