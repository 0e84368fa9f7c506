"""Who signs: the keys of the contract, else the AWS default chain."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from runtime.drivers._credential_cache import CredentialCache
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
    from datetime import datetime

    from pydantic import SecretStr

    from runtime.drivers.s3.errors import ServiceError

_HINT: Final = "set AWS_ACCESS_KEY_ID, AWS_PROFILE or a role; or the keys of the backend"

_REFUSALS: Final = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestExpired", "TokenRefreshRequired"}
)
"""What is said of credentials that have ended, or were replaced; a wrong secret of a known key is neither."""

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
        self._keys: Credentials | None = None
        self._chain: Any = None
        # a presigned URL ends with what signed it, so the last five minutes of its life are used by nobody
        self._cache: CredentialCache[Credentials] = CredentialCache(self._ask, share=1.0)
        if access_key is not None and secret_key is not None:
            self._keys = Credentials(access_key.get_secret_value(), secret_key.get_secret_value())

    def now(self) -> Credentials | None:
        """Good credentials, without waiting; None when `get` has to be asked."""
        return self._keys or self._cache.now()

    async def get(self) -> Credentials:
        """Good credentials; asks the chain when there are none yet or when they end soon.

        Raises:
            UnauthenticatedError: The chain has none.
        """
        return self._keys or await self._cache.get()

    async def renew(self, refused: Credentials, error: ServiceError, method: str) -> bool:
        """Whether a request that was *refused* with *error* can be signed with other credentials."""
        unknown = error.code in _REFUSALS or error.status == 401  # noqa: PLR2004 - RFC 9110: unauthorized
        if not unknown and refused.token and method == "HEAD":  # its answer has no body, and so no code
            unknown = error.status == 400  # noqa: PLR2004 - what AWS says of a token that has ended
        return unknown and not self.static and await self._cache.renew(refused)

    async def _ask(self, anew: bool) -> tuple[Credentials, float | None]:
        # half a second and 30 MB that a backend with keys of its own never pays
        from aiobotocore.session import get_session  # noqa: PLC0415 - see the comment above
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

        try:
            if anew or self._chain is None:  # a new session looks at files and variables again
                self._chain = await get_session().get_credentials()
            frozen = await self._chain.get_frozen_credentials() if self._chain else None
        except (BotoCoreError, ClientError, OSError) as exc:  # OSError: a token file that is missing
            if classify(exc) in _PASSING:
                raise
            why = detail(exc) or type(exc).__name__
            raise UnauthenticatedError(f"the AWS default chain gave no credentials: {why}", hint=_HINT) from exc
        except RuntimeError as exc:  # all that botocore says with it
            raise UnauthenticatedError("the AWS default chain gave credentials that have ended", hint=_HINT) from exc
        if frozen is None:
            raise UnauthenticatedError("no AWS credentials found", hint=_HINT)
        ends: datetime | None = getattr(self._chain, "_expiry_time", None)  # no public name gives it
        if ends is not None:
            ends = ends.astimezone(UTC)  # botocore's is aware in a type of its own
        found = Credentials(frozen.access_key, frozen.secret_key, frozen.token, ends)
        return found, None if ends is None else ends.timestamp()
