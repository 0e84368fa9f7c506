"""Signed S3 requests to one bucket, repeated where that is safe."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, datetime
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final

from runtime.drivers._wire.client import CONNECT_SECONDS, MOST_BODY, Wire
from runtime.drivers._wire.errors import WireError
from runtime.drivers.s3.errors import ServiceError, classify, from_answer
from runtime.drivers.s3.signing import EMPTY_SHA256, UNSIGNED_PAYLOAD, Signer, encode_query
from runtime.errors import RateLimitedError, StorageTimeoutError, StorageUnavailableError
from runtime.versions import pause_before

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.config import NamedStorageConfig
    from runtime.driver import Bytes
    from runtime.drivers._wire.answer import Answer
    from runtime.drivers.s3.address import Address
    from runtime.drivers.s3.credentials import CredentialSource
    from runtime.drivers.s3.signing import Credentials

__all__ = ["CONNECT_SECONDS", "Requests"]

_HASH_INLINE: Final = 64 * 1024
_MOST_ERROR: Final = 1024 * 1024
_BUSY: Final = (RateLimitedError,)
_CONDITIONS: Final = frozenset({"if-match", "if-none-match"})
_AGAIN: Final = (RateLimitedError, StorageTimeoutError, StorageUnavailableError)
_NOTHING: Final[Mapping[str, str]] = {}


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
        self._wire: Wire | None = None

    async def close(self) -> None:
        """Close the connections."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def send(
        self,
        method: str,
        path: str | None = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] = _NOTHING,
        body: Sequence[Bytes] = (),
        most: int = MOST_BODY,
    ) -> Answer:
        """Send one request and read the answer whole.

        Args:
            method: HTTP method.
            path: Object path as it is, whatever it holds; None for the bucket itself.
            query: Query parameters, not encoded.
            headers: Headers by lower-case name, all of which are signed.
            body: What to send, in one or several buffers.
            most: Bytes that the answer may have.

        Raises:
            ServiceError: The service refused.
            WireError: It gave no usable answer.
        """
        try:
            return await self._once(method, path, query, headers, body, most)
        except Exception as exc:  # noqa: BLE001 - raised again, unless there is another attempt
            return await self._again(exc, method, path, query, headers, body, most)

    async def begin(self, method: str, path: str, *, headers: Mapping[str, str]) -> Answer:
        """Send one request; the body of the answer is for the caller to take, or to close."""
        try:
            return await self._once(method, path, (), headers, (), None)
        except Exception as exc:  # noqa: BLE001 - as above
            return await self._again(exc, method, path, (), headers, (), None)

    async def _again(
        self,
        error: Exception,
        method: str,
        path: str | None,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: Sequence[Bytes],
        most: int | None,
    ) -> Answer:
        """Further attempts, after one that failed with *error*."""
        begin = monotonic()
        safe = method in {"GET", "HEAD"} or not headers.keys() & _CONDITIONS  # else the first one may have arrived
        for attempt in count(1):
            wait = 0.0
            if isinstance(error, ServiceError):
                error.attempt, wait = attempt, error.retry_after or 0.0
            wait = max(wait, pause_before(attempt, self._retry.pause, self._retry.longest_pause))
            late = attempt >= self._retry.attempts or monotonic() - begin + wait > self._retry.budget
            never_sent = isinstance(error, WireError) and not error.sent
            if late or classify(error) not in (_AGAIN if safe or never_sent else _BUSY):
                if attempt > 1:
                    error.add_note(f"tried {attempt} times")
                raise error
            await asyncio.sleep(wait)
            try:
                return await self._once(method, path, query, headers, body, most)
            except Exception as exc:  # noqa: BLE001 - raised above, unless there is another attempt
                error = exc
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(
        self,
        method: str,
        path: str | None,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: Sequence[Bytes],
        most: int | None,
    ) -> Answer:
        credentials = self._credentials.now() or await self._credentials.get()
        try:
            return await self._sent(credentials, method, path, query, headers, body, most)
        except ServiceError as exc:
            if self._credentials.static or not await self._credentials.renew(credentials, exc, method):
                raise
        # nothing was done for one whom the service does not know, so this is no second attempt
        return await self._sent(await self._credentials.get(), method, path, query, headers, body, most)

    async def _sent(
        self,
        credentials: Credentials,
        method: str,
        path: str | None,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: Sequence[Bytes],
        most: int | None,
    ) -> Answer:
        target = self._address.target(path)
        text = encode_query(query) if query else ""
        signed = self._signer.headers(
            credentials,
            datetime.now(UTC),
            method,
            target,
            text,
            {"host": self._address.host, **headers},
            self._payload_hash(body)
            if sum(map(len, body)) <= _HASH_INLINE
            else await asyncio.to_thread(self._payload_hash, body),
        )
        answer = await self._connections().send(
            method,
            f"{target}?{text}" if text else target,
            signed,
            body,
            whole=most is not None,
            most=MOST_BODY if most is None else most,
            # a POST that is repeated here would not be counted as an attempt, which a lost commit is recognised by
            twice=method != "POST" and not headers.keys() & _CONDITIONS,
        )
        if answer.status >= 300:  # noqa: PLR2004 - RFC 9110: not a success
            raise from_answer(answer.status, answer.headers, await answer.read(_MOST_ERROR))
        return answer

    def _connections(self) -> Wire:
        if self._wire is None:
            self._wire = Wire(
                self._address.scheme,
                self._address.host,
                silence=self._silence,
                ca_file=os.environ.get("AWS_CA_BUNDLE") or None,
            )
        return self._wire

    def _payload_hash(self, body: Sequence[Bytes]) -> str:
        if self._address.secure:  # TLS protects the bytes; hashing them again costs as much as TLS itself
            return UNSIGNED_PAYLOAD
        if not body:
            return EMPTY_SHA256
        sum_ = hashlib.sha256()
        for buffer in body:
            sum_.update(buffer)
        return sum_.hexdigest()
