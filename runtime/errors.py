"""Everything that can go wrong, as one tree.

Each class is also the builtin exception that a Python programmer would catch::

    StorageError
    ├── NotFoundError            (FileNotFoundError)
    ├── AlreadyExistsError       (FileExistsError)
    ├── PreconditionFailedError
    ├── NotModifiedError
    ├── PermissionDeniedError    (PermissionError)
    │   ├── UnauthenticatedError
    │   └── OperationRefusedError
    ├── InvalidPathError         (ValueError)
    ├── InvalidKeyError          (ValueError)     of a key-value store
    ├── InvalidValueError        (TypeError)      of a key-value store
    ├── ChecksumMismatchError
    ├── QuotaExceededError
    ├── NotSupportedError
    │   └── InvalidOptionError   (ValueError)
    ├── RateLimitedError
    ├── StorageTimeoutError      (TimeoutError)
    ├── StorageUnavailableError  (ConnectionError)
    └── ConfigError
        └── UnknownBackendError  (KeyError)

Drivers classify what their vendor raised; `runtime.store.BlobStore` translates it in one place
and keeps the original as ``__cause__``. No message holds a secret or a signed URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class StorageError(Exception):
    """Anything that storage can raise.

    Attributes:
        backend: Name of the backend, when one was involved.
        operation: The public operation that failed (``upload``, ``info``, …).
        path: Object path, when one was involved.
        retryable: Whether the same call may succeed later, unchanged.
        hint: What the reader can do about it.
    """

    retryable_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        backend: str | None = None,
        operation: str | None = None,
        path: str | None = None,
        retryable: bool | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message or (type(self).__doc__ or "").partition("\n")[0].rstrip(".")
        self.backend = backend
        self.operation = operation
        self.path = path
        self.retryable = self.retryable_by_default if retryable is None else retryable
        self.hint = hint

    def __str__(self) -> str:
        where = "/".join(_one_line(part) for part in (self.backend, self.path) if part)
        text = f"{self.operation}: {self.message}" if self.operation else self.message
        text = f"{text} [{where}]" if where else text
        return f"{text} ({self.hint})" if self.hint else text


def _one_line(text: str) -> str:
    """*text* without what would break a log line: a refused path may hold anything."""
    return text if text.isprintable() else repr(text)[1:-1]


class NotFoundError(StorageError, FileNotFoundError):
    """No object at this path, or no such bucket."""


class AlreadyExistsError(StorageError, FileExistsError):
    """An object is there already and the call asked for a new one."""


class _VersionError(StorageError):
    """An answer about the version of an object.

    Attributes:
        etag: Of the version that is there, where the answer told it.
    """

    def __init__(self, message: str = "", *, etag: str | None = None, **about: Any) -> None:
        super().__init__(message, **about)
        self.etag = etag


class PreconditionFailedError(_VersionError):
    """The object is not in the version that the call asked for."""


class NotModifiedError(_VersionError):
    """The object is still in the version that the caller has, so nothing was read."""


class PermissionDeniedError(StorageError, PermissionError):
    """The credentials are known and may not do this."""


class UnauthenticatedError(PermissionDeniedError):
    """No usable credentials: missing, expired or not accepted."""


class OperationRefusedError(PermissionDeniedError):
    """A hook of the application refused the operation; nothing was done."""


class InvalidPathError(StorageError, ValueError):
    """The path can not name an object."""


class InvalidKeyError(StorageError, ValueError):
    """The text can not be a key or a namespace of a key-value store."""


class InvalidValueError(StorageError, TypeError):
    """The value is nothing that a key-value store can hold, or count with."""


class ChecksumMismatchError(StorageError):
    """The bytes are not the ones that were announced."""


class QuotaExceededError(StorageError):
    """The service or the disk has no room left."""


class NotSupportedError(StorageError):
    """The driver can not do this, and drops nothing silently."""


class InvalidOptionError(NotSupportedError, ValueError):
    """An argument has a value that no service could honour."""


class RateLimitedError(StorageError):
    """The service asks to slow down."""

    retryable_by_default = True


class StorageTimeoutError(StorageError, TimeoutError):
    """No answer in time."""

    retryable_by_default = True


class StorageUnavailableError(StorageError, ConnectionError):
    """The service can not be reached, or its client is not installed."""

    retryable_by_default = True


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a spec or a contract.

    Attributes:
        path: Where, as a reader would type it: ``storage.backends.avatars.cors[0].origins[0]``.
        message: What is wrong, with what was found and what to do.
        allowed: What would be accepted, when that can be listed.
    """

    path: str
    message: str
    allowed: str | None = None

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text}; allowed: {self.allowed}" if self.allowed else text


class ConfigError(StorageError):
    """The spec or the contract is wrong; every problem is listed, not only the first.

    Attributes:
        source: File, variable or argument that was read.
        problems: All problems found, in the order of the document.
    """

    def __init__(
        self,
        message: str = "",
        *,
        source: str | None = None,
        problems: Iterable[Problem] = (),
        hint: str | None = None,
        backend: str | None = None,
        operation: str | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, backend=backend, operation=operation, path=path)
        self.source = source
        self.problems = tuple(problems)

    def __str__(self) -> str:
        head = f"{self.source}: {super().__str__()}" if self.source else super().__str__()
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


class UnknownBackendError(ConfigError, KeyError):
    """No backend of that name is configured."""

    __str__ = ConfigError.__str__  # KeyError would print the repr


class StorageWarning(UserWarning):
    """Something works and is probably not what was meant: a hand-edited contract, a newer one, a file passed over."""


StorageFileNotFoundError = NotFoundError  # name that lexigram-storage gave it
StorageUnsupportedOperationError = NotSupportedError  # name that lexigram-storage gave it
