"""The portable part of every key-value store: arguments, values, expiry, life cycle and errors, once.

A store adds its `runtime.kv.primitives`.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar

from runtime.errors import StorageError, StorageUnavailableError
from runtime.examining import examine
from runtime.kv.keys import checked_key, checked_namespace, matcher, milliseconds
from runtime.kv.primitives import MISSING, Primitives
from runtime.kv.protocol import KVStoreProtocol
from runtime.kv.suspicion import warn_of_secrets
from runtime.kv.values import checked_amount
from runtime.kv.watching import begun

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from types import TracebackType

    from runtime.health import HealthCheckResult
    from runtime.hooks import Hook, Running
    from runtime.kv.protocol import TTL

P = ParamSpec("P")
R = TypeVar("R")


_NEW, _OPEN, _CLOSED = range(3)


def _operation(
    method: Callable[Concatenate[KVStorage, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[KVStorage, P], Coroutine[Any, Any, R]]:
    """What every public method does around itself: connect at first use, translate what the store's library raises."""
    name = method.__name__

    @wraps(method)
    async def run(self: KVStorage, /, *args: P.args, **kwargs: P.kwargs) -> R:
        running: Running | None = None
        try:
            if self.hooks:
                running, arguments, keywords = begun(self, method, args, kwargs)
                self._demand_open()
                result = await method(self, *arguments, **keywords)
            else:
                if self._state != _OPEN:
                    self._demand_open()
                return await method(self, *args, **kwargs)
        except BaseException as exc:
            shown = self._translated(exc, name)
            if running is not None:
                running.end(shown, None)
            if shown is exc:
                raise
            raise shown from exc
        running.end(None, None)
        return result

    return run


class KVStorage(Primitives, KVStoreProtocol):
    """Base of the stores. `runtime.kv.protocol` says what every method does, and what it may be given.

    Args:
        name: What the application calls the store, for messages.

    Attributes:
        name: That name.
        driver: What keeps the entries: ``memory``, ``local`` or ``redis``.
        hooks: Callables that are called around every operation, see `runtime.hooks`.
    """

    driver: ClassVar[str]

    def __init__(self, *, name: str | None = None) -> None:
        self.name = name or self.driver
        self.hooks: tuple[Hook, ...] = ()
        self._state = _NEW

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    async def connect(self) -> None:
        """Make the store's clients; nothing is read or written yet. The first use does it, too."""
        if self._state != _OPEN:
            self._open()
            self._state = _OPEN

    async def disconnect(self) -> None:
        """Close the store's clients; a second call does nothing. Using the store afterwards is an error."""
        was, self._state = self._state, _CLOSED
        if was == _OPEN:
            await self._close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    @_operation
    async def get(self, key: str, namespace: str | None = None) -> Any:
        """The value of *key*, or None if it is missing."""
        stored = await self._get(checked_namespace(namespace), checked_key(key))
        return None if stored is MISSING else self._unpack(stored)

    @_operation
    async def set(self, key: str, value: Any, ttl: TTL = None, namespace: str | None = None) -> bool:
        """Write *value*, whatever was there before. Always returns True: what goes wrong is raised."""
        space, name, stored = checked_namespace(namespace), checked_key(key), self._pack(value)
        warn_of_secrets(self.name, name, value)
        await self._set(space, name, stored, milliseconds(ttl))
        return True

    @_operation
    async def add(self, key: str, value: Any, ttl: TTL = None, namespace: str | None = None) -> bool:
        """Write *value* only if *key* is missing. Returns whether it was written."""
        space, name, stored = checked_namespace(namespace), checked_key(key), self._pack(value)
        warn_of_secrets(self.name, name, value)
        return await self._add(space, name, stored, milliseconds(ttl))

    @_operation
    async def delete(self, key: str, namespace: str | None = None) -> bool:
        """Remove *key*. Returns whether it was there."""
        return await self._delete(checked_namespace(namespace), checked_key(key))

    @_operation
    async def exists(self, key: str, namespace: str | None = None) -> bool:
        """Whether *key* is there. It tells a value of None from a missing key, as `get` does not."""
        return await self._exists(checked_namespace(namespace), checked_key(key))

    @_operation
    async def touch(self, key: str, ttl: TTL = None, namespace: str | None = None) -> bool:
        """Let *key* live for *ttl* from now on, for ever if that is None. Returns whether it was there."""
        return await self._touch(checked_namespace(namespace), checked_key(key), milliseconds(ttl))

    @_operation
    async def incr(self, key: str, amount: int = 1, ttl: TTL = None, namespace: str | None = None) -> int:
        """Add *amount* to a whole number, and return the sum. A missing key counts as 0.

        *ttl* is for a counter that this call makes; one that is there already keeps its own expiry.
        """
        space, name = checked_namespace(namespace), checked_key(key)
        return await self._incr(space, name, checked_amount(amount), milliseconds(ttl))

    @_operation
    async def compare_and_set(
        self, key: str, expected: Any, value: Any, ttl: TTL = None, namespace: str | None = None
    ) -> bool:
        """Write *value* only if `get` would return *expected*. Returns whether it was written."""
        space, name, stored = checked_namespace(namespace), checked_key(key), self._pack(value)
        warn_of_secrets(self.name, name, value)
        return await self._compare_and_set(space, name, expected, stored, milliseconds(ttl))

    @_operation
    async def get_many(self, keys: Iterable[str], namespace: str | None = None) -> dict[str, Any]:
        """The values of those *keys* that are there, in the order of *keys*."""
        space, names = checked_namespace(namespace), [checked_key(key) for key in _several(keys)]
        found = await self._get_many(space, list(dict.fromkeys(names)))
        return {name: self._unpack(found[name]) for name in names if name in found}

    @_operation
    async def set_many(self, values: Mapping[str, Any], ttl: TTL = None, namespace: str | None = None) -> bool:
        """Write all of *values*, or none if something goes wrong. Always returns True."""
        space, length = checked_namespace(namespace), milliseconds(ttl)
        stored = self._packed_all(values)
        for name, value in values.items():
            warn_of_secrets(self.name, name, value)
        if stored:
            await self._set_many(space, stored, length)
        return True

    @_operation
    async def list_keys(
        self, pattern: str | None = None, namespace: str | None = None, *, prefix: str = ""
    ) -> list[str]:
        """The keys of one namespace, sorted by code point; see the protocol for *pattern*."""
        start, wanted = matcher(pattern, prefix)
        keys = await self._keys(checked_namespace(namespace), start)
        return sorted(key for key in keys if wanted(key))

    @_operation
    async def clear(self, namespace: str | None = None) -> bool:
        """Remove every key of *namespace*; see the protocol for None. Always returns True."""
        await self._clear(None if namespace is None else checked_namespace(namespace))
        return True

    @_operation
    async def namespaces(self) -> list[str]:
        """The namespaces that have keys, sorted; the default one is ``""``."""
        return sorted(await self._namespaces())

    @_operation
    async def sweep(self) -> int:
        """Free the space of all expired entries now. Returns their number.

        Writing frees it step by step anyway, and expired entries are in no answer before that either.
        """
        return await self._sweep()

    @_operation
    async def describe(self) -> Mapping[str, Any]:
        """What the store says of itself, for people and logs; raises when the store can not be used."""
        return {"driver": self.driver, **await self._check()}

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:  # noqa: ASYNC109 - the seed's signature
        """Whether the store answers within *timeout* seconds. Never raises: the result says what is wrong."""
        return await examine(self.name, self.driver, self.describe, seconds=timeout, bug="an error in the store")

    def _packed_all(self, values: Mapping[str, Any]) -> dict[str, Any]:
        stored: dict[str, Any] = {}
        for number, (key, value) in enumerate(values.items(), start=1):
            try:
                stored[checked_key(key)] = self._pack(value)
            except StorageError as exc:  # which one: by its place, as a key may be a session's secret
                exc.message = f"entry {number} of {len(values)}: {exc.message}"
                raise
        return stored

    def _demand_open(self) -> None:
        if self._state == _CLOSED:
            raise StorageUnavailableError("the store was disconnected", retryable=False, hint="call connect() first")
        if self._state == _NEW:
            self._open()
            self._state = _OPEN

    def _translated(self, error: BaseException, operation: str) -> BaseException:
        if not isinstance(error, Exception):
            return error
        if isinstance(error, StorageError):
            error.backend = error.backend or self.name
            error.operation = error.operation or operation
            return error
        kind = self._error_type(error)
        if kind is None:
            return error
        # neither the key nor the library's text: a key may be a session's secret, a text may hold a password
        return kind(f"{kind().message}: {type(error).__name__}", backend=self.name, operation=operation)


def _several(keys: Iterable[str]) -> Iterable[str]:
    if isinstance(keys, str):
        raise TypeError("get_many takes several keys, not one string")
    return keys
