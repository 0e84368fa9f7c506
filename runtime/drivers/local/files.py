"""The objects below one root: find them, tell what is known of them, open them. Everything here blocks."""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runtime.drivers.local.attributes import Version
from runtime.drivers.local.stage import Hashes, passing
from runtime.drivers.local.tree import NOT_THERE, folder, open_file, open_folder, regular
from runtime.drivers.local.work import Work
from runtime.errors import StorageUnavailableError

if TYPE_CHECKING:
    from runtime.drivers.local.names import Parts
    from runtime.drivers.local.stage import Stop
    from runtime.models import FileInfo

ATTEMPTS = 100
"""How often an operation starts over when others change the object under its hands; each change is their success."""

_REMEMBERED = 4096  # hashes of strangers' files; about 1 MB


@dataclass(frozen=True, slots=True)
class Found:
    """An object's file.

    Attributes:
        parts: Where it is.
        stat: Its facts.
        fd: Its descriptor, when it was opened.
    """

    parts: Parts
    stat: os.stat_result
    fd: int = -1


class Files:
    """All objects of one root.

    Args:
        root: Absolute path of the root.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.work = Work(root)
        self._hashes: OrderedDict[tuple[str, int, int, int], str] = OrderedDict()
        self._hashes_lock = threading.Lock()

    # finding

    def find(self, path: str, *, opened: bool = False) -> Found | None:
        """Where *path* is; None when there is no such object. The caller closes the descriptor."""
        places = self.work.names.places(path)
        opened_at: Parts | None = None
        here = -1
        try:
            for parts in (*places, places[0]):  # again the first: a writer may have moved it there while we looked
                try:
                    if parts[:-1] != opened_at:
                        if here >= 0:
                            os.close(here)
                        here, opened_at = -1, None
                        here = open_folder(self.root, parts[:-1])
                        opened_at = parts[:-1]
                    if opened:
                        if (fd := open_file(parts[-1], here)) is not None:
                            return Found(parts, os.fstat(fd), fd)
                    elif (stat := regular(parts[-1], here)) is not None:
                        return Found(parts, stat)
                except OSError as exc:
                    if exc.errno not in NOT_THERE | {errno.ENAMETOOLONG}:
                        raise
        finally:
            if here >= 0:
                os.close(here)
        return None

    def version(self, path: str, found: Found, stop: Stop, *, cheap: bool = False) -> Version | None:
        """The attributes that belong to *found*; None when it was replaced meanwhile: look again.

        Args:
            path: The object's path.
            found: Its file.
            stop: Ends the hashing of a large file.
            cheap: Leave out the hash of a file that somebody else put there, and with it its etag.
        """
        if (known := self.work.remembered.get(path, found.stat)) is not None:
            return known
        versions = self.work.versions(path)
        for version in versions:
            if version.fits(found.stat):
                self.work.remembered.keep(path, found.stat, version)
                return version
        again = self.find(path)
        if again is None or not os.path.samestat(again.stat, found.stat):
            return None
        same_size = [version for version in versions if version.size == found.stat.st_size]
        if cheap and not same_size:
            return Version.of_stranger(path, found.stat, "")
        digest = self._hash(path, found, stop)
        for version in same_size:
            if version.sha256 == digest:
                moved = replace(version, mtime_ns=found.stat.st_mtime_ns)
                self._adopt(path, found, moved)
                return moved
        return Version.of_stranger(path, found.stat, digest)

    def _adopt(self, path: str, found: Found, version: Version) -> None:
        """Write down the new time of bytes that were copied here without theirs, so that nobody hashes them again.

        Only a convenience: left out where another writer is at work (perhaps this very call's own caller) and
        where nothing may be written.
        """
        try:
            self.work.prepare()
            with self.work.locked(path) as held:
                again = self.find(path) if held else None
                if again is not None and os.path.samestat(again.stat, found.stat) and version.fits(again.stat):
                    self.work.write_versions(path, [version])
        except OSError as exc:
            if exc.errno not in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT} | NOT_THERE:
                raise

    def _hash(self, path: str, found: Found, stop: Stop) -> str:
        key = (path, found.stat.st_ino, found.stat.st_size, found.stat.st_mtime_ns)
        with self._hashes_lock:
            if (known := self._hashes.get(key)) is not None:
                self._hashes.move_to_end(key)
                return known
        hashes = Hashes()
        with folder(self.root, found.parts[:-1]) as here:
            fd = open_file(found.parts[-1], here)
        if fd is not None:
            try:
                for block in passing(fd, 0, found.stat.st_size, stop):
                    hashes.update(block)
            finally:
                os.close(fd)
        with self._hashes_lock:
            self._hashes[key] = hashes.sha256
            if len(self._hashes) > _REMEMBERED:
                self._hashes.popitem(last=False)
        return hashes.sha256

    def current(self, path: str, stop: Stop, *, opened: bool = False) -> tuple[Found, Version] | None:
        """The file and the attributes of *path*, which belong together; the caller closes the descriptor."""
        for _ in range(ATTEMPTS):
            found = self.find(path, opened=opened)
            if found is None:
                return None
            keep = False
            try:
                version = self.version(path, found, stop)
                if version is not None:
                    keep = True
                    return found, version
            finally:
                if found.fd >= 0 and not keep:
                    os.close(found.fd)
        raise StorageUnavailableError(f"{path!r} was replaced {ATTEMPTS} times while it was looked at")

    # reading

    def head(self, stop: Stop, path: str) -> FileInfo:
        """All that is known of one object."""
        current = self.current(path, stop)
        if current is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", path)
        return current[1].info(path)

    def open(self, stop: Stop, path: str) -> tuple[int, FileInfo]:
        """One object's open file and what is known of it; the caller closes it."""
        current = self.current(path, stop, opened=True)
        if current is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", path)
        found, version = current
        return found.fd, version.info(path)
