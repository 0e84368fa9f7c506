"""An answer of an HTTP server, as the drivers get it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime.drivers._wire.connection import Connection

ALL: Final = 1 << 62
"""More bytes than anything has."""


class Answer:
    """An answer: its head, and its body as far as it was asked for.

    Attributes:
        status: HTTP status.
        headers: Headers by lower-case name.
        body: The whole body, where it was asked for with the request; otherwise what has come of it without
            its connection being needed any more, see `take`.
    """

    __slots__ = ("_connection", "body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes, connection: Connection | None) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._connection = connection

    async def take(self, size: int) -> bytes:
        """The next *size* bytes of the body; fewer only at its end, none behind it."""
        connection = self._connection
        if connection is not None:
            data = await connection.take(size)
            if connection.bodyless:  # taken to its end: what comes on this connection now is another one's answer
                self._connection = None
            return data
        data, self.body = self.body[:size], self.body[size:]
        return data

    async def read(self, most: int = ALL) -> bytes:
        """All that is left of the body.

        Raises:
            BadAnswerError: It has more than *most* bytes; no more are read.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            return await connection.read(most)
        data, self.body = self.body, b""
        return data

    def close(self) -> None:
        """Give up what is left of the body: its connection is closed, unless it was read to its end."""
        connection, self._connection, self.body = self._connection, None, b""
        if connection is not None:
            connection.give_up()
