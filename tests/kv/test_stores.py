"""Key-value stores of an application: opened, injected, closed with the rest of its storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Protocol

import pytest

import runtime
from runtime.errors import StorageUnavailableError, UnknownBackendError
from runtime.injection import Named
from runtime.kv import InMemoryKVStorage, KVStoreProtocol, LocalStorage, RedisKVStorage

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory


class Lexigram:
    class StorageBackendProtocol(Protocol):
        async def get(self, key: str) -> Any: ...


class Service:
    def __init__(self, flags: KVStoreProtocol, sessions: Annotated[KVStoreProtocol, Named("sessions")]) -> None:
        self.flags = flags
        self.sessions = sessions


def both(
    files: Annotated[runtime.BlobStoreProtocol, Named("same")], records: Annotated[KVStoreProtocol, Named("same")]
) -> tuple[Any, Any]:
    return files, records


def for_lexigram(kv: Annotated[Lexigram.StorageBackendProtocol | None, Named("sessions")] = None) -> Any:
    return kv


def misspelt(kv: Annotated[KVStoreProtocol, Named("session")]) -> Any:
    return kv


def unnamed(kv: KVStoreProtocol) -> Any:
    return kv


def config(*kv: dict[str, Any]) -> dict[str, Any]:
    return {"backends": [{"name": "same", "driver": "memory"}], "kv": list(kv)}


SESSIONS: dict[str, Any] = {"name": "sessions", "driver": "memory"}


async def test_stores_are_had_by_name_and_injected(tmp_path: Path) -> None:
    flags = {"name": "flags", "driver": "local", "primary": True, "local": {"base_path": str(tmp_path / "flags")}}
    async with runtime.open_storage(config(SESSIONS, flags, {"name": "same"})) as storage:
        assert list(storage.kv) == ["sessions", "flags", "same"]
        assert len(storage.kv) == 3
        assert "flags" in storage.kv
        assert isinstance(storage.kv["sessions"], InMemoryKVStorage)
        assert isinstance(storage.kv["flags"], LocalStorage)
        assert storage.kv.primary is storage.kv["flags"]
        service = storage.inject(Service)
        assert (service.flags, service.sessions) == (storage.kv["flags"], storage.kv["sessions"])
        assert storage.inject(both) == (storage["same"], storage.kv["same"])
        assert storage.inject(for_lexigram) is storage.kv["sessions"]
        assert not (tmp_path / "flags").exists(), "what is not used makes nothing"
        await service.flags.set("on", True)
        assert (tmp_path / "flags" / "kv.sqlite3").exists()


async def test_the_first_store_is_primary_where_none_is_marked() -> None:
    async with runtime.open_storage(config(SESSIONS, {"name": "b"})) as storage:
        assert storage.inject(unnamed) is storage.kv["sessions"]


async def test_an_unknown_store_fails_at_once_with_the_known_ones() -> None:
    async with runtime.open_storage(config(SESSIONS, {"name": "flags"})) as storage:
        with pytest.raises(
            UnknownBackendError, match=r"did you mean 'sessions'\?.*there are: sessions, flags"
        ) as caught:
            storage.inject(misspelt)
        assert caught.value.__notes__ == ["asked for by parameter 'kv' of misspelt"]
        with pytest.raises(KeyError):
            storage.kv["other"]


async def test_an_application_without_stores_is_told_where_to_list_them() -> None:
    async with runtime.open_storage(config()) as storage:
        with pytest.raises(UnknownBackendError, match="list one under `kv:`"):
            storage.inject(unnamed)
        with pytest.raises(UnknownBackendError, match="list it under `kv:`"):
            storage.kv["sessions"]


async def test_stores_are_closed_with_the_storage() -> None:
    async with runtime.open_storage(config(SESSIONS)) as storage:
        sessions = storage.kv["sessions"]
        await sessions.set("k", 1)
    with pytest.raises(StorageUnavailableError, match="disconnected"):
        await sessions.get("k")
    with pytest.raises(StorageUnavailableError, match="not open"):
        _ = storage.kv


async def test_health_tells_of_stores_too() -> None:
    nowhere = {"name": "same", "driver": "redis", "redis": {"url": "redis://127.0.0.1:1"}}
    async with runtime.open_storage(config(SESSIONS, nowhere)) as storage:
        health = await storage.health_check()
        assert {name: result.is_healthy() for name, result in health.items()} == {
            "same": True,
            "kv:sessions": True,
            "kv:same": False,
        }
    with pytest.raises(StorageUnavailableError, match="1 of 3 backends are not healthy"):
        async with runtime.open_storage(config(SESSIONS, nowhere), check=True):
            pass


async def test_redis_is_opened_from_the_config(server: ServerFactory) -> None:
    url = f"redis://127.0.0.1:{server('redis-server').port}/3"
    store = {"name": "sessions", "driver": "redis", "redis": {"url": url, "prefix": "shop", "timeout": 2}}
    async with runtime.open_storage(config(store), check=True) as storage:
        sessions = storage.kv["sessions"]
        assert isinstance(sessions, RedisKVStorage)
        await sessions.set("k", 1, ttl=30)
        assert await sessions.raw.get("shop::k") == "1"
