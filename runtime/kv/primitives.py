"""What a key-value store adds to the portable part in `runtime.kv.base`: the page that the author of a store reads.

Arguments are checked, values are packed. Times are whole milliseconds: ``ttl`` is how long from now, None for ever, 0
for already expired. Each method is one atomic step, but for `Primitives._clear` and `Primitives._namespaces`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from runtime.kv.values import copied, decoded, encoded, same

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runtime.errors import StorageError


class _Missing:
    """No entry; another thing than an entry that holds None."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class Primitives(ABC):
    """One store's own part."""

    def _pack(self, value: Any) -> Any:
        return encoded(value)

    def _unpack(self, stored: Any) -> Any:
        return decoded(stored)

    def _holds(self, stored: Any, value: Any) -> bool:
        """Whether `_unpack` would give *value*, which is as the caller gave it; mappings may be in another order."""
        wanted = self._pack(value)
        return bool(stored == wanted) or same(self._unpack(stored), self._unpack(wanted))

    @abstractmethod
    def _open(self) -> None:
        """Make the clients; no I/O."""

    @abstractmethod
    async def _close(self) -> None:
        """Close what `_open` made."""

    @abstractmethod
    async def _get(self, space: str, key: str) -> Any:
        """What is stored, or `MISSING`."""

    @abstractmethod
    async def _set(self, space: str, key: str, stored: Any, ttl: int | None) -> None:
        """Write one entry."""

    @abstractmethod
    async def _add(self, space: str, key: str, stored: Any, ttl: int | None) -> bool:
        """Write one entry where none is."""

    async def _swap(self, space: str, key: str, old: Any, stored: Any, ttl: int | None) -> bool:
        """Write one entry only where *old* (or, for `MISSING`, nothing) is still stored.

        For `_compare_and_set` as it is here: a store that compares where its entries are does without.
        """
        raise NotImplementedError(space, key)

    async def _compare_and_set(self, space: str, key: str, expected: Any, stored: Any, ttl: int | None) -> bool:
        """Write one entry only where `_unpack` of what is stored (or, for nothing, None) would give *expected*."""
        while True:  # each turn but the last means that somebody else wrote: all together always get on
            found = await self._get(space, key)
            if not (copied(expected) is None if found is MISSING else self._holds(found, expected)):
                return False
            if await self._swap(space, key, found, stored, ttl):
                return True

    @abstractmethod
    async def _delete(self, space: str, key: str) -> bool:
        """Remove one entry."""

    @abstractmethod
    async def _exists(self, space: str, key: str) -> bool:
        """Whether an entry is there."""

    @abstractmethod
    async def _touch(self, space: str, key: str, ttl: int | None) -> bool:
        """Give an entry another expiry."""

    @abstractmethod
    async def _incr(self, space: str, key: str, amount: int, ttl: int | None) -> int:
        """Add to a counter."""

    @abstractmethod
    async def _get_many(self, space: str, keys: Sequence[str]) -> Mapping[str, Any]:
        """What is stored at those keys, as of one moment."""

    @abstractmethod
    async def _set_many(self, space: str, entries: Mapping[str, Any], ttl: int | None) -> None:
        """Write at least one entry, all or none."""

    @abstractmethod
    async def _keys(self, space: str, prefix: str) -> Iterable[str]:
        """Keys that start with *prefix*, in any order, each once."""

    @abstractmethod
    async def _clear(self, space: str | None) -> None:
        """Remove all entries of one namespace, or of all."""

    @abstractmethod
    async def _namespaces(self) -> Iterable[str]:
        """Namespaces that have entries, each once."""

    @abstractmethod
    async def _sweep(self) -> int:
        """Remove expired entries."""

    @abstractmethod
    async def _check(self) -> Mapping[str, Any]:
        """Facts for `describe`; raises when the store can not be used."""

    def _error_type(self, error: Exception) -> type[StorageError] | None:  # noqa: ARG002 - a store that can fail does
        """The class of ours that an error of the store's library is; None for a bug."""
        return None
