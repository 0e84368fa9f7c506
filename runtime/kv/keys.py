"""What the arguments of every key-value store mean: keys, namespaces, lengths of time, patterns."""

from __future__ import annotations

import re
from datetime import timedelta
from fnmatch import translate
from math import ceil, isnan
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import InvalidKeyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.kv.protocol import TTL

LONGEST_KEY: Final = 1024
"""Bytes of UTF-8 of a key, and of a namespace."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_LONGEST_TTL: Final = timedelta.max.total_seconds()
_COMMON_TTL: Final = 10**9  # seconds; what is longer is looked at more closely
_WILD: Final = re.compile(r"[*?\[]")


def checked_key(key: str) -> str:
    """*key* when it can be one; never in the message, as it may be a session's secret."""
    if type(key) is str and key.isascii() and 0 < len(key) <= LONGEST_KEY:
        return key
    return _checked(key, "a key", least=1)


def checked_namespace(namespace: str | None) -> str:
    """The name of the namespace that a call means."""
    if not namespace and (namespace is None or namespace == ""):
        return ""
    return _checked(namespace, "a namespace", least=0)


def _checked(text: Any, what: str, *, least: int) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what} is text, not {type(text).__name__}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidKeyError(f"{what} must be valid Unicode: a lone surrogate has no UTF-8") from None
    if not least <= size <= LONGEST_KEY:
        raise InvalidKeyError(f"{what} has {least} to {LONGEST_KEY:,} bytes of UTF-8; this one has {size:,}")
    return str.__str__(text)


def milliseconds(ttl: TTL) -> int | None:
    """A length of time in whole milliseconds, rounded up and at least 0; None stays None."""
    if ttl is None:
        return None
    if type(ttl) is int and 0 < ttl < _COMMON_TTL:
        return ttl * 1000
    if isinstance(ttl, timedelta):
        return max(ttl // _MILLISECOND + bool(ttl % _MILLISECOND), 0)
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"ttl is a number of seconds or a timedelta, not {type(ttl).__name__}")
    if isnan(ttl):
        raise ValueError("ttl is not a number: leave it out for an entry that stays for ever")
    if ttl <= 0:
        return 0
    if ttl > _LONGEST_TTL:
        raise ValueError("ttl is too long: leave it out for an entry that stays for ever")
    # rounded first, as 0.1 * 1000 could be a little more than 100
    return ttl * 1000 if isinstance(ttl, int) else ceil(round(ttl * 1000, 6))


def matcher(pattern: str | None, prefix: str) -> tuple[str, Callable[[str], object]]:
    """What every wanted key starts with, and a function that says whether a key is wanted.

    >>> matcher("user:*", "")[0]
    'user:'
    """
    if pattern is None:
        return prefix, lambda key: key.startswith(prefix)
    wild = _WILD.search(pattern)
    head = pattern[: wild.start()] if wild else pattern
    matches = re.compile(translate(pattern)).match
    # when neither starts with the other, no key fits both, and searching by either finds none
    longer = max(head, prefix, key=len)
    return longer, lambda key: key.startswith(prefix) and matches(key)
