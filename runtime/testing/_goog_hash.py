"""``x-goog-hash`` of a resumable upload, verified as Google does it: fake-gcs-server looks at it in no request.

Source:
    https://cloud.google.com/storage/docs/performing-resumable-uploads (sent with the last chunk since 2025)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from runtime.checksums import Crc, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)|bytes \*/(\d+)")


class Uploads:
    """The CRC32C of what arrived of every upload that goes on."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[int, Crc]] = {}

    async def body(self, upload: str, headers: Mapping[str, str], stream: AsyncIterator[bytes]) -> bytes | None:
        """The bytes of one chunk; None when it is the last one and the whole is not what the client says it is.

        Args:
            upload: Its id.
            headers: Of the request.
            stream: Its body.
        """
        data = b"".join([piece async for piece in stream])
        found = _RANGE.fullmatch(headers.get("content-range", ""))
        begin = int(found[1]) if found and found[1] else 0
        size, crc = self._sums.get(upload, (0, Crc("crc32c")))
        if begin == size:  # what is sent again was counted
            crc.update(data)
            self._sums[upload] = (size + len(data), crc)
        told = re.search(r"crc32c=([\w+/=]+)", headers.get("x-goog-hash", ""))
        return None if told and written("crc32c", crc.digest()) != f"crc32c:{told[1]}" else data
