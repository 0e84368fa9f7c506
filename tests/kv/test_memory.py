from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.kv import InMemoryKVStorage
from runtime.testing.kv_conformance import KVConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestMemory(KVConformance):
    @pytest.fixture
    async def kv(self) -> AsyncIterator[InMemoryKVStorage]:
        async with InMemoryKVStorage() as store:
            yield store


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def test_it_is_usable_without_connecting() -> None:
    store = InMemoryKVStorage()
    await store.set("a", 1)
    assert await store.get("a") == 1


async def test_expiry_is_exact_to_the_millisecond() -> None:
    clock = Clock()
    store = InMemoryKVStorage(clock=clock)
    await store.set("a", 1, ttl=2)
    clock.seconds += 1.999
    assert await store.get("a") == 1
    clock.seconds += 0.001
    assert await store.get("a") is None


async def test_entries_that_expire_do_not_pile_up() -> None:
    clock = Clock()
    store = InMemoryKVStorage(clock=clock)
    for number in range(5000):
        clock.seconds += 1
        await store.set(f"k{number}", number, ttl=10)
    assert sum(map(len, store._spaces.values())) <= 11
    assert len(store._expiries) <= 11


async def test_an_entry_that_is_written_again_and_again_does_not_pile_up() -> None:
    store = InMemoryKVStorage()
    for number in range(5000):
        await store.set("session", number, ttl=3600)
    assert len(store._expiries) <= 200
    assert await store.get("session") == 4999


async def test_sweep_tells_what_it_freed() -> None:
    clock = Clock()
    store = InMemoryKVStorage(clock=clock)
    await store.set_many({"a": 1, "b": 1}, ttl=1, namespace="n")
    await store.touch("b", 5, "n")
    clock.seconds += 2
    assert await store.sweep() == 1
    assert store._spaces == {"n": store._spaces["n"]}
    clock.seconds += 5
    assert await store.sweep() == 1
    assert store._spaces == {}
