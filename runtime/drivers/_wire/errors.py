"""What can go wrong between here and an HTTP server, below what the server answers.

All are ``ConnectionError`` or ``TimeoutError``, so every driver classifies them without knowing this client. No message
holds a URL, a header or a name of an object: those may carry signatures.
"""

from __future__ import annotations


class WireError(Exception):
    """No usable answer.

    Attributes:
        sent: Whether the request may have arrived: something of it was sent.
    """

    sent = True


class NotConnectedError(WireError, ConnectionError):
    """No connection was made."""

    sent = False


class NotConnectedInTimeError(WireError, TimeoutError):
    """No connection was made in time."""

    sent = False


class DisconnectedError(WireError, ConnectionError):
    """The connection was closed before the answer was whole.

    Attributes:
        answered: Whether a byte of the answer had come.
    """

    def __init__(self, *, answered: bool) -> None:
        super().__init__(f"the connection was closed {'within the answer' if answered else 'before an answer came'}")
        self.answered = answered


class BadAnswerError(WireError, ConnectionError):
    """What came is no HTTP, or more than is accepted."""


class SilentError(WireError, TimeoutError):
    """The server was silent for too long."""
