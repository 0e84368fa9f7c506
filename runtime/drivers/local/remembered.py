"""Attributes that were read before, for files that are still the same.

A version belongs to one size and mtime of a file (`attributes`), so what was read once is true as long as the
file has the same inode, size, mtime and ctime; no other process has to tell. Files whose mtime is a whole number of
microseconds are left out: the file system, or whoever wrote them, may count in steps that two versions fit into.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeAlias

from runtime.models import copied_info

if TYPE_CHECKING:
    import os

    from runtime.drivers.local.attributes import Version
    from runtime.models import FileInfo

MOST: Final = 8192
"""Versions that are remembered; about 8 MB."""

_Facts: TypeAlias = tuple[int, int, int, int]


class Remembered:
    """The newest versions of one root, by path."""

    def __init__(self) -> None:
        self._versions: dict[str, tuple[_Facts, Version, FileInfo]] = {}
        self._lock = threading.Lock()

    def get(self, path: str, found: os.stat_result) -> Version | None:
        """The version of *path*, when its file is still the one that it was read for."""
        known = self._versions.get(path)
        return known[1] if known is not None and known[0] == _facts(found) else None

    def info(self, path: str, found: os.stat_result) -> FileInfo | None:
        """What `get` gives as an application sees it: a listing makes thousands of them."""
        known = self._versions.get(path)
        return copied_info(known[2]) if known is not None and known[0] == _facts(found) else None

    def keep(self, path: str, found: os.stat_result, version: Version) -> None:
        """Remember that this is the version of that file."""
        if found.st_mtime_ns % 1000 == 0 or not version.fits(found):
            return
        told = version.info(path)
        with self._lock:
            self._versions.pop(path, None)
            self._versions[path] = _facts(found), version, told
            if len(self._versions) > MOST:
                del self._versions[next(iter(self._versions))]

    def forget(self, path: str) -> None:
        """Free the room of *path*."""
        with self._lock:
            self._versions.pop(path, None)


def _facts(found: os.stat_result) -> _Facts:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
