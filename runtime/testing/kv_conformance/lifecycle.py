"""Opening, closing and health."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.errors import StorageUnavailableError
from runtime.health import HealthStatus
from runtime.kv.protocol import KVStoreProtocol
from runtime.testing.kv_conformance.suite import Suite

if TYPE_CHECKING:
    from runtime.kv.base import KVStorage


class Lifecycle(Suite):
    """`connect`, `disconnect`, ``async with``, `health_check`."""

    async def test_a_store_has_the_protocol(self, kv: KVStorage) -> None:
        assert isinstance(kv, KVStoreProtocol)
        assert kv.name in repr(kv)

    async def test_connecting_twice_is_connecting_once(self, kv: KVStorage) -> None:
        await kv.set("a", 1)
        await kv.connect()
        await kv.connect()
        assert await kv.get("a") == 1

    async def test_a_disconnected_store_says_so_until_it_is_connected_again(self, kv: KVStorage) -> None:
        await kv.set("a", 1)
        await kv.disconnect()
        await kv.disconnect()
        with pytest.raises(StorageUnavailableError, match=r"disconnected.*connect\(\) first") as caught:
            await kv.get("a")
        assert (caught.value.operation, caught.value.backend, caught.value.retryable) == ("get", kv.name, False)
        async with kv as same:
            assert same is kv
            assert await kv.get("a") == 1
        with pytest.raises(StorageUnavailableError):
            await kv.set("a", 2)

    async def test_a_store_that_answers_is_healthy(self, kv: KVStorage) -> None:
        result = await kv.health_check()
        assert (result.component, result.status, result.error) == (kv.name, HealthStatus.HEALTHY, None)
        assert result.details
        assert result.details["driver"] == kv.driver
        assert result.duration_ms > 0
        assert result.checked_at is not None

    async def test_a_disconnected_store_is_not_healthy(self, kv: KVStorage) -> None:
        await kv.disconnect()
        result = await kv.health_check()
        assert result.status is HealthStatus.UNHEALTHY
        assert "disconnected" in (result.error or "")

    async def test_sweeping_leaves_what_lives(self, kv: KVStorage) -> None:
        await kv.set_many({"a": 1, "b": 1}, ttl=0)
        await kv.set("c", 1, ttl=30)
        await kv.set("d", 1)
        assert await kv.sweep() in {0, 2}, "Redis frees by itself"
        assert await kv.sweep() == 0
        assert await kv.list_keys() == ["c", "d"]
