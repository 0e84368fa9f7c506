"""The threads that look at files."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.config import NamedStorageConfig, StorageLocalConfig
from runtime.drivers.local import driver_class
from runtime.drivers.local import lane as lane_module
from runtime.drivers.local.lane import Lane
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runtime.drivers.local.stage import Stop


@pytest.fixture
def others() -> set[threading.Thread]:
    """Threads that were there before: of stores that other tests left behind."""
    return set(threading.enumerate())


def threads(others: set[threading.Thread]) -> int:
    return sum(thread.name.startswith("tandem-local") for thread in set(threading.enumerate()) - others)


def given(number: int) -> Callable[[Stop], int]:
    return lambda _: number


def note(done: list[int], number: int, _: Stop) -> None:
    done.append(number)


async def until_threads(others: set[threading.Thread], count: int) -> None:
    deadline = time.monotonic() + 10
    while threads(others) != count and time.monotonic() < deadline:  # noqa: ASYNC110 - threads set no asyncio event
        await asyncio.sleep(0.01)
    assert threads(others) == count


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane()
    yield lane
    lane.close()


async def test_everybody_gets_their_own_answer(lane: Lane, others: set[threading.Thread]) -> None:
    numbers = await asyncio.gather(*(lane.look(given(number)) for number in range(500)))
    assert numbers == list(range(500))
    assert threads(others) <= 3

    def fails(_: Stop) -> None:
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        await lane.look(fails)


async def test_a_look_that_takes_long_holds_up_nobody(lane: Lane) -> None:
    release = threading.Event()
    long = [asyncio.ensure_future(lane.look(lambda _: release.wait(20))) for _ in range(10)]
    await asyncio.sleep(0)
    begin = time.monotonic()
    assert await asyncio.gather(*(lane.look(lambda _: 1) for _ in range(50))) == [1] * 50
    assert time.monotonic() - begin < 10
    release.set()
    assert all(await asyncio.gather(*long))


async def test_threads_that_joined_leave(
    lane: Lane, others: set[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.drivers.local.lane.IDLE_SECONDS", 0.05)
    await asyncio.gather(*(lane.look(lambda _: time.sleep(0.02)) for _ in range(40)))
    assert threads(others) > 1
    await until_threads(others, 1)
    lane.close()
    await until_threads(others, 0)


async def test_what_nobody_waits_for_is_not_begun(lane: Lane) -> None:
    release = threading.Event()
    done: list[int] = []
    first = asyncio.ensure_future(lane.look(lambda _: release.wait(20)))
    others = [asyncio.ensure_future(lane.look(partial(note, done, number))) for number in range(3)]
    await asyncio.sleep(0)
    others[1].cancel()
    await asyncio.sleep(0)
    release.set()
    await asyncio.wait([first, *others])
    assert sorted(done) == [0, 2]


async def test_what_nobody_waits_for_any_more_is_dropped(lane: Lane) -> None:
    dropped: list[str] = []
    begun = threading.Event()
    release = threading.Event()

    def look(_: Stop) -> str:
        begun.set()
        release.wait(20)
        return "opened"

    looking = asyncio.ensure_future(lane.look(look, dropped.append))
    await asyncio.to_thread(begun.wait)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    release.set()
    assert await lane.look(lambda _: 1) == 1
    assert dropped == ["opened"]


async def test_a_write_that_ends_in_the_turn_of_its_cancellation_is_waited_for_no_more(lane: Lane) -> None:
    begun = threading.Event()
    release = threading.Event()

    def write(_: Stop) -> None:
        begun.set()
        release.wait(20)

    writing = asyncio.ensure_future(lane.write(write))
    await asyncio.to_thread(begun.wait, 20)
    release.set()
    time.sleep(0.2)  # noqa: ASYNC251 - the answer arrives while the loop has no turn
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(writing), 5)


class NoThread(threading.Thread):
    """What a system says that has no room for another one."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


async def test_a_system_that_gives_no_thread_is_told_and_no_later_call_waits_for_it(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(lane_module, "Thread", NoThread)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await asyncio.wait_for(lane.look(given(1)), 20)
    assert await asyncio.wait_for(lane.look(given(1)), 20) == 1


async def test_one_thread_does_all_where_the_system_gives_no_second(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lane.look(given(0))
    monkeypatch.setattr(lane_module, "Thread", NoThread)

    def slow(_: Stop) -> None:
        time.sleep(3 * lane_module.STUCK_SECONDS)

    async with asyncio.timeout(20):
        await asyncio.gather(*(lane.write(slow) for _ in range(5)))
        assert await lane.look(given(1)) == 1


async def test_whatever_work_raises_the_thread_goes_on(lane: Lane) -> None:
    class OddError(BaseException):
        pass

    def odd(_: Stop) -> None:
        raise OddError

    with pytest.raises(OddError):
        await asyncio.wait_for(lane.look(odd), 20)
    assert await asyncio.wait_for(lane.look(given(1)), 20) == 1


async def test_a_read_that_is_cancelled_leaves_no_file_open(tmp_path: Path) -> None:
    backend = NamedStorageConfig(name="files", driver="local", local=StorageLocalConfig(root_dir=str(tmp_path)))
    async with BlobStore(backend, driver_class(backend)) as store:
        await store.upload("a", b"x" * 1_000_000)
        await store.download("a")
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the count is all
        for turn in range(60):
            reading = asyncio.ensure_future(store.download("a"))
            await asyncio.sleep(turn * 0.00002)
            reading.cancel()
            await asyncio.wait([reading])
        await store.download("a")
        assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208 - as above; the thread pool may have grown


async def test_a_write_that_is_cancelled_has_ended_when_its_caller_is_told(lane: Lane) -> None:
    begun, release = threading.Event(), threading.Event()
    ended: list[bool] = []

    def write(stop: Stop) -> None:
        begun.set()
        release.wait(20)
        time.sleep(0.02)
        ended.append(True)
        stop.check()

    writing = asyncio.ensure_future(lane.write(write))
    await asyncio.to_thread(begun.wait)
    for _ in range(3):
        writing.cancel()
        await asyncio.sleep(0.001)
    assert not writing.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert ended == [True]


async def test_a_write_in_a_scope_that_is_cancelled_ends_first(lane: Lane) -> None:
    begun = threading.Event()
    ended: list[bool] = []

    def write(_: Stop) -> None:
        begun.set()
        time.sleep(0.05)
        ended.append(True)

    async def cancel() -> None:
        await asyncio.to_thread(begun.wait)
        scope.cancel()

    with anyio.CancelScope() as scope:
        cancelling = asyncio.ensure_future(cancel())
        await lane.write(write)
    await cancelling
    assert scope.cancelled_caught
    assert ended == [True]


def test_a_lane_works_in_one_loop_after_the_other(lane: Lane) -> None:
    for number in range(3):
        assert asyncio.run(lane.look(given(number))) == number


async def test_closing_ends_every_thread_also_those_that_join_later(lane: Lane, others: set[threading.Thread]) -> None:
    looking = [asyncio.ensure_future(lane.look(lambda _: time.sleep(0.01))) for _ in range(60)]
    await asyncio.sleep(0.03)
    lane.close()
    await asyncio.wait(looking)
    await until_threads(others, 0)


async def test_a_lane_that_nobody_closes_ends_its_threads(others: set[threading.Thread]) -> None:
    lane = Lane()
    await lane.look(lambda _: 1)
    assert threads(others) == 1
    del lane
    gc.collect()
    await until_threads(others, 0)
