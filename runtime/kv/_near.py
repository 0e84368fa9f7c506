"""SQLite in the event loop's own thread, for what takes microseconds there; everything else is the worker's.

A reader of the log waits for no writer, a row out of the system's cache takes a few microseconds, and a commit that
does not wait for the disk copies a page or two into that cache: waking a thread takes longer than either. So what tasks
write in one turn of the loop is one transaction at its end, *if* nobody holds the lock. The connection here waits for
nothing, makes nothing and moves nothing from the log to the file; what can not be had at once is left to the worker.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from runtime.kv._sqlite import APPLICATION, BATCH, FORMAT, SWEEP_SECONDS, made_by, outcome, settle

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.kv._sqlite import Job, Outcome, Worker

SLOW_SECONDS: Final = 0.02  # longer than another thread keeps the interpreter
SLOW_REST: Final = 20
"""When work here held the event loop up for `SLOW_SECONDS` twice running, threads do it for twenty times as long.

Once may be the scheduler's doing: on a busy machine a thread waits that long for a processor.
"""

LARGE: Final = 64 * 1024
"""Bytes of a job's values from which on a thread writes them."""

ALONE: Final = 16
"""Writes of a task that writes alone until the loop has its turn."""

PAGE: Final = 4096
LOG_PAGES: Final = 1000
"""Pages after which the worker writes once: its connection then moves the log into the file, as is SQLite's default."""

_PAGES: Final = 3  # of one small entry: its row, its expiry, and now and then what is above them
_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process; never closed here, as that would touch the parent's log."""


class Near:
    """The connection of the event loop's thread.

    Args:
        path: The file; it is not made here.
        worker: Does what can not be done at once.
    """

    def __init__(self, path: Path, worker: Worker) -> None:
        self._path = path
        self._worker = worker
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._thread = 0
        self._again = 0.0
        self._slow = False
        self._alone = 0
        self._waiting: list[tuple[Job, asyncio.Future[Any]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pages = 0
        self._large = False
        self._handed = 0.0

    def find(self, statement: str, arguments: tuple[object, ...]) -> list[Any] | None:
        """The rows of a short query; None when it could take long, so that a thread has to do it."""
        begin = time.perf_counter()
        if begin < self._again or (connection := self._connected()) is None:
            return None
        try:
            rows = connection.execute(statement, arguments).fetchall()
        except sqlite3.Error:  # busy with a recovery, or worse: the thread waits for it, or finds the same error
            self._drop()
            return None
        self._rest(begin)
        return rows

    async def write(self, job: Job, size: int) -> Any:
        """Have *job* done at the end of this turn of the loop, with all that is written until then.

        A task that writes alone is answered without a turn of the loop, but for every `ALONE`th time.

        Args:
            job: Changes a few entries.
            size: Bytes of its values, at least `LARGE` for one that changes many entries.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop and not self._moved(loop):
            return await self._worker.submit(job)
        self._pages += _PAGES + size // PAGE
        self._large = self._large or size >= LARGE
        if self._alone and not self._waiting and not self._is_for_the_worker():
            self._alone -= 1
            if (outcomes := self._done([job])) is not None:
                ((result, error),) = outcomes
                if error is not None:
                    raise error
                return result
        future = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((job, future))
        return await future

    def close(self) -> None:
        """Have done what waits, and close the connection; the next use opens another."""
        while self._waiting and not self._loop_ended() and self._process == os.getpid():
            self._flush()
        self._drop()

    def _moved(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Belong to *loop* from now on, when the loop before has ended."""
        if not self._loop_ended():
            return False
        self._drop()
        self._waiting, self._loop = [], loop  # what waited in a loop that has ended waits no more
        return True

    def _loop_ended(self) -> bool:
        return self._loop is None or self._loop.is_closed()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._process == os.getpid():
            connection.close()
        else:
            _inherited.append(connection)

    def _flush(self) -> None:
        if self._process != os.getpid():  # a child that took the loop over: all this is done in the parent
            return
        waiting, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if self._waiting:
            waiting[0][1].get_loop().call_soon(self._flush)
        waiting = [(job, future) for job, future in waiting if not future.done()]  # cancelled before it was begun
        self._alone = ALONE if len(waiting) == 1 else 0
        if not waiting:
            return
        outcomes = None if self._is_for_the_worker() else self._done([job for job, _ in waiting])
        if outcomes is not None:
            settle([(future, *outcome) for (_, future), outcome in zip(waiting, outcomes, strict=True)])
            return
        self._large = bool(self._waiting) and self._large
        self._pages, self._handed = 0, time.perf_counter()
        for job, future in waiting:
            self._worker.hand(job, future)

    def _is_for_the_worker(self) -> bool:
        """Whether a thread has to write: what it was given before comes first, and now and then it sweeps."""
        now = time.perf_counter()
        return (
            self._large
            or now < self._again
            or self._pages > LOG_PAGES
            or now - self._handed > SWEEP_SECONDS
            or not self._worker.idle
        )

    def _done(self, jobs: list[Job]) -> list[Outcome] | None:
        """Do *jobs* in one transaction; None when none of them was done."""
        begin = time.perf_counter()
        if (connection := self._connected()) is None:
            return None
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [outcome(connection, job, fatal=True) for job in jobs]
        except sqlite3.Error:  # another process writes, or worse
            _undo(connection)
            return None
        except BaseException:
            _undo(connection)
            raise
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as exc:
            _undo(connection)
            outcomes = [(None, exc)] * len(jobs)
        self._rest(begin)
        return outcomes

    def _rest(self, begin: float) -> None:
        slow = (taken := (end := time.perf_counter()) - begin) > SLOW_SECONDS
        if slow and self._slow:
            self._again = end + taken * SLOW_REST
        self._slow = slow

    def _connected(self) -> sqlite3.Connection | None:
        """The connection in the thread that opened it; None elsewhere, and as long as there is no file."""
        if self._connection is not None:
            return self._connection if self._thread == get_ident() else None
        if not self._path.exists():  # the worker makes it
            return None
        try:
            self._connection = _connect(self._path)
        except sqlite3.Error:
            return None
        self._thread = get_ident()
        return self._connection


def _connect(path: Path) -> sqlite3.Connection | None:
    """A connection that waits for nothing; None when the file is not made yet, or not ours, as the worker then says."""
    # closing is for whoever ends the store, in any thread; SQLite itself serializes
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        if made_by(connection) == (APPLICATION, FORMAT):
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def _undo(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with suppress(sqlite3.Error):  # some errors have ended the transaction already
            connection.execute("ROLLBACK")
