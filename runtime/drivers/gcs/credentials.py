"""Who we are to Google: application default credentials, a credential file, or nobody (emulators on this machine).

google-auth's credentials block while they fetch tokens, so they do it in a worker thread.

Source:
    https://cloud.google.com/docs/authentication/application-default-credentials
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC
from ipaddress import ip_address
from os import environ
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import google.auth
import requests
from google.auth import aws, identity_pool, pluggable
from google.auth.credentials import AnonymousCredentials
from google.auth.environment_vars import CREDENTIALS
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request as AuthRequest
from google.oauth2 import service_account

from runtime.drivers._credential_cache import CredentialCache
from runtime.drivers.gcs.errors import kind_of
from runtime.errors import ConfigError, UnauthenticatedError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from runtime.config import StorageGCSConfig
    from runtime.drivers._http import Request, ServiceError

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
"""What access is asked for; the roles of the identity decide what is given. IAM's ``signBlob`` needs this one."""


class GoogleAuth:
    """Authorises requests, and gives google-auth's credentials to the official SDK.

    Args:
        settings: The backend's settings.

    Attributes:
        emulator: Whether the endpoint is plain HTTP on this machine.
        anonymous: Whether requests go out as nobody's: an emulator without a credential file.
    """

    def __init__(self, settings: StorageGCSConfig) -> None:
        self.emulator = _is_emulator(settings.endpoint_url)
        self.anonymous = self.emulator and settings.credentials_path is None
        self._path = settings.credentials_path or environ.get(CREDENTIALS)
        self._credentials: Any = AnonymousCredentials() if self.anonymous else None
        self._loading = Lock()
        self._session: requests.Session | None = None
        self._tokens = CredentialCache(self._fetch)

    def load(self) -> Credentials:
        """The credentials; looks at files, variables and the metadata server, so it blocks the first time."""
        with self._loading:
            if self._credentials is None:
                self._credentials = _from_file(self._path) if self._path else google.auth.default(SCOPES)[0]
            credentials: Credentials = self._credentials
            return credentials

    def transport(self) -> AuthRequest:
        """What google-auth sends its own requests with."""
        if self._session is None:
            self._session = requests.Session()
        return AuthRequest(self._session)

    async def authorize(self, request: Request) -> Request:
        """The request with a token that holds."""
        if self.anonymous:
            return request
        headers = {"authorization": f"Bearer {await self._tokens.get()}"}
        quota_project = getattr(self._credentials, "quota_project_id", None)
        if quota_project:
            headers["x-goog-user-project"] = quota_project
        return request.with_headers(headers)

    async def renew(self, refused: Request, error: ServiceError) -> bool:
        """Whether a request that was *refused* with *error* can be authorised by a new token."""
        if self.anonymous or kind_of(error) is not UnauthenticatedError:
            return False
        return await self._tokens.renew(refused.headers["authorization"].removeprefix("Bearer "))

    def close(self) -> None:
        """Close the connections that fetched tokens."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def _fetch(self, anew: bool) -> tuple[str, float | None]:
        return await asyncio.to_thread(self._refresh, anew)

    def _refresh(self, anew: bool) -> tuple[str, float | None]:
        if anew:
            with self._loading:
                self._credentials = None  # the file may hold another key by now
        credentials: Any = self.load()
        credentials.refresh(self.transport())
        expiry = credentials.expiry  # naive, and UTC
        return credentials.token, expiry.replace(tzinfo=UTC).timestamp() if expiry else None


def _from_file(path: str) -> Any:
    """Credentials of a service account's key, workload identity federation, or any other file that Google writes."""
    try:
        info = json.loads(Path(path).read_bytes())
        kind = info.get("type")
    except OSError as exc:
        raise ConfigError(f"the credential file {path!r} can not be read: {exc.strerror}") from exc
    except (ValueError, AttributeError):
        raise ConfigError(f"{path!r} is no JSON credential file") from None
    try:
        if kind == "service_account":
            return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
        if kind == "external_account":
            return _federated(info)
    except (ValueError, GoogleAuthError):
        raise ConfigError(f"{path!r} is no complete credential file of the type {kind}") from None
    return google.auth.load_credentials_from_file(path, scopes=SCOPES)[0]


def _federated(info: dict[str, Any]) -> Any:
    # google.auth.default would also ask the resource manager for a project's name, which takes rights that
    # an application need not have
    if info.get("subject_token_type") == "urn:ietf:params:aws:token-type:aws4_request":
        return aws.Credentials.from_info(info, scopes=SCOPES)
    module = pluggable if "executable" in info.get("credential_source", {}) else identity_pool
    return module.Credentials.from_info(info, scopes=SCOPES)


def _is_emulator(endpoint: str | None) -> bool:
    """Whether *endpoint* is plain HTTP on this machine, where no credentials are wanted."""
    parts = urlsplit(endpoint or "")
    host = parts.hostname or ""
    if parts.scheme != "http":
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
