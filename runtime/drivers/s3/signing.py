"""AWS Signature Version 4 for S3, made by hand because it is made very often.

botocore's signer builds a request object, two dictionaries of headers and four HMACs for every call; here the
key of a day is derived once. A test holds both to the same bytes.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_PLAIN: Final = frozenset({"host", "range", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"})
"""Headers without white space, which the canonical form of others folds."""

EMPTY_SHA256: Final = hashlib.sha256().hexdigest()
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs a request; nothing of it but the key's id is ever printed.

    Attributes:
        access_key: Access key id.
        secret_key: Secret access key.
        token: Session token of temporary credentials.
        expires_at: Aware UTC time when they stop to work; None when they do not.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


def encode_query(pairs: Sequence[tuple[str, str]]) -> str:
    """A query string in canonical form: encoded, then sorted."""
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs))


class Signer:
    """Signs for one region.

    Args:
        region: Region in the scope of the signature.
    """

    def __init__(self, region: str) -> None:
        self._region = region
        self._key_of: tuple[str, str] = ("", "")
        self._key = b""
        self._second = 0
        self._stamp = self._scope = ""

    def __repr__(self) -> str:
        return f"Signer({self._region!r})"

    def headers(
        self,
        credentials: Credentials,
        now: datetime,
        method: str,
        target: str,
        query: str,
        headers: Mapping[str, str],
        payload_hash: str,
    ) -> dict[str, str]:
        """All headers to send: those given, and the signature over all of them.

        Args:
            credentials: What to sign with.
            now: Aware UTC time of the signature.
            method: HTTP method.
            target: Encoded path.
            query: Canonical query string (see `encode_query`).
            headers: Headers to send and sign by lower-case name, ``host`` among them.
            payload_hash: SHA-256 of the body in hex, or `UNSIGNED_PAYLOAD`.
        """
        stamp, scope = self._times(now)
        signed = {**headers, "x-amz-content-sha256": payload_hash, "x-amz-date": stamp}
        if credentials.token:
            signed["x-amz-security-token"] = credentials.token
        names = sorted(signed)
        canonical = "".join(
            [f"{name}:{signed[name] if name in _PLAIN else ' '.join(signed[name].split())}\n" for name in names]
        )
        listed = ";".join(names)
        request = f"{method}\n{target}\n{query}\n{canonical}\n{listed}\n{payload_hash}"
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, "
            f"Signature={self._sign(credentials, stamp, scope, request)}"
        )
        return signed

    def _times(self, now: datetime) -> tuple[str, str]:
        """The time and the scope of a signature, made once a second."""
        second = int(now.timestamp())
        if second != self._second:
            stamp = now.strftime("%Y%m%dT%H%M%SZ")
            self._second, self._stamp, self._scope = second, stamp, f"{stamp[:8]}/{self._region}/s3/aws4_request"
        return self._stamp, self._scope

    def query(
        self,
        credentials: Credentials,
        now: datetime,
        method: str,
        target: str,
        headers: Mapping[str, str],
        expires_in: int,
    ) -> str:
        """The signed query string of a presigned URL.

        Args:
            credentials: What to sign with.
            now: Aware UTC time at which the validity starts.
            method: HTTP method that the URL allows.
            target: Encoded path.
            headers: Headers that the request must carry exactly so, in lower case, ``host`` among them.
            expires_in: Validity in seconds.
        """
        stamp, scope = self._times(now)
        names = sorted(headers)
        listed = ";".join(names)
        start = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={quote(credentials.access_key, safe='-_.~')}"
            f"%2F{scope.replace('/', '%2F')}&X-Amz-Date={stamp}&X-Amz-Expires={expires_in}"
        )
        token = f"&X-Amz-Security-Token={quote(credentials.token, safe='-_.~')}" if credentials.token else ""
        end = f"&X-Amz-SignedHeaders={listed.replace(';', '%3B')}"
        canonical = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
        request = f"{method}\n{target}\n{start}{token}{end}\n{canonical}\n{listed}\n{UNSIGNED_PAYLOAD}"
        # sorted for the signature, in botocore's order in the URL, so that both give the same bytes
        return f"{start}{end}{token}&X-Amz-Signature={self._sign(credentials, stamp, scope, request)}"

    def _sign(self, credentials: Credentials, stamp: str, scope: str, request: str) -> str:
        key_of = (credentials.secret_key, stamp[:8])
        if key_of != self._key_of:
            key = f"AWS4{credentials.secret_key}".encode()
            for part in (stamp[:8], self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._key_of = key, key_of
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        return hmac.digest(self._key, text.encode(), "sha256").hex()
