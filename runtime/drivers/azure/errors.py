"""What Azure's refusals mean, by code and status; their free text may hold signatures and is never read.

Source:
    https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from runtime import errors
from runtime.drivers._http import ServiceError, transport_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]{1,100})</Code>")

# Statuses say the rest; these codes say more than their status.
_KINDS: Final[dict[str, type[errors.StorageError]]] = {
    "AccountBeingCreated": errors.StorageUnavailableError,
    "AccountIsDisabled": errors.PermissionDeniedError,
    "AuthenticationFailed": errors.UnauthenticatedError,
    "BlobAlreadyExists": errors.AlreadyExistsError,
    "BlobArchived": errors.NotSupportedError,
    "BlobBeingRehydrated": errors.StorageUnavailableError,
    "BlobImmutableDueToPolicy": errors.PermissionDeniedError,
    "ContainerBeingDeleted": errors.StorageUnavailableError,
    "InvalidAuthenticationInfo": errors.UnauthenticatedError,
    "InvalidBlobOrBlock": errors.StorageUnavailableError,
    "InvalidBlobType": errors.NotSupportedError,
    "InvalidBlockList": errors.StorageUnavailableError,  # another write of this object took the blocks away
    "InvalidHeaderValue": errors.InvalidOptionError,
    "InvalidMetadata": errors.InvalidOptionError,
    "InvalidResourceName": errors.InvalidPathError,
    "InvalidUri": errors.InvalidPathError,
    "Md5Mismatch": errors.ChecksumMismatchError,
    "Crc64Mismatch": errors.ChecksumMismatchError,
    "MetadataTooLarge": errors.InvalidOptionError,
    "OperationTimedOut": errors.StorageTimeoutError,
    "OutOfRangeInput": errors.InvalidPathError,
    "PendingCopyOperation": errors.StorageUnavailableError,
    "RequestBodyTooLarge": errors.QuotaExceededError,
    "ServerBusy": errors.RateLimitedError,
    "FeatureVersionMismatch": errors.NotSupportedError,
    "UnsupportedHeader": errors.NotSupportedError,
    "UnsupportedHttpVerb": errors.NotSupportedError,
}
_STATUSES: Final[dict[int, type[errors.StorageError]]] = {
    400: errors.InvalidOptionError,
    401: errors.UnauthenticatedError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    408: errors.StorageTimeoutError,
    409: errors.PreconditionFailedError,
    412: errors.PreconditionFailedError,
    413: errors.QuotaExceededError,
    429: errors.RateLimitedError,
    501: errors.NotSupportedError,
}


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ServiceError:
    """The error of a refused request."""
    code = headers.get("x-ms-error-code", "")
    if not code and (found := _CODE.search(body)):
        code = found[1].decode()
    return ServiceError(status, code)


def kind_of(error: Exception) -> type[errors.StorageError] | None:
    """The kind of an error of a request, of the official client, or of what fetches tokens."""
    if isinstance(error, ServiceError):
        return error.kind or _kind(error.status, error.code)
    if isinstance(error, ClientAuthenticationError) and error.status_code is None:
        return errors.UnauthenticatedError  # azure-identity found no credential, or none that works
    if isinstance(error, HttpResponseError):
        return _kind(error.status_code, _code_of(error))
    if isinstance(error, AzureError):
        return errors.StorageUnavailableError
    return transport_kind(error)


def detail_of(error: Exception) -> str | None:
    """Status and code of an error, where it has them."""
    if isinstance(error, ServiceError):
        return str(error)
    if isinstance(error, HttpResponseError):
        return f"{error.status_code or ''} {_code_of(error)}".strip() or None
    return None


def _kind(status: int | None, code: str | None) -> type[errors.StorageError]:
    kind = _KINDS.get(code or "") or _STATUSES.get(status or 0)
    return kind or errors.StorageUnavailableError


def _code_of(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")
