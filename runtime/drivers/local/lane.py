"""Threads for work on files that takes microseconds as a rule: as few as get on, and one wake-up for many answers.

A pool of forty threads spends more on waking them, and on their fight for the interpreter, than on a look at a file
that is in the system's cache. Here one thread does what comes. More join it when something waited long (for a disk,
an fsync) and others wait, and leave when there is nothing to do, or when they only wait for each other.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import anyio

from runtime.drivers.local.stage import Stop, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST: Final = 32
"""Threads of one lane."""

LOOK_SECONDS: Final = 0.0003
WRITE_SECONDS: Final = 0.001
"""What waits longer lets another thread join."""

ENOUGH: Final = 2.0
"""Threads wait for the interpreter too, as long as all of them compute: this many times that lets one more join."""

CROWDED: Final = 4
"""Works in a row without more than that wait, after which a thread that joined leaves."""

STUCK_SECONDS: Final = 0.01
"""When none ended for so long, another thread joins, too."""

IDLE_SECONDS: Final = 1.0
"""A thread that joined leaves after so long without work."""

_Job: TypeAlias = "tuple[Callable[[Stop], Any], Stop, asyncio.Future[Any], Callable[[Any], object], _End]"
_Answer: TypeAlias = "tuple[asyncio.Future[Any], Callable[[Any], object], _End, Any, BaseException | None]"


class _End:
    """Tells one who was cancelled that the work has come to its end. Only touched in the thread of the loop."""

    __slots__ = ("come", "told")

    def __init__(self) -> None:
        self.come = False
        self.told: asyncio.Future[None] | None = None

    def tell(self) -> None:
        """The work has ended."""
        self.come = True
        if self.told is not None:
            self.told.set_result(None)

    async def wait(self) -> None:
        """Wait for it, however often one is cancelled meanwhile."""
        if self.come:  # in the same turn of the loop as the cancellation, before the cancelled task had its own
            return
        self.told = asyncio.get_running_loop().create_future()
        with anyio.CancelScope(shield=True):
            while not self.told.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([self.told])


class _Shared:
    """What the threads of a lane know: nothing that keeps its owner alive."""

    def __init__(self, loop: asyncio.AbstractEventLoop, long_seconds: float) -> None:
        self.loop = loop
        self._long_seconds = long_seconds
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.answers: deque[_Answer] = deque()
        self.announced = False
        self.ended = 0
        self.threads = 0
        self._lock = Lock()

    def join(self) -> None:
        """One more thread, where there may be one; those that there are must do where the system gives no more.

        Raises:
            RuntimeError: The system does not give the first one.
        """
        with self._lock:
            if self.threads >= MOST:
                return
            first = self.threads == 0
            thread = Thread(
                target=self._work, args=(None if first else IDLE_SECONDS,), name="tandem-local", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                if first:
                    raise
            else:
                self.threads += 1

    def end(self) -> None:
        """Let all threads leave after the work that they were given."""
        self.jobs.put(None)

    def _work(self, patience: float | None) -> None:
        crowded = 0
        while crowded < CROWDED:
            try:
                job = self.jobs.get(timeout=patience)
            except Empty:
                break
            if job is None:
                self.jobs.put(None)  # for the others
                break
            begin, computed = perf_counter(), thread_time()
            work, stop, future, drop, end = job
            del job
            result, error = _outcome(work, stop)
            del work  # before the caller may go on: it holds what was written
            self._answer((future, drop, end, result, error))
            del future, drop, end, result, error
            computed = thread_time() - computed
            waited, share = perf_counter() - begin - computed, computed * self.threads
            if waited > max(self._long_seconds, ENOUGH * share) and not self.jobs.empty():
                self.join()
            crowded = crowded + 1 if patience is not None and waited < share else 0
        with self._lock:
            self.threads -= 1

    def _answer(self, answer: _Answer) -> None:
        self.answers.append(answer)
        if self.announced:  # whoever set it down takes this answer, too
            return
        self.announced = True
        try:
            self.loop.call_soon_threadsafe(self.deliver)
        except RuntimeError:  # the loop was closed: nobody waits any more
            self.deliver()

    def deliver(self) -> None:
        """Hand the answers to those who wait."""
        self.announced = False
        closed = self.loop.is_closed()
        while self.answers:
            future, drop, end, result, error = self.answers.popleft()
            self.ended += 1
            if not closed:
                end.tell()
            if future.done() or closed:
                if error is None:
                    drop(result)
            elif error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _outcome(work: Callable[[Stop], Any], stop: Stop) -> tuple[Any, BaseException | None]:
    try:
        return (work(stop), None) if stop.begin() else (None, StoppedError())
    except BaseException as exc:  # noqa: BLE001 - whoever waits raises it; a thread that ends would leave all waiting
        return None, exc


class Lane:
    """The threads of one event loop. They are made by the first call and end with `close`.

    Args:
        long_seconds: Work that takes longer lets another thread join.
    """

    def __init__(self, long_seconds: float = LOOK_SECONDS) -> None:
        self._long_seconds = long_seconds
        self._shared: _Shared | None = None
        self._process = 0
        self._begun = 0
        self._seen = 0
        self._timer: asyncio.TimerHandle | None = None

    async def look(self, work: Callable[[Stop], T], drop: Callable[[T], object] = lambda _: None) -> T:
        """Have *work* done in a thread; a caller that is cancelled is told so at once.

        Args:
            work: Looks at files; is asked to stop when nobody waits any more, and may go on for a moment.
            drop: What to do with a result that nobody waits for any more.
        """
        return await self._run(work, drop, to_the_end=False)

    async def write(self, work: Callable[[Stop], T]) -> T:
        """Have *work* done in a thread; when cancelled, ask it to stop and come back only once it has.

        Nothing is written behind the back of a caller that was told that its upload was cancelled.
        """
        return await self._run(work, lambda _: None, to_the_end=True)

    async def _run(self, work: Callable[[Stop], T], drop: Callable[[T], object], *, to_the_end: bool) -> T:
        loop = asyncio.get_running_loop()
        shared = self._shared
        if shared is None or shared.loop is not loop or self._process != os.getpid():
            shared = self._opened(loop)
        stop, future, end = Stop(), loop.create_future(), _End()
        self._begun += 1
        shared.jobs.put((work, stop, future, drop, end))
        if self._timer is None:
            self._seen = shared.ended
            self._timer = loop.call_later(STUCK_SECONDS, self._look, shared)
        try:
            result: T = await future
        except asyncio.CancelledError:
            stop.ask()
            if not future.cancelled():  # it was answered before, and this task had no turn since
                if future.exception() is None:
                    drop(future.result())
            elif not stop.begin() and to_the_end:  # else it never began, and can not begin any more
                await end.wait()
            raise
        return result

    def _opened(self, loop: asyncio.AbstractEventLoop) -> _Shared:
        self.close()
        shared = _Shared(loop, self._long_seconds)
        shared.join()
        self._shared = shared
        self._finalizer = weakref.finalize(self, shared.end)  # a driver that nobody closes
        self._process, self._begun = os.getpid(), 0
        return shared

    def _look(self, shared: _Shared) -> None:
        """Let a thread join when none has got on since the last time."""
        self._timer = None
        if shared is not self._shared or shared.ended >= self._begun:
            return
        if shared.ended == self._seen:
            shared.join()
        self._seen = shared.ended
        self._timer = shared.loop.call_later(STUCK_SECONDS, self._look, shared)

    def close(self) -> None:
        """End the threads after the work that they were given."""
        shared, self._shared = self._shared, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if shared is not None:
            self._finalizer.detach()
            if self._process == os.getpid():
                shared.end()
