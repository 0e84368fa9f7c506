"""Every store of an application in a svcs registry, under the types that its services ask for.

::

    async with runtime.open_storage() as storage:
        register(registry, storage)
        ...
        store = await container.aget_abstract(BlobStoreProtocol)  # the primary backend
        thumbnails = await container.aget_abstract(Annotated[BlobStoreProtocol, Named("thumbnails")])
        sessions = await container.aget_abstract(Annotated[KVStoreProtocol, Named("sessions")])

Stores are async context managers, so svcs wants ``aget``. Each answers svcs' health checks (``ServicePing.aping``). The
storage stays the application's to open and to close.
Source: https://svcs.hynek.me/en/stable/core-concepts.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from runtime.errors import StorageUnavailableError
from runtime.injection import Named
from runtime.kv.protocol import KVStoreProtocol
from runtime.protocols import BlobStoreProtocol
from runtime.registry import Storage
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcs import Registry

    from runtime.kv.base import KVStorage


def register(registry: Registry, storage: Storage) -> None:
    """Register *storage* and each of its stores, by name and, for the primary ones, without.

    Args:
        registry: What the application's containers are made from.
        storage: An opened storage.

    Raises:
        StorageUnavailableError: it is not open.
    """
    registry.register_value(Storage, storage)
    for name, store in storage.items():
        _register(registry, BlobStoreProtocol, store, name)
        _register(registry, BlobStore, store, name)
    _register(registry, BlobStoreProtocol, storage.primary)
    _register(registry, BlobStore, storage.primary)
    for name, entries in storage.kv.items():
        _register(registry, KVStoreProtocol, entries, name)
    if storage.kv:
        _register(registry, KVStoreProtocol, storage.kv.primary)


def _register(registry: Registry, kind: Any, store: BlobStore | KVStorage, name: str = "") -> None:
    registry.register_value(Annotated[kind, Named(name)] if name else kind, store, ping=_ping(store))


def _ping(store: BlobStore | KVStorage) -> Callable[[Any], Awaitable[None]]:
    async def ping(_: Any) -> None:
        result = await store.health_check()
        if not result.is_healthy():
            raise StorageUnavailableError(result.message or "the store is not healthy", backend=result.component)

    return ping
