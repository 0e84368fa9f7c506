"""Listing one root in the order of the paths' UTF-8 bytes, walking only where a match can be."""

from __future__ import annotations

import base64
import binascii
import heapq
import os
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Self, TypeAlias

from runtime.drivers.local import attributes
from runtime.drivers.local.names import RESERVED, Parts, is_plain, rank
from runtime.drivers.local.tree import NOT_THERE, folder, open_folder, regular
from runtime.errors import InvalidOptionError
from runtime.models import FileInfo, ObjectPage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.drivers.local.files import Files
    from runtime.drivers.local.stage import Stop

_Entry: TypeAlias = tuple[bytes, int, Parts]
"""What a path (or all below a folder) sorts by, how good the place is, and the place."""

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

    def __iter__(self) -> Iterator[tuple[str, Parts]]:
        """Paths, and the best place of each."""
        run: list[_Entry] = []
        heap: list[tuple[_Entry, list[_Entry]]] = [((b"", _FOLDER_RANK, ()), run)]
        last = None
        while heap:  # the next entry of every folder that was opened
            (key, place, parts), run = heap[0]
            if run:
                heapq.heapreplace(heap, (run.pop(), run))
            else:
                heapq.heappop(heap)
            if place == _FOLDER_RANK:
                if self._may_hold(parts) and (below := sorted(self._entries(parts), reverse=True)):
                    heapq.heappush(heap, (below.pop(), below))
            elif key != last:
                path = key.decode()
                if self.query.skipped and path.startswith(self.query.skipped):
                    continue
                last = key  # the same object in two places: a crash can leave that; the better place came first
                yield path, parts

    def _starts(self, parts: Parts) -> list[str]:
        """What paths below the folder *parts* can start with: as we name folders, or as others did."""
        if not parts:
            return [""]
        literal = "".join(f"{part}/" for part in parts)
        ours = self._names.prefix(parts)
        return [literal] if ours is None or ours == literal else [literal, ours]

    def _may_hold(self, parts: Parts) -> bool:
        return any(self.query.may_be_below(start) for start in self._starts(parts))

    def _entries(self, parts: Parts) -> Iterator[_Entry]:
        """What is in one folder and may be listed, in any order."""
        literal = "".join(f"{part}/" for part in parts)
        plain = bool(parts) and self._names.is_plain(parts)
        wants, floor = self.query.wants, self.query.floor
        covered = plain and literal.startswith(self.query.prefix)
        try:
            with folder(self._files.root, parts) as here, os.scandir(here) as entries:
                for entry in entries:
                    name = entry.name
                    if plain and is_plain(name) and entry.is_file(follow_symlinks=False):
                        path = literal + name
                        key = path.encode()
                        if key > floor if covered else wants(path):
                            yield key, 0, (*parts, name)
                    else:
                        yield from self._entry(entry, parts)
        except OSError as exc:
            if not parts or exc.errno not in NOT_THERE:  # a folder that was removed meanwhile holds nothing
                raise

    def _entry(self, entry: os.DirEntry[str], parts: Parts) -> Iterator[_Entry]:
        """One file or folder of any name."""
        if not _is_text(entry.name) or (not parts and entry.name in RESERVED):
            return
        below = (*parts, entry.name)
        if entry.is_dir(follow_symlinks=False):
            if self._may_hold(below):
                yield min(start.encode() for start in self._starts(below)), _FOLDER_RANK, below
        elif entry.is_file(follow_symlinks=False):
            path = self._names.path(below)
            if self.query.wants(path):
                yield path.encode(), rank(below, self._names.of(path)), below


class Facts:
    """Facts of files in the order of a listing: a folder stays open for those that follow in it.

    Args:
        root: Absolute path of the root.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._parts: Parts | None = None
        self._here = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def of(self, parts: Parts) -> os.stat_result | None:
        """The facts of the regular file *parts*; None for anything else and for nothing."""
        above = parts[:-1]
        if self._parts != above:
            self._leave()
            try:
                self._here = open_folder(self._root, above)
            except OSError as exc:
                if exc.errno in NOT_THERE:
                    return None
                raise
            self._parts = above
        return regular(parts[-1], self._here)

    def _leave(self) -> None:
        here, self._here, self._parts = self._here, -1, None
        if here >= 0:
            os.close(here)


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
    objects = _Objects(files, stop)
    prefixes: list[str] = []
    more, end = False, ""
    with Facts(files.root) as facts:
        for path, parts in walk:
            if len(objects) + len(prefixes) == limit:
                more = True
                break
            common = walk.query.common_prefix(path) if delimiter else None
            if common is not None:
                prefixes.append(common)
                end = common
                walk.query = Query(prefix, delimiter, walk.query.floor, common)
            else:
                objects.add(path, facts.of(parts))
                end = path
    return ObjectPage(objects.all(), tuple(prefixes), _cursor(end) if more else None)


class _Objects:
    """The objects of one page; attributes that have to be read are read together, folder by folder.

    Args:
        files: The root.
        stop: Ends it.
    """

    def __init__(self, files: Files, stop: Stop) -> None:
        self._files = files
        self._remembered = files.work.remembered
        self._stop = stop
        self._found: list[FileInfo | None] = []
        self._unknown: list[tuple[str, str, int, str, os.stat_result]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, path: str, found: os.stat_result | None) -> None:
        """One more path, and the facts of its file: None when it is not there any more."""
        self._stop.check()
        info = None
        if found is None:
            info = _info(self._files, path, self._stop)
        elif (info := self._remembered.info(path, found)) is None:
            shard, name = attributes.file_name(path)
            self._unknown.append((shard, name, len(self._found), path, found))
        self._found.append(info)

    def all(self) -> tuple[FileInfo, ...]:
        """All objects that are still there."""
        for shard, several in groupby(sorted(self._unknown), key=itemgetter(0)):
            with self._files.work.shard(shard) as here:
                for _, name, index, path, found in several:
                    self._stop.check()
                    self._found[index] = self._read(here, (shard, name), path, found)
        return tuple(info for info in self._found if info is not None)

    def _read(self, here: int | None, file: tuple[str, str], path: str, found: os.stat_result) -> FileInfo | None:
        for version in self._files.work.versions_in(here, *file) if here is not None else ():
            if version.fits(found):
                self._files.work.remembered.keep(path, found, version)
                return version.info(path)
        return _info(self._files, path, self._stop)


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
