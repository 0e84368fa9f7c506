"""One run at a time: the lock on a stack's state."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from infra import private
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class StackLock:
    """Held while a run changes a stack.

    The operating system frees it when its process ends, so a file that a crash left behind never blocks; what the
    file says serves the message only.
    """

    def __init__(self, directory: Path, stack: str) -> None:
        self._path = directory / "state.lock"
        self._stack = stack
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        private.directory(self._path.parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _try_lock(descriptor)
        except OSError as exc:
            holder = os.read(descriptor, 4096).decode(errors="replace") if sys.platform != "win32" else ""
            os.close(descriptor)
            raise ConfigError(
                f"another run is changing the stack {self._stack!r}{_told(holder)}",
                source=str(self._path),
                hint="wait until it has ended",
            ) from exc
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat()}).encode())
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)  # frees the lock; removing the file could let two processes lock two files
            self._descriptor = None


def _told(holder: str) -> str:
    try:
        found = json.loads(holder)
        return f": process {found['pid']}, since {found['since'][:19]} UTC"
    except (ValueError, KeyError, TypeError):
        return ""
