from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from runtime.errors import ConfigError, QuotaExceededError, StorageError, StorageUnavailableError
from runtime.kv import RedisKVStorage
from runtime.testing.kv_conformance import KVConformance
from runtime.testing.servers import start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory


@pytest.fixture(scope="session")
def redis_url(server: ServerFactory) -> str:
    return f"redis://127.0.0.1:{server('redis-server').port}/0"


class TestRedis(KVConformance):
    @pytest.fixture
    async def kv(self, redis_url: str) -> AsyncIterator[RedisKVStorage]:
        store = RedisKVStorage(redis_url)
        await store.raw.flushdb()
        async with store:
            yield store
        await store.disconnect()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisKVStorage]:
    async with RedisKVStorage(redis_url) as opened:
        await opened.raw.flushdb()
        yield opened


async def test_other_clients_read_the_same_json(store: RedisKVStorage) -> None:
    await store.set("u:1", {"a": [1, "ü"]}, namespace="web:eu")
    await store.incr("n")
    assert await store.raw.get("tandem:web%3Aeu:u:1") == '{"a":[1,"\\u00fc"]}'
    assert await store.raw.get("tandem::n") == "1"


async def test_stores_with_different_prefixes_do_not_meet(store: RedisKVStorage, redis_url: str) -> None:
    await store.set("k", "mine")
    async with RedisKVStorage(redis_url, prefix="tan*") as other, RedisKVStorage(redis_url, prefix="tandem:") as third:
        await other.set("k", "theirs")
        await third.set("k", "thirds")
        assert [await each.get("k") for each in (store, other, third)] == ["mine", "theirs", "thirds"]
        await other.clear()
        await third.clear()
        assert await third.list_keys() == []
    assert await store.get("k") == "mine"


async def test_a_server_that_is_not_there_is_unavailable_and_retryable() -> None:
    async with RedisKVStorage("redis://:hunter2@127.0.0.1:1/0") as store:
        with pytest.raises(StorageUnavailableError) as caught:
            await store.set("a", 1)
        assert caught.value.retryable
        assert "hunter2" not in str(caught.value)
        result = await store.health_check()
        assert not result.is_healthy()
        assert "hunter2" not in repr(result) + repr(store)


async def test_a_type_of_somebody_else_is_an_error_of_storage(store: RedisKVStorage) -> None:
    await store.raw.rpush("tandem::k", "x")
    with pytest.raises(StorageError, match="get: "):
        await store.get("k")


async def test_a_url_of_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match="begins with one of redis, rediss, unix"):
        RedisKVStorage("http://127.0.0.1")


async def test_a_server_without_room_is_a_quota(server: ServerFactory, tmp_path: Path) -> None:
    server("redis-server")  # skipped here when it can not be had
    with start("redis-server", tmp_path) as small:
        async with RedisKVStorage(f"redis://127.0.0.1:{small.port}") as store:
            await store.raw.config_set("maxmemory", "1mb")
            with pytest.raises(QuotaExceededError):
                await store.set_many({f"k{number}": "x" * 100_000 for number in range(100)})


async def test_a_store_serves_one_event_loop_after_another(redis_url: str) -> None:
    store = RedisKVStorage(redis_url)

    async def count() -> int:
        async with store:
            return await store.incr("loops")

    await store.delete("loops")
    await store.disconnect()
    assert await asyncio.to_thread(lambda: asyncio.run(count())) == 1
    assert await asyncio.to_thread(lambda: asyncio.run(count())) == 2
