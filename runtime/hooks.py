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
hooks nothing is built and no clock is read. A hook may refuse what begins by raising `OperationRefusedError`: nothing
is done then, and the caller gets that error. Any other error of a hook is logged and changes no operation. What runs in
the background can be waited for in an async method ``drain`` of the hook: closing the storage calls it.

`runtime.events` is such a hook: it tells of files that were uploaded, downloaded and deleted. Operations of key-value
stores pass here too, by the names ``kv.get``, ``kv.set``, …, with their keys and never with a value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from runtime.errors import OperationRefusedError

if TYPE_CHECKING:
    from runtime.models import FileInfo

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Operation:
    """What begins.

    Attributes:
        backend: Name of the backend.
        driver: Name of its driver.
        name: The public operation: ``upload``, ``download``, ``list``, …; of key-value stores ``kv.get``, ``kv.set``, …
        path: Object path or prefix, where there is one; a key of a key-value store, which may be a session's secret.
        paths: Every object that it is about to read, write or remove: both of a copy or move, all of a batch. Not yet
            checked, so any text.
        namespace: Where the keys are; ``""`` for the default namespace, and of blob stores.
    """

    backend: str
    driver: str
    name: str
    path: str | None = None
    paths: tuple[str, ...] = ()
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended.

    Attributes:
        seconds: How long it took. For `stream` and `list` this includes what the consumer did in between.
        error: What the caller gets to see; None after success.
        size: Bytes of content that were moved, where the operation moves any.
        written: Objects that are new or have new content, also when it failed after them.
        removed: Paths at which nothing is any more, also when it failed after them.
        read: The object whose content was read.
    """

    seconds: float
    error: BaseException | None = None
    size: int | None = None
    written: tuple[FileInfo, ...] = ()
    removed: tuple[str, ...] = ()
    read: FileInfo | None = None


Finish: TypeAlias = Callable[[Outcome], None]
Hook: TypeAlias = Callable[[Operation], Finish | None]


class Running:
    """One operation that hooks look at, from its begin to its end.

    Args:
        hooks: Who looks.
        operation: What begins.
        tell_path: Whether the error of a hook that refuses names the path.
    """

    __slots__ = ("_finishers", "_start")

    def __init__(self, hooks: tuple[Hook, ...], operation: Operation, *, tell_path: bool = True) -> None:
        self._start = perf_counter()
        self._finishers: list[Finish] = []
        try:
            for hook in hooks:
                if (finish := _begin(hook, operation)) is not None:
                    self._finishers.append(finish)
        except OperationRefusedError as exc:
            exc.backend, exc.operation = exc.backend or operation.backend, exc.operation or operation.name
            exc.path = exc.path or (operation.path if tell_path else None)
            self.end(exc, None)
            raise

    def end(
        self,
        error: BaseException | None,
        size: int | None,
        written: tuple[FileInfo, ...] = (),
        removed: tuple[str, ...] = (),
        read: FileInfo | None = None,
    ) -> None:
        """Tell the hooks how it ended."""
        outcome = Outcome(perf_counter() - self._start, error, size, written, removed, read)
        for finish in reversed(self._finishers):
            try:
                finish(outcome)
            except Exception:  # noqa: BLE001 - a bug of telemetry is logged whole, and is no reason to lose an object
                _log.exception("a storage hook failed at the end of an operation")


def _begin(hook: Hook, operation: Operation) -> Finish | None:
    try:
        return hook(operation)
    except OperationRefusedError:
        raise
    except Exception:  # noqa: BLE001 - as in `Running.end`
        _log.exception("a storage hook failed at the begin of an operation")
        return None
