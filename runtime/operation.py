"""Around every operation: one place where errors are translated and hooks are told.

The message of a translated error is our own sentence, the class of the vendor's error and the status and
code that the driver vouches for (`Driver.error_detail`). The vendor's own text is never copied, because it
may hold a signed URL; it stays readable in ``__cause__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import anyio

from runtime.errors import PermissionDeniedError, StorageError, StorageTimeoutError
from runtime.hooks import Operation, Running
from runtime.models import FileInfo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from runtime.driver import Driver
    from runtime.files import Target
    from runtime.grants import Access
    from runtime.hooks import Hook
    from runtime.pieces import Source


def kind_of(error: Exception, driver: Driver) -> type[StorageError] | None:
    """The class in our tree that *error* belongs to; None for a bug."""
    if isinstance(error, StorageError):
        return type(error)
    kind = driver.error_type(error)
    if kind is None and isinstance(error, TimeoutError):
        return StorageTimeoutError
    return kind


def translated(error: Exception, driver: Driver, backend: str, operation: str, path: object) -> Exception:
    """*error* as the caller should see it: filled in, translated, or untouched when it is a bug."""
    kind = kind_of(error, driver)
    if kind is None:
        return error
    name = path.path if isinstance(path, FileInfo) else path if isinstance(path, str) else None
    if isinstance(error, StorageError):
        error.backend = error.backend or backend
        error.operation = error.operation or operation
        error.path = error.path or name
        return error
    detail = driver.error_detail(error)
    vendor = f"{type(error).__name__} {detail}" if detail else type(error).__name__
    shown = kind(f"{kind().message}: {vendor}", backend=backend, operation=operation, path=name or None)
    for note in getattr(error, "__notes__", ()):  # ours: what is left, how much was done, how often it was tried
        shown.add_note(note)
    return shown


class Guard:
    """``with Guard(…):`` around the calls of one operation. A class, as a generator would cost microseconds.

    Attributes:
        size: Bytes of content moved, for the hooks.
        written: Objects that are new or have new content, for the hooks.
        removed: Paths at which nothing is any more, for the hooks.
        read: The object whose content was read, for the hooks.
        source: What belongs to the caller: an upload's source, a download's file. Its own failure is not translated.
    """

    __slots__ = (
        "_access",
        "_driver",
        "_hooks",
        "_paths",
        "_running",
        "_scope",
        "_timeout",
        "backend",
        "operation",
        "path",
        "read",
        "removed",
        "size",
        "source",
        "written",
    )

    def __init__(
        self,
        driver: Driver,
        hooks: tuple[Hook, ...],
        backend: str,
        operation: str,
        path: object = None,
        timeout: float | None = None,
        *,
        paths: Iterable[object] = (),
        access: Access | None = None,
    ) -> None:
        self._access = access
        self._driver = driver
        self._hooks = hooks
        self.backend = backend
        self.operation = operation
        self.path = path
        self._timeout = timeout
        self._paths = paths
        self.size: int | None = None
        self.written: tuple[FileInfo, ...] = ()
        self.removed: tuple[str, ...] = ()
        self.read: FileInfo | None = None
        self.source: Source | Target | None = None

    def __enter__(self) -> Self:
        if self._hooks:
            name, driver = _name(self.path), self._driver.backend.driver
            paths = tuple(filter(None, map(_name, self._paths))) or (() if name is None else (name,))
            self._running = Running(self._hooks, Operation(self.backend, driver, self.operation, name, paths))
        if self._timeout is not None:
            self._scope = anyio.move_on_after(self._timeout)
            self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timeout is not None and self._scope.__exit__(kind, error, trace):
            error = StorageTimeoutError(f"not done within {self._timeout:g} s", hint="limits.operation_timeout")
            error = translated(error, self._driver, self.backend, self.operation, self.path)
            if self._hooks:
                self._running.end(error, self.size, self.written, self.removed)
            raise error from None
        if error is None and not self._hooks:
            return
        shown = error
        if isinstance(error, Exception) and not (self.source is not None and error is self.source.failure):
            shown = translated(error, self._driver, self.backend, self.operation, self.path)
            if self._access and type(shown) is PermissionDeniedError and shown.hint is None:
                shown.hint = self._access.hint(self.operation)
        if self._hooks:
            self._running.end(shown, self.size, self.written, self.removed, self.read)
        if shown is not None and shown is not error:
            raise shown from error


def _name(path: object) -> str | None:
    """The path that an argument names; None for what is of a wrong type, which is refused later."""
    return path.path if isinstance(path, FileInfo) else path if isinstance(path, str) else None
