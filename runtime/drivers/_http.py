"""HTTP for the drivers that speak a service's REST API themselves (azure, gcs): retries, uploads, streamed reads.

One aiohttp session per driver. Measured against the official SDKs and obstore in `runtime/DESIGN.md`.
A request is authorised anew for every attempt, so signatures and tokens are never stale. Bodies are buffers,
so every request can be sent again; what is ambiguous (the connection broke after a *conditional* write was
sent) is not retried, because the answer to the second try would be about the first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from urllib.request import getproxies

import aiohttp
from yarl import URL

from runtime.driver import ObjectReader
from runtime.errors import StorageError, StorageTimeoutError, StorageUnavailableError
from runtime.versions import pause_before

if TYPE_CHECKING:
    from runtime.config import NamedStorageConfig
    from runtime.driver import Bytes
    from runtime.models import FileInfo

ATTEMPTS: Final = 5
RETRY_SECONDS: Final = 60.0
"""No further attempt is begun after so many seconds."""

PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS: Final = 10.0
"""Longest waits before the second attempt, and before any; in between each may be twice as long."""

CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 60.0

_RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED_UNREAD: Final = frozenset({429, 503})  # nothing was done; after the others it may have been
_SLICE: Final = 256 * 1024  # larger buffers make the event loop's transport copy them again and again
_ERROR_BODY: Final = 64 * 1024
_UNSAFE: Final = "~"  # besides letters, digits and -._ the only character that needs no escape


@dataclass(frozen=True, slots=True)
class Request:
    """One request, not yet authorised.

    Attributes:
        method: HTTP method.
        url: Absolute URL without query, percent-encoded.
        query: Query parameters, not encoded.
        headers: Headers by lower-case name.
        body: Buffers that make up the body.
        raw_query: Query text that is appended as it is (a SAS token).
        repeatable: Whether sending it twice has the same effect and answer as sending it once.
    """

    method: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: tuple[Bytes, ...] = ()
    raw_query: str = field(default="", repr=False)
    repeatable: bool = True

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))

    @property
    def target(self) -> URL:
        """The URL as it goes over the wire; nothing is normalised, so ``a//b`` and ``..`` stay what they are."""
        pairs = [f"{quote(name, _UNSAFE)}={quote(value, _UNSAFE)}" for name, value in self.query.items()]
        if self.raw_query:
            pairs.append(self.raw_query)
        return URL(f"{self.url}?{'&'.join(pairs)}" if pairs else self.url, encoded=True)

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """The same request with more headers."""
        return replace(self, headers={**self.headers, **headers})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class ServiceError(Exception):
    """The service refused.

    Attributes:
        status: HTTP status.
        code: The service's own code or reason; empty when it gave none.
        retry_after: Seconds that the service asks to wait, where it says so.
        kind: What it means, where only the sender of the request can know.
    """

    def __init__(self, status: int, code: str = "", *, kind: type[StorageError] | None = None) -> None:
        super().__init__(f"{status} {code}".rstrip())
        self.status = status
        self.code = code
        self.kind = kind
        self.retry_after = 0.0


Authorize = Callable[[Request], Awaitable[Request]]
ReadError = Callable[[int, Mapping[str, str], bytes], ServiceError]


class HttpClient:
    """Sends requests of one driver.

    Args:
        authorize: Adds what proves who we are; called once for each attempt.
        read_error: Makes the error of a refused request from status, headers and body.
        backend: Whose `retry` and `limits` apply; without it the defaults above.
    """

    def __init__(self, authorize: Authorize, read_error: ReadError, backend: NamedStorageConfig | None = None) -> None:
        self._authorize = authorize
        self._read_error = read_error
        self._retry = None if backend is None else backend.retry
        self._silence = SILENCE_SECONDS if backend is None else backend.limits.attempt_timeout
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def read(self, request: Request, ok: Collection[int] = (200,)) -> Reply:
        """Send and read the answer whole; other statuses than *ok* raise."""
        deadline = self._deadline()
        for attempt in count(1):
            try:
                async with await self._once(request, ok) as response:
                    return Reply(response.status, response.headers, await response.read())
            except (ServiceError, aiohttp.ClientError, TimeoutError) as exc:
                await self._pause_or_raise(exc, request, attempt, deadline)
        raise AssertionError  # the last attempt raised

    async def stream(self, request: Request, ok: Collection[int] = (200, 206)) -> aiohttp.ClientResponse:
        """Send and give the answer unread."""
        deadline = self._deadline()
        for attempt in count(1):
            try:
                return await self._once(request, ok)
            except (ServiceError, aiohttp.ClientError, TimeoutError) as exc:
                await self._pause_or_raise(exc, request, attempt, deadline)
        raise AssertionError  # the last attempt raised

    def _deadline(self) -> float:
        return monotonic() + (RETRY_SECONDS if self._retry is None else self._retry.budget)

    async def _pause_or_raise(self, error: Exception, request: Request, attempt: int, deadline: float) -> None:
        """Wait before the next attempt, or raise *error* when there is none."""
        if self._retry is None:
            attempts, seconds = ATTEMPTS, pause_before(attempt, PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        else:
            attempts, seconds = (
                self._retry.attempts,
                pause_before(attempt, self._retry.pause, self._retry.longest_pause),
            )
        if isinstance(error, ServiceError):
            again = error.status in (_RETRIED if request.repeatable else _REFUSED_UNREAD)
            seconds = max(seconds, error.retry_after)
        else:
            again = request.repeatable or isinstance(error, aiohttp.ClientConnectorError)
        if not again or attempt >= attempts or monotonic() + seconds > deadline:
            raise error
        await asyncio.sleep(seconds)

    async def _once(self, request: Request, ok: Collection[int]) -> aiohttp.ClientResponse:
        sent = await self._authorize(request)
        response = await self._opened().request(
            sent.method, sent.target, headers=_complete(sent), data=_payload(sent.body), allow_redirects=False
        )
        if response.status in ok:
            return response
        async with response:
            error = self._read_error(response.status, response.headers, await response.content.read(_ERROR_BODY))
        wait = response.headers.get("retry-after", "")
        error.retry_after = float(wait) if wait.isdigit() else 0.0
        raise error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,  # an object is what was stored, also when it says Content-Encoding: gzip
                connector=aiohttp.TCPConnector(limit=100, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_SLICE,
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=self._silence),
                trust_env=bool(getproxies()),
            )
        return self._session


class HttpReader(ObjectReader):
    """One object being read; a connection that breaks is replaced, from the byte where it broke.

    Args:
        info: What the service says of the object.
        response: The answer, unread; None when there is nothing to read.
        reopen: Asks for the rest after so many bytes, of the same version of the object.
    """

    def __init__(
        self,
        info: FileInfo,
        response: aiohttp.ClientResponse | None,
        reopen: Callable[[int], Awaitable[aiohttp.ClientResponse]],
    ) -> None:
        self.info = info
        self._response = response
        self._reopen = reopen

    async def read(self) -> bytes:
        if self._response is not None:
            try:
                async with self._response as response:
                    return await response.read()
            except (aiohttp.ClientError, TimeoutError):
                self._response = await self._reopen(0)
        return b"".join([bytes(chunk) async for chunk in self.chunks(_SLICE)])

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        done, failures = 0, 0
        while self._response is not None:
            try:
                async with self._response as response:
                    async for chunk in response.content.iter_chunked(size_hint):
                        done += len(chunk)
                        failures = 0
                        yield chunk
                    return
            except (aiohttp.ClientError, TimeoutError):
                failures += 1
                if failures == ATTEMPTS:
                    raise
            self._response = await self._reopen(done)

    async def aclose(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()


def _complete(request: Request) -> dict[str, str]:
    headers = dict(request.headers)
    if request.body or request.method in {"PATCH", "POST", "PUT"}:
        headers["content-length"] = str(request.size)
    return headers


def _payload(body: tuple[Bytes, ...]) -> bytes | AsyncIterator[Bytes] | None:
    if not body:
        return None
    if sum(map(len, body)) <= _SLICE:
        return body[0] if len(body) == 1 and isinstance(body[0], bytes) else b"".join(body)
    return _slices(body)


async def _slices(body: tuple[Bytes, ...]) -> AsyncIterator[Bytes]:
    for buffer in body:
        view = memoryview(buffer)
        for start in range(0, len(view), _SLICE):
            yield view[start : start + _SLICE]


def transport_kind(error: Exception) -> type[StorageError] | None:
    """What a failure below HTTP means; None when *error* is none."""
    if isinstance(error, TimeoutError):
        return StorageTimeoutError
    if isinstance(error, aiohttp.ClientError | OSError):
        return StorageUnavailableError
    return None
