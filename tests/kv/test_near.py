"""What `LocalStorage` does in the event loop's thread, and what it leaves to its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.kv import LocalStorage, _sqlite

if TYPE_CHECKING:
    from pathlib import Path

MAIN = "MainThread"
WRITER = "tandem-kv-writer"


class Clock:
    """A clock that remembers in which threads it is asked: a write asks it where it is done."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds
        self.threads: list[str] = []

    def __call__(self) -> float:
        self.threads.append(threading.current_thread().name)
        time.sleep(self.seconds)
        return time.time()

    def taken(self) -> list[str]:
        threads, self.threads = self.threads, []
        return threads


async def made(path: Path, clock: Clock, *, fsync: bool = False) -> LocalStorage:
    """A store whose file is there: the first write is always the thread's."""
    store = LocalStorage(path, fsync=fsync, clock=clock)
    await store.set("first", 1, ttl=60)
    assert clock.taken() == [WRITER]
    return store


async def test_a_task_alone_writes_in_the_loop(tmp_path: Path) -> None:
    clock = Clock()
    async with await made(tmp_path, clock) as store:
        for number in range(50):
            await store.set("k", number, ttl=60)
        assert clock.taken().count(MAIN) >= 45  # one a second is the thread's, which sweeps
        async with LocalStorage(tmp_path) as other:
            assert await other.get("k") == 49


async def test_the_loop_has_its_turn_between_writes(tmp_path: Path) -> None:
    async with await made(tmp_path, Clock()) as store:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        for _ in range(170):
            await store.incr("n")
        counting.cancel()
        assert turns >= 10


async def test_tasks_that_write_at_once_share_a_transaction(tmp_path: Path) -> None:
    clock = Clock()
    async with await made(tmp_path, clock) as store:
        with closing(sqlite3.connect(tmp_path / "kv.sqlite3")) as other:

            def commits() -> int:
                return int(other.execute("PRAGMA data_version").fetchone()[0])

            await store.set("k", 1)
            before = commits()
            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(store.incr, "n", number)
            log = (tmp_path / "kv.sqlite3-wal").stat().st_size
            assert commits() > before
        assert await store.get("n") == 4950
        assert log < 40 * 4096  # a hundred transactions would be a hundred pages


async def test_a_lock_that_is_held_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    clock = Clock()
    async with await made(tmp_path, clock) as store:
        await store.set("k", 0, ttl=60)
        clock.taken()
        with closing(sqlite3.connect(tmp_path / "kv.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.ensure_future(store.set("k", 1, ttl=60))
            begin = time.perf_counter()
            turns = 0
            while time.perf_counter() - begin < 0.3:
                await asyncio.sleep(0.001)
                turns += 1
            assert turns > 20
            assert not writing.done()
            other.execute("COMMIT")
        await writing
        assert clock.taken() == [WRITER]
        assert await store.get("k") == 1


async def test_what_was_begun_before_is_not_overtaken(tmp_path: Path) -> None:
    async with await made(tmp_path, Clock()) as store:
        with closing(sqlite3.connect(tmp_path / "kv.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with anyio.move_on_after(0.05):
                await store.set("k", "given up")
            writing = asyncio.ensure_future(store.set("k", "last"))
            await asyncio.sleep(0.05)
            other.execute("COMMIT")
        await writing
        await store.incr("n")
        assert await store.get("k") == "last"


async def test_a_write_that_is_cancelled_before_its_turn_is_not_done(tmp_path: Path) -> None:
    async with await made(tmp_path, Clock()) as store:
        await asyncio.gather(*(store.incr("n") for _ in range(40)))  # from here on writes wait for their turn
        writing = [asyncio.ensure_future(store.incr("n")) for _ in range(3)]
        await asyncio.sleep(0)
        writing[1].cancel()
        await asyncio.wait(writing)
        assert [task.cancelled() for task in writing] == [False, True, False]
        assert await store.get("n") == 42


async def test_a_large_value_is_the_threads(tmp_path: Path) -> None:
    clock = Clock()
    async with await made(tmp_path, clock) as store:
        await store.set("large", "x" * 100_000, ttl=60)
        assert clock.taken() == [WRITER]
        await store.set_many({f"k{number}": number for number in range(1000)}, ttl=60)
        assert clock.taken() == [WRITER]
        await store.set_many({f"k{number}": number for number in range(10)}, ttl=60)
        assert clock.taken() == [MAIN]


async def test_a_store_that_waits_for_the_disk_never_does_in_the_loop(tmp_path: Path) -> None:
    clock = Clock()
    async with await made(tmp_path, clock, fsync=True) as store:
        for number in range(20):
            await store.set("k", number, ttl=60)
        assert set(clock.taken()) == {WRITER}


async def test_slow_writes_are_paid_back(tmp_path: Path) -> None:
    clock = Clock()
    async with await made(tmp_path, clock) as store:
        clock.seconds = 0.03
        for number in range(6):
            await store.set("k", number, ttl=60)
        threads = clock.taken()
        assert threads[:2] == [MAIN, MAIN]
        assert threads[2:] == [WRITER] * 4


async def test_the_log_is_moved_into_the_file_by_the_thread(tmp_path: Path) -> None:
    async with await made(tmp_path, Clock()) as store:
        for number in range(5000):
            await store.set(f"k{number % 100}", "x" * 3000, ttl=60 + number)
        log = tmp_path / "kv.sqlite3-wal"
        assert log.stat().st_size < 2500 * 4096  # without, these writes leave 15,000 pages
        assert (tmp_path / "kv.sqlite3").stat().st_size > 50 * 4096


async def test_a_log_that_was_held_up_is_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "LONGEST_LOG", 1_000_000)
    log = tmp_path / "kv.sqlite3-wal"
    async with await made(tmp_path, Clock()) as store:
        with closing(sqlite3.connect(tmp_path / "kv.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM entries").fetchall()  # what it reads must stay in the log
            for number in range(400):
                await store.set(f"k{number}", "x" * 3000, ttl=60)
            assert log.stat().st_size > 1_000_000
            begin = time.monotonic()
            await asyncio.sleep(1.1)
            await store.clear()
            await store.set("k", 1)
            assert time.monotonic() - begin < 10  # a reader that stays holds nobody up
            other.execute("ROLLBACK")
        await asyncio.sleep(1.1)
        await store.clear()
        await store.set("large", "x" * 100_000)  # done after it
        assert log.stat().st_size < 1_000_000


async def test_what_waits_is_written_before_the_store_closes(tmp_path: Path) -> None:
    store = await made(tmp_path, Clock())
    writing = [asyncio.ensure_future(store.incr("n")) for _ in range(300)]
    await asyncio.sleep(0)
    await store.disconnect()
    assert sorted(await asyncio.gather(*writing)) == list(range(1, 301))
    async with LocalStorage(tmp_path) as other:
        assert await other.get("n") == 300


def test_loops_in_several_threads_share_a_store(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path)

    async def count() -> None:
        for _ in range(200):
            await store.incr("n")
            assert await store.get("n") is not None

    threads = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(store.get("n")) == 800
    asyncio.run(store.disconnect())


def test_a_loop_that_ended_in_the_middle_holds_up_no_other(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path)

    async def begin() -> None:
        await store.set("k", 1)
        await asyncio.gather(store.incr("n"), store.incr("n"))
        loop = asyncio.get_running_loop()
        writing = loop.create_task(store.incr("n"))
        loop.call_soon(loop.stop)
        await writing

    loop = asyncio.new_event_loop()
    task = loop.create_task(begin())
    with pytest.raises(RuntimeError, match="stopped before"):
        loop.run_until_complete(task)
    task.cancel()
    loop.close()
    assert asyncio.run(store.incr("m")) == 1
    asyncio.run(store.disconnect())


async def test_an_error_in_the_middle_leaves_no_lock(tmp_path: Path) -> None:
    class Interrupted(BaseException):
        pass

    def broken() -> float:
        raise Interrupted

    store = await made(tmp_path, Clock())
    await store.set("k", 1)
    await store.set("k", 2)
    store._clock = broken
    with pytest.raises(Interrupted):
        await store.set("k", 3, ttl=60)
    with closing(sqlite3.connect(tmp_path / "kv.sqlite3", timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    store._clock = time.time
    assert await store.get("k") == 2
    await store.disconnect()
