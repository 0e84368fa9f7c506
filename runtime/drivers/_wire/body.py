"""The body of an answer on its way from the socket to whoever wants it, copied as seldom as can be.

Bytes are read when they are wanted: while nobody waits, reading is paused and the kernel's buffer is the read-ahead.
A body of known length is received straight into the bytes that are handed out.
"""

from __future__ import annotations

from collections import deque
from io import BytesIO
from typing import TYPE_CHECKING, Any

from runtime.drivers._wire.errors import BadAnswerError

if TYPE_CHECKING:
    from asyncio import Future


class Body:
    """One body, taken from its beginning to its end.

    Attributes:
        target: Where the next bytes of the socket belong; None while they have to go through `hold`.
        filled: Bytes of *target* that are there.
        ended: Whether all has come from the server; what is held can still be taken.
        direct: Whether the length is known, so that bytes can be received where they are wanted.
        error: Why nothing more comes.

    Args:
        length: Bytes that are still to come; None when only the end will tell.
    """

    __slots__ = (
        *("_buffer", "_held", "_held_size", "_rest", "_waiter", "_wanted"),
        *("direct", "ended", "error", "filled", "target"),
    )

    def __init__(self, length: int | None) -> None:
        self._rest = length
        self._held: deque[bytes] = deque()
        self._held_size = 0
        self._buffer: BytesIO | None = None
        self._wanted = 0
        self._waiter: Future[Any] | None = None
        self.target: memoryview | None = None
        self.filled = 0
        self.ended = False
        self.error: Exception | None = None
        self.direct = length is not None

    @property
    def held(self) -> int:
        """Bytes that have come and were not taken."""
        return self._held_size

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for bytes."""
        return self._waiter is not None

    @property
    def left(self) -> int | None:
        """Bytes that can still be taken; None when only the end will tell."""
        return None if self._rest is None else self._held_size + self._rest

    def hold(self, data: bytes) -> None:
        """Keep what has come until it is wanted."""
        if self._rest is not None:
            self._rest -= len(data)
        self._held.append(data)
        self._held_size += len(data)
        if self._wanted and self._held_size >= self._wanted:
            self._wake()

    def want(self, size: int, waiter: Future[Any]) -> bool:
        """Begin to collect *size* bytes, or all that is left of a body of known length when that is less.

        Returns:
            Whether they are there already; else *waiter* is told when they are.
        """
        if self._rest is not None:
            size = min(size, self._held_size + self._rest)
        self._wanted = size
        if self.ended or self.error is not None or self._held_size >= size:
            return True
        self._waiter = waiter
        if self.direct:
            # bytes that nobody else knows can be written into, and are handed out without a copy
            self._buffer = BytesIO(bytes(size))
            self.target = self._buffer.getbuffer()
            self.filled = 0
            for piece in self._held:
                self.target[self.filled : self.filled + len(piece)] = piece
                self.filled += len(piece)
            self._held.clear()
            self._held_size = 0
        return False

    def arrived(self, count: int) -> None:
        """So many bytes were received into *target*."""
        self._rest = (self._rest or 0) - count
        self.filled += count
        if self.target is not None and self.filled == len(self.target):
            self._wake()

    def take(self) -> bytes:
        """What was wanted, or what there is of it at the end or where it broke off."""
        size, self._wanted = self._wanted, 0
        if self._buffer is not None and self.target is not None:
            whole = self.filled == len(self.target)
            self.target.release()
            self.target = None
            data, self._buffer = self._buffer.getvalue(), None
            return data if whole else data[: self.filled]
        if self._held_size <= size:
            data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held.clear()
            self._held_size = 0
            return data
        return self._cut(size)

    def _cut(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            piece = self._held.popleft()
            if len(piece) > missing:
                self._held.appendleft(piece[missing:])
                piece = piece[:missing]
            parts.append(piece)
            missing -= len(piece)
        self._held_size -= size
        return b"".join(parts)

    def end(self) -> None:
        """All has come."""
        self.ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Nothing more comes, which is an error unless all has come; who waits gets what there is."""
        if self._rest != 0:
            self.error = error
        self._wake()

    def limit(self, most: int) -> None:
        """Raise when there is more than *most*.

        Raises:
            BadAnswerError: There is.
        """
        if (self.left or self._held_size) > most:
            raise BadAnswerError(f"the server's answer has more than {most:,} bytes")

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
