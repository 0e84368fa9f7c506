"""Requests of the drivers that speak a JSON or XML API of several hosts (azure, gcs): authorised, and repeated.

They go over our own HTTP/1.1 client (`runtime.drivers._wire.client`); measured against the SDKs in `runtime/DESIGN.md`.
A request is authorised anew for every attempt, so signatures and tokens are never stale. Bodies are buffers,
so every request can be sent again; what is ambiguous (the connection broke after a *conditional* write was
sent) is not retried, because the answer to the second try would be about the first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.drivers._dates import seconds_to_wait
from runtime.drivers._wire.client import MOST_BODY, Wire
from runtime.drivers._wire.errors import WireError
from runtime.errors import StorageError, StorageTimeoutError, StorageUnavailableError
from runtime.versions import pause_before

if TYPE_CHECKING:
    from runtime.config import NamedStorageConfig
    from runtime.driver import Bytes
    from runtime.drivers._wire.answer import Answer

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
    def place(self) -> tuple[str, str]:
        """Scheme, and host with port."""
        scheme, _, rest = self.url.partition("://")
        return scheme, rest.partition("/")[0]

    @property
    def target(self) -> str:
        """Path and query as they go over the wire; nothing is normalised, so ``a//b`` and ``..`` stay what they are."""
        pairs = [f"{quote(name, _UNSAFE)}={quote(value, _UNSAFE)}" for name, value in self.query.items()]
        if self.raw_query:
            pairs.append(self.raw_query)
        path = "/" + self.url.partition("://")[2].partition("/")[2]
        return f"{path}?{'&'.join(pairs)}" if pairs else path

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
Renew = Callable[[Request, ServiceError], Awaitable[bool]]
ReadError = Callable[[int, Mapping[str, str], bytes], ServiceError]


class HttpClient:
    """Sends requests of one driver.

    Args:
        authorize: Adds what proves who we are; called for each attempt.
        read_error: Makes the error of a refused request from status, headers and body.
        backend: Whose `retry` and `limits` apply; without it the defaults above.
        renew: Told a request as it was sent and why it was refused: whether there is another credential now, so that
            it is worth sending once more. None where credentials never change.
    """

    def __init__(
        self,
        authorize: Authorize,
        read_error: ReadError,
        backend: NamedStorageConfig | None = None,
        *,
        renew: Renew | None = None,
    ) -> None:
        self._authorize = authorize
        self._renew = renew
        self._read_error = read_error
        self._retry = None if backend is None else backend.retry
        self._silence = SILENCE_SECONDS if backend is None else backend.limits.attempt_timeout
        self._wires: dict[tuple[str, str], Wire] = {}

    async def close(self) -> None:
        """Close every connection."""
        wires, self._wires = self._wires, {}
        for wire in wires.values():
            await wire.close()

    async def read(self, request: Request, ok: Collection[int] = (200,), most: int = MOST_BODY) -> Reply:
        """Send and read the answer whole, of *most* bytes; other statuses than *ok* raise."""
        deadline = self._deadline()
        for attempt in count(1):
            try:
                answer = await self._once(request, ok, most)
                return Reply(answer.status, answer.headers, answer.body)
            except (ServiceError, WireError, TimeoutError) as exc:
                await self._pause_or_raise(exc, request, attempt, deadline)
        raise AssertionError  # the last attempt raised

    async def stream(self, request: Request, ok: Collection[int] = (200, 206)) -> Answer:
        """Send and give the answer; its body is for the caller to take, or to close."""
        deadline = self._deadline()
        for attempt in count(1):
            try:
                return await self._once(request, ok, None)
            except (ServiceError, WireError, TimeoutError) as exc:
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
            again = request.repeatable or (isinstance(error, WireError) and not error.sent)
        if not again or attempt >= attempts or monotonic() + seconds > deadline:
            if attempt > 1:
                error.add_note(f"tried {attempt} times")
            raise error
        await asyncio.sleep(seconds)

    async def _once(self, request: Request, ok: Collection[int], most: int | None) -> Answer:
        sent = await self._authorize(request)
        try:
            return await self._sent(sent, ok, most)
        except ServiceError as exc:
            if self._renew is None or not await self._renew(sent, exc):
                raise
        # nothing was done for one whom the service does not know, so this is no second attempt
        return await self._sent(await self._authorize(request), ok, most)

    async def _sent(self, sent: Request, ok: Collection[int], most: int | None) -> Answer:
        answer = await self._wire(sent.place).send(
            sent.method,
            sent.target,
            {"host": sent.place[1], **sent.headers},
            sent.body if sent.size else (),
            whole=most is not None,
            most=MOST_BODY if most is None else most,
            twice=sent.repeatable,
        )
        if answer.status in ok:
            return answer
        try:
            error = self._read_error(answer.status, answer.headers, await answer.take(_ERROR_BODY))
        finally:
            answer.close()
        error.retry_after = seconds_to_wait(answer.headers.get("retry-after", "")) or 0.0
        raise error

    def _wire(self, place: tuple[str, str]) -> Wire:
        wire = self._wires.get(place)
        if wire is None:
            wire = self._wires[place] = Wire(*place, silence=self._silence, connect_seconds=CONNECT_SECONDS)
        return wire


def transport_kind(error: Exception) -> type[StorageError] | None:
    """What a failure below HTTP means; None when *error* is none."""
    if isinstance(error, TimeoutError):
        return StorageTimeoutError
    if isinstance(error, OSError):
        return StorageUnavailableError
    return None
