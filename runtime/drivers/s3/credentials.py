"""Who signs: the keys of the contract, else the AWS default chain."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from runtime.drivers.s3.errors import classify, detail
from runtime.drivers.s3.signing import Credentials
from runtime.errors import (
    ConfigError,
    RateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
    UnauthenticatedError,
)

if TYPE_CHECKING:
    from pydantic import SecretStr

_EARLY: Final = timedelta(minutes=5)
"""Temporary credentials are renewed so long before they end."""

_UNDATED: Final = timedelta(minutes=15)
"""How long credentials of the chain that tell no end are used before the chain is asked again."""


_HINT: Final = "set AWS_ACCESS_KEY_ID, AWS_PROFILE or a role; or the keys of the backend"

_PASSING: Final = (ConfigError, RateLimitedError, StorageTimeoutError, StorageUnavailableError)
"""Kinds of an error on the way to credentials that say more than that there are none."""


class CredentialSource:
    """Gives the credentials to sign with, renewed before they end.

    Attributes:
        static: Whether they never change.

    Args:
        access_key: Access key id of the contract; None for the AWS default chain (environment, profile, web
            identity, container, instance).
        secret_key: Its secret.
    """

    def __init__(self, access_key: SecretStr | None, secret_key: SecretStr | None) -> None:
        self.static = access_key is not None
        self._current: Credentials | None = None
        self._fresh_until: datetime | None = None
        self._chain: Any = None
        self._lock = asyncio.Lock()
        if access_key is not None and secret_key is not None:
            self._current = Credentials(access_key.get_secret_value(), secret_key.get_secret_value())

    def now(self, at: datetime) -> Credentials | None:
        """The credentials when they are good at the time *at*, without waiting; None when `get` has to be asked."""
        if self._fresh_until is None or at < self._fresh_until:
            return self._current
        return None

    async def get(self) -> Credentials:
        """Good credentials; asks the chain when there are none yet or when they end soon.

        Raises:
            UnauthenticatedError: The chain has none.
        """
        if (current := self.now(datetime.now(UTC))) is not None:
            return current
        async with self._lock:  # many requests, one question to the chain
            if (current := self.now(datetime.now(UTC))) is None:
                current = await self._ask()
            return current

    async def _ask(self) -> Credentials:
        # half a second and 30 MB that a backend with keys of its own never pays
        from aiobotocore.session import get_session  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            if self._chain is None:
                self._chain = await get_session().get_credentials()
            frozen = await self._chain.get_frozen_credentials() if self._chain else None
        except (BotoCoreError, ClientError, OSError) as exc:  # OSError: a token file that is missing
            if classify(exc) in _PASSING:
                raise
            why = detail(exc) or type(exc).__name__
            raise UnauthenticatedError(f"the AWS default chain gave no credentials: {why}", hint=_HINT) from exc
        if frozen is None:
            raise UnauthenticatedError("no AWS credentials found", hint=_HINT)
        ends: datetime | None = getattr(self._chain, "_expiry_time", None)  # no public name gives it
        if ends is not None:
            ends = ends.astimezone(UTC)  # botocore's is aware in a type of its own
        self._fresh_until = ends - _EARLY if ends else datetime.now(UTC) + _UNDATED
        self._current = Credentials(frozen.access_key, frozen.secret_key, frozen.token, ends)
        return self._current
