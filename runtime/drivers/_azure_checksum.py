"""The MD5 of an object that is sent as blocks: Azure verifies blocks, but never the whole that they make.

Source:
    https://learn.microsoft.com/rest/api/storageservices/put-block-list (``x-ms-blob-content-md5`` "is not validated")
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import md5
from typing import TYPE_CHECKING

from runtime.drivers._http import ServiceError
from runtime.errors import ChecksumMismatchError

if TYPE_CHECKING:
    from runtime.driver import Bytes


class PartsSum:
    """Hashes parts in the order of their numbers, whichever comes first."""

    def __init__(self) -> None:
        self._hash = md5(usedforsecurity=False)
        self._next = 1
        self._turn = asyncio.Condition()

    async def add(self, number: int, data: Bytes) -> None:
        """Hash part *number*, in a thread, after those before it; a part that is sent again counts once."""
        async with self._turn:
            await self._turn.wait_for(lambda: self._next >= number)
            if self._next == number:
                await asyncio.to_thread(self._hash.update, data)
                self._next += 1
                self._turn.notify_all()

    def check(self, announced: str) -> None:
        """Refuse when the parts are not what was announced as ``md5:base64``."""
        if announced != f"md5:{b64encode(self._hash.digest()).decode()}":
            raise ServiceError(400, "Md5Mismatch", kind=ChecksumMismatchError)
