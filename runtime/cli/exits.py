"""Exit codes: one table, used by ``tandem --help`` and by everything that ends the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.cli import INTERRUPTED
from runtime.errors import (
    ConfigError,
    InvalidOptionError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.drift import Finding

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
DENIED: Final = 4
UNAVAILABLE: Final = 5
UNKNOWN: Final = 6
PIPE_CLOSED: Final = 141

EXIT_CODES: Final = {
    0: "done",
    FAILED: "the operation failed, or a check found something unhealthy or different",
    USAGE: "wrong arguments, or a wrong or missing config",
    NOT_FOUND: "no such object, bucket or file",
    DENIED: "not allowed, or no usable credentials",
    UNAVAILABLE: "the service can not be reached, is too slow, or its package is not installed",
    UNKNOWN: "nothing differs, but --strict was given and something could not be compared",
    INTERRUPTED: "interrupted by Ctrl-C",
    PIPE_CLOSED: "the reader of the output went away (as in | head)",
}

_BY_ERROR: Final[tuple[tuple[type[Exception], int], ...]] = (
    (ConfigError, USAGE),
    (InvalidPathError, USAGE),
    (InvalidOptionError, USAGE),
    (NotFoundError, NOT_FOUND),
    (PermissionDeniedError, DENIED),
    (RateLimitedError, UNAVAILABLE),
    (StorageTimeoutError, UNAVAILABLE),
    (StorageUnavailableError, UNAVAILABLE),
    (StorageError, FAILED),
    # files of this machine
    (FileNotFoundError, NOT_FOUND),
    (PermissionError, DENIED),
)


def exit_code(error: Exception) -> int:
    """The exit code that says what kind of error it was."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), FAILED)


def of_drift(findings: Iterable[Finding], *, strict: bool) -> int:
    """The exit code of a comparison: what could not be compared is no difference, and counts with *strict* only."""
    from runtime.drift import apart  # noqa: PLC0415 - keeps pydantic out of `tandem --help`

    differing, unknown = apart(findings)
    if differing:
        return FAILED
    return UNKNOWN if strict and unknown else 0


def epilog() -> str:
    """The table as text for ``--help``; each code on a line of its own."""
    return "\n".join(["Exit codes:", *(f"{code}  {meaning}" for code, meaning in EXIT_CODES.items())])
