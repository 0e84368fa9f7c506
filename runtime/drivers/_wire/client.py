"""The HTTP/1.1 client of the drivers: connections to one server, kept and used again.

It sends what it is given and gives what comes: no redirect is followed, nothing is decompressed, no cookie is kept,
nothing in a URL is normalised. Retries and signatures are the drivers' own; only a kept connection that turns out
to be closed is replaced here. Why it is ours is in `runtime/DESIGN.md`.

Source:
    https://www.rfc-editor.org/rfc/rfc9110
    https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from runtime.drivers._wire.connection import Connection
from runtime.drivers._wire.errors import DisconnectedError, NotConnectedError, NotConnectedInTimeError
from runtime.drivers._wire.proxy import Proxy, Tunnel, proxy_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.driver import Bytes
    from runtime.drivers._wire.answer import Answer

CONNECT_SECONDS: Final = 5.0
EYEBALLS_SECONDS: Final = 0.25
"""Seconds before the next address of a host is tried beside the one before. Source: RFC 8305, section 5."""

FRESH_SECONDS: Final = 4.0
"""Seconds of rest after which a request that must not be sent twice gets a new connection: no server closes sooner."""

MOST_BODY: Final = 64 * 1024 * 1024
"""Bytes of an answer that is not an object."""

_WITH_BODY: Final = frozenset({"PATCH", "POST", "PUT"})
_CLOSING_STEPS: Final = 8
_PORTS: Final = {"http": 80, "https": 443}


class Wire:
    """Connections to one server.

    Args:
        scheme: ``http`` or ``https``.
        netloc: Host and port, as in a URL.
        silence: Seconds of silence after which an exchange is given up; None for any.
        connect_seconds: Longest time to connect.
        ca_file: Certificates to trust, in a file; None for those that the machine trusts.
    """

    def __init__(
        self,
        scheme: str,
        netloc: str,
        *,
        silence: float | None,
        connect_seconds: float = CONNECT_SECONDS,
        ca_file: str | None = None,
    ) -> None:
        parts = urlsplit(f"//{netloc}")
        if scheme not in _PORTS or not parts.hostname or parts.username is not None:
            raise ValueError("a server is http://host:port or https://host:port")
        self._host = parts.hostname
        self._port = parts.port or _PORTS[scheme]
        self._tls = scheme == "https"
        self._name = netloc
        self._silence = silence
        self._connect_seconds = connect_seconds
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._proxy = proxy_for(scheme, self._host, self._port)
        self._absolute = f"http://{netloc}" if self._proxy is not None and not self._tls else ""
        self._added = [f"{line}\r\n" for line in self._proxy.headers] if self._absolute and self._proxy else []
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()

    async def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Sequence[Bytes] = (),
        *,
        whole: bool = True,
        most: int = MOST_BODY,
        twice: bool = False,
    ) -> Answer:
        """Send one request.

        Args:
            method: HTTP method.
            target: Path and query, encoded.
            headers: Headers by lower-case name; ``content-length`` is added where there is a body, or could be.
            body: Buffers that make up the body.
            whole: Whether to wait for the whole body of the answer.
            most: Bytes that it may have then.
            twice: Whether the request may be sent a second time when a kept connection breaks before any byte of an
                answer, in which case the first may have arrived.

        Raises:
            WireError: There is no usable answer.
            ValueError: *target* or a header holds what would end it.
        """
        head = self._head(method, target, headers, body)
        bodyless = method == "HEAD"
        connection = self._kept(twice=twice)
        if connection is not None:
            try:
                return await connection.exchange(head, body, bodyless=bodyless, whole=whole, most=most)
            except DisconnectedError as exc:
                if exc.answered or not twice:
                    raise
        connection = await self._connected()
        return await connection.exchange(head, body, bodyless=bodyless, whole=whole, most=most)

    def _head(self, method: str, target: str, headers: Mapping[str, str], body: Sequence[Bytes]) -> bytes:
        if " " in target or not target.isascii():
            raise ValueError("the target of a request is not encoded")
        lines = [f"{method} {self._absolute}{target} HTTP/1.1\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
        lines += self._added
        if body or method in _WITH_BODY:
            lines.append(f"content-length: {sum(memoryview(part).nbytes for part in body)}\r\n")
        text = "".join(lines)
        if not text.count("\n") == text.count("\r") == len(lines) or "\0" in text:
            raise ValueError("a header of a request holds a line break or a NUL")
        return f"{text}\r\n".encode()

    def _kept(self, *, twice: bool) -> Connection | None:
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.open:
                if not twice and connection.rested > FRESH_SECONDS:
                    idle.append(connection)
                    return None
                return connection
        return None

    async def _connected(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                connection = await (self._connect() if self._proxy is None else self._connect_through(self._proxy))
        except TimeoutError:
            raise NotConnectedInTimeError(f"no connection within {self._connect_seconds:g} s") from None
        except NotConnectedError:
            raise
        except OSError as exc:
            raise NotConnectedError(f"no connection to the server ({_reason(exc)})") from exc
        self._open.add(connection)
        return connection

    def _made(self) -> Connection:
        return Connection(self._silence, self._idle.append, self._lost)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            self._made,
            self._host,
            self._port,
            ssl=self._tls_context() if self._tls else None,
            # an address has nothing to race with; and a race that is cancelled may forget a socket (CPython 3.11)
            happy_eyeballs_delay=None if self._host[-1].isdigit() or ":" in self._host else EYEBALLS_SECONDS,
        )
        return connection

    async def _connect_through(self, proxy: Proxy) -> Connection:
        loop = asyncio.get_running_loop()
        context = self._tls_context() if proxy.secure else None
        if not self._tls:
            _, plain = await loop.create_connection(self._made, proxy.host, proxy.port, ssl=context)
            return plain
        authority = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        transport, tunnel = await loop.create_connection(
            lambda: Tunnel(proxy, authority), proxy.host, proxy.port, ssl=context
        )
        await tunnel.opened()
        connection = self._made()
        try:
            secured = await loop.start_tls(transport, connection, self._tls_context(), server_hostname=self._host)
        except BaseException:
            transport.abort()
            raise
        if secured is None:
            raise NotConnectedError("the connection was closed")
        connection.connection_made(secured)
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            try:  # where no file is given, OpenSSL itself heeds SSL_CERT_FILE and SSL_CERT_DIR
                context = ssl.create_default_context(cafile=self._ca_file)
            except OSError as exc:
                raise NotConnectedError(f"the file of certificates can not be read ({_reason(exc)})") from exc
            context.set_alpn_protocols(["http/1.1"])
            self._context = context
        return self._context

    async def close(self) -> None:
        """Close every connection, also those in use."""
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()
        for _ in range(_CLOSING_STEPS):
            if not self._open:
                break
            await asyncio.sleep(0)  # the event loop closes the sockets


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or type(error).__name__)
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__
