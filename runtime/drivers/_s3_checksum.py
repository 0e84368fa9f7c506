"""The caller's checksum of a whole object, held against its bytes before they become visible.

The service is told the checksum too, and checks what arrives. But many compatible servers do not look at it, and
no service checks a cryptographic hash of an object that is sent in parts; so it is computed here in any case.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final, Protocol

from runtime.drivers._s3_errors import ServiceError
from runtime.errors import ChecksumMismatchError

if TYPE_CHECKING:
    from runtime.driver import Bytes

HEADERS: Final = {
    "crc32": "x-amz-checksum-crc32",
    "md5": "content-md5",
    "sha1": "x-amz-checksum-sha1",
    "sha256": "x-amz-checksum-sha256",
}
"""Header in which the service is told the checksum of what one request carries, by algorithm."""

_INLINE: Final = 64 * 1024


class _Hash(Protocol):
    def update(self, data: Bytes, /) -> Any: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class Expected:
    """A checksum to come true.

    Args:
        checksum: ``algorithm:base64``, of an algorithm in `HEADERS`.
    """

    def __init__(self, checksum: str) -> None:
        self.algorithm, _, self.value = checksum.partition(":")
        # a checksum that the caller chose is no security measure of ours
        self._hash: _Hash = (
            _Crc32() if self.algorithm == "crc32" else hashlib.new(self.algorithm, usedforsecurity=False)
        )
        self._next = 1
        self._early: dict[int, Bytes] = {}
        self._lock = asyncio.Lock()

    async def add(self, number: int, data: Bytes) -> None:
        """Take part *number* (from 1); parts are hashed in order, and one that is sent again counts once."""
        async with self._lock:
            if number >= self._next:
                self._early[number] = data
            while (part := self._early.pop(self._next, None)) is not None:
                if len(part) > _INLINE:
                    await asyncio.to_thread(self._hash.update, part)
                else:
                    self._hash.update(part)
                self._next += 1

    def check(self) -> None:
        """Raise when the parts are not what was announced."""
        if self._early or b64encode(self._hash.digest()).decode() != self.value:
            raise ServiceError(
                None, "BadDigest", f"the content does not have this {self.algorithm}", kind=ChecksumMismatchError
            )


async def check_whole(checksum: str, data: Bytes) -> None:
    """Raise when *data* does not have this *checksum*."""
    expected = Expected(checksum)
    await expected.add(1, data)
    expected.check()
