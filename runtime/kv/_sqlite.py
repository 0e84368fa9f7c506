"""The threads that talk to SQLite for `runtime.kv.local`; `runtime.kv._near` is what does without them.

A job is a function of a connection. A thread takes all jobs that are waiting and, when it is the one that writes, does
them in one transaction: many tasks that write at once pay for one commit. A job is answered after that commit.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from runtime.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
APPLICATION: Final = 0x544B5631  # "TKV1", in the file's header
BUSY_SECONDS: Final = 30.0
"""How long a process waits for others that write."""

BATCH: Final = 256
SWEEP_SECONDS: Final = 1.0
SWEEP_ROWS: Final = 500
"""Expired rows that one transaction removes beside its own work, at most every `SWEEP_SECONDS`."""

LONGEST_LOG: Final = 32 * 1024 * 1024
"""Bytes of the log from which on writers wait until it is in the file: while several processes write without a pause,
SQLite's own checkpoints never find a moment in which they could begin it anew."""

SHORTEN_MS: Final = 200
"""Milliseconds that this waits for readers, at most every `SWEEP_SECONDS`."""

SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entries (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires INTEGER,
    PRIMARY KEY (namespace, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires) WHERE expires IS NOT NULL;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
COMMIT;
"""

SWEEP: Final = """
DELETE FROM entries WHERE (namespace, key) IN (SELECT namespace, key FROM entries WHERE expires <= ? LIMIT ?)
"""

Job: TypeAlias = Callable[[sqlite3.Connection], Any]
_Waiting: TypeAlias = tuple[Job, asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
Outcome: TypeAlias = tuple[Any, BaseException | None]
"""What a job gave, or what it raised."""

Answer: TypeAlias = tuple["asyncio.Future[Any]", Any, BaseException | None]


class ForeignFileError(StorageError):
    """The file is a database of something else, or of a newer release."""


def connect(path: Path, *, fsync: bool) -> sqlite3.Connection:
    """A connection to the database at *path*, made with its directory when it is not there.

    Args:
        path: The file.
        fsync: Whether a commit waits for the disk, so that it outlives a power failure and not only a crash.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _prepare(connection, path)
        connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    application, version = made_by(connection)
    if (application, version) == (APPLICATION, FORMAT):
        return
    if application == APPLICATION:
        raise ForeignFileError(f"{path} has format {version}, this release knows {FORMAT}: upgrade tandem-storage")
    if connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() and not _ours(connection):
        raise ForeignFileError(f"{path} is a database of something else")
    _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
    connection.executescript(SCHEMA)


def made_by(connection: sqlite3.Connection) -> tuple[int, int]:
    """Application and format that the file's header names."""
    # in this order: both are written in one transaction, so a file that is ours already has its version too
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _ours(connection: sqlite3.Connection) -> bool:
    """Whether another process has made the schema since the header was read."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    return bool(application == APPLICATION)


def _patiently(action: Callable[[], object]) -> None:
    """Repeat what SQLite refuses at once while another process does the same: the busy timeout is not for it."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            action()
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


class _Count:
    """How many jobs were handed over and are not done."""

    def __init__(self) -> None:
        self.jobs = 0
        self._lock = Lock()

    def add(self, jobs: int) -> None:
        with self._lock:
            self.jobs += jobs


class Worker:
    """One thread with one connection.

    Args:
        open_connection: Makes the connection, in the thread, when the first job comes.
        writes: Whether jobs change anything, and so are done in transactions.
        now: Gives the time in milliseconds, for the sweeper.
    """

    def __init__(
        self, open_connection: Callable[[], sqlite3.Connection], *, writes: bool, now: Callable[[], int]
    ) -> None:
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._count = _Count()
        name = f"tandem-kv-{'writer' if writes else 'reader'}"
        arguments = (self._queue, self._count, open_connection, now if writes else None)
        # a daemon: a store that nobody closes must not keep the process from ending
        self._thread = Thread(target=_work, args=arguments, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Have *job* done; the future is of the running event loop."""
        future = asyncio.get_running_loop().create_future()
        self.hand(job, future)
        return future

    def hand(self, job: Job, future: asyncio.Future[Any]) -> None:
        """Have *job* done, and *future* told how it went."""
        self._count.add(1)
        self._queue.put((job, future.get_loop(), future))

    @property
    def idle(self) -> bool:
        """Whether all jobs that were handed over are done: a transaction that begins now comes after them."""
        return self._count.jobs == 0

    def stop(self) -> None:
        """End the thread after the jobs that were submitted before."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait until it has ended; blocks."""
        self._thread.join()


def _work(
    queue: SimpleQueue[_Waiting | None],
    count: _Count,
    open_connection: Callable[[], sqlite3.Connection],
    sweeper: Callable[[], int] | None,
) -> None:
    """The thread's whole life. While it waits it holds no job, and so no store: a forgotten store can go."""
    connection: sqlite3.Connection | None = None
    swept = time.monotonic()
    try:
        while waiting := _batch(queue):
            more = waiting[-1] is not None
            jobs = [job for job in waiting if job is not None]
            try:
                connection = connection or open_connection()
            except Exception as exc:  # noqa: BLE001 - whoever waits raises it; the next job tries again
                count.add(-len(jobs))
                _answer([(loop, (future, None, exc)) for _, loop, future in jobs])
            else:
                due = sweeper is not None and time.monotonic() - swept > SWEEP_SECONDS
                if due:
                    swept = time.monotonic()
                answers = _done(connection, jobs, sweeper, due=due)
                count.add(-len(jobs))
                _answer(answers)
                del answers
                if due:
                    _shorten_log(connection)
            waiting, jobs = [], []
            if not more:
                return
    finally:
        if connection is not None:
            connection.close()


def _shorten_log(connection: sqlite3.Connection) -> None:
    """Move the whole log into the file when it has grown too long; whoever reads what is in it is hardly waited for."""
    with suppress(OSError, sqlite3.Error):  # not now, then the next time; the thread goes on whatever there is
        (_, _, path) = connection.execute("PRAGMA database_list").fetchone()
        if os.stat(f"{path}-wal").st_size > LONGEST_LOG:  # noqa: PTH116 - one call of the system
            connection.execute(f"PRAGMA busy_timeout = {SHORTEN_MS}")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")


def _batch(queue: SimpleQueue[_Waiting | None]) -> list[_Waiting | None]:
    """All jobs that wait, at least one; None is the last. Nothing when None came first."""
    waiting = [queue.get()]
    with suppress(Empty):
        while waiting[-1] is not None and len(waiting) < BATCH:
            waiting.append(queue.get_nowait())
    return [] if waiting == [None] else waiting


def _done(
    connection: sqlite3.Connection, waiting: list[_Waiting], sweeper: Callable[[], int] | None, *, due: bool
) -> list[tuple[asyncio.AbstractEventLoop, Answer]]:
    answers: list[tuple[asyncio.AbstractEventLoop, Answer]] = []
    try:
        if sweeper is not None:
            connection.execute("BEGIN IMMEDIATE")
        for job, loop, future in waiting:
            answers.append((loop, (future, *outcome(connection, job, fatal=sweeper is not None))))
        if sweeper is not None:
            if due:
                connection.execute(SWEEP, (sweeper(), SWEEP_ROWS))
            connection.execute("COMMIT")
    except Exception as exc:  # noqa: BLE001 - whoever waits raises it: nothing of this transaction is kept
        with suppress(sqlite3.Error):  # some errors have ended the transaction already
            connection.execute("ROLLBACK")
        return [(loop, (future, None, exc)) for _, loop, future in waiting]
    return answers


def outcome(connection: sqlite3.Connection, job: Job, *, fatal: bool) -> Outcome:
    """What a job gave or raised; an error of SQLite in a transaction is one of all its jobs."""
    try:
        return job(connection), None
    except sqlite3.Error as exc:
        if fatal:
            raise
        return None, exc
    except Exception as exc:  # noqa: BLE001 - whoever waits raises it
        return None, exc


def _answer(answers: list[tuple[asyncio.AbstractEventLoop, Answer]]) -> None:
    """Hand the outcomes to those who wait, with one wake-up for each event loop."""
    for loop in {loop for loop, _ in answers}:
        of_loop = [answer for owner, answer in answers if owner is loop]
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(settle, of_loop)


def settle(answers: list[Answer]) -> None:
    for future, result, error in answers:
        if future.done():  # cancelled by whoever waited
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
