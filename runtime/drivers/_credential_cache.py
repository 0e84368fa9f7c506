"""A credential that ends: replaced before it does, and once more when the service does not accept it all the same.

Normally no request waits for a new one or is sent with a stale one. It happens where the clocks of two machines do not
agree, where a process stood still between looking at the clock and sending, and where a key was taken back. The request
that was refused is sent again then, once, and only when there is another credential than the one that was refused.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from time import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

REFRESH_BEFORE: Final = 300.0
"""Seconds before its end at which a credential is replaced, at most; less when its whole life is short."""

UNDATED_SECONDS: Final = 900.0
"""Seconds for which a credential that tells no end is used before it is asked for again."""

RETRY_AFTER: Final = 10.0
"""Seconds until the next try when no new credential is to be had, or the new one was refused as the old one was."""

_log = logging.getLogger(__name__)


class CredentialCache(Generic[T]):
    """One credential, shared by all requests of a driver.

    Args:
        fetch: Gives a credential and the POSIX time of its end (None where it tells none); must not block the event
            loop. Told True when what is remembered below, in an SDK, was refused by the service.
        share: The part of its life, at most, that is left when it is replaced.
    """

    def __init__(self, fetch: Callable[[bool], Awaitable[tuple[T, float | None]]], *, share: float = 0.25) -> None:
        self._fetch = fetch
        self._share = share
        self._current: T | None = None
        self._ends = 0.0
        self._renew_at = 0.0
        self._last_hope: T | None = None
        self._hopeless_until = 0.0
        self._renewing = asyncio.Lock()

    def now(self) -> T | None:
        """The credential while it holds, without waiting; None when `get` has to be asked."""
        return self._current if time() < self._renew_at else None

    async def get(self) -> T:
        """A credential that holds. While one task renews it, others go on with the old one as long as that holds."""
        now, current = time(), self._current
        if current is not None and (now < self._renew_at or (now < self._ends and self._renewing.locked())):
            return current
        async with self._renewing:  # many requests, one question
            current = self.now()
            return await self._renewed() if current is None else current

    async def renew(self, refused: T) -> bool:
        """Replace *refused*, which the service did not accept; whether there is another one now.

        Every request asks once for the credential that it was sent with; the first of many renews it for all. One that
        is refused although it is new is not asked for again for a while: the identity itself is the matter then.

        Raises:
            Exception: What *fetch* raises; there is no other credential.
        """
        async with self._renewing:
            if self._current != refused:
                return True
            if refused == self._last_hope and time() < self._hopeless_until:
                return False
            self._keep(*await self._fetch(True))
            self._last_hope, self._hopeless_until = self._current, time() + RETRY_AFTER
            return self._current != refused

    async def _renewed(self) -> T:
        try:
            return self._keep(*await self._fetch(False))
        except Exception as exc:
            current, now = self._current, time()
            if current is None or now >= self._ends:
                raise
            self._renew_at = min(now + RETRY_AFTER, self._ends)
            _log.warning("no new credential (%s); the old one holds %.0f s more", type(exc).__name__, self._ends - now)
            return current

    def _keep(self, credential: T, ends: float | None) -> T:
        now = time()
        self._current, self._ends = credential, inf if ends is None else ends
        self._renew_at = (
            now + UNDATED_SECONDS if ends is None else ends - min(REFRESH_BEFORE, (ends - now) * self._share)
        )
        return credential
