"""The one seam that logging, metrics and tracing hang on.

A hook is called when an operation begins and may give back what is to be called when it ends::

    def log_slow(operation: Operation) -> Finish:
        def finish(outcome: Outcome) -> None:
            if outcome.seconds > 1:
                log.warning("%s %s took %.1f s", operation.name, operation.path, outcome.seconds)

        return finish


    async with runtime.open_storage(hooks=[log_slow]) as storage:
        ...

Both calls happen in the task of the operation, in the order of the hooks (ends in reverse). Without
hooks nothing is built and no clock is read. A hook that raises is logged and changes no operation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Operation:
    """What begins.

    Attributes:
        backend: Name of the backend.
        driver: Name of its driver.
        name: The public operation: ``upload``, ``download``, ``list``, …
        path: Object path or prefix, where there is one.
    """

    backend: str
    driver: str
    name: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended.

    Attributes:
        seconds: How long it took. For `stream` and `list` this includes what the consumer did in between.
        error: What the caller gets to see; None after success.
        size: Bytes of content that were moved, where the operation moves any.
    """

    seconds: float
    error: BaseException | None = None
    size: int | None = None


Finish: TypeAlias = Callable[[Outcome], None]
Hook: TypeAlias = Callable[[Operation], Finish | None]


class Running:
    """One operation that hooks look at, from its begin to its end."""

    __slots__ = ("_finishers", "_start")

    def __init__(self, hooks: tuple[Hook, ...], operation: Operation) -> None:
        self._finishers = [finish for hook in hooks if (finish := _begin(hook, operation)) is not None]
        self._start = perf_counter()

    def end(self, error: BaseException | None, size: int | None) -> None:
        """Tell the hooks how it ended."""
        outcome = Outcome(perf_counter() - self._start, error, size)
        for finish in reversed(self._finishers):
            try:
                finish(outcome)
            except Exception:  # noqa: BLE001 - a bug of telemetry is logged whole, and is no reason to lose an object
                _log.exception("a storage hook failed at the end of an operation")


def _begin(hook: Hook, operation: Operation) -> Finish | None:
    try:
        return hook(operation)
    except Exception:  # noqa: BLE001 - as in `Running.end`
        _log.exception("a storage hook failed at the begin of an operation")
        return None
