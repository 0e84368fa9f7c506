"""Why a server is not there, in two cases that a test suite must tell apart."""

from __future__ import annotations

from runtime.errors import StorageUnavailableError


class ServerUnavailableError(StorageUnavailableError):
    """The server is not installed here, and can not be installed."""

    retryable_by_default = False


class ServerFailedError(StorageUnavailableError):
    """The server is installed and did not start."""

    retryable_by_default = False


class PortTakenError(ServerFailedError):
    """Somebody else listens on the port that the server was to have."""
