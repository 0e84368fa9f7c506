"""Writing below one root: whole or not at all, one writer of a path at a time. Everything here blocks."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.drivers.local.attributes import Version
from runtime.drivers.local.files import ATTEMPTS, Files, Found
from runtime.drivers.local.names import aside
from runtime.drivers.local.stage import BLOCK, Hashes, Staged, passing
from runtime.drivers.local.tree import (
    NOT_THERE,
    MissingRootError,
    drop_empty_folders,
    folder,
    make_folder,
    refuse_link,
    regular,
)
from runtime.drivers.local.work import TEMPORARY, remove
from runtime.errors import AlreadyExistsError, PreconditionFailedError, StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from runtime.driver import Bytes
    from runtime.drivers.local.names import Parts
    from runtime.drivers.local.stage import Stop
    from runtime.models import FileInfo, UploadOptions


class Bucket(Files):
    """All objects of one root, to be read and written."""

    def put(self, stop: Stop, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        """Write one object whole."""
        self.work.prepare()
        hashes = Hashes()  # options.checksum is true already
        view = memoryview(data).cast("B")
        with Staged(self.work) as staged:
            for start in range(0, len(view), BLOCK):
                stop.check()
                staged.write(view[start : start + BLOCK], start)
                hashes.update(view[start : start + BLOCK])
            return self.commit(stop, path, staged, hashes, options)

    def copy(self, stop: Stop, source: str, destination: str, conditions: UploadOptions) -> FileInfo:
        """Copy one object with its attributes, if the *conditions* hold for what is at the destination."""
        current = self.current(source, stop, opened=True)
        if current is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", source)
        found, version = current
        try:
            self.work.prepare()
            hashes = Hashes(version.checksum)
            with Staged(self.work, "copy") as staged:
                offset = 0
                for block in passing(found.fd, 0, found.stat.st_size, stop):
                    staged.write(block, offset)
                    hashes.update(block)
                    offset += len(block)
                options = replace(
                    version.options(), if_not_exists=conditions.if_not_exists, if_match=conditions.if_match
                )
                return self.commit(stop, destination, staged, hashes, options)
        finally:
            os.close(found.fd)

    def commit(self, stop: Stop, path: str, staged: Staged, hashes: Hashes, options: UploadOptions) -> FileInfo:
        """Make the staged file the object *path*, if the conditions in *options* hold."""
        hashes.check()
        sealed = staged.seal()
        for _ in range(ATTEMPTS):
            try:
                self._make_folders(self.work.names.of(path)[:-1], stop)
                with self.work.locked(path, stop):
                    kept = self._kept(path, self._conditions(path, options, stop))
                    if any(version.fits(sealed) for version in kept):
                        sealed = staged.seal(frozenset(version.mtime_ns for version in kept))
                    version = Version.of_upload(sealed.st_size, sealed.st_mtime_ns, hashes.sha256, options)
                    stop.check()
                    self.work.write_versions(path, [version, *kept])
                    self._place(path, staged)
                    return version.info(path)
            except MissingRootError:
                raise
            except FileNotFoundError:
                continue  # a delete nearby has just dropped a folder that became empty: make it again
        raise StorageUnavailableError(f"folders of {path!r} were removed {ATTEMPTS} times while it was written")

    def _kept(self, path: str, current: Found | None) -> list[Version]:
        """The versions that the file in force may need until it is replaced."""
        if current is None:
            return []
        versions = self.work.versions(path)
        fitting = [version for version in versions if version.fits(current.stat)]
        return fitting[:1] or [version for version in versions if version.size == current.stat.st_size][:2]

    def _conditions(self, path: str, options: UploadOptions, stop: Stop) -> Found | None:
        if options.if_match is None:
            found = self.find(path)
            if options.if_not_exists and found is not None:
                raise AlreadyExistsError
            return found
        return self._matching(path, options.if_match, stop)

    def _matching(self, path: str, etag: str, stop: Stop) -> Found:
        current = self.current(path, stop)
        if current is None:
            raise PreconditionFailedError(f"no object is there, asked for was etag {etag}")
        found, version = current
        if etag != version.etag:
            raise PreconditionFailedError(f"the object's etag is {version.etag}, asked for was {etag}")
        return found

    def _place(self, path: str, staged: Staged) -> None:
        target, beside, *others = self.work.names.places(path)
        with self.work.own(TEMPORARY) as source, folder(self.root, target[:-1]) as here:
            refuse_link(target[-1], here, target)
            try:
                os.replace(staged.name, target[-1], src_dir_fd=source, dst_dir_fd=here)
            except IsADirectoryError:  # other objects are below it, so this one goes aside
                os.replace(staged.name, beside[-1], src_dir_fd=source, dst_dir_fd=here)
            else:
                remove(beside[-1], here)
            staged.placed()
            os.fsync(here)
        for other in others:
            self._remove_at(other)

    def _make_folders(self, parts: Parts, stop: Stop) -> None:
        """Make the folders *parts*; a file that is in the way goes aside."""
        with suppress(OSError), folder(self.root, parts):
            return  # the common case; what is wrong otherwise shows step by step
        for depth, name in enumerate(parts):
            with folder(self.root, parts[:depth]) as here:
                make_folder(name, here)
                refuse_link(name, here, parts[: depth + 1])
                in_the_way = regular(name, here) is not None
            if in_the_way:
                self._move_aside(parts[: depth + 1], stop)

    def _move_aside(self, parts: Parts, stop: Stop) -> None:
        """Replace a file by a folder of its name. Its object is to be found at every moment."""
        path = self.work.names.path(parts)
        if self.work.names.of(path) != parts:
            raise StorageError(f"a file that is not ours is in the way at {'/'.join(parts)!r}", hint="rename that file")
        name, beside = parts[-1], aside(parts)[-1]
        with self.work.locked(path, stop), folder(self.root, parts[:-1]) as here:
            if regular(name, here) is not None:
                remove(beside, here)  # what a crash left; readers look there last
                os.link(name, beside, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
                os.fsync(here)
                os.unlink(name, dir_fd=here)
            make_folder(name, here)

    def delete(self, stop: Stop, path: str, if_match: str | None = None) -> None:
        """Remove one object; succeeds when it is not there, unless *if_match* asks for a version."""
        if self.find(path) is None and if_match is None:
            return
        self.work.prepare()
        with self.work.locked(path, stop):
            if if_match is not None:
                self._matching(path, if_match, stop)
            stop.check()
            target, beside, *others = self.work.names.places(path)
            removed = [gone for parts in reversed(others) for gone in self._remove_at(parts)]
            removed += self._remove_at(beside, target)  # the best place last: it is the one that readers look at first
            self.work.forget_versions(path)
            self.work.remembered.forget(path)
        for above in {parts[:-1] for parts in removed}:
            drop_empty_folders(self.root, above)

    def _remove_at(self, *places: Parts) -> list[Parts]:
        """Remove what is at *places* of one folder, one after the other for good; gives where something was."""
        removed: list[Parts] = []
        try:
            with folder(self.root, places[0][:-1]) as here:
                for parts in places:
                    if remove(parts[-1], here):
                        os.fsync(here)
                        removed.append(parts)
        except MissingRootError:
            raise
        except OSError as exc:
            if exc.errno not in NOT_THERE | {errno.ENAMETOOLONG}:
                raise
        return removed
