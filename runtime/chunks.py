"""Cuts what a driver delivers into chunks of the size that a reader asked for, copying every byte at most once."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.driver import Bytes


class Chunks:
    """Pieces in, bytes of an exact size out.

    Holds the pieces until a chunk is full and joins them then; `runtime.pieces.Cutter`, which takes pieces of
    one byte from anybody, copies twice. Pieces must not change any more.
    """

    __slots__ = ("_held", "_size")

    def __init__(self) -> None:
        self._held: deque[memoryview] = deque()
        self._size = 0

    def push(self, piece: Bytes) -> None:
        """Add the next piece."""
        self._held.append(memoryview(piece))
        self._size += len(piece)

    def pop(self, size: int) -> bytes | None:
        """The next *size* bytes, or None when another piece is needed for them."""
        if self._size < size:
            return None
        self._size -= size
        first = self._held[0]
        if len(first) > size:  # the usual case of small chunks
            self._held[0] = first[size:]
            return bytes(first[:size])
        if len(first) == size and isinstance(first.obj, bytes) and len(first.obj) == size:
            self._held.popleft()
            return first.obj  # a piece that is a chunk
        parts, missing = [], size
        while missing:
            view = self._held.popleft()
            if len(view) > missing:
                self._held.appendleft(view[missing:])
                view = view[:missing]
            parts.append(view)
            missing -= len(view)
        return b"".join(parts)

    def flush(self) -> bytes:
        """What is left, when no more pieces come."""
        rest = b"".join(self._held)
        self._held.clear()
        self._size = 0
        return rest
