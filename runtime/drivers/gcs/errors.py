"""What Google's refusals mean, by reason and status; their free text is never read.

Source:
    https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError

from runtime import errors
from runtime.drivers._http import ServiceError, transport_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

_XML_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]{1,100})</Code>")
_WRONG_CHECKSUM: Final = re.compile(rb"(?:crc32c|md5 hash)[^,]{0,80} doesn't match calculated", re.IGNORECASE)
_KINDS: Final[dict[str, type[errors.StorageError]]] = {
    "checksumMismatch": errors.ChecksumMismatchError,
    "authError": errors.UnauthenticatedError,
    "conditionNotMet": errors.PreconditionFailedError,
    "expired": errors.UnauthenticatedError,
    "quotaExceeded": errors.RateLimitedError,
    "rateLimitExceeded": errors.RateLimitedError,
    "required": errors.InvalidOptionError,
    "userRateLimitExceeded": errors.RateLimitedError,
}
_UNKNOWN: Final = 401
_STATUSES: Final[dict[int, type[errors.StorageError]]] = {
    400: errors.InvalidOptionError,
    401: errors.UnauthenticatedError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    405: errors.NotSupportedError,
    408: errors.StorageTimeoutError,
    410: errors.StorageUnavailableError,  # a resumable upload that the service lost
    412: errors.PreconditionFailedError,
    413: errors.QuotaExceededError,
    429: errors.RateLimitedError,
    501: errors.NotSupportedError,
}


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ServiceError:
    """What a refused request says: the reason of the JSON API or the code of the XML API, never the free text.

    Only that a checksum was wrong is known by the text: the reason is ``invalid``, as for any other mistake.
    """
    if status == 400 and _WRONG_CHECKSUM.search(body):  # noqa: PLR2004 - bad request
        return ServiceError(status, "checksumMismatch")
    if headers.get("content-type", "").startswith("application/json"):
        return ServiceError(status, _reason(body))
    found = _XML_CODE.search(body)
    return ServiceError(status, found[1].decode() if found else "")


def kind_of(error: Exception) -> type[errors.StorageError] | None:
    """The kind of an error of a request, of the official client, or of what fetches tokens."""
    if isinstance(error, ServiceError):
        if error.kind is None and error.status == _UNKNOWN:  # a reason of it is that of a missing parameter, too
            return errors.UnauthenticatedError
        return error.kind or _KINDS.get(error.code) or _by_status(error.status)
    if isinstance(error, GoogleAPICallError):
        return _by_status(error.code or 0)
    if isinstance(error, TransportError) or (isinstance(error, RefreshError) and error.retryable):
        return errors.StorageUnavailableError
    if isinstance(error, GoogleAuthError):
        return errors.UnauthenticatedError
    return transport_kind(error)


def detail_of(error: Exception) -> str | None:
    """Status and reason of an error, where it has them."""
    if isinstance(error, ServiceError):
        return str(error)
    return str(error.code) if isinstance(error, GoogleAPICallError) and error.code else None


def _by_status(status: int) -> type[errors.StorageError]:
    return _STATUSES.get(status, errors.StorageUnavailableError)


def _reason(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        reason = error["errors"][0]["reason"]
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    return reason if isinstance(reason, str) and reason.isalnum() else ""
