"""Entries in one SQLite file of this machine, for any number of processes.

The file is ``<base_path>/kv.sqlite3``, with a write-ahead log beside it. What was acknowledged outlives the end of the
process, also by ``kill -9``; with ``fsync`` also a power failure. Processes on one machine share it safely; a network
file system can not be used, as SQLite's log needs memory that processes share.
Source: https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from runtime.errors import (
    PermissionDeniedError,
    QuotaExceededError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from runtime.kv._near import LARGE, Near
from runtime.kv._sqlite import SWEEP, Worker, connect
from runtime.kv.base import KVStorage
from runtime.kv.primitives import MISSING
from runtime.kv.values import counted, decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from sqlite3 import Connection

    from runtime.config import NamedKVConfig

FILE: Final = "kv.sqlite3"

_ERRORS: Final[dict[int, type[StorageError]]] = {
    sqlite3.SQLITE_BUSY: StorageTimeoutError,
    sqlite3.SQLITE_LOCKED: StorageTimeoutError,
    sqlite3.SQLITE_FULL: QuotaExceededError,
    sqlite3.SQLITE_TOOBIG: QuotaExceededError,
    sqlite3.SQLITE_PERM: PermissionDeniedError,
    sqlite3.SQLITE_READONLY: PermissionDeniedError,
    sqlite3.SQLITE_CANTOPEN: StorageUnavailableError,
    sqlite3.SQLITE_IOERR: StorageUnavailableError,
}
"""By the primary result code; everything else (a damaged file) is a plain `StorageError`."""

_SET: Final = "REPLACE INTO entries VALUES (?, ?, ?, ?)"
_ALIVE: Final = "namespace = ? AND key = ? AND (expires IS NULL OR expires > ?)"
_FIND: Final = f"SELECT value FROM entries WHERE {_ALIVE}"  # noqa: S608 - our own words
_ADD: Final = """
INSERT INTO entries VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
SET value = excluded.value, expires = excluded.expires WHERE entries.expires <= ?
"""
_SWAP: Final = f"UPDATE entries SET value = ?, expires = ? WHERE {_ALIVE} AND value = ?"  # noqa: S608 - our own words
_ALL: Final = "SELECT key FROM entries WHERE namespace = ? AND key >= ? AND (expires IS NULL OR expires > ?)"
_SPACES: Final = "SELECT DISTINCT namespace FROM entries WHERE expires IS NULL OR expires > ?"
_IN_ONE: Final = 500
"""Keys that one statement asks for."""

_ROW: Final = 1024
"""Bytes that one of many entries counts for beside its value: a few of its pages are written again."""


class LocalStorage(KVStorage):
    """Key-value store in a file.

    Args:
        base_path: Directory of the file, made when it is not there.
        name: What the application calls the store.
        fsync: Whether every write waits for the disk, to outlive a power failure too.
        clock: Gives seconds since the epoch, the same in all processes that share the file; tests set their own.
    """

    driver = "local"

    def __init__(
        self,
        base_path: str | os.PathLike[str],
        *,
        name: str | None = None,
        fsync: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name=name)
        self.path = Path(base_path) / FILE
        self._fsync = fsync
        self._clock = clock
        self._workers: tuple[Worker, Worker] | None = None
        self._near: Near | None = None
        self._process = 0

    def _open(self) -> None:
        path, fsync, clock = self.path.absolute(), self._fsync, self._clock

        def now() -> int:
            return int(clock() * 1000)

        def open_connection() -> Connection:
            return connect(path, fsync=fsync)

        self._workers = Worker(open_connection, writes=False, now=now), Worker(open_connection, writes=True, now=now)
        self._near = Near(path, self._workers[1])
        self._process = os.getpid()
        self._finalizer = weakref.finalize(self, _stop, self._workers)

    async def _close(self) -> None:
        workers, self._workers = self._workers, None
        if workers is not None and self._process == os.getpid():
            self._close_near()
            self._finalizer()
            for worker in workers:
                await asyncio.to_thread(worker.join)

    def _read(self, job: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        return self._opened()[0][0].submit(job)

    async def _write(self, job: Callable[[Connection], Any], size: int = 0) -> Any:
        """Change a few entries, whose values have *size* bytes."""
        (_, writer), near = self._opened()
        # a disk is not waited for in the loop
        return await (writer.submit(job) if self._fsync else near.write(job, size))

    async def _write_many(self, job: Callable[[Connection], Any]) -> Any:
        """Change any number of entries."""
        return await self._write(job, LARGE)

    def _opened(self) -> tuple[tuple[Worker, Worker], Near]:
        if self._process != os.getpid():  # forked: threads do not come along, and the connections are the parent's
            self._finalizer.detach()
            self._close_near()
            self._open()
        return cast("tuple[Worker, Worker]", self._workers), cast("Near", self._near)

    def _close_near(self) -> None:
        near, self._near = self._near, None
        if near is not None:
            near.close()

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _expires(self, ttl: int | None) -> int | None:
        return None if ttl is None else min(self._now() + ttl, (1 << 63) - 1)

    async def _get(self, space: str, key: str) -> Any:
        arguments = (space, key, self._now())
        rows = self._opened()[1].find(_FIND, arguments)
        if rows is None:
            rows = await self._read(lambda db: db.execute(_FIND, arguments).fetchall())
        return rows[0][0] if rows else MISSING

    async def _set(self, space: str, key: str, stored: Any, ttl: int | None) -> None:
        await self._write(lambda db: db.execute(_SET, (space, key, stored, self._expires(ttl))), len(stored))

    async def _add(self, space: str, key: str, stored: Any, ttl: int | None) -> bool:
        def add(db: Connection) -> bool:
            return db.execute(_ADD, (space, key, stored, self._expires(ttl), self._now())).rowcount > 0

        return bool(await self._write(add, len(stored)))

    async def _swap(self, space: str, key: str, old: Any, stored: Any, ttl: int | None) -> bool:
        if old is MISSING:
            return await self._add(space, key, stored, ttl)

        def swap(db: Connection) -> bool:
            return db.execute(_SWAP, (stored, self._expires(ttl), space, key, self._now(), old)).rowcount > 0

        return bool(await self._write(swap, len(stored)))

    async def _delete(self, space: str, key: str) -> bool:
        statement = f"DELETE FROM entries WHERE {_ALIVE}"  # noqa: S608 - our own words
        return bool(await self._write(lambda db: db.execute(statement, (space, key, self._now())).rowcount > 0))

    async def _exists(self, space: str, key: str) -> bool:
        return await self._get(space, key) is not MISSING

    async def _touch(self, space: str, key: str, ttl: int | None) -> bool:
        statement = f"UPDATE entries SET expires = ? WHERE {_ALIVE}"  # noqa: S608 - our own words

        def touch(db: Connection) -> bool:
            return db.execute(statement, (self._expires(ttl), space, key, self._now())).rowcount > 0

        return bool(await self._write(touch))

    async def _incr(self, space: str, key: str, amount: int, ttl: int | None) -> int:
        def incr(db: Connection) -> int:
            row = db.execute(_FIND, (space, key, self._now())).fetchone()
            if row is None:
                db.execute(_SET, (space, key, str(amount), self._expires(ttl)))
                return amount
            total = counted(int(row[0]) if row[0].isdecimal() else decoded(row[0]), amount)
            db.execute("UPDATE entries SET value = ? WHERE namespace = ? AND key = ?", (str(total), space, key))
            return total

        return int(await self._write(incr))

    async def _get_many(self, space: str, keys: Sequence[str]) -> Mapping[str, Any]:
        def get_many(db: Connection) -> dict[str, Any]:
            found: dict[str, Any] = {}
            now = self._now()
            db.execute("BEGIN")  # all statements see one moment
            try:
                for begin in range(0, len(keys), _IN_ONE):
                    some = keys[begin : begin + _IN_ONE]
                    marks = ", ".join("?" * len(some))
                    statement = (
                        f"SELECT key, value FROM entries WHERE namespace = ? AND key IN ({marks})"  # noqa: S608 - marks
                        " AND (expires IS NULL OR expires > ?)"
                    )
                    found.update(db.execute(statement, (space, *some, now)).fetchall())
            finally:
                db.execute("ROLLBACK")
            return found

        return cast("dict[str, Any]", await self._read(get_many))

    async def _set_many(self, space: str, entries: Mapping[str, Any], ttl: int | None) -> None:
        def set_many(db: Connection) -> None:
            expires = self._expires(ttl)
            db.executemany(_SET, [(space, key, stored, expires) for key, stored in entries.items()])

        await self._write(set_many, sum(map(len, entries.values())) + len(entries) * _ROW)

    async def _keys(self, space: str, prefix: str) -> Iterable[str]:
        def keys(db: Connection) -> list[str]:
            found = []
            for (key,) in db.execute(_ALL, (space, prefix, self._now())):  # in order: the primary key's
                if not key.startswith(prefix):
                    break
                found.append(key)
            return found

        return cast("list[str]", await self._read(keys))

    async def _clear(self, space: str | None) -> None:
        if space is None:
            await self._write_many(lambda db: db.execute("DELETE FROM entries"))
        else:
            await self._write_many(lambda db: db.execute("DELETE FROM entries WHERE namespace = ?", (space,)))

    async def _namespaces(self) -> Iterable[str]:
        rows = await self._read(lambda db: db.execute(_SPACES, (self._now(),)).fetchall())
        return [space for (space,) in rows]

    async def _sweep(self) -> int:
        return int(await self._write_many(lambda db: db.execute(SWEEP, (self._now(), -1)).rowcount))

    async def _check(self) -> Mapping[str, Any]:
        await self._write_many(lambda db: db.execute("SELECT 1").fetchone())  # in a transaction: it can be written to
        size = await asyncio.to_thread(lambda: self.path.stat().st_size)
        return {"path": str(self.path), "bytes": size}

    def _error_type(self, error: Exception) -> type[StorageError] | None:
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", None)  # none on what the Python module raises itself
            return _ERRORS.get(code & 0xFF, StorageError) if code is not None else StorageError
        if isinstance(error, PermissionError):
            return PermissionDeniedError
        return StorageUnavailableError if isinstance(error, OSError) else None


def _stop(workers: Iterable[Worker]) -> None:
    for worker in workers:
        worker.stop()


def from_config(config: NamedKVConfig) -> LocalStorage:
    """The store of an entry of the contract."""
    settings = config.settings
    return LocalStorage(settings.base_path, name=config.name, fsync=settings.fsync)
