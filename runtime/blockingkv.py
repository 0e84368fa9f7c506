"""Key-value stores for code that is not async; `runtime.blocking` says how it works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from anyio.from_thread import BlockingPortal

    from runtime.health import HealthCheckResult
    from runtime.kv.base import KVStorage
    from runtime.kv.protocol import TTL
    from runtime.kv.stores import KVStores

T = TypeVar("T")


class BlockingKVStore:
    """One key-value store; every method does what its namesake in `runtime.KVStoreProtocol` does.

    Args:
        store: The store.
        portal: The thread of its event loop.
    """

    def __init__(self, store: KVStorage, portal: BlockingPortal) -> None:
        self._store = store
        self._portal = portal

    def __repr__(self) -> str:
        return f"<BlockingKVStore {self.name!r} on {self.driver}>"

    def _run(self, method: Callable[..., Coroutine[Any, Any, T]], /, *arguments: Any, **keywords: Any) -> T:
        result: T = self._portal.call(partial(method, *arguments, **keywords))
        return result

    @property
    def name(self) -> str:
        """What the application calls the store."""
        return self._store.name

    @property
    def driver(self) -> str:
        """What keeps the entries."""
        return self._store.driver

    def get(self, key: str, namespace: str | None = None) -> Any:
        """As `KVStoreProtocol.get`."""
        return self._run(self._store.get, key, namespace)

    def set(self, key: str, value: Any, ttl: TTL = None, namespace: str | None = None) -> bool:
        """As `KVStoreProtocol.set`."""
        return self._run(self._store.set, key, value, ttl, namespace)

    def add(self, key: str, value: Any, ttl: TTL = None, namespace: str | None = None) -> bool:
        """As `KVStoreProtocol.add`."""
        return self._run(self._store.add, key, value, ttl, namespace)

    def delete(self, key: str, namespace: str | None = None) -> bool:
        """As `KVStoreProtocol.delete`."""
        return self._run(self._store.delete, key, namespace)

    def exists(self, key: str, namespace: str | None = None) -> bool:
        """As `KVStoreProtocol.exists`."""
        return self._run(self._store.exists, key, namespace)

    def touch(self, key: str, ttl: TTL = None, namespace: str | None = None) -> bool:
        """As `KVStoreProtocol.touch`."""
        return self._run(self._store.touch, key, ttl, namespace)

    def incr(self, key: str, amount: int = 1, ttl: TTL = None, namespace: str | None = None) -> int:
        """As `KVStoreProtocol.incr`."""
        return self._run(self._store.incr, key, amount, ttl, namespace)

    def compare_and_set(
        self, key: str, expected: Any, value: Any, ttl: TTL = None, namespace: str | None = None
    ) -> bool:
        """As `KVStoreProtocol.compare_and_set`."""
        return self._run(self._store.compare_and_set, key, expected, value, ttl, namespace)

    def get_many(self, keys: Iterable[str], namespace: str | None = None) -> dict[str, Any]:
        """As `KVStoreProtocol.get_many`."""
        return self._run(self._store.get_many, keys, namespace)

    def set_many(self, values: Mapping[str, Any], ttl: TTL = None, namespace: str | None = None) -> bool:
        """As `KVStoreProtocol.set_many`."""
        return self._run(self._store.set_many, values, ttl, namespace)

    def list_keys(self, pattern: str | None = None, namespace: str | None = None, *, prefix: str = "") -> list[str]:
        """As `KVStoreProtocol.list_keys`."""
        return self._run(self._store.list_keys, pattern, namespace, prefix=prefix)

    def clear(self, namespace: str | None = None) -> bool:
        """As `KVStoreProtocol.clear`."""
        return self._run(self._store.clear, namespace)

    def namespaces(self) -> list[str]:
        """As `KVStoreProtocol.namespaces`."""
        return self._run(self._store.namespaces)

    def sweep(self) -> int:
        """As `KVStorage.sweep`."""
        return self._run(self._store.sweep)

    def describe(self) -> Mapping[str, Any]:
        """As `KVStorage.describe`."""
        return self._run(self._store.describe)

    def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        """As `KVStoreProtocol.health_check`."""
        return self._run(self._store.health_check, timeout)


class BlockingKVStores(Mapping[str, BlockingKVStore]):
    """The key-value stores of one application, by name.

    Args:
        stores: The stores.
        portal: The thread of their event loop.
    """

    def __init__(self, stores: KVStores, portal: BlockingPortal) -> None:
        self._stores = stores
        self._portal = portal

    def __getitem__(self, name: str) -> BlockingKVStore:
        return BlockingKVStore(self._stores[name], self._portal)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stores)

    def __len__(self) -> int:
        return len(self._stores)

    def __contains__(self, name: object) -> bool:
        return name in self._stores

    @property
    def primary(self) -> BlockingKVStore:
        """As `KVStores.primary`."""
        return BlockingKVStore(self._stores.primary, self._portal)
