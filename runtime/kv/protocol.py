"""The interface that applications are typed against; names as in lexigram-storage.

The same on every store:

* **Keys** are text of 1 to 1,024 bytes of UTF-8, any characters; ``a:b`` and ``ab`` are two keys.
* **Namespaces** never collide either, whatever is in their names. Without one (None or ``""``) a call means the default
  namespace, whose name is ``""``.
* **Values** are None, booleans, numbers, text, lists and mappings of text to such values, at most 16 MiB as JSON.
  Everything else is refused with `InvalidValueError`, so that what comes back is equal to what went in.
* **ttl** is a length of time, in seconds or as a `timedelta`, counted in whole milliseconds (rounded up). Without it an
  entry stays for ever; 0 or less means already expired. An expired entry is in no answer, of no method.
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
        """The value of *key*, None when there is none."""
        ...

    async def set(self, key: str, value: Any, ttl: TTL = None, namespace: str | None = None) -> bool:
        """Write *value*, whatever was there before, for *ttl*. Gives True; what goes wrong is raised."""
        ...

    async def add(self, key: str, value: Any, ttl: TTL = None, namespace: str | None = None) -> bool:
        """Write *value* only where nothing is, and tell whether it was written."""
        ...

    async def delete(self, key: str, namespace: str | None = None) -> bool:
        """Remove *key*, and tell whether it was there."""
        ...

    async def exists(self, key: str, namespace: str | None = None) -> bool:
        """Whether *key* is there; also where its value is None."""
        ...

    async def touch(self, key: str, ttl: TTL = None, namespace: str | None = None) -> bool:
        """Let *key* live for *ttl* from now on (None: for ever), and tell whether it was there."""
        ...

    async def incr(self, key: str, amount: int = 1, ttl: TTL = None, namespace: str | None = None) -> int:
        """Add *amount* to a whole number, from 0 where nothing is, and give the sum.

        Args:
            key: Which counter.
            amount: What to add; below 0 to subtract. Counter and amount have 64 bits.
            ttl: How long a counter lives that this call makes; one that is there keeps its own expiry.
            namespace: Where.

        Raises:
            InvalidValueError: what is there is no whole number, or the sum would need more than 64 bits.
        """
        ...

    async def compare_and_set(
        self, key: str, expected: Any, value: Any, ttl: TTL = None, namespace: str | None = None
    ) -> bool:
        """Write *value* only while `get` would answer *expected*, and tell whether it was written.

        Values are compared as JSON: mappings in any order, and ``1``, ``1.0`` and ``True`` differ.
        """
        ...

    async def get_many(self, keys: Iterable[str], namespace: str | None = None) -> dict[str, Any]:
        """The values of those *keys* that are there, in the order asked for."""
        ...

    async def set_many(self, values: Mapping[str, Any], ttl: TTL = None, namespace: str | None = None) -> bool:
        """Write all of *values* or, when something goes wrong, none. Gives True."""
        ...

    async def list_keys(
        self, pattern: str | None = None, namespace: str | None = None, *, prefix: str = ""
    ) -> list[str]:
        """The keys of one namespace, sorted by code point.

        Args:
            pattern: Shell pattern for the whole key: ``*``, ``?``, ``[abc]``, ``[!abc]``; letters by their case.
            namespace: Where.
            prefix: Only keys that start with this string, which is no pattern.
        """
        ...

    async def clear(self, namespace: str | None = None) -> bool:
        """Remove every key of a namespace; None: of all namespaces, ``""``: of the default one alone. Gives True."""
        ...

    async def namespaces(self) -> list[str]:
        """The namespaces that have keys, sorted; the default one is ``""``."""
        ...

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:  # noqa: ASYNC109 - the seed's signature
        """Whether the store answers, within *timeout* seconds. Never raises."""
        ...

    async def connect(self) -> None:
        """Make the store's clients. It is done by the first use, too."""
        ...

    async def disconnect(self) -> None:
        """Close them; what is used after that says so, until it is connected again."""
        ...
