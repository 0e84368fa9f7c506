"""The interface that applications are typed against; names as in lexigram-storage.

The same on every store:

* **Keys** are text of 1 to 1,024 bytes of UTF-8, any characters; ``a:b`` and ``ab`` are two keys.
* **Namespaces** never collide either, whatever is in their names. Without one (None or ``""``) a call means the default
  namespace, whose name is ``""``.
* **Values** are None, booleans, numbers, text, lists and mappings of text to such values, at most 16 MiB as JSON.
  Everything else is refused with `InvalidValueError`, so that what comes back is equal to what went in.
* **ttl** is how long an entry stays, in seconds or as a `timedelta`, counted in whole milliseconds (rounded up). None
  means for ever; 0 or less means that it has expired already. No method returns an expired entry, or counts it.
* Every single-key method is atomic, also between processes, and so is `set_many`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runtime.health import HealthCheckResult

TTL: TypeAlias = float | timedelta | None
"""Seconds, a `timedelta`, or None for ever."""


@runtime_checkable
class KVStoreProtocol(Protocol):
    """One named key-value store."""

    async def get(self, key: str, namespace: str | None = None) -> Any:
        """The value of *key*, or None if it is missing.

        Args:
            key: The key.
            namespace: Namespace of the key; None for the default one.
        """
        ...

    async def set(self, key: str, value: Any, ttl: TTL = None, namespace: str | None = None) -> bool:
        """Write *value*, whatever was there before. Always returns True: what goes wrong is raised.

        Args:
            key: The key.
            value: What `get` returns from now on.
            ttl: How long it stays, in seconds or as a `timedelta`; None for ever.
            namespace: Namespace of the key; None for the default one.

        Raises:
            InvalidValueError: *value* is nothing that JSON can hold, or too large.
        """
        ...

    async def add(self, key: str, value: Any, ttl: TTL = None, namespace: str | None = None) -> bool:
        """Write *value* only if *key* is missing. Returns whether it was written."""
        ...

    async def delete(self, key: str, namespace: str | None = None) -> bool:
        """Remove *key*. Returns whether it was there."""
        ...

    async def exists(self, key: str, namespace: str | None = None) -> bool:
        """Whether *key* is there. It tells a value of None from a missing key, as `get` does not."""
        ...

    async def touch(self, key: str, ttl: TTL = None, namespace: str | None = None) -> bool:
        """Let *key* live for *ttl* from now on, for ever if that is None. Returns whether it was there."""
        ...

    async def incr(self, key: str, amount: int = 1, ttl: TTL = None, namespace: str | None = None) -> int:
        """Add *amount* to a whole number, and return the sum. A missing key counts as 0.

        Args:
            key: Key of the counter.
            amount: What to add; negative to subtract. Counter and amount have 64 bits.
            ttl: How long a counter stays that this call makes; one that is there already keeps its own expiry.
            namespace: Namespace of the key; None for the default one.

        Raises:
            InvalidValueError: the value is no whole number, or the sum would need more than 64 bits.
        """
        ...

    async def compare_and_set(
        self, key: str, expected: Any, value: Any, ttl: TTL = None, namespace: str | None = None
    ) -> bool:
        """Write *value* only if `get` would return *expected*. Returns whether it was written.

        Values are compared as JSON: the order of a mapping's keys does not count, and ``1``, ``1.0`` and ``True``
        differ.
        """
        ...

    async def get_many(self, keys: Iterable[str], namespace: str | None = None) -> dict[str, Any]:
        """The values of those *keys* that are there, in the order of *keys*."""
        ...

    async def set_many(self, values: Mapping[str, Any], ttl: TTL = None, namespace: str | None = None) -> bool:
        """Write all of *values*, or none if something goes wrong. Always returns True."""
        ...

    async def list_keys(
        self, pattern: str | None = None, namespace: str | None = None, *, prefix: str = ""
    ) -> list[str]:
        """The keys of one namespace, sorted by code point.

        Args:
            pattern: Shell pattern that the whole key has to match: ``*``, ``?``, ``[abc]``, ``[!abc]``. Upper and
                lower case differ.
            namespace: The namespace; None for the default one.
            prefix: Only keys that start with this string, taken literally.
        """
        ...

    async def clear(self, namespace: str | None = None) -> bool:
        """Remove every key of a namespace. Always returns True.

        Args:
            namespace: The namespace; ``""`` for the default one. None removes the keys of **all** namespaces.
        """
        ...

    async def namespaces(self) -> list[str]:
        """The namespaces that have keys, sorted; the default one is ``""``."""
        ...

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:  # noqa: ASYNC109 - the seed's signature
        """Whether the store answers within *timeout* seconds. Never raises: the result says what is wrong."""
        ...

    async def connect(self) -> None:
        """Make the store's clients. The first use does it, too."""
        ...

    async def disconnect(self) -> None:
        """Close the store's clients. Using the store afterwards is an error, until it is connected again."""
        ...
