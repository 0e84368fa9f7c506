"""Objects that arrive in parts: one temporary file that the parts are written into, in any order.

A part's place is known as soon as all parts before it have begun, which is so when they are sent in order,
however many at once. A part that comes earlier than that waits in a file of its own.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Final

from runtime.drivers.local.stage import Hashes, Staged, passing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.driver import Bytes
    from runtime.drivers.local.stage import Stop
    from runtime.drivers.local.writing import Bucket
    from runtime.models import FileInfo, UploadOptions

_STEP: Final = 8 * 1024 * 1024
"""Bytes that are written between two looks at whether somebody still waits."""


class Part:
    """One part of an upload.

    Attributes:
        size: Bytes.
        offset: Where it begins in *file*.
        file: The file that it is in: the upload's own, or one for itself.
        written: Whether all of it is there.
    """

    def __init__(self, size: int, file: Staged, offset: int) -> None:
        self.size = size
        self.file = file
        self.offset = offset
        self.written = False


class Upload:
    """One upload in parts, used by several threads at once.

    Attributes:
        id: Its name.

    Args:
        bucket: Where to.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._main = Staged(bucket.work, "parts")
        self.id = self._main.name
        self._parts: dict[int, Part] = {}
        self._waiting: list[Staged] = []
        self._lock = threading.Lock()
        self._hashing = threading.Lock()
        self._hashes = Hashes()
        self._hashed: list[Part] = []

    def put(self, stop: Stop, number: int, data: Sequence[Bytes]) -> str:
        """Write part *number*, again if it was there already."""
        part = self._place(number, sum(map(len, data)))
        offset = part.offset
        for buffer in data:
            view = memoryview(buffer)
            for start in range(0, len(view), _STEP):
                stop.check()
                part.file.write(view[start : start + _STEP], offset + start)
            offset += len(view)
        part.written = True
        self._hash_on(stop)
        return str(number)

    def _place(self, number: int, size: int) -> Part:
        with self._lock:
            offset = 0
            for before in range(1, number):
                known = self._parts.get(before)
                if known is None or known.file is not self._main:
                    break
                offset += known.size
            else:
                if number not in self._parts and number + 1 not in self._parts:
                    self._parts[number] = Part(size, self._main, offset)
                    return self._parts[number]
            alone = Staged(self._bucket.work, "part")
            self._waiting.append(alone)
            self._parts[number] = Part(size, alone, 0)
            return self._parts[number]

    def _hash_on(self, stop: Stop) -> None:
        """Hash what is there without a gap; who comes while another thread does it has nothing to do."""
        if not self._hashing.acquire(blocking=False):
            return
        try:
            while (part := self._parts.get(len(self._hashed) + 1)) is not None and part.written:
                for block in passing(part.file.fd, part.offset, part.offset + part.size, stop):
                    self._hashes.update(block)
                self._hashed.append(part)
        finally:
            self._hashing.release()

    def complete(self, stop: Stop, path: str, tokens: Sequence[str], size: int, options: UploadOptions) -> FileInfo:
        """Make the object of the parts that *tokens* name, in their order."""
        parts = [self._parts[int(token)] for token in tokens]
        if sum(part.size for part in parts) != size or not all(part.written for part in parts):
            raise OSError(errno.EINVAL, f"the parts are not the {size} bytes that were announced")
        self._hash_on(stop)
        if not _in_order(parts, self._main):
            return self._rebuild(stop, path, parts, options)
        hashes = self._hashes
        if parts != self._hashed:
            hashes = Hashes()
            for block in passing(self._main.fd, 0, size, stop):
                hashes.update(block)
        info = self._bucket.commit(stop, path, self._main, hashes, options)
        self.close()
        return info

    def _rebuild(self, stop: Stop, path: str, parts: list[Part], options: UploadOptions) -> FileInfo:
        hashes, offset = Hashes(), 0
        with Staged(self._bucket.work) as whole:
            for part in parts:
                for block in passing(part.file.fd, part.offset, part.offset + part.size, stop):
                    whole.write(block, offset)
                    hashes.update(block)
                    offset += len(block)
            info = self._bucket.commit(stop, path, whole, hashes, options)
        self.close()
        return info

    def close(self) -> None:
        """Remove what has not become an object."""
        for file in (self._main, *self._waiting):
            file.close()


def _in_order(parts: list[Part], file: Staged) -> bool:
    """Whether *file* holds these parts and nothing else, one after the other."""
    offset = 0
    for part in parts:
        if part.file is not file or part.offset != offset:
            return False
        offset += part.size
    return True
