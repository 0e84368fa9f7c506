"""The driver's own folder ``.tandem`` in the root: files in the making, locks, attributes.

=======================  ===========================================================================================
``.tandem/root.json``    ``{"format": 1, "folded": false}``: how names are written here (`names`)
``.tandem/temporary/``   files of uploads that are not complete, each held locked by the process that writes it
``.tandem/locks/``       256 files that writers of one path lock (flock) while they compare and rename
``.tandem/attributes/``  see `attributes`
=======================  ===========================================================================================

It is made by the first write. It is on the root's file system, so that a rename out of it is atomic.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import threading
import time
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from runtime.drivers.local import attributes
from runtime.drivers.local.names import WORK, Names
from runtime.drivers.local.remembered import Remembered
from runtime.drivers.local.tree import (
    NOT_THERE,
    MissingRootError,
    below,
    folder,
    make_folder,
    make_root,
    open_file,
    open_folder,
    regular,
    write_all,
)
from runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.drivers.local.attributes import Version
    from runtime.drivers.local.names import Parts
    from runtime.drivers.local.stage import Stop

TEMPORARY = (WORK, "temporary")
LOCKS = (WORK, "locks")
ATTRIBUTES = (WORK, "attributes")
STALE_SECONDS = 3600
"""Temporary files that nobody holds locked and that nobody wrote to for so long are removed at open."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.005
"""Seconds between two looks at a lock that another writer holds; a wait inside of flock could not be given up."""

_BLOCK = 64 * 1024
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Work:
    """The work folder of one root.

    Args:
        root: Absolute path of the root.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.remembered = Remembered()
        self._names: Names | None = None
        self._own = _Own()

    def close(self) -> None:
        """Close the folders that are kept open; the next write opens them again."""
        self._own.close()

    @contextmanager
    def own(self, parts: Parts) -> Iterator[int]:
        """One of `TEMPORARY`, `LOCKS` and `ATTRIBUTES`, opened, as `prepare` has found or made it."""
        here = self._own.of(parts)
        if here is None:
            here = open_folder(self.root, parts)
        try:
            yield here
        finally:
            os.close(here)

    @property
    def names(self) -> Names:
        """How names are written below this root; asked of the disk once it has been written down there."""
        if self._names is not None:
            return self._names
        text = self._read((WORK,), "root.json")
        if text is None:
            return Names()
        self._names = _read_names(text, f"{self.root}/{WORK}/root.json")
        return self._names

    def prepare(self) -> None:
        """Make the root and the work folder, where they are missing."""
        if self._own.is_at(f"{self.root}/{WORK}/{LOCKS[1]}"):
            return
        self._own.close()
        make_root(self.root)
        with folder(self.root, ()) as here:
            make_folder(WORK, here)
        with folder(self.root, (WORK,)) as here:
            for name in (TEMPORARY[1], ATTRIBUTES[1]):
                make_folder(name, here)
        if self._read((WORK,), "root.json") is None:
            document = {"format": attributes.FORMAT, "folded": self._mixes_up_letters()}
            with folder(self.root, (WORK,)) as here:
                self._replace(here, "root.json", json.dumps(document).encode())
        with folder(self.root, (WORK,)) as here:
            make_folder(LOCKS[1], here)  # last: it says that the rest is there
        if self.names is not None:
            self._own.keep({parts: open_folder(self.root, parts) for parts in (TEMPORARY, ATTRIBUTES, LOCKS)})

    def _mixes_up_letters(self) -> bool:
        name = f"probe-\u00e9a-{token_hex(4)}"
        os.close(self.create(name))
        try:
            with folder(self.root, TEMPORARY) as here:
                for other in (name.upper(), name.replace("\u00e9", "e\u0301")):
                    try:
                        os.stat(other, dir_fd=here)
                    except FileNotFoundError:
                        continue
                    return True
                return False
        finally:
            self.discard(name)

    # temporary files

    def create(self, name: str) -> int:
        """A new file in the temporary folder, locked for as long as the descriptor is open."""
        with self.own(TEMPORARY) as here:
            made = os.open(name, _NEW, 0o666, dir_fd=here)  # the umask applies, as to any file
        try:
            fcntl.flock(made, fcntl.LOCK_EX)
        except BaseException:
            os.close(made)
            self.discard(name)
            raise
        return made

    def discard(self, name: str) -> None:
        """Remove a temporary file; succeeds when it is not there."""
        with self.own(TEMPORARY) as here:
            remove(name, here)

    def sweep(self, now: float | None = None) -> list[str]:
        """Remove what killed processes left. A root that is not there or may not be written to needs no sweeping.

        Args:
            now: Seconds since the epoch; the clock's when missing.
        """
        before = (time.time() if now is None else now) - STALE_SECONDS
        removed = []
        try:
            for name, when in self.abandoned():
                if when <= before:
                    self.discard(name)
                    removed.append(name)
        except OSError as exc:
            if exc.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise
        return removed

    def abandoned(self) -> list[tuple[str, float]]:
        """Temporary files that no living process holds, and when each was last written to (seconds since the epoch)."""
        try:
            with folder(self.root, TEMPORARY) as here:
                names = os.listdir(here)  # noqa: PTH208 - a descriptor, not a path
                return [(name, when) for name in names if (when := self._abandoned(name, here)) is not None]
        except MissingRootError:
            return []
        except OSError as exc:
            if exc.errno not in NOT_THERE:
                raise
            return []

    def discard_abandoned(self, name: str) -> None:
        """Remove one of `abandoned`; one that a living process holds stays, and anything else is none."""
        if any(name == left for left, _ in self.abandoned()):
            self.discard(name)

    @staticmethod
    def _abandoned(name: str, here: int) -> float | None:
        opened = open_file(name, here)
        if opened is None:
            return None
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(opened).st_mtime
        except BlockingIOError:
            return None  # a living process writes it, however slowly
        finally:
            os.close(opened)

    # locks

    @contextmanager
    def locked(self, path: str, stop: Stop | None = None) -> Iterator[bool]:
        """Hold back all other writers of *path*, in this process and in others.

        Args:
            path: Object path.
            stop: Asked while others hold it, as one of them may stand still; without it nobody is waited for, and the
                ``with`` gives False when it is held.
        """
        name = hashlib.sha256(path.encode()).hexdigest()[:2]
        with self.own(LOCKS) as here:
            lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666, dir_fd=here)
        held = False
        try:
            pause = _FIRST_PAUSE
            while not (held := _lock_now(lock)) and stop is not None:
                stop.check()
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            yield held
        finally:
            if held:
                fcntl.flock(lock, fcntl.LOCK_UN)  # a process that was forked meanwhile has the descriptor, too
            os.close(lock)

    # attributes

    def versions(self, path: str) -> list[Version]:
        """The versions that are written down for *path*."""
        shard, name = attributes.file_name(path)
        with self.shard(shard) as here:
            return [] if here is None else self.versions_in(here, shard, name)

    @contextmanager
    def shard(self, shard: str) -> Iterator[int | None]:
        """One folder of attributes, opened; None when it is not there."""
        try:
            here = open_folder(self.root, (*ATTRIBUTES, shard))
        except OSError as exc:
            if exc.errno not in NOT_THERE:
                raise
            yield None
            return
        try:
            yield here
        finally:
            os.close(here)

    @staticmethod
    def versions_in(here: int, shard: str, name: str) -> list[Version]:
        """The versions in one file of attributes in the open folder *here*."""
        text = _content(name, here)
        return [] if text is None else attributes.load(text, "/".join((*ATTRIBUTES, shard, name)))

    def write_versions(self, path: str, versions: list[Version]) -> None:
        """Write the versions of *path* down, for good."""
        shard, name = attributes.file_name(path)
        with self.own(ATTRIBUTES) as above:
            make_folder(shard, above)
            with below(shard, above) as here:
                self._replace(here, name, attributes.dump(path, versions))

    def forget_versions(self, path: str) -> None:
        """Remove what is written down for *path*."""
        shard, name = attributes.file_name(path)
        try:
            with self.own(ATTRIBUTES) as above, below(shard, above) as here:
                remove(name, here)
        except OSError as exc:
            if exc.errno not in NOT_THERE:
                raise

    # files

    def _read(self, parts: tuple[str, ...], name: str) -> bytes | None:
        try:
            with folder(self.root, parts) as here:
                return _content(name, here)
        except OSError as exc:
            if exc.errno in NOT_THERE:
                return None
            raise

    def _replace(self, here: int, name: str, content: bytes) -> None:
        """Write a small file of our own: the old one or the new one, never a part, also after a power cut."""
        made = f"own-{token_hex(8)}"
        descriptor = self.create(made)
        try:
            try:
                write_all(descriptor, content, 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            with self.own(TEMPORARY) as source:
                os.replace(made, name, src_dir_fd=source, dst_dir_fd=here)
            os.fsync(here)
        except BaseException:
            self.discard(made)
            raise


class _Own:
    """The driver's own folders, kept open: every write needs all of them, several times."""

    def __init__(self) -> None:
        self._kept: dict[Parts, int] = {}
        self._facts: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def __del__(self) -> None:
        self.close()

    def is_at(self, locks: str) -> bool:
        """Whether they are open, and still those that are below the root."""
        facts = self._facts
        if facts is None:
            return False
        try:
            found = os.stat(locks)  # noqa: PTH116 - hot path
        except OSError:
            return False
        return facts == (found.st_dev, found.st_ino)

    def keep(self, folders: dict[Parts, int]) -> None:
        """Keep these descriptors."""
        found = os.fstat(folders[LOCKS])
        self.close()
        with self._lock:
            self._kept, self._facts = folders, (found.st_dev, found.st_ino)

    def of(self, parts: Parts) -> int | None:
        """A descriptor of the caller's own, so that another thread may close the kept one."""
        with self._lock:
            kept = self._kept.get(parts)
            return None if kept is None else os.dup(kept)

    def close(self) -> None:
        """Close them."""
        with self._lock:
            kept, self._kept, self._facts = self._kept, {}, None
        for descriptor in kept.values():
            os.close(descriptor)


def _lock_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _content(name: str, here: int) -> bytes | None:
    """All of one of our own small files in the open folder *here*; None when it is not there."""
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    except OSError as exc:
        if exc.errno in NOT_THERE:
            return None
        raise
    try:
        content = os.read(opened, _BLOCK)
        while len(content) % _BLOCK == 0 and (more := os.read(opened, _BLOCK)):
            content += more
        return content
    finally:
        os.close(opened)


def _read_names(text: bytes, source: str) -> Names:
    try:
        document: dict[str, Any] = json.loads(text)
        if document["format"] != attributes.FORMAT:
            raise StorageError(f"{source} has format {document['format']!r}, known is {attributes.FORMAT}")
        return Names(folded=bool(document["folded"]))
    except (ValueError, TypeError, KeyError) as exc:
        raise StorageError(f"{source} can not be read", hint="it says how names are written; restore it") from exc


def remove(name: str, here: int) -> bool:
    """Remove a regular file from the open folder *here*; whether there was one."""
    if regular(name, here) is None:
        return False
    try:
        os.unlink(name, dir_fd=here)
    except FileNotFoundError:
        return False
    return True
