"""Verifying signed URLs of Google Cloud Storage (V4, RSA), as the service does.

Source:
    https://cloud.google.com/storage/docs/authentication/signatures
    https://cloud.google.com/storage/docs/authentication/canonical-requests
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ALGORITHM: Final = "GOOG4-RSA-SHA256"
LONGEST: Final = 604_800
"""Seconds that a URL may hold at most."""

_CLOCK_SKEW: Final = timedelta(minutes=15)
_SCOPE_PARTS: Final = 5


class RefusedError(Exception):
    """A request that the service would refuse.

    Attributes:
        status: HTTP status.
        code: Code of the XML API.
    """

    def __init__(self, status: int, code: str, why: str) -> None:
        super().__init__(f"{status} {code}: {why}")
        self.status = status
        self.code = code
        self.why = why


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it arrived.

    Attributes:
        method: HTTP method.
        path: Path, still percent-encoded.
        query: Query text.
        headers: Headers by lower-case name.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


def is_signed(query: str) -> bool:
    """Whether a request claims to be signed."""
    return "X-Goog-Signature=" in query or "X-Goog-Algorithm=" in query


def verify(request: Signed, keys: Mapping[str, RSAPublicKey], now: datetime) -> None:
    """Raise `RefusedError` unless the request is signed by one of *keys* (by e-mail) and holds at *now*."""
    pairs = parse_qsl(request.query, keep_blank_values=True)
    query = dict(pairs)
    if len(query) != len(pairs):
        raise RefusedError(400, "InvalidArgument", "a query parameter is given twice")
    if query.get("X-Goog-Algorithm") != ALGORITHM:
        raise RefusedError(400, "InvalidArgument", f"X-Goog-Algorithm must be {ALGORITHM}")
    email, scope = _credential(query.get("X-Goog-Credential", ""))
    stamp = query.get("X-Goog-Date", "")
    _check_time(stamp, scope, query.get("X-Goog-Expires", ""), now)
    signed_names = query.get("X-Goog-SignedHeaders", "").split(";")
    _check_headers(request.headers, signed_names)
    key = keys.get(email)
    if key is None:
        raise RefusedError(403, "AccessDenied", "nobody of that name may do this")
    try:
        signature = bytes.fromhex(query.pop("X-Goog-Signature", ""))
        text = "\n".join([ALGORITHM, stamp, scope, _canonical_hash(request, query, signed_names)])
        key.verify(signature, text.encode(), PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        raise RefusedError(403, "SignatureDoesNotMatch", "the signature is of another request or key") from None


def _credential(text: str) -> tuple[str, str]:
    parts = text.rsplit("/", _SCOPE_PARTS - 1)
    if len(parts) != _SCOPE_PARTS or parts[3:] != ["storage", "goog4_request"]:
        raise RefusedError(400, "AuthorizationQueryParametersError", "X-Goog-Credential is malformed")
    return parts[0], "/".join(parts[1:])


def _check_time(stamp: str, scope: str, expires: str, now: datetime) -> None:
    try:
        begin = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        seconds = int(expires)
    except ValueError:
        raise RefusedError(400, "AuthorizationQueryParametersError", "date or expiry is malformed") from None
    if not 0 < seconds <= LONGEST:
        raise RefusedError(400, "AuthorizationQueryParametersError", f"X-Goog-Expires is 1 to {LONGEST}")
    if not scope.startswith(stamp[:8] + "/"):
        raise RefusedError(400, "AuthorizationQueryParametersError", "date and credential scope differ")
    if begin > now + _CLOCK_SKEW:
        raise RefusedError(403, "AccessDenied", "the request is not valid yet")
    if now >= begin + timedelta(seconds=seconds):
        raise RefusedError(400, "ExpiredToken", "the signature has expired")


def _check_headers(headers: Mapping[str, str], signed_names: list[str]) -> None:
    if "host" not in signed_names:
        raise RefusedError(400, "MissingSecurityHeader", "host is not signed")
    for name in signed_names:
        if name not in headers:
            raise RefusedError(400, "MalformedSecurityHeader", f"{name} is signed and was not sent")
    for name in headers:
        if name.startswith("x-goog-") and name not in signed_names:
            raise RefusedError(403, "SignatureDoesNotMatch", f"{name} was sent and is not signed")


def _canonical_hash(request: Signed, query: Mapping[str, str], signed_names: list[str]) -> str:
    encoded = sorted((quote(name, "~"), quote(value, "~")) for name, value in query.items())
    lines = [f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed_names]
    canonical = "\n".join(
        [
            request.method,
            request.path,
            "&".join(f"{name}={value}" for name, value in encoded),
            "".join(lines),
            ";".join(signed_names),
            request.headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD"),
        ]
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
