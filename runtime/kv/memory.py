"""Entries in this process: for tests, and for what may be lost with it. Not for several threads at once."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from runtime.kv.base import KVStorage
from runtime.kv.primitives import MISSING
from runtime.kv.values import copied, counted, packed, packs, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runtime.config import NamedKVConfig


_Entry: TypeAlias = tuple[Any, int | None]
"""What is stored, and when it expires."""


class InMemoryKVStorage(KVStorage):
    """Key-value store in a dictionary.

    Values are copied on their way in and out: nobody shares one. The room of expired entries is freed step by step as
    entries are written: there is no task or timer.

    Args:
        name: What the application calls the store.
        clock: Gives seconds from any fixed point; tests set their own.
    """

    driver = "memory"

    def __init__(self, *, name: str | None = None, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(name=name)
        self._clock = clock
        self._spaces: dict[str, dict[str, _Entry]] = {}
        self._expiries: list[tuple[int, str, str]] = []
        """A heap of when to look at which entry; it may hold entries that have changed since."""
        self._most_expiries = 64

    def _pack(self, value: Any) -> Any:
        return packed(value)

    def _unpack(self, stored: Any) -> Any:
        return unpacked(stored)

    def _open(self) -> None:
        pass

    async def _close(self) -> None:
        pass

    async def _get(self, space: str, key: str) -> Any:
        entry = self._alive(space, key)
        return MISSING if entry is None else entry[0]

    async def _set(self, space: str, key: str, stored: Any, ttl: int | None) -> None:
        self._put(space, key, stored, ttl)

    async def _add(self, space: str, key: str, stored: Any, ttl: int | None) -> bool:
        if self._alive(space, key) is not None:
            return False
        self._put(space, key, stored, ttl)
        return True

    async def _compare_and_set(self, space: str, key: str, expected: Any, stored: Any, ttl: int | None) -> bool:
        entry = self._alive(space, key)
        if not (copied(expected) is None if entry is None else packs(entry[0], expected)):
            return False
        self._put(space, key, stored, ttl)  # nothing was awaited, so nobody wrote meanwhile
        return True

    async def _delete(self, space: str, key: str) -> bool:
        there = self._alive(space, key) is not None
        self._drop(space, key)
        return there

    async def _exists(self, space: str, key: str) -> bool:
        return self._alive(space, key) is not None

    async def _touch(self, space: str, key: str, ttl: int | None) -> bool:
        entry = self._alive(space, key)
        if entry is None:
            return False
        self._put(space, key, entry[0], ttl)
        return True

    async def _incr(self, space: str, key: str, amount: int, ttl: int | None) -> int:
        entry = self._alive(space, key)
        if entry is None:
            self._put(space, key, amount, ttl)
            return amount
        total = counted(entry[0], amount)
        self._spaces[space][key] = (total, entry[1])
        return total

    async def _get_many(self, space: str, keys: Sequence[str]) -> Mapping[str, Any]:
        return {key: entry[0] for key in keys if (entry := self._alive(space, key)) is not None}

    async def _set_many(self, space: str, entries: Mapping[str, Any], ttl: int | None) -> None:
        for key, stored in entries.items():
            self._put(space, key, stored, ttl)

    async def _keys(self, space: str, prefix: str) -> Iterable[str]:
        now = self._now()
        entries = self._spaces.get(space, {}).items()
        return [key for key, (_, expires) in entries if key.startswith(prefix) and (expires is None or expires > now)]

    async def _clear(self, space: str | None) -> None:
        if space is None:
            self._spaces.clear()
            self._expiries.clear()
        else:
            self._spaces.pop(space, None)

    async def _namespaces(self) -> Iterable[str]:
        self._free(self._now())
        return list(self._spaces)

    async def _sweep(self) -> int:
        return self._free(self._now())

    async def _check(self) -> Mapping[str, Any]:
        self._free(self._now())
        return {"entries": sum(map(len, self._spaces.values()))}

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _alive(self, space: str, key: str) -> _Entry | None:
        entries = self._spaces.get(space)
        if entries is None or (entry := entries.get(key)) is None:
            return None
        if entry[1] is not None and entry[1] <= self._now():
            self._drop(space, key)
            return None
        return entry

    def _put(self, space: str, key: str, stored: Any, ttl: int | None) -> None:
        expires = None
        if ttl is not None:
            now = self._now()
            if self._expiries and self._expiries[0][0] <= now:
                self._free(now, most=2)  # two for each that comes: it never falls behind
            expires = now + ttl
            heappush(self._expiries, (expires, space, key))
        entries = self._spaces.get(space)
        if entries is None:
            entries = self._spaces[space] = {}
        entries[key] = (stored, expires)
        if len(self._expiries) > self._most_expiries:
            self._forget_changed()

    def _drop(self, space: str, key: str) -> None:
        entries = self._spaces.get(space)
        if entries is not None and entries.pop(key, None) is not None and not entries:
            del self._spaces[space]

    def _free(self, now: int, most: int | None = None) -> int:
        freed = 0
        while self._expiries and self._expiries[0][0] <= now and most != 0:
            _, space, key = heappop(self._expiries)
            entry = self._spaces.get(space, {}).get(key)
            if entry is not None and entry[1] is not None and entry[1] <= now:
                self._drop(space, key)
                freed += 1
            if most is not None:
                most -= 1
        return freed

    def _forget_changed(self) -> None:
        """Leave only true expiries in the heap: an entry that is written again and again adds one each time."""
        self._expiries = [
            (expires, space, key)
            for space, entries in self._spaces.items()
            for key, (_, expires) in entries.items()
            if expires is not None
        ]
        heapify(self._expiries)
        self._most_expiries = 64 + 4 * len(self._expiries)


def from_config(config: NamedKVConfig) -> InMemoryKVStorage:
    """The store of an entry of the contract."""
    return InMemoryKVStorage(name=config.name)
