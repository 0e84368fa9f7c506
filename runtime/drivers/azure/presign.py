"""Shared access signatures for one blob: by the account's key, or by a user delegation key of Microsoft Entra.

Source:
    https://learn.microsoft.com/rest/api/storageservices/create-service-sas
    https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
    https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from azure.storage.blob import BlobSasPermissions, UserDelegationKey, generate_blob_sas
from lxml import etree

from runtime.drivers._http import Request
from runtime.models import PresignedRequest

if TYPE_CHECKING:
    from runtime.config import StorageAzureConfig
    from runtime.drivers._http import HttpClient

_LONGEST_KEY: Final = timedelta(days=7)
_USUAL_KEY: Final = timedelta(days=1)
_CLOCK_SKEW: Final = timedelta(minutes=15)


class Presigner:
    """Signs URLs; a delegation key is asked for once and used until it is too old for the next URL.

    Args:
        settings: The backend's settings.
        account_url: Where the account answers.
        http: The driver's client, which asks for delegation keys.
    """

    def __init__(self, settings: StorageAzureConfig, account_url: str, http: HttpClient) -> None:
        self._settings = settings
        self._account_url = account_url
        self._https = account_url.startswith("https://")
        self._http = http
        self._delegated: tuple[UserDelegationKey, datetime] | None = None
        self._asking = asyncio.Lock()

    async def presign(
        self, url: str, path: str, method: str, expires_in: timedelta, content_type: str | None
    ) -> PresignedRequest:
        """One request for the blob at *url*; the content type of a PUT is asked for but not bound by the signature."""
        expires_at = (datetime.now(UTC) + expires_in).replace(microsecond=0)
        permission = BlobSasPermissions(read=True) if method == "GET" else BlobSasPermissions(create=True, write=True)
        query = generate_blob_sas(
            self._settings.account_name,
            self._settings.container,
            path,
            **await self._key(expires_at),
            permission=permission,
            expiry=expires_at,
            protocol="https" if self._https else "https,http",
        )
        headers = {}
        if method == "PUT":
            headers["x-ms-blob-type"] = "BlockBlob"
            if content_type is not None:
                headers["content-type"] = content_type
        return PresignedRequest(method, f"{url}?{query}", expires_at, headers)

    async def _key(self, expires_at: datetime) -> dict[str, Any]:
        if self._settings.account_key is not None:
            return {"account_key": self._settings.account_key.get_secret_value()}
        async with self._asking:
            if self._delegated is None or self._delegated[1] < expires_at:
                self._delegated = await self._ask(expires_at)
        return {"user_delegation_key": self._delegated[0]}

    async def _ask(self, expires_at: datetime) -> tuple[UserDelegationKey, datetime]:
        now = datetime.now(UTC)
        until = min(max(expires_at, now + _USUAL_KEY), now + _LONGEST_KEY)
        start = max(now - _CLOCK_SKEW, until - _LONGEST_KEY)
        body = f"<KeyInfo><Start>{_iso(start)}</Start><Expiry>{_iso(until)}</Expiry></KeyInfo>"
        query = {"restype": "service", "comp": "userdelegationkey"}
        headers = {"content-type": "application/xml"}
        reply = await self._http.read(Request("POST", f"{self._account_url}/", query, headers, (body.encode(),)))
        return _key_of(reply.body), until


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _key_of(body: bytes) -> UserDelegationKey:
    root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    key = UserDelegationKey()  # type: ignore[no-untyped-call] # the SDK has no types for it
    key.signed_oid = root.findtext("SignedOid")
    key.signed_tid = root.findtext("SignedTid")
    key.signed_start = root.findtext("SignedStart")
    key.signed_expiry = root.findtext("SignedExpiry")
    key.signed_service = root.findtext("SignedService")
    key.signed_version = root.findtext("SignedVersion")
    key.value = root.findtext("Value")
    return key
