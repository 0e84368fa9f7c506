"""An access token that is replaced before it ends, so that no request waits for one or is sent with a stale one."""

from __future__ import annotations

import asyncio
import logging
from time import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

REFRESH_BEFORE: Final = 300.0
"""Seconds before its end at which a token is replaced; a quarter of its life when that is shorter."""

RETRY_AFTER: Final = 10.0
"""Seconds until the next try when no new token is to be had and the old one still holds."""

_log = logging.getLogger(__name__)


class TokenCache:
    """One token, shared by all requests of a driver.

    Args:
        fetch: Gives a new token and the POSIX time of its end; must not block the event loop.
    """

    def __init__(self, fetch: Callable[[], Awaitable[tuple[str, float]]]) -> None:
        self._fetch = fetch
        self._token = ""
        self._ends = 0.0
        self._renew_at = 0.0
        self._renewing = asyncio.Lock()

    async def get(self) -> str:
        """A token that holds. While one task renews it, the others go on with the old one as long as that holds."""
        now = time()
        if now < self._renew_at or (now < self._ends and self._renewing.locked()):
            return self._token
        async with self._renewing:
            if time() >= self._renew_at:
                await self._renew()
        return self._token

    async def _renew(self) -> None:
        try:
            token, ends = await self._fetch()
        except Exception as exc:
            if time() >= self._ends:
                raise
            self._renew_at = min(time() + RETRY_AFTER, self._ends)
            _log.warning(
                "no new access token (%s); the old one holds %.0f s more", type(exc).__name__, self._ends - time()
            )
            return
        self._token, self._ends = token, ends
        self._renew_at = ends - min(REFRESH_BEFORE, (ends - time()) / 4)
