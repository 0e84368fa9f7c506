"""An application's storage in memory, for its tests: every backend and key-value store of its config, and a clock.

::

    def test_avatar_is_kept(fake_storage):  # the fixture of runtime.testing.fixtures
        anyio.run(app.handle_upload, "u1", b"...")  # calls runtime.open_storage() as ever
        fake_storage["avatars"].assert_content("u/1.jpg", b"...")
        fake_storage.clock.advance(hours=2)
        fake_storage.kv["sessions"].assert_missing("u1")

The config is the application's own, found as `runtime.loading` says, but none of its secrets or services is needed:
only names, primaries, limits and what a backend was provisioned for are taken from it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic import ValidationError

from runtime import registry
from runtime.config import StorageConfig
from runtime.drivers.memory import MemoryDriver
from runtime.errors import ConfigError
from runtime.kv.memory import InMemoryKVStorage
from runtime.kv.stores import KVStores
from runtime.loading import declared
from runtime.models import PresignedRequest
from runtime.registry import Storage
from runtime.store import BlobStore
from runtime.validation import problems_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from runtime.config import NamedStorageConfig, StorageOperationConfig
    from runtime.driver import Capabilities
    from runtime.hooks import Hook

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_KEPT: Final = ("name", "enabled", "env", "service")
_KEPT_OF_BACKEND: Final = ("name", "primary", "expect")
_KEPT_OF_KV: Final = ("name", "primary")


class Clock:
    """The time of a fake storage; it stands still until a test moves it.

    Args:
        now: An aware time to begin at.
    """

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        """The time."""
        return self._now

    def set(self, now: datetime) -> None:
        """Let it be another time; an aware one."""
        if now.tzinfo is None:
            raise ValueError("a time without a time zone is no point in time: use datetime(…, tzinfo=UTC)")
        self._now = now.astimezone(UTC)

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let time pass."""
        self._now += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)

    def __call__(self) -> float:
        """The time as key-value stores ask for it: seconds since the epoch."""
        return self._now.timestamp()


class FakeDriver(MemoryDriver):
    """Objects in memory, at the time of a clock, with URLs that look signed and open nothing.

    Args:
        backend: The entry of the contract.
        clock: The time.
    """

    def __init__(self, backend: NamedStorageConfig, clock: Clock) -> None:
        super().__init__(backend)
        self._clock = clock
        public = bool(backend.expect and backend.expect.public)
        self.capabilities: Capabilities = replace(
            MemoryDriver.capabilities, presign=frozenset({"GET", "PUT", "HEAD", "DELETE"}), public=public
        )

    def url(self, path: str) -> str:
        """An address that nobody answers."""
        return f"https://{self.backend.name}.fake.invalid/{quote(path)}"

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        """A request that looks signed."""
        expires = self._now() + expires_in
        url = f"{self.url(path)}?method={method}&expires={int(expires.timestamp())}&signature=fake"
        headers = {"content-type": content_type} if content_type else {}
        return PresignedRequest(method=method, url=url, expires_at=expires, headers=headers)

    def _now(self) -> datetime:
        return self._clock.now()


class FakeBlobStore(BlobStore):
    """A backend in memory that tests can ask; paths as everywhere."""

    def paths(self, prefix: str = "") -> list[str]:
        """Paths of all objects that start with *prefix*, sorted."""
        return sorted(path for path in self.raw if path.startswith(prefix))

    def assert_exists(self, path: str) -> None:
        """An object is at *path*."""
        assert path in self.raw, f"{self.name} has nothing at {path!r}; it has {_some(self.paths())}"

    def assert_missing(self, path: str) -> None:
        """Nothing is at *path*."""
        assert path not in self.raw, f"{self.name} has an object at {path!r}"

    def assert_count(self, count: int, prefix: str = "") -> None:
        """So many objects have a path that starts with *prefix*."""
        paths = self.paths(prefix)
        assert len(paths) == count, f"{self.name} has {len(paths)} objects, not {count}: {_some(paths)}"

    def assert_content(self, path: str, content: bytes | str) -> None:
        """The object at *path* has exactly this content; text is UTF-8."""
        self.assert_exists(path)
        expected = content.encode() if isinstance(content, str) else content
        found: bytes = self.raw[path]
        assert found == expected, f"{self.name}/{path} holds {_shown(found)}, not {_shown(expected)}"


class FakeKVStore(InMemoryKVStorage):
    """A key-value store in memory that tests can ask, at the time of their clock."""

    def _key_list(self, namespace: str | None) -> list[str]:
        self._free(self._now())
        return sorted(self._spaces.get(namespace or "", {}))

    def assert_exists(self, key: str, namespace: str | None = None) -> None:
        """An entry that has not expired is at *key*."""
        keys = self._key_list(namespace)
        assert key in keys, f"{self.name} has nothing at {key!r}; it has {_some(keys)}"

    def assert_missing(self, key: str, namespace: str | None = None) -> None:
        """Nothing is at *key*, or it has expired."""
        assert key not in self._key_list(namespace), f"{self.name} has an entry at {key!r}"

    def assert_count(self, count: int, namespace: str | None = None) -> None:
        """The namespace has so many entries."""
        keys = self._key_list(namespace)
        assert len(keys) == count, f"{self.name} has {len(keys)} entries, not {count}: {_some(keys)}"

    def assert_content(self, key: str, value: Any, namespace: str | None = None) -> None:
        """The entry at *key* has this value."""
        self.assert_exists(key, namespace)
        entry = self._alive(namespace or "", key)
        assert entry is not None
        found = self._unpack(entry[0])
        assert found == value, f"{self.name}/{key} holds {found!r}, not {value!r}"


class FakeKVStores(KVStores):
    """The key-value stores of an application in memory."""

    def __getitem__(self, name: str) -> FakeKVStore:
        store = super().__getitem__(name)
        assert isinstance(store, FakeKVStore)
        return store


class FakeStorage(Storage):
    """All backends and key-value stores of an application in memory; open from the start, and never closed.

    Args:
        config: Names and limits.
        clock: The time.
        hooks: As of `open_storage`.

    Attributes:
        clock: The time of all its stores.
        kv: The key-value stores.
    """

    def __init__(self, config: StorageConfig, *, clock: Clock, hooks: Iterable[Hook] = ()) -> None:
        super().__init__(config, hooks=hooks)
        self.clock = clock
        stores = {kv.name: FakeKVStore(name=kv.name, clock=clock) for kv in config.kv}
        self._kv = FakeKVStores(config.kv, stores, hooks=self._hooks)
        backends = config.named_backends() if config.enabled else ()
        self._fakes = {backend.name: self._made(backend, config.service) for backend in backends}
        self._stores = dict(self._fakes)

    def _made(self, backend: NamedStorageConfig, service: StorageOperationConfig) -> FakeBlobStore:
        store = FakeBlobStore(backend, FakeDriver(backend, self.clock), service=service, hooks=self._hooks)
        store._usable = True  # noqa: SLF001 - nothing has to be opened, so a test needs no event loop to begin
        return store

    def __getitem__(self, name: str) -> FakeBlobStore:
        super().__getitem__(name)  # raises, with the names that there are
        return self._fakes[name]

    @property
    def primary(self) -> FakeBlobStore:
        """The backend without a name."""
        return self[self.config.primary.name]

    @property
    def kv(self) -> FakeKVStores:
        """The key-value stores, by name."""
        assert isinstance(self._kv, FakeKVStores)
        return self._kv

    async def close(self) -> None:
        """Wait for what hooks still do; tests look at the stores after the application has ended."""
        for hook in self._hooks:
            if (drain := getattr(hook, "drain", None)) is not None:
                await drain()

    def adopt(self, hooks: Iterable[Hook]) -> None:
        """Call the hooks that an application gives to `open_storage`, too."""
        self._hooks = (*self._hooks, *(hook for hook in hooks if hook not in self._hooks))
        for store in self._fakes.values():
            store._hooks = self._hooks  # noqa: SLF001 - as above
        self._kv.watch(self._hooks)


@contextmanager
def fake_storage(
    config: StorageConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    clock: Clock | None = None,
    hooks: Iterable[Hook] = (),
) -> Iterator[FakeStorage]:
    """The application's storage in memory; inside the block `open_storage` gives it, too.

    Args:
        config: As of `open_storage`; the application's own is found when it is left out.
        clock: The time; one that stands at the begin of 2026 when it is left out.
        hooks: As of `open_storage`.
    """
    storage = FakeStorage(fake_config(config), clock=clock or Clock(), hooks=hooks)

    def stand_in(asked: StorageConfig | Mapping[str, Any] | str | Path | None, more: tuple[Hook, ...]) -> FakeStorage:
        if asked is not None:
            _demand_same_names(fake_config(asked), storage.config)
        storage.adopt(more)
        return storage

    before = registry._stand_in  # noqa: SLF001 - the seam that is made for this
    registry._stand_in = stand_in  # noqa: SLF001 - as above
    try:
        yield storage
    finally:
        registry._stand_in = before  # noqa: SLF001 - as above


def fake_config(source: StorageConfig | Mapping[str, Any] | str | Path | None = None) -> StorageConfig:
    """A config with the names and limits of another one, and with memory in the place of every service."""
    storage = declared(source)
    kept: dict[str, Any] = {key: storage[key] for key in _KEPT if key in storage}
    for key, wanted in (("backends", _KEPT_OF_BACKEND), ("kv", _KEPT_OF_KV)):
        kept[key] = [
            {name: entry[name] for name in wanted if name in entry} | {"driver": "memory"}
            for entry in storage.get(key) or ()
        ]
    try:
        return StorageConfig.model_validate({**kept, "default_driver": "memory"})
    except ValidationError as exc:
        raise ConfigError("the storage config is wrong", problems=problems_of(exc, kept, model=StorageConfig)) from exc


def _demand_same_names(asked: StorageConfig, faked: StorageConfig) -> None:
    names, kv = {backend.name for backend in asked.named_backends()}, {store.name for store in asked.kv}
    missing = names - {backend.name for backend in faked.named_backends()} | kv - {store.name for store in faked.kv}
    if missing:
        raise ConfigError(
            f"the application opens stores that the fake does not have: {', '.join(sorted(missing))}",
            hint="give fake_storage() the config that the application gives to open_storage()",
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:10]))
    return f"{shown}, …" if len(names) > 10 else shown or "nothing"


def _shown(content: bytes) -> str:
    return f"{content[:60]!r}{f'… ({len(content):,} bytes)' if len(content) > 60 else ''}"
