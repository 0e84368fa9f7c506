"""Threads for looks at files that take microseconds as a rule: as few as get on, and one wake-up for many answers.

A pool of forty threads spends more on waking them, and on their fight for the interpreter, than on a look at a file
that is in the system's cache. Here one thread does what comes. More join it when a look took long (a disk that has to
turn, a file of others that is hashed) and others wait, and leave when there is nothing to do.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from runtime.drivers._local_stage import Stop, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST: Final = 32
"""Threads of one lane."""

LONG_SECONDS: Final = 0.0003
"""A look that takes longer lets another thread join."""

STUCK_SECONDS: Final = 0.01
"""When none ended for so long, another thread joins, too."""

IDLE_SECONDS: Final = 1.0
"""A thread that joined leaves after so long without work."""

_Job: TypeAlias = "tuple[Callable[[Stop], Any], Stop, asyncio.Future[Any], Callable[[Any], object]]"
_Answer: TypeAlias = "tuple[_Job, Any, BaseException | None]"


class _Shared:
    """What the threads of a lane know: nothing that keeps its owner alive."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.answers: deque[_Answer] = deque()
        self.announced = False
        self.ended = 0
        self.threads = 0
        self._lock = Lock()

    def join(self) -> None:
        """One more thread, where there may be one."""
        with self._lock:
            if self.threads >= MOST:
                return
            self.threads += 1
            first = self.threads == 1
        Thread(target=self._work, args=(None if first else IDLE_SECONDS,), name="tandem-local", daemon=True).start()

    def end(self) -> None:
        """Let all threads leave after the work that they were given."""
        for _ in range(self.threads):
            self.jobs.put(None)

    def _work(self, patience: float | None) -> None:
        while True:
            try:
                job = self.jobs.get(timeout=patience)
            except Empty:
                job = None
            if job is None:
                with self._lock:
                    self.threads -= 1
                return
            begin = perf_counter()
            self._answer(job, *_outcome(job))
            del job
            if perf_counter() - begin > LONG_SECONDS and not self.jobs.empty():
                self.join()

    def _answer(self, job: _Job, result: Any, error: BaseException | None) -> None:
        self.answers.append((job, result, error))
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
        while self.answers:
            (_, _, future, drop), result, error = self.answers.popleft()
            self.ended += 1
            if future.done() or self.loop.is_closed():
                if error is None:
                    drop(result)
            elif error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _outcome(job: _Job) -> tuple[Any, BaseException | None]:
    work, stop, _, _ = job
    try:
        stop.check()
        return work(stop), None
    except StoppedError as exc:
        return None, exc
    except Exception as exc:  # noqa: BLE001 - whoever waits raises it
        return None, exc


class Lane:
    """The threads of one event loop. They are made by the first call and end with `close`."""

    def __init__(self) -> None:
        self._shared: _Shared | None = None
        self._process = 0
        self._begun = 0
        self._seen = 0
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, work: Callable[[Stop], T], drop: Callable[[T], object] = lambda _: None) -> T:
        """Have *work* done in a thread.

        A caller that is cancelled is told so at once: *work* must be something that nobody minds to go on for a moment.

        Args:
            work: Looks at files; is asked to stop when nobody waits any more.
            drop: What to do with a result that nobody waits for any more.
        """
        loop = asyncio.get_running_loop()
        shared = self._shared
        if shared is None or shared.loop is not loop or self._process != os.getpid():
            shared = self._opened(loop)
        stop, future = Stop(), loop.create_future()
        self._begun += 1
        shared.jobs.put((work, stop, future, drop))
        if self._timer is None:
            self._seen = shared.ended
            self._timer = loop.call_later(STUCK_SECONDS, self._look, shared)
        try:
            result: T = await future
        except asyncio.CancelledError:
            stop.ask()
            raise
        return result

    def _opened(self, loop: asyncio.AbstractEventLoop) -> _Shared:
        self.close()
        self._shared = shared = _Shared(loop)
        self._finalizer = weakref.finalize(self, shared.end)  # a driver that nobody closes
        self._process, self._begun = os.getpid(), 0
        shared.join()
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
