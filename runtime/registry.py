"""From the contract to opened backends.

A driver of ours is the module ``runtime.drivers.<name>``; another distribution registers its own under the
entry-point group ``lexigram.storage.backends``. Either is loaded only when a backend asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar, cast

import anyio

from runtime.config import DRIVERS, StorageConfig, registered_drivers
from runtime.driver import Driver
from runtime.errors import ConfigError, StorageUnavailableError
from runtime.extras import MissingDriver
from runtime.health import HealthCheckResult, HealthStatus
from runtime.injection import inject
from runtime.kv.stores import KVStores
from runtime.plugins import built_in, plugged_in
from runtime.protocols import BlobStoreProtocol
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from runtime.config import NamedStorageConfig, StorageOperationConfig
    from runtime.hooks import Hook
    from runtime.kv.base import KVStorage
    from runtime.requires import Requires
    from runtime.verifying import Verification

T = TypeVar("T")

DriverFactory: TypeAlias = Callable[["NamedStorageConfig"], Driver | BlobStoreProtocol]
"""Makes the driver of one backend: a `Driver` subclass, or a function that gives a driver or a whole store."""

CLOSE_SECONDS: Final = 10.0
"""Time that one backend has to close, also while the application is cancelled."""


class DriverRegistry:
    """Names of drivers, and what makes them.

    Args:
        drivers: Factories that come before all others, by name: to put a fake in the place of a driver.
    """

    def __init__(self, drivers: Mapping[str, DriverFactory] | None = None) -> None:
        self._drivers = dict(drivers or {})

    def register(self, name: str, factory: DriverFactory) -> None:
        """Let *factory* make the drivers called *name* in this registry."""
        self._drivers[name] = factory

    def names(self) -> list[str]:
        """Every name that can be used, ours first."""
        return list(dict.fromkeys([*registered_drivers(), *self._drivers]))

    def build(
        self,
        backend: NamedStorageConfig,
        *,
        service: StorageOperationConfig | None = None,
        hooks: Iterable[Hook] = (),
        fallback: BlobStore | None = None,
    ) -> BlobStore:
        """The store of one backend, not yet opened.

        With *fallback*, the store that its ``read_fallback`` names, it has everything that one has.

        A missing SDK is no error here: the store says what to install when it is used. A plug-in may give a
        whole store of its own; it is handed out as it is, without limits and hooks.

        Raises:
            ConfigError: there is no such driver, or a plug-in is broken.
        """
        name = backend.driver
        made: Any
        if (factory := self._drivers.get(name)) is not None:
            made = factory(backend)
        elif name in DRIVERS:
            made = built_in(backend)
        else:
            made = plugged_in(backend, self.names())
        if backend.read_fallback is not None:
            made = _over(backend, made, fallback)
        if isinstance(made, Driver | MissingDriver):
            return BlobStore(backend, cast("Driver", made), service=service, hooks=hooks)
        if isinstance(made, BlobStoreProtocol):
            return cast("BlobStore", made)
        raise ConfigError(
            f"the factory of driver {name!r} gave {type(made).__name__}, neither a Driver nor a BlobStoreProtocol",
            backend=backend.name,
        )


def _over(backend: NamedStorageConfig, new: Any, fallback: BlobStore | None) -> Driver:
    """The driver that reads from the store *fallback* what *new* does not have."""
    from runtime.fallback import FallbackDriver  # noqa: PLC0415 - most applications migrate nothing

    old = getattr(fallback, "driver", None)
    for driver, name in ((new, backend.name), (old, backend.read_fallback)):
        if not isinstance(driver, Driver | MissingDriver):
            raise ConfigError(
                f"read_fallback needs two drivers, and {name!r} has a store of its own that gives none",
                backend=backend.name,
            )
    return FallbackDriver(backend, new, cast("Driver", old))


class Storage(Mapping[str, BlobStore]):
    """All backends of one application, by name. Use it as ``async with``, or call `open` and `close`.

    Args:
        config: What was configured.
        check: Ask every backend at `open` whether it answers, and open none when one does not.
        hooks: Called around every operation, see `runtime.hooks`.
        registry: Where drivers come from.
        requires: What the application needs; `open` raises when the config does not give it.

    Attributes:
        config: What was configured.
    """

    def __init__(
        self,
        config: StorageConfig,
        *,
        check: bool = False,
        hooks: Iterable[Hook] = (),
        registry: DriverRegistry | None = None,
        requires: Requires | None = None,
    ) -> None:
        self.config = config
        self._requires = requires
        self._check = check
        self._hooks = tuple(hooks)
        self._registry = registry or DriverRegistry()
        self._stores: dict[str, BlobStore] | None = None
        self._kv = KVStores(())

    async def open(self) -> Self:
        """Open every backend. When one can not be, those already open are closed again."""
        if self._stores is not None:
            return self
        if self._requires is not None and self.config.enabled:
            self._requires.demand(self.config, self.config.name)
        backends = self.config.named_backends() if self.config.enabled else ()
        stores: dict[str, BlobStore] = {}
        for backend in sorted(backends, key=lambda backend: backend.read_fallback is not None):
            fallback = stores.get(backend.read_fallback or "")
            stores[backend.name] = self._registry.build(
                backend, service=self.config.service, hooks=self._hooks, fallback=fallback
            )
        opened: dict[str, BlobStore] = {}
        try:
            for name, store in stores.items():
                await _call(store, "open", "connect")
                opened[name] = store
            self._kv = KVStores(self.config.kv if self.config.enabled else (), hooks=self._hooks)
            if self._check:
                await self._demand_health(stores)
        except BaseException as exc:
            for name, failure in [*await self._kv.close(CLOSE_SECONDS), *await _close_all(opened)]:
                exc.add_note(f"then closing {name!r} failed too ({type(failure).__name__})")
            raise
        self._stores = {backend.name: stores[backend.name] for backend in backends}  # as configured, not as opened
        return self

    async def close(self) -> None:
        """Close every backend, the last one first, also when one fails; then the first failure is raised."""
        for hook in self._hooks:  # while the stores are open: what a hook still does may need them
            if (drain := getattr(hook, "drain", None)) is not None:
                with anyio.move_on_after(CLOSE_SECONDS, shield=True):  # or a cancelled application would close nothing
                    await drain()
        stores, self._stores = self._stores, None
        if failures := [*await self._kv.close(CLOSE_SECONDS), *await _close_all(stores or {})]:
            (_, first), *others = failures
            for name, failure in others:
                first.add_note(f"closing {name!r} failed too ({type(failure).__name__})")
            raise first

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Exception as exc:
            if error is None:
                raise
            error.add_note(f"then closing the storage failed too ({type(exc).__name__})")

    def __getitem__(self, name: str) -> BlobStore:
        store = self._open_stores().get(name)
        if store is None:
            self.config.backend(name)  # raises, with the names that there are
            raise StorageUnavailableError("the backend was added after the storage was opened", backend=name)
        return store

    def __iter__(self) -> Iterator[str]:
        return iter(self._open_stores())

    def __len__(self) -> int:
        return len(self._open_stores())

    def __contains__(self, name: object) -> bool:
        return name in self._open_stores()

    def __repr__(self) -> str:
        state = "closed" if self._stores is None else ", ".join(self._stores) or "disabled"
        return f"<Storage {self.config.name!r}: {state}>"

    @property
    def primary(self) -> BlobStore:
        """The backend without a name: the one that is marked primary, else the first."""
        self._open_stores()
        return self[self.config.primary.name]

    @property
    def kv(self) -> KVStores:
        """The key-value stores, by name; ``storage.kv.primary`` is the one without a name."""
        self._open_stores()
        return self._kv

    def inject(self, target: Callable[..., T], /, **arguments: Any) -> T:
        """Call a class or function with the stores that its annotations ask for, see `runtime.injection`.

        Args:
            target: A class, or a function; what it gives is given back.
            arguments: All parameters that are no stores and have no default.
        """
        self._open_stores()
        return inject(target, self, lambda: self.primary, arguments, self._kv)

    async def health_check(self, timeout: float | None = None) -> dict[str, HealthCheckResult]:  # noqa: ASYNC109 - as on a store
        """The health of every backend and, as ``kv:<name>``, every key-value store, asked in parallel.

        Args:
            timeout: Seconds that each has to answer; ``health_check_timeout`` of the config when left out.
        """
        return await self._health(self._open_stores(), timeout)

    async def verify(self, *, write: bool = False) -> Verification:
        """Compare every backend's promises with what its service has now, see `runtime.verifying`.

        Args:
            write: Also sign URLs of a scratch object, use them over plain HTTP, and remove it.
        """
        from runtime.verifying import verify_storage  # noqa: PLC0415 - few applications verify

        return await verify_storage(self.config, self._open_stores(), write=write)

    async def _demand_health(self, stores: Mapping[str, BlobStore]) -> None:
        results = await self._health(stores, None)
        failed = [result for result in results.values() if result.status is HealthStatus.UNHEALTHY]
        if failed:
            lines = "\n".join(f"  {result.component}: {result.error or result.message}" for result in failed)
            raise StorageUnavailableError(
                f"{len(failed)} of {len(results)} backends are not healthy\n{lines}", operation="open"
            )

    async def _health(self, stores: Mapping[str, BlobStore], timeout: float | None) -> dict[str, HealthCheckResult]:  # noqa: ASYNC109 - as on a store
        seconds = self.config.health_check_timeout if timeout is None else timeout
        results: dict[str, HealthCheckResult] = {}

        async def ask(name: str, store: BlobStore | KVStorage) -> None:
            try:
                results[name] = await store.health_check(seconds)
            except Exception as exc:  # noqa: BLE001 - only a plug-in's own store raises here, and that is its health
                results[name] = HealthCheckResult(name, HealthStatus.UNHEALTHY, error=type(exc).__name__)

        everything: dict[str, BlobStore | KVStorage] = dict(stores)
        everything |= {f"kv:{name}": store for name, store in self._kv.items()}
        async with anyio.create_task_group() as tasks:
            for name, store in everything.items():
                tasks.start_soon(ask, name, store)
        return {name: results[name] for name in everything}

    def _open_stores(self) -> dict[str, BlobStore]:
        if not self.config.enabled:
            raise ConfigError("storage is disabled", hint="set `enabled: true` in the storage config")
        if self._stores is None:
            raise StorageUnavailableError(
                "the storage is not open",
                retryable=False,
                hint="use `async with open_storage()`, or call `await storage.open()` first",
            )
        return self._stores


_stand_in: Callable[[StorageConfig | Mapping[str, Any] | str | Path | None, tuple[Hook, ...]], Storage] | None = None
"""What `open_storage` gives while a test has it so, see `runtime.testing.fakes`; never set in an application."""


def open_storage(
    config: StorageConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    check: bool = False,
    hooks: Iterable[Hook] = (),
    registry: DriverRegistry | None = None,
    requires: Requires | None = None,
) -> Storage:
    """All backends of the application, to be opened by ``async with`` (or ``await storage.open()``).

    Args:
        config: The contract as a path, a mapping or a model; without it the places of `runtime.loading` are
            looked at (``LEX_STORAGE_CONFIG``, ``storage.yaml``, the file of ``LEX_STORAGE_STACK``).
        check: Ask every backend at opening whether it answers.
        hooks: Called around every operation, see `runtime.hooks`.
        registry: Where drivers come from, to put fakes in their place.
        requires: What the application needs (`runtime.requires`); opening raises when the config does not give it.

    Raises:
        ConfigError: no config was found, or it is wrong.
    """
    if _stand_in is not None:
        return _stand_in(config, tuple(hooks))
    from runtime.loading import load_config  # noqa: PLC0415 - code that has its own config never loads it

    return Storage(load_config(config), check=check, hooks=hooks, registry=registry, requires=requires)


async def _close_all(stores: Mapping[str, BlobStore]) -> list[tuple[str, Exception]]:
    failures: list[tuple[str, Exception]] = []
    for name, store in reversed(list(stores.items())):
        try:
            with anyio.fail_after(CLOSE_SECONDS, shield=True):
                await _call(store, "close", "aclose", "disconnect")
        except Exception as exc:  # noqa: BLE001 - the others must be closed too; the caller raises it
            failures.append((name, exc))
    return failures


async def _call(store: object, *names: str) -> None:
    """Call the first method that *store* has; a plug-in's own store may have none."""
    method = next((found for name in names if callable(found := getattr(store, name, None))), None)
    if method is not None and isawaitable(result := method()):
        await result
