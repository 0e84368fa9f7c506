"""Small records by key, with an optional time to live: sessions, feature flags, counters.

::

    async with InMemoryKVStorage() as sessions:
        await sessions.set("u1", {"cart": [1, 2]}, ttl=3600)
        await sessions.get("u1")

==================  ===============================  ===================================================
class               for                              what outlives it
==================  ===============================  ===================================================
InMemoryKVStorage   tests, one process               nothing
LocalStorage        one machine, many processes      everything acknowledged, also a ``kill -9``
RedisKVStorage      many instances                   what the server keeps
==================  ===============================  ===================================================

Values are what JSON can hold, and come back equal. Files belong in a blob store, passwords and API keys in a vault.
What is the same everywhere is said in `runtime.kv.protocol` and held by `runtime.testing.kv_conformance`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.kv.local import LocalStorage
    from runtime.kv.memory import InMemoryKVStorage
    from runtime.kv.protocol import KVStoreProtocol
    from runtime.kv.redis import RedisKVStorage

__all__ = ["InMemoryKVStorage", "KVStoreProtocol", "LocalStorage", "RedisKVStorage"]

_HOME_OF = {
    "InMemoryKVStorage": "memory",
    "KVStoreProtocol": "protocol",
    "LocalStorage": "local",
    "RedisKVStorage": "redis",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
