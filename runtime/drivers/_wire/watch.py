"""Watches one connection for silence, with one timer: what moves only notes the time, which costs next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

KEPT_SECONDS: Final = 15.0
"""Seconds that a connection without a request is kept: less than servers keep theirs."""


class Watch:
    """A timer that is put off as long as something moves.

    Args:
        loop: The event loop.
        silence: Seconds of silence that are too long within an exchange; None for any.
        due: Tells when it is too late, by the clock of the event loop, as things stand; None for not now.
        overdue: Called when it is.
    """

    __slots__ = ("_due", "_first", "_loop", "_overdue", "_timer")

    def __init__(
        self,
        loop: AbstractEventLoop,
        silence: float | None,
        due: Callable[[], float | None],
        overdue: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._first = KEPT_SECONDS if silence is None else min(silence, KEPT_SECONDS)
        self._due = due
        self._overdue = overdue
        self._timer: TimerHandle | None = None

    def begin(self, now: float) -> None:
        """An exchange begins."""
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._first, self._look)
        elif self._timer.when() > now + self._first:
            self._timer.cancel()
            self._timer = self._loop.call_at(now + self._first, self._look)

    def end(self) -> None:
        """There is nothing to watch any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now, due = self._loop.time(), self._due()
        if due is not None and due <= now:
            self._timer = None
            self._overdue()
        else:
            later = now + KEPT_SECONDS
            self._timer = self._loop.call_at(later if due is None else min(due, later), self._look)
