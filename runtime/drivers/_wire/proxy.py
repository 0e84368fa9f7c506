"""Proxies, as the environment names them: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.

A request to an ``http`` server is given to the proxy with its absolute URL; to an ``https`` server the proxy opens a
tunnel, in which it sees nothing.

Source:
    https://www.rfc-editor.org/rfc/rfc9110#name-connect
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

from runtime.drivers._wire.errors import NotConnectedError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Mapping

_MOST_HEAD: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        secure: Whether the proxy itself is spoken to through TLS.
        host: Name or address.
        port: Port.
        headers: Header lines that it wants.
    """

    secure: bool
    host: str
    port: int
    headers: tuple[str, ...] = field(default=(), repr=False)


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """The proxy through which a server is to be reached; None for none.

    Raises:
        ValueError: The environment names a proxy that is none of HTTP.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib import request  # noqa: PLC0415 - ten milliseconds of a cold start, for who has a proxy only

    environment: Any = request  # typeshed does not know proxy_bypass_environment
    proxies: Mapping[str, str] = environment.getproxies_environment()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or environment.proxy_bypass_environment(f"{host}:{port}"):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"the proxy in {scheme.upper()}_PROXY is not http://host:port or https://host:port")
    headers: tuple[str, ...] = ()
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers = (f"proxy-authorization: Basic {b64encode(user).decode()}",)
    secure = parts.scheme == "https"
    return Proxy(secure, parts.hostname, parts.port or (443 if secure else 80), headers)


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a connection to a server.

    Args:
        proxy: The proxy.
        authority: Host and port of the server.
    """

    def __init__(self, proxy: Proxy, authority: str) -> None:
        lines = (f"CONNECT {authority} HTTP/1.1", f"host: {authority}", *proxy.headers, "", "")
        self._request = "\r\n".join(lines).encode()
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._opened: Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end and len(head) <= _MOST_HEAD:
            return
        status = head.partition(b"\r\n")[0].split(b" ")[1:2]
        if not end or rest or not head.startswith(b"HTTP/1."):
            self._end(NotConnectedError("the proxy's answer is no HTTP/1.1"))
        elif status[0][:1] != b"2":
            self._end(
                NotConnectedError(f"the proxy refused the connection: {status[0].decode('ascii', 'replace')[:3]}")
            )
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(NotConnectedError("the proxy closed the connection"))

    def _end(self, error: Exception | None) -> None:
        if self._opened.done():
            return
        if error is None:
            self._opened.set_result(None)
        else:
            self._opened.set_exception(error)

    async def opened(self) -> None:
        """Wait until the proxy has connected.

        Raises:
            NotConnectedError: It has not.
        """
        try:
            await self._opened
        except BaseException:
            if self._opened.done() and not self._opened.cancelled():
                self._opened.exception()
            if self._transport is not None:
                self._transport.abort()
            raise
