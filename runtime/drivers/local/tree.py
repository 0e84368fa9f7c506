"""Steps in the tree below the root that no symbolic link can lead astray.

Every folder is opened by its name inside its already open parent, and never through a link, so a link that is
put there in the middle of an operation changes nothing either. Links below the root are not objects: readers
do not see them, writers refuse to go through or over them. The root itself may be a link.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import NotFoundError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.driver import Bytes
    from runtime.drivers.local.names import Parts

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make anybody wait
NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Errors of a step that say: no such file, or a file or a link where a folder would have to be."""


class MissingRootError(NotFoundError):
    """The root directory is not there."""

    def __init__(self, root: str, problem: str) -> None:
        super().__init__(
            f"root_dir {root!r} {problem}", hint="`tandem up` or mkdir makes it, and so does the first upload"
        )


class LinkInTheWayError(PermissionDeniedError):
    """A symbolic link is where a folder or a file of the bucket would go."""


def open_folder(root: str, parts: Parts) -> int:
    """A file descriptor of the folder *parts* below *root*; raises OSError with one of `NOT_THERE` without it.

    Raises:
        MissingRootError: the root itself is not there.
    """
    try:
        here = os.open(root, _FOLDER)
    except FileNotFoundError as exc:
        raise MissingRootError(root, "does not exist") from exc
    except NotADirectoryError as exc:
        raise MissingRootError(root, "is not a directory") from exc
    for part in parts:
        try:
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


@contextmanager
def folder(root: str, parts: Parts) -> Iterator[int]:
    """`open_folder`, closed at the end."""
    here = open_folder(root, parts)
    try:
        yield here
    finally:
        os.close(here)


@contextmanager
def below(name: str, above: int) -> Iterator[int]:
    """The folder *name* in the open folder *above*, opened and closed at the end; never through a link."""
    here = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    try:
        yield here
    finally:
        os.close(here)


def regular(name: str, here: int) -> os.stat_result | None:
    """The facts of the regular file *name* in the open folder *here*; None for anything else and for nothing."""
    try:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in NOT_THERE or exc.errno == errno.ENAMETOOLONG:
            return None
        raise
    return found if stat.S_ISREG(found.st_mode) else None


def open_file(name: str, here: int) -> int | None:
    """The regular file *name* opened for reading; None for anything else and for nothing."""
    if regular(name, here) is None:  # opening a device may do things
        return None
    try:
        opened = os.open(name, _FILE, dir_fd=here)
    except OSError as exc:
        if exc.errno in NOT_THERE:
            return None
        raise
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        return None
    return opened


def refuse_link(name: str, here: int, parts: Parts) -> None:
    """Raise when *name* is a symbolic link."""
    try:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise LinkInTheWayError(
            f"a symbolic link is in the way at {'/'.join(parts)!r}", hint="links below root_dir are never followed"
        )


def make_folder(name: str, here: int) -> None:
    """Make one folder for good: it is there after a power cut too. Succeeds when it is there already."""
    try:
        os.mkdir(name, dir_fd=here)
    except FileExistsError:
        return
    os.fsync(here)


def make_root(root: str) -> None:
    """Make the root with everything above it."""
    Path(root).mkdir(parents=True, exist_ok=True)


def drop_empty_folders(root: str, parts: Parts) -> None:
    """Remove the folder *parts* and those above it as far as they are empty; a bucket knows no folders."""
    for depth in range(len(parts), 0, -1):
        try:
            with folder(root, parts[: depth - 1]) as here:
                os.rmdir(parts[depth - 1], dir_fd=here)
        except OSError as exc:
            if exc.errno in NOT_THERE | {errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY}:
                return
            raise


def write_all(fd: int, data: Bytes, offset: int) -> None:
    """Write all of *data* at *offset*."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
