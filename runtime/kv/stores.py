"""The key-value stores of one application, by name: ``storage.kv["sessions"]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio

from runtime.errors import UnknownBackendError
from runtime.kv.base import KVStorage
from runtime.validation import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.config import NamedKVConfig
    from runtime.hooks import Hook


class KVStores(Mapping[str, KVStorage]):
    """Stores by name, in the order of the config. Each connects when it is first used.

    Args:
        configs: What was configured.
        stores: Stores that are there already, by name: fakes of tests.
        hooks: Called around every operation, see `runtime.hooks`.
    """

    def __init__(
        self,
        configs: Iterable[NamedKVConfig],
        stores: Mapping[str, KVStorage] | None = None,
        *,
        hooks: tuple[Hook, ...] = (),
    ) -> None:
        self._configs = tuple(configs)
        self._stores = {config.name: made(config) for config in self._configs} if stores is None else dict(stores)
        self.watch(hooks)

    def watch(self, hooks: tuple[Hook, ...]) -> None:
        """Call *hooks*, and no others, around every operation from now on."""
        for store in self._stores.values():
            store.hooks = hooks

    def __getitem__(self, name: str) -> KVStorage:
        store = self._stores.get(name)
        if store is None:
            raise UnknownBackendError(
                f"no key-value store is called {name!r}{did_you_mean(str(name), self._stores)}",
                hint=f"there are: {', '.join(self._stores)}" if self._stores else "list it under `kv:` in the config",
            )
        return store

    def __iter__(self) -> Iterator[str]:
        return iter(self._stores)

    def __len__(self) -> int:
        return len(self._stores)

    def __contains__(self, name: object) -> bool:
        return name in self._stores

    def __repr__(self) -> str:
        return f"<KVStores: {', '.join(self._stores) or 'none'}>"

    @property
    def primary(self) -> KVStorage:
        """The store without a name: the one that is marked primary, else the first."""
        first = next((config.name for config in self._configs if config.primary), next(iter(self._stores), None))
        if first is None:
            raise UnknownBackendError(
                "the config has no key-value store", hint="list one under `kv:`, as in {name: sessions, driver: memory}"
            )
        return self._stores[first]

    async def close(self, seconds: float) -> list[tuple[str, Exception]]:
        """Disconnect all, the last one first; tells what failed.

        Args:
            seconds: Time that each one has, also while the application is cancelled.
        """
        failures: list[tuple[str, Exception]] = []
        for name, store in reversed(self._stores.items()):
            try:
                with anyio.fail_after(seconds, shield=True):
                    await store.disconnect()
            except Exception as exc:  # noqa: BLE001 - the others must be closed too; the caller raises it
                failures.append((f"kv:{name}", exc))
        return failures


def made(config: NamedKVConfig) -> KVStorage:
    """The store of one entry of the config; nothing is connected."""
    module: Any = import_module(f"runtime.kv.{config.driver}")
    store: KVStorage = module.from_config(config)
    return store
