"""The promise that nothing here ever talks to a real cloud: endpoints must be on this machine."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from runtime.errors import ConfigError


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine: 127.0.0.0/8, ::1, or localhost.

    >>> is_loopback("http://127.0.0.1:4566"), is_loopback("https://s3.amazonaws.com")
    (True, False)
    """
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def require_loopback(url: object, what: str) -> str:
    """The URL, when it is on this machine.

    Args:
        url: What the program gave as an endpoint.
        what: What it is an endpoint of, for the message.

    Raises:
        ConfigError: it is missing or anywhere else.
    """
    if isinstance(url, str) and is_loopback(url):
        return url
    found = f"{url!r} is not on this machine" if url else "no endpoint is given, which means the real cloud"
    raise ConfigError(
        f"{what}: {found}; the stand-in providers talk to emulators on 127.0.0.1, ::1 or localhost only",
        hint="declare tandem:emulators in the stack, or use the pulumi CLI for a real cloud",
    )
