"""Entries in Redis or Valkey, for many instances of an application.

Every key of the server is ``<prefix>:<namespace>:<key>``, prefix and namespace percent-encoded, so that the first two
colons always divide them. Values are JSON text, which other clients of the server can read, and counters its own.
`clear` and `namespaces` walk over the keys of the prefix with ``SCAN``: what others write meanwhile may or may not be
seen, as Redis says; every other method is atomic. Nothing is repeated after a lost connection, as a counter could
then be counted twice: the error says ``retryable``.
Source: https://redis.io/docs/latest/commands/scan/
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from runtime.errors import (
    ConfigError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
    UnauthenticatedError,
)
from runtime.extras import install_command
from runtime.kv.base import KVStorage
from runtime.kv.primitives import MISSING
from runtime.kv.values import not_a_counter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence

    from runtime.config import NamedKVConfig

EXTRA: Final = "redis"
SCHEMES: Final = ("redis", "rediss", "unix")
PAGE: Final = 1000
"""Keys that one request walks over or removes."""

CONNECTIONS: Final = 32
"""Connections of one store; what would need more waits its turn."""

_INCR: Final = """
local there = redis.call('EXISTS', KEYS[1]) == 1
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if not there then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum
"""
"""A ttl of 0 removes the key again: PEXPIRE of 0 deletes it."""

_SWAP: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
elseif ARGV[3] == '0' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""


class RedisKVStorage(KVStorage):
    """Key-value store in Redis, Valkey, or what speaks their protocol. Needs the extra ``redis``.

    Args:
        url: ``redis://[user:password@]host[:port][/db]``, ``rediss://…`` for TLS, ``unix://path``.
        name: What the application calls the store.
        prefix: First part of every key; stores with different prefixes share a server without meeting.
        timeout: Seconds that the server has for one answer, and for taking a connection.
        password: Password, when it is not in *url*.
    """

    driver = "redis"

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        *,
        name: str | None = None,
        prefix: str = "tandem",
        timeout: float = 5.0,
        password: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if urlsplit(url).scheme not in SCHEMES:
            raise ConfigError(f"the URL of a Redis server begins with one of {', '.join(SCHEMES)}", backend=self.name)
        self._url = url
        self._password = password
        self._prefix = quote(prefix, safe="")
        self._timeout = timeout
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def raw(self) -> Any:
        """The `redis.asyncio.Redis` client of the running event loop."""
        self._demand_open()
        return self._redis()

    def _open(self) -> None:
        self._redis()

    def _redis(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:  # connections can not move to another loop
            self._client, self._loop = self._connected(), loop
            self._incr_script = self._client.register_script(_INCR)
            self._swap_script = self._client.register_script(_SWAP)
        return self._client

    def _connected(self) -> Any:
        try:
            from redis.asyncio import BlockingConnectionPool, Redis  # noqa: PLC0415 - an extra
            from redis.asyncio.retry import Retry  # noqa: PLC0415 - an extra
            from redis.backoff import NoBackoff  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as exc:
            raise StorageUnavailableError(
                f"key-value stores on Redis need the package {exc.name!r}, which is not installed",
                retryable=False,
                hint=install_command(EXTRA),
            ) from exc
        more: dict[str, Any] = {} if self._password is None else {"password": self._password}
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=CONNECTIONS,
            timeout=self._timeout,
            decode_responses=True,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            retry=Retry(NoBackoff(), 0),
            **more,
        )
        return Redis.from_pool(pool)

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _key(self, space: str, key: str) -> str:
        return f"{self._prefix}:{quote(space, safe='') if space else ''}:{key}"

    async def _get(self, space: str, key: str) -> Any:
        stored = await self._redis().get(self._key(space, key))
        return MISSING if stored is None else stored

    async def _set(self, space: str, key: str, stored: Any, ttl: int | None) -> None:
        name = self._key(space, key)
        await (self._redis().delete(name) if ttl == 0 else self._redis().set(name, stored, px=ttl))

    async def _add(self, space: str, key: str, stored: Any, ttl: int | None) -> bool:
        name = self._key(space, key)
        if ttl == 0:
            return not await self._redis().exists(name)
        return bool(await self._redis().set(name, stored, px=ttl, nx=True))

    async def _swap(self, space: str, key: str, old: Any, stored: Any, ttl: int | None) -> bool:
        if old is MISSING:
            return await self._add(space, key, stored, ttl)
        self._redis()
        arguments = [old, stored, "" if ttl is None else ttl]
        return bool(await self._swap_script(keys=[self._key(space, key)], args=arguments))

    async def _delete(self, space: str, key: str) -> bool:
        return bool(await self._redis().delete(self._key(space, key)))

    async def _exists(self, space: str, key: str) -> bool:
        return bool(await self._redis().exists(self._key(space, key)))

    async def _touch(self, space: str, key: str, ttl: int | None) -> bool:
        name = self._key(space, key)
        if ttl is not None:
            return bool(await self._redis().pexpire(name, ttl))  # 0 removes it
        async with self._redis().pipeline(transaction=True) as pipeline:
            there, _ = await pipeline.exists(name).persist(name).execute()
        return bool(there)

    async def _incr(self, space: str, key: str, amount: int, ttl: int | None) -> int:
        from redis.exceptions import ResponseError  # noqa: PLC0415 - an extra

        client, name = self._redis(), self._key(space, key)
        try:
            if ttl is None:
                return int(await client.incrby(name, amount))
            return int(await self._incr_script(keys=[name], args=[amount, ttl]))
        except ResponseError as exc:
            if type(exc) is ResponseError:  # no room, no permission, … are classes below it
                raise not_a_counter() from exc
            raise

    async def _get_many(self, space: str, keys: Sequence[str]) -> Mapping[str, Any]:
        if not keys:
            return {}
        found = await self._redis().mget([self._key(space, key) for key in keys])
        return {key: stored for key, stored in zip(keys, found, strict=True) if stored is not None}

    async def _set_many(self, space: str, entries: Mapping[str, Any], ttl: int | None) -> None:
        async with self._redis().pipeline(transaction=True) as pipeline:
            for key, stored in entries.items():
                name = self._key(space, key)
                if ttl == 0:
                    pipeline.delete(name)
                else:
                    pipeline.set(name, stored, px=ttl)
            await pipeline.execute()

    async def _keys(self, space: str, prefix: str) -> Iterable[str]:
        start = self._key(space, "")
        found = [name[len(start) :] async for page in self._pages(start + prefix) for name in page]
        return dict.fromkeys(found)  # a scan may give a key twice

    async def _clear(self, space: str | None) -> None:
        start = f"{self._prefix}:" if space is None else self._key(space, "")
        async for page in self._pages(start):
            await self._redis().unlink(*page)

    async def _namespaces(self) -> Iterable[str]:
        start = f"{self._prefix}:"
        names = [name async for page in self._pages(start) for name in page]
        return {unquote(name[len(start) :].partition(":")[0]) for name in names}

    async def _pages(self, start: str) -> AsyncIterator[list[str]]:
        pattern = "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in start) + "*"
        cursor: Any = 0
        while True:
            cursor, page = await self._redis().scan(cursor, match=pattern, count=PAGE)
            if page:
                yield page
            if not int(cursor):
                return

    async def _sweep(self) -> int:
        return 0  # the server does it

    async def _check(self) -> Mapping[str, Any]:
        facts: Awaitable[dict[str, Any]] = self._redis().info("server")
        found = await facts
        return {"server": found.get("server_name", "redis"), "version": found.get("redis_version")}

    def _error_type(self, error: Exception) -> type[StorageError] | None:
        if type(error).__module__.partition(".")[0] != "redis":
            return StorageUnavailableError if isinstance(error, OSError) else None
        from redis import exceptions  # noqa: PLC0415 - an extra

        kinds: tuple[tuple[type[Exception], type[StorageError]], ...] = (
            (exceptions.AuthenticationError, UnauthenticatedError),
            (exceptions.AuthorizationError, PermissionDeniedError),
            (exceptions.NoPermissionError, PermissionDeniedError),
            (exceptions.ReadOnlyError, PermissionDeniedError),
            (exceptions.OutOfMemoryError, QuotaExceededError),
            (exceptions.MaxConnectionsError, RateLimitedError),
            (exceptions.TimeoutError, StorageTimeoutError),
            (exceptions.ConnectionError, StorageUnavailableError),
        )
        return next((ours for theirs, ours in kinds if isinstance(error, theirs)), StorageError)


def from_config(config: NamedKVConfig) -> RedisKVStorage:
    """The store of an entry of the contract."""
    settings = config.settings
    return RedisKVStorage(
        settings.url.get_secret_value(),
        name=config.name,
        prefix=settings.prefix,
        timeout=settings.timeout,
        password=settings.password and settings.password.get_secret_value(),
    )
