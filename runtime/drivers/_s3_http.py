"""The HTTP client below `runtime.drivers._s3_requests`; apart, so that aiohttp is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.request import getproxies

import aiohttp
from aiohttp.payload import Payload
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.abc import AbstractStreamWriter

    from runtime.driver import Bytes

_PIECE: Final = 256 * 1024


class _Body(Payload):
    """Bytes sent in pieces: a large write at once would copy it all into the transport's buffer, and blocks the loop.

    It can be sent again: aiohttp repeats an idempotent request when a kept connection turns out to be closed.
    """

    def __init__(self, data: Bytes) -> None:
        super().__init__(memoryview(data).cast("B"), content_type=None)
        self._size = self._value.nbytes

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for start in range(0, self._value.nbytes, _PIECE):
            await writer.write(self._value[start : start + _PIECE])

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        await self.write(writer)


def open_session(connect_seconds: float, read_seconds: float | None) -> aiohttp.ClientSession:
    """A session whose requests may take as long as bytes keep moving.

    Args:
        connect_seconds: Longest time to connect.
        read_seconds: Longest silence of the server; None for any.
    """
    return aiohttp.ClientSession(
        auto_decompress=False,  # an object stored as gzip is delivered as stored
        connector=aiohttp.TCPConnector(limit=0),  # the portable type limits, once
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_PIECE,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=read_seconds),
        trust_env=bool(getproxies()),  # else aiohttp reads ~/.netrc in a thread, twice for every request
    )


async def send(
    session: aiohttp.ClientSession, method: str, url: str, headers: Mapping[str, str], body: Bytes
) -> aiohttp.ClientResponse:
    """Send one request as it is: no redirect is followed, nothing in *url* is normalised."""
    return await session.request(
        method, URL(url, encoded=True), headers=headers, data=_Body(body) if body else None, allow_redirects=False
    )
