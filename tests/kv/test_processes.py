"""Several processes on one store, and processes that are killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.errors import PermissionDeniedError, StorageError, StorageUnavailableError
from runtime.kv import LocalStorage, RedisKVStorage

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory

COUNT = """
    import asyncio, sys
    from runtime.kv import LocalStorage, RedisKVStorage

    async def main():
        kind, where, times = sys.argv[1:]
        store = LocalStorage(where) if kind == "local" else RedisKVStorage(where)
        async with store:
            for number in range(int(times)):
                await store.incr("n")
                if number % 10 == 0:
                    while True:
                        found = await store.get("list")
                        if await store.compare_and_set("list", found, (found or 0) + 1):
                            break

    asyncio.run(main())
"""

WRITE = """
    import asyncio, sys
    from runtime.kv import LocalStorage

    async def main():
        async with LocalStorage(sys.argv[1]) as store:
            async def write(task):
                number = 0
                while True:
                    await store.set(f"{task}-{number}", number, ttl=3600)
                    print(f"{task}-{number}", number, flush=True)
                    number += 1

            await asyncio.gather(*(write(task) for task in range(8)))

    asyncio.run(main())
"""


def spawn(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def count_in_processes(kind: str, where: str) -> None:
    processes = [spawn(COUNT, kind, where, "1000") for _ in range(8)]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output


async def test_eight_processes_count_exactly_in_a_file(tmp_path: Path) -> None:
    await anyio.to_thread.run_sync(count_in_processes, "local", str(tmp_path))
    async with LocalStorage(tmp_path) as store:
        assert await store.get_many(["n", "list"]) == {"n": 8000, "list": 800}


async def test_eight_processes_count_exactly_on_redis(server: ServerFactory) -> None:
    url = f"redis://127.0.0.1:{server('redis-server').port}/1"
    async with RedisKVStorage(url) as store:
        await store.clear()
        await anyio.to_thread.run_sync(count_in_processes, "redis", url)
        assert await store.get_many(["n", "list"]) == {"n": 8000, "list": 800}


def killed_while_writing(where: Path, seconds: float) -> dict[str, int]:
    """What a writer had been told is written when it was killed."""
    with spawn(WRITE, str(where)) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(seconds)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
    lines = [line.split() for line in (first + rest).splitlines() if line.count(" ") == 1 and line]
    assert writer.returncode == -signal.SIGKILL, first + rest
    return {key: int(number) for key, number in lines[:-1]}  # the last line may be cut off


async def test_what_a_killed_process_was_told_is_written_is_there(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}
    for turn in range(5):
        acknowledged = await anyio.to_thread.run_sync(killed_while_writing, tmp_path, 0.1 + turn / 20)
        async with LocalStorage(tmp_path) as store:
            found = await store.get_many(acknowledged)
            assert found == acknowledged
            assert len(acknowledged) > 20
            assert await store.incr("after") == turn + 1
    with closing(sqlite3.connect(tmp_path / "kv.sqlite3")) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_process_reads_what_another_one_wrote(tmp_path: Path) -> None:
    async with LocalStorage(tmp_path) as mine, LocalStorage(tmp_path) as other:
        for number in range(100):
            await mine.set("k", number)
            assert await other.get("k") == number
            await other.delete("k")
            assert await mine.exists("k") is False


async def test_many_stores_make_the_same_new_file_at_once(tmp_path: Path) -> None:
    stores = [LocalStorage(tmp_path) for _ in range(12)]
    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(store.incr, "n")
    assert await stores[0].get("n") == 12
    for store in stores:
        await store.disconnect()


async def test_a_forked_child_has_connections_of_its_own(tmp_path: Path) -> None:
    async with LocalStorage(tmp_path) as store:
        await store.set("k", "parent")
        program = f"""
            import asyncio, os
            from runtime.kv import LocalStorage
            store = LocalStorage({str(tmp_path)!r})

            async def use():
                assert await store.get("k") == "parent"
                return await store.incr("n")

            assert asyncio.run(use()) == 1
            if (child := os.fork()) == 0:
                os._exit(0 if asyncio.run(use()) == 2 else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert asyncio.run(use()) == 3
        """
        done = await anyio.to_thread.run_sync(lambda: spawn(program).communicate(timeout=60)[0])
        assert done == ""
        assert await store.get("n") == 3


async def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "kv.sqlite3")) as other:
        other.execute("CREATE TABLE theirs (x)")
    async with LocalStorage(tmp_path) as store:
        with pytest.raises(StorageError, match="is a database of something else"):
            await store.set("k", 1)


async def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    async with LocalStorage(tmp_path) as store:
        await store.set("k", 1)
    with closing(sqlite3.connect(tmp_path / "kv.sqlite3")) as other:
        other.execute("PRAGMA user_version = 2")
    async with LocalStorage(tmp_path) as store:
        for _ in range(3):
            with pytest.raises(StorageError, match="has format 2, this release knows 1: upgrade"):
                await store.set("k", 2)
            with pytest.raises(StorageError, match="has format 2, this release knows 1: upgrade"):
                await store.get("k")
    with closing(sqlite3.connect(tmp_path / "kv.sqlite3")) as other:
        assert other.execute("SELECT value FROM entries").fetchall() == [("1",)]


async def test_a_damaged_file_is_an_error_of_storage(tmp_path: Path) -> None:
    (tmp_path / "kv.sqlite3").write_bytes(b"no database at all" * 100)
    async with LocalStorage(tmp_path) as store:
        with pytest.raises(StorageError, match=r"get: .*DatabaseError"):
            await store.get("k")
        assert not (await store.health_check()).is_healthy()


async def test_a_directory_that_can_not_be_made_is_an_error_of_storage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with LocalStorage(tmp_path / "file" / "below") as store:
        with pytest.raises((StorageUnavailableError, PermissionDeniedError)):
            await store.get("k")


async def test_a_store_that_nobody_closes_ends_its_threads(tmp_path: Path) -> None:
    program = f"""
        import asyncio, gc, threading, time
        from runtime.kv import LocalStorage

        async def main():
            store = LocalStorage({str(tmp_path)!r})
            await store.set("k", 1)
            assert await store.get("k") == 1
            del store
            gc.collect()
            for _ in range(100):
                if threading.active_count() == 1:
                    return
                await asyncio.sleep(0.05)
            raise SystemExit(f"{{threading.enumerate()}}")

        asyncio.run(main())
    """
    assert await anyio.to_thread.run_sync(lambda: spawn(program).communicate(timeout=60)[0]) == ""


async def test_expired_entries_are_swept_as_others_are_written(tmp_path: Path) -> None:
    seconds = 1000.0
    async with LocalStorage(tmp_path, clock=lambda: seconds) as store:
        await store.set_many({f"k{number}": number for number in range(50)}, ttl=1)
        seconds += 2
        deadline = time.monotonic() + 10
        rows = 51
        while rows > 1 and time.monotonic() < deadline:
            await store.set("other", 1)
            with closing(sqlite3.connect(tmp_path / "kv.sqlite3")) as other:
                (rows,) = other.execute("SELECT count(*) FROM entries").fetchone()
            await anyio.sleep(0.1)
        assert rows == 1


async def test_a_write_that_nobody_waits_for_disturbs_nobody(tmp_path: Path) -> None:
    async with LocalStorage(tmp_path) as store:
        await store.set("k", 0)
        for number in range(50):
            with anyio.move_on_after(0.0002):
                await store.set("k", number)
        assert await store.incr("n") == 1


def test_the_file_is_where_the_guide_says(tmp_path: Path) -> None:
    assert LocalStorage(tmp_path).path == tmp_path / "kv.sqlite3"
    assert not os.listdir(tmp_path)  # noqa: PTH208 - nothing is made before the first use
