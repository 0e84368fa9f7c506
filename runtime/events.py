"""Events of files, and handlers before and after every operation; a hook of `runtime.hooks`.

::

    events = Events()


    @events.on(FileUploaded)
    async def index(event: FileUploaded) -> None:
        await search.add(event.path, event.content_type)


    @events.before("delete", "delete_batch", "move")
    def keep_legal(operation: Operation) -> None:
        if any(path.startswith("legal/") for path in operation.paths):
            raise OperationRefusedError("files below legal/ are kept")


    async with runtime.open_storage(hooks=[events]) as storage:
        ...

An event fires when something happened, in the task of the operation and before it returns: also for what a batch did
before it failed, and for the new place of a copy or move. A plain function is called then; a coroutine function is
started as a task, and closing the storage waits for it. A handler that fails is logged and changes no operation;
only one that runs *before* may refuse, by `OperationRefusedError`. What happens by presigned URLs passes the
application by, and so do its events.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from runtime.errors import OperationRefusedError

if TYPE_CHECKING:
    from runtime.hooks import Finish, Operation, Outcome

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileEvent:
    """Something that happened to one object.

    Attributes:
        backend: Name of the backend.
        path: Object path.
        size: Bytes of the object, or those that were downloaded of it; None where the service does not tell.
        content_type: MIME type, where it is known.
        etag: The version's tag, where it is known.
        seconds: How long the operation took.
    """

    backend: str
    path: str
    size: int | None
    content_type: str | None
    etag: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class FileUploaded(FileEvent):
    """An object is new or has new content: an upload, or the new place of a copy or move."""


@dataclass(frozen=True, slots=True)
class FileDownloaded(FileEvent):
    """The content of an object was read to the end of what was asked for."""


@dataclass(frozen=True, slots=True)
class FileDeleted(FileEvent):
    """Nothing is at the path any more; services do not tell whether something was, nor what."""


E = TypeVar("E", bound=FileEvent)
Before = Callable[["Operation"], None]
After = Callable[["Operation", "Outcome"], object]
B = TypeVar("B", bound=Before)
A = TypeVar("A", bound=After)


class Events:
    """Handlers of one application; give it to ``open_storage(hooks=[events])``."""

    def __init__(self) -> None:
        self._handlers: dict[type[FileEvent], list[Callable[[Any], object]]] = defaultdict(list)
        self._before: list[tuple[frozenset[str], Before]] = []
        self._after: list[tuple[frozenset[str], After]] = []
        self._tasks: set[asyncio.Task[object]] = set()

    def on(self, kind: type[E]) -> Callable[[Callable[[E], object]], Callable[[E], object]]:
        """Call the decorated function with every event of a kind; `FileEvent` for all."""

        def register(handler: Callable[[E], object]) -> Callable[[E], object]:
            self._handlers[kind].append(handler)
            return handler

        return register

    def before(self, *operations: str) -> Callable[[B], B]:
        """Call the decorated function before the operations of those names (none given: all); it may refuse."""

        def register(handler: B) -> B:
            if inspect.iscoroutinefunction(handler):
                raise TypeError("what runs before an operation is a plain function: it decides at once")
            self._before.append((frozenset(operations), handler))
            return handler

        return register

    def after(self, *operations: str) -> Callable[[A], A]:
        """Call the decorated function after the operations of those names (none given: all), with their outcome."""

        def register(handler: A) -> A:
            self._after.append((frozenset(operations), handler))
            return handler

        return register

    def __call__(self, operation: Operation) -> Finish | None:
        """The hook: see `runtime.hooks`."""
        for names, handler in self._before:
            if not names or operation.name in names:
                self._decide(handler, operation)
        after = [handler for names, handler in self._after if not names or operation.name in names]
        if not after and not self._handlers:
            return None

        def finish(outcome: Outcome) -> None:
            for handler in after:
                self._run(handler, operation, outcome)
            for event in happened(operation, outcome):
                for handler in [*self._handlers.get(type(event), ()), *self._handlers.get(FileEvent, ())]:
                    self._run(handler, event)

        return finish

    async def drain(self) -> None:
        """Wait for the tasks of all handlers."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    @staticmethod
    def _decide(handler: Before, operation: Operation) -> None:
        try:
            handler(operation)
        except OperationRefusedError:
            raise
        except Exception:  # noqa: BLE001 - a bug of one handler must not hide the others
            _log.exception("a handler before %s failed", operation.name)

    def _run(self, handler: Callable[..., object], *arguments: object) -> None:
        try:
            result = handler(*arguments)
        except Exception:  # noqa: BLE001 - what happened has happened: the next handler must hear of it too
            _log.exception("a handler of a storage event failed")
            return
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(_logged(result))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _logged(work: Awaitable[object]) -> object:
    try:
        return await work
    except Exception:  # noqa: BLE001 - as in `Events._run`
        _log.exception("a handler of a storage event failed")
        return None


def happened(operation: Operation, outcome: Outcome) -> list[FileEvent]:
    """The events that an operation's outcome stands for."""
    events: list[FileEvent] = [
        FileUploaded(operation.backend, info.path, info.size, info.content_type, info.etag, outcome.seconds)
        for info in outcome.written
    ]
    events += [FileDeleted(operation.backend, path, None, None, None, outcome.seconds) for path in outcome.removed]
    if (info := outcome.read) is not None and outcome.error is None:
        size = info.size if outcome.size is None else outcome.size
        events.append(FileDownloaded(operation.backend, info.path, size, info.content_type, info.etag, outcome.seconds))
    return events
