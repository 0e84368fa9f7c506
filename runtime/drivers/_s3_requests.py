"""Signed S3 requests of our own, for all that obstore can not say.

obstore reads, writes and deletes objects; listings, multipart uploads, copies, batches, conditional deletes,
checksums and names that obstore refuses go through here. A request costs a quarter of aiobotocore's.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final

from runtime.drivers._s3_errors import ServiceError, classify, from_answer
from runtime.drivers._s3_signing import EMPTY_SHA256, UNSIGNED_PAYLOAD, Signer, encode_query
from runtime.errors import RateLimitedError, StorageTimeoutError, StorageUnavailableError
from runtime.versions import pause_before

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import aiohttp

    from runtime.config import NamedStorageConfig
    from runtime.driver import Bytes
    from runtime.drivers._s3_address import Address
    from runtime.drivers._s3_credentials import CredentialSource

CONNECT_SECONDS: Final = 5.0
_HASH_INLINE: Final = 64 * 1024
_BUSY: Final = (RateLimitedError,)
_CONDITIONS: Final = frozenset({"if-match", "if-none-match"})
_AGAIN: Final = (RateLimitedError, StorageTimeoutError, StorageUnavailableError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read.

    Attributes:
        status: HTTP status, below 300.
        headers: Response headers; names compare without case.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Requests:
    """Sends signed requests to one bucket.

    Args:
        address: Where the bucket is.
        region: Region to sign for.
        credentials: Who signs.
        backend: Whose `retry` and `limits` apply.
    """

    def __init__(
        self, address: Address, region: str, credentials: CredentialSource, backend: NamedStorageConfig
    ) -> None:
        self._retry = backend.retry
        self._silence = backend.limits.attempt_timeout
        self._address = address
        self._credentials = credentials
        self._signer = Signer(region)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        method: str,
        path: str | None = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: Bytes = b"",
    ) -> Answer:
        """Send one request and read the answer.

        Args:
            method: HTTP method.
            path: Object path as it is, whatever it holds; None for the bucket itself.
            query: Query parameters, not encoded.
            headers: Headers, all of which are signed.
            body: What to send.

        Raises:
            ServiceError: The service refused.
        """
        begin = monotonic()
        again = _BUSY if headers and headers.keys() & _CONDITIONS else _AGAIN  # the first one may have arrived
        for attempt in count(1):
            try:
                async with self.stream(method, path, query=query, headers=headers, body=body) as response:
                    return Answer(response.status, response.headers, await response.read())
            except Exception as exc:
                wait = 0.0
                if isinstance(exc, ServiceError):
                    exc.attempt, wait = attempt, exc.retry_after or 0.0
                wait = max(wait, pause_before(attempt, self._retry.pause, self._retry.longest_pause))
                late = attempt >= self._retry.attempts or monotonic() - begin + wait > self._retry.budget
                if late or classify(exc) not in again:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str | None = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: Bytes = b"",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request once; the body of the answer is read by the caller."""
        response = await self.begin(method, path, query=query, headers=headers, body=body)
        try:
            yield response
        finally:
            response.release()

    async def begin(
        self,
        method: str,
        path: str | None = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: Bytes = b"",
    ) -> aiohttp.ClientResponse:
        """The same for an answer that outlives the call: whoever gets it releases it."""
        credentials = await self._credentials.get()
        target, text = self._address.target(path), encode_query(query)
        signed = self._signer.headers(
            credentials,
            datetime.now(UTC),
            method,
            target,
            text,
            {"host": self._address.host, **(headers or {})},
            await self._payload_hash(body),
        )
        # aiohttp is a third of a cold start, which reading and writing objects through obstore does not need
        from runtime.drivers import _s3_http  # noqa: PLC0415

        if self._session is None:
            self._session = _s3_http.open_session(CONNECT_SECONDS, self._silence)
        url = f"{self._address.scheme}://{self._address.host}{target}{'?' + text if text else ''}"
        response = await _s3_http.send(self._session, method, url, signed, body)
        if response.status >= 300:  # noqa: PLR2004 - RFC 9110: not a success
            try:
                raise from_answer(response.status, response.headers, await response.read())
            finally:
                response.release()
        return response

    async def _payload_hash(self, body: Bytes) -> str:
        if self._address.secure:  # TLS protects the bytes; hashing them again costs as much as TLS itself
            return UNSIGNED_PAYLOAD
        if not body:
            return EMPTY_SHA256
        if len(body) <= _HASH_INLINE:
            return hashlib.sha256(body).hexdigest()
        return await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
