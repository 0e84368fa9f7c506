"""Listing one root in the order of the paths' UTF-8 bytes, walking only where a match can be."""

from __future__ import annotations

import base64
import binascii
import heapq
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.drivers._local_names import RESERVED, Parts, rank
from runtime.drivers._local_tree import NOT_THERE, folder
from runtime.errors import InvalidOptionError
from runtime.models import FileInfo, ObjectPage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.drivers._local_files import Files
    from runtime.drivers._local_stage import Stop

_FOLDER_RANK = -1  # a folder is opened before a file of the same key is given


@dataclass(frozen=True, slots=True)
class Query:
    """What is listed.

    Attributes:
        prefix: What paths start with.
        delimiter: Where paths are rolled up; empty for not at all.
        floor: Paths must sort after this one.
        skipped: A common prefix that was already given; nothing below it is.
    """

    prefix: str
    delimiter: str = ""
    floor: bytes = b""
    skipped: str = ""

    def wants(self, path: str) -> bool:
        """Whether the object *path* is to be listed."""
        if not path.startswith(self.prefix) or path.encode() <= self.floor:
            return False
        return not (self.skipped and path.startswith(self.skipped))

    def may_be_below(self, start: str) -> bool:
        """Whether a path that starts with *start* can be listed."""
        if not (start.startswith(self.prefix) or self.prefix.startswith(start)):
            return False
        if self.skipped and start.startswith(self.skipped):
            return False
        return start.encode() > self.floor or self.floor.startswith(start.encode())

    def common_prefix(self, path: str) -> str | None:
        """What *path* is rolled up to, if it is."""
        at = path.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        return None if at < 0 else path[: at + len(self.delimiter)]


class Walk:
    """The paths below one root, in order, found as they are asked for.

    Args:
        files: The root.
        query: What is listed; may be changed for a narrower one while walking.
    """

    def __init__(self, files: Files, query: Query) -> None:
        self._files = files
        self._names = files.work.names
        self.query = query

    def __iter__(self) -> Iterator[str]:
        heap: list[tuple[bytes, int, Parts]] = [(b"", _FOLDER_RANK, ())]
        last = None
        while heap:
            key, place, parts = heapq.heappop(heap)
            if place == _FOLDER_RANK:
                if self._may_hold(parts):
                    for entry in self._entries(parts):
                        heapq.heappush(heap, entry)
            elif key != last and self.query.wants(path := key.decode()):
                last = key  # the same object in two places: a crash can leave that; the better place came first
                yield path

    def _starts(self, parts: Parts) -> list[str]:
        """What paths below the folder *parts* can start with: as we name folders, or as others did."""
        if not parts:
            return [""]
        literal = "".join(f"{part}/" for part in parts)
        ours = self._names.prefix(parts)
        return [literal] if ours is None or ours == literal else [literal, ours]

    def _may_hold(self, parts: Parts) -> bool:
        return any(self.query.may_be_below(start) for start in self._starts(parts))

    def _entries(self, parts: Parts) -> Iterator[tuple[bytes, int, Parts]]:
        try:
            with folder(self._files.root, parts) as here, os.scandir(here) as entries:
                for entry in entries:
                    if not _is_text(entry.name) or (not parts and entry.name in RESERVED):
                        continue
                    below = (*parts, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        if self._may_hold(below):
                            yield min(start.encode() for start in self._starts(below)), _FOLDER_RANK, below
                    elif entry.is_file(follow_symlinks=False):
                        path = self._names.path(below)
                        if self.query.wants(path):
                            yield path.encode(), rank(below, self._names.of(path)), below
        except OSError as exc:
            if not parts or exc.errno not in NOT_THERE:  # a folder that was removed meanwhile holds nothing
                raise


def _is_text(name: str) -> bool:
    """Whether *name* is UTF-8; other names can not be paths and are left out."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def page(
    files: Files, stop: Stop, prefix: str, *, delimiter: str, start_after: str, cursor: str | None, limit: int
) -> ObjectPage:
    """One page of a listing; see `runtime.driver.Driver.list_objects`."""
    after = max(_read_cursor(cursor), start_after)
    # a common prefix that `after` is or lies in was given before, or lies before `start_after`
    skipped = Query(prefix, delimiter).common_prefix(after) if after.startswith(prefix) else None
    walk = Walk(files, Query(prefix, delimiter, after.encode(), skipped or ""))
    objects: list[FileInfo] = []
    prefixes: list[str] = []
    end = ""
    for path in walk:
        stop.check()
        if len(objects) + len(prefixes) == limit:
            return ObjectPage(tuple(objects), tuple(prefixes), end)
        common = walk.query.common_prefix(path)
        if common is not None:
            prefixes.append(common)
            end = _cursor(common)
            walk.query = Query(prefix, delimiter, walk.query.floor, common)
        elif (info := _info(files, path, stop)) is not None:
            objects.append(info)
            end = _cursor(path)
    return ObjectPage(tuple(objects), tuple(prefixes))


def _info(files: Files, path: str, stop: Stop) -> FileInfo | None:
    for _ in range(10):
        found = files.find(path)
        if found is None:
            return None  # deleted since its name was read
        version = files.version(path, found, stop, cheap=True)
        if version is not None:
            return version.info(path)
    return None


def _cursor(path: str) -> str:
    """The path or common prefix that a page ended with, made opaque."""
    return base64.urlsafe_b64encode(path.encode()).decode("ascii")


def _read_cursor(cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as exc:
        raise InvalidOptionError("the cursor is not one of this backend") from exc
