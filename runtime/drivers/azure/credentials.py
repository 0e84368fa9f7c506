"""Who we are to Azure: an account key, a shared access signature, or a token of Microsoft Entra.

Source:
    https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
    https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
"""

from __future__ import annotations

import asyncio
import hmac
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import replace
from email.utils import formatdate
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

from azure.core.credentials import AzureSasCredential

from runtime.drivers._credential_cache import CredentialCache
from runtime.drivers.azure.errors import kind_of
from runtime.errors import ConfigError, UnauthenticatedError

if TYPE_CHECKING:
    from runtime.config import StorageAzureConfig
    from runtime.drivers._http import Request, ServiceError

VERSION: Final = "2024-08-04"
"""Version of the REST API that we speak where a request does not name another."""

SCOPE: Final = "https://storage.azure.com/.default"

_SIGNED: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
_SORTED_AS_THE_SERVICE_DOES: Final = str.maketrans({"-": None, "_": " "})


class AsyncTokenCredential(Protocol):
    """What azure-identity's credentials are."""

    async def get_token(self, *scopes: str, **kwargs: Any) -> Any:
        """A token with ``token`` and ``expires_on``."""
        ...

    async def close(self) -> None:
        """Close its own connections."""
        ...


class Credential(ABC):
    """Authorises requests, and tells the official SDK's client the same.

    Attributes:
        for_sdk: What ``BlobServiceClient(credential=…)`` takes.
        signs: Whether URLs can be signed with it.
    """

    for_sdk: Any = None
    signs: bool = True

    async def authorize(self, request: Request) -> Request:
        """The request as it may be sent."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION, **request.headers}
        return await self._sign(replace(request, headers=headers))

    async def renew(self, refused: Request, error: ServiceError) -> bool:
        """Whether a request that was *refused* with *error* can be authorised by something new."""
        return False

    @abstractmethod
    async def _sign(self, request: Request) -> Request: ...

    async def close(self) -> None:  # noqa: B027 - keys have nothing to close
        """Close what fetches tokens."""


class AccountKey(Credential):
    """The account's shared key, which may do everything."""

    def __init__(self, account: str, key: str) -> None:
        try:
            self._key = b64decode(key, validate=True)
        except Base64Error:
            raise ConfigError("azure.account_key is no base64 text") from None
        self._account = account
        self.for_sdk = {"account_name": account, "account_key": key}

    async def _sign(self, request: Request) -> Request:
        headers = request.headers
        length = {"content-length": str(request.size)} if request.size else {}
        signed = "\n".join(length.get(name) or headers.get(name, "") for name in _SIGNED)
        own = sorted((name for name in headers if name.startswith("x-ms-")), key=_weight)
        path = request.url.partition("://")[2].partition("/")[2]
        text = "".join(
            [
                f"{request.method}\n{signed}\n",
                *(f"{name}:{headers[name]}\n" for name in own),
                f"/{self._account}/{path}",
                *(f"\n{name.lower()}:{value}" for name, value in sorted(request.query.items())),
            ]
        )
        signature = b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()
        return request.with_headers({"authorization": f"SharedKey {self._account}:{signature}"})


class SasToken(Credential):
    """A shared access signature that somebody else made; it can not sign others."""

    signs = False

    def __init__(self, token: str) -> None:
        self._token = token.removeprefix("?")
        self.for_sdk = AzureSasCredential(self._token)

    async def _sign(self, request: Request) -> Request:
        return replace(request, raw_query=self._token)

    def signed_source(self, url: str) -> str:
        """*url* as a copy may read it."""
        return f"{url}?{self._token}"


class Token(Credential):
    """Tokens of Microsoft Entra: workload identity, managed identity, a developer's login.

    Args:
        credential: A credential of azure-identity; ``DefaultAzureCredential`` when None. Closed by `close`.
    """

    def __init__(self, credential: AsyncTokenCredential | None = None) -> None:
        self._given = credential
        self._tokens = CredentialCache(self._fetch)

        self._default = credential is None

    @property
    def for_sdk(self) -> AsyncTokenCredential:
        """The credential itself; the default one is made here, as it looks at files and variables."""
        if self._given is None:
            self._given = _default_credential()
        return self._given

    async def close(self) -> None:
        given, self._given = self._given, None
        if given is not None:
            await given.close()

    async def _sign(self, request: Request) -> Request:
        return request.with_headers({"authorization": f"Bearer {await self._tokens.get()}"})

    async def renew(self, refused: Request, error: ServiceError) -> bool:
        if kind_of(error) is not UnauthenticatedError:
            return False
        return await self._tokens.renew(refused.headers["authorization"].removeprefix("Bearer "))

    async def _fetch(self, anew: bool) -> tuple[str, float]:
        await asyncio.to_thread(import_module, "azure.identity.aio")  # 0.3 s: not on the event loop
        if not (anew and self._default):
            token = await self.for_sdk.get_token(SCOPE)
        else:  # azure-identity remembers the token that was refused, as long as it says that it holds
            fresh = _default_credential()
            try:
                token = await fresh.get_token(SCOPE)
            finally:
                await fresh.close()
        return token.token, float(token.expires_on)


def credential_of(settings: StorageAzureConfig) -> Credential:
    """The credential that the contract names; Entra's default chain when it names none."""
    if settings.account_key is not None:
        return AccountKey(settings.account_name, settings.account_key.get_secret_value())
    if settings.sas_token is not None:
        return SasToken(settings.sas_token.get_secret_value())
    return Token()


def _default_credential() -> AsyncTokenCredential:
    made: AsyncTokenCredential = import_module("azure.identity.aio").DefaultAzureCredential()
    return made


def _weight(header: str) -> tuple[str, str]:
    # the service sorts headers by a culture's rules, not by their bytes: '-' counts for nothing, '_' least
    return header.translate(_SORTED_AS_THE_SERVICE_DOES), header
