"""What S3 answers when it refuses, and which kind of `runtime.errors.StorageError` that is.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    https://developers.cloudflare.com/r2/api/error-codes/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.drivers import _xml
from runtime.drivers._dates import seconds_to_wait
from runtime.drivers._wire.errors import WireError
from runtime.errors import (
    AlreadyExistsError,
    ChecksumMismatchError,
    ConfigError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionFailedError,
    QuotaExceededError,
    RateLimitedError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
    UnauthenticatedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: Final[dict[type[StorageError], str]] = {
    NotFoundError: "NoSuchBucket NoSuchKey NoSuchUpload NoSuchVersion NotFound",
    AlreadyExistsError: "FileAlreadyExists ObjectAlreadyExists",
    PreconditionFailedError: "PreconditionFailed",
    PermissionDeniedError: (
        "AccessDenied AccessForbidden AccountProblem AllAccessDisabled Forbidden InvalidPayer NotSignedUp "
        "KMS.AccessDeniedException KMS.DisabledException KMS.InvalidStateException KMS.NotFoundException"
    ),
    UnauthenticatedError: (
        "AuthorizationHeaderMalformed AuthorizationQueryParametersError ExpiredToken InvalidAccessKeyId "
        "InvalidSecurity InvalidToken MissingAuthenticationToken MissingSecurityHeader RequestExpired "
        "RequestTimeTooSkewed SignatureDoesNotMatch TokenRefreshRequired Unauthorized UnauthorizedAccess"
    ),
    # versitygw and MinIO keep objects as files: no object can be where another one's folder is
    InvalidPathError: (
        "DirectoryObjectContainsData ExistingObjectIsDirectory InvalidObjectName InvalidURI KeyTooLongError "
        "ObjectParentIsFile XMinioInvalidObjectName XMinioObjectExistsAsDirectory XMinioParentIsObject"
    ),
    ChecksumMismatchError: (
        "BadDigest InvalidDigest XAmzContentChecksumMismatch XAmzContentSHA256Mismatch ContentSHA256Mismatch"
    ),
    QuotaExceededError: "EntityTooLarge InsufficientCapacity QuotaExceeded StorageQuotaExceeded XMinioStorageFull",
    NotSupportedError: (
        "InvalidEncryptionAlgorithmError InvalidObjectState InvalidStorageClass InvalidTag MetadataTooLarge "
        "MethodNotAllowed NotImplemented UnsupportedArgument"
    ),
    RateLimitedError: (
        "BandwidthLimitExceeded KMS.ThrottlingException RequestLimitExceeded SlowDown SlowDownRead SlowDownWrite "
        "Throttling ThrottlingException TooManyRequests"
    ),
    StorageTimeoutError: "RequestTimeout",
    # OperationAborted and ConditionalRequestConflict: another write of the same object is under way, ask again
    StorageUnavailableError: (
        "Busy ConditionalRequestConflict IncompleteBody InternalError OperationAborted RequestTorrentOfBucketError "
        "ServiceUnavailable"
    ),
    ConfigError: "IllegalLocationConstraintException InvalidBucketName PermanentRedirect TemporaryRedirect",
}

CODES: Final[dict[str, type[StorageError]]] = {code: kind for kind, codes in _KINDS.items() for code in codes.split()}
"""Kind of every code that says more than its status."""

STATUSES: Final[dict[int, type[StorageError]]] = {
    301: ConfigError,
    307: ConfigError,
    401: UnauthenticatedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: NotSupportedError,
    408: StorageTimeoutError,
    412: PreconditionFailedError,
    413: QuotaExceededError,
    429: RateLimitedError,
    501: NotSupportedError,
    507: QuotaExceededError,
}
"""Kind of a status whose code is unknown or, as for HEAD, missing."""

_FOREIGN: Final[dict[str, type[StorageError]]] = {
    "botocore.exceptions.NoCredentialsError": UnauthenticatedError,
    "botocore.exceptions.PartialCredentialsError": UnauthenticatedError,
    "botocore.exceptions.CredentialRetrievalError": UnauthenticatedError,
    "botocore.exceptions.MetadataRetrievalError": UnauthenticatedError,
    "botocore.exceptions.RefreshWithMFAUnsupportedError": UnauthenticatedError,
    "botocore.exceptions.SSOError": UnauthenticatedError,
    "botocore.exceptions.TokenRetrievalError": UnauthenticatedError,
    "botocore.exceptions.ProfileNotFound": ConfigError,
    "botocore.exceptions.InvalidConfigError": ConfigError,
    "botocore.exceptions.ParamValidationError": NotSupportedError,
    "botocore.exceptions.ConnectTimeoutError": StorageTimeoutError,
    "botocore.exceptions.ReadTimeoutError": StorageTimeoutError,
    "botocore.exceptions.HTTPClientError": StorageUnavailableError,
    "botocore.exceptions.ConnectionError": StorageUnavailableError,
    "botocore.exceptions.IncompleteReadError": StorageUnavailableError,
    "botocore.exceptions.ResponseStreamingError": StorageUnavailableError,
    "botocore.parsers.ResponseParserError": StorageUnavailableError,
    "aiohttp.client_exceptions.ServerTimeoutError": StorageTimeoutError,
    "aiohttp.client_exceptions.ClientConnectionError": StorageUnavailableError,
    "aiohttp.client_exceptions.ClientPayloadError": StorageUnavailableError,
    "aiohttp.client_exceptions.ClientResponseError": StorageUnavailableError,
    "runtime.drivers._xml.MalformedError": StorageUnavailableError,
    "builtins.TimeoutError": StorageTimeoutError,
    "builtins.ConnectionError": StorageUnavailableError,
}
"""Kind of an SDK's exception by the name of its class: the SDKs need not be imported to ask."""


class ServiceError(Exception):
    """The service refused, or could not be reached.

    Attributes:
        status: HTTP status; None when there was no answer.
        code: S3's code; empty when there was none.
        request_id: What AWS support asks for.
        retry_after: Seconds that the service asks to wait.
        attempt: Which attempt this is the answer to; behind the first, an earlier one may have worked unseen.
        kind: What it means.
    """

    def __init__(
        self,
        status: int | None,
        code: str = "",
        message: str = "",
        *,
        request_id: str | None = None,
        retry_after: float | None = None,
        kind: type[StorageError] | None = None,
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.retry_after = retry_after
        self.attempt = 1
        self.kind = kind or kind_of(status, code)

    def __str__(self) -> str:
        facts = [f"HTTP {self.status}"] if self.status else []
        facts += [f"request {self.request_id}"] if self.request_id else []
        what = ": ".join(part for part in (self.code, self.message) if part) or self.kind.__doc__ or ""
        return f"{what} ({', '.join(facts)})" if facts else what


def kind_of(status: int | None, code: str) -> type[StorageError]:
    """The kind of an answer: by its code, else by its status."""
    if code in CODES:
        return CODES[code]
    if status in STATUSES:
        return STATUSES[status]
    unanswered = status is None and not code
    return StorageUnavailableError if unanswered or (status or 0) >= 500 else StorageError  # noqa: PLR2004 - RFC 9110


def from_answer(status: int, headers: Mapping[str, str], body: bytes) -> ServiceError:
    """The error of an answer with this status; the body may be S3's XML, a proxy's page or nothing."""
    code, message, request_id = error_fields(body)
    return ServiceError(
        status,
        code,
        message,
        request_id=request_id or headers.get("x-amz-request-id"),
        retry_after=seconds_to_wait(headers.get("retry-after", "")),
    )


def error_fields(body: bytes) -> tuple[str, str, str | None]:
    """Code, message and request id of an ``<Error>`` document; empty when *body* is something else."""
    root = _xml.parse_what_there_is(body) if body.lstrip().startswith(b"<") else None
    if root is None or _xml.local_name(root) != "Error":
        return "", "", None
    fields = {_xml.local_name(child): child.text or "" for child in root.iterchildren("{*}*")}
    return fields.get("Code", ""), fields.get("Message", ""), fields.get("RequestId")


def behind_the_end(error: ServiceError) -> bool:
    """Whether a range was refused because the object has no byte of it; an empty object has none of any range."""
    return error.code == "InvalidRange" or error.status == 416  # noqa: PLR2004 - RFC 9110: range not satisfiable


def classify(error: Exception) -> type[StorageError] | None:
    """The kind of anything that this driver or its SDKs raise; None for what is not an answer."""
    if isinstance(error, ServiceError):
        return error.kind
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's ClientError
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return kind_of(status, response.get("Error", {}).get("Code", ""))
    for base in type(error).__mro__:
        if kind := _FOREIGN.get(f"{base.__module__}.{base.__qualname__}"):
            return kind
    return None


def detail(error: Exception) -> str | None:
    """Status and code of an answer, as ``404 NoSuchKey``, or why there is none; never the service's own text."""
    if isinstance(error, WireError):
        return str(error)
    if isinstance(error, ServiceError):
        return " ".join(part for part in (str(error.status or ""), error.code) if part) or None
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        return f"{status} {response.get('Error', {}).get('Code', '')}".strip() or None
    return None
