"""Signed URLs (V4): by the key in the credential file, or by IAM ``signBlob`` where there is no key.

Source:
    https://cloud.google.com/storage/docs/access-control/signed-urls
    https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.auth.credentials import Signing
from google.auth.iam import Signer

from runtime.errors import NotSupportedError
from runtime.models import PresignedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.cloud.storage import Bucket

    from runtime.config import StorageGCSConfig
    from runtime.drivers.gcs.credentials import GoogleAuth


class Presigner:
    """Signs URLs, in a worker thread: a key costs a millisecond of CPU, IAM a request.

    Args:
        settings: The backend's settings.
        auth: Who we are.
        endpoint: Where the signed URLs lead to.
        bucket: Gives the official client's bucket, which knows how to sign.
    """

    def __init__(
        self, settings: StorageGCSConfig, auth: GoogleAuth, endpoint: str, bucket: Callable[[], Bucket]
    ) -> None:
        self._signer_email = settings.signer_email
        self._auth = auth
        self._endpoint = endpoint
        self._bucket = bucket

    async def presign(
        self, path: str, method: str, expires_in: timedelta, content_type: str | None
    ) -> PresignedRequest:
        """One request for one object; the content type of a PUT is bound by the signature."""
        return await asyncio.to_thread(self._presign, path, method, expires_in, content_type)

    def _presign(self, path: str, method: str, expires_in: timedelta, content_type: str | None) -> PresignedRequest:
        credentials = self._signing()
        expires_at = datetime.now(UTC).replace(microsecond=0) + expires_in
        url = (
            self._bucket()
            .blob(path)
            .generate_signed_url(
                version="v4",
                expiration=expires_in,
                method=method,
                api_access_endpoint=self._endpoint,
                content_type=content_type,
                credentials=credentials,
            )
        )
        headers = {} if content_type is None else {"content-type": content_type}
        return PresignedRequest(method, url, expires_at, headers)

    def _signing(self) -> Any:
        """Credentials that can sign: with their own key, else through IAM as the configured signer."""
        credentials: Any = self._auth.load()
        if isinstance(credentials, Signing) and getattr(credentials, "signer", None) is not None:
            return credentials
        email = self._signer_email or getattr(credentials, "service_account_email", None)
        if not email or "@" not in email:
            raise NotSupportedError(
                "these credentials have no key to sign with",
                hint="set gcs.signer_email to a service account that they may sign for (IAM signBlob)",
            )
        return _IamSigning(Signer(self._auth.transport(), credentials, email), email)


class _IamSigning(Signing):
    """Credentials of a service account whose key stays with IAM."""

    def __init__(self, signer: Signer, email: str) -> None:
        self._signer = signer
        self._email = email

    def sign_bytes(self, message: bytes) -> bytes:
        signed: bytes = self._signer.sign(message)
        return signed

    @property
    def signer_email(self) -> str:
        return self._email

    @property
    def signer(self) -> Signer:
        return self._signer
