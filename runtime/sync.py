"""Makes one place hold what another one holds: what is missing or differs is copied, what is extra may be removed.

::

    result = await sync(Path("site"), (storage["media"], "site/"), prune=True, max_delete=100)

A place is a folder of this machine, a backend, or a backend with a prefix; at least one of the two is a backend's.
Nothing is removed before everything was copied, and nothing at all when a copy failed. Each object is written
all or nothing, so an interrupted run is resumed by running it again. Empty objects whose names end with a slash,
which some tools make for folders, are passed over. Between two backends the bytes are streamed
and type, metadata and cache headers are kept; inside one they do not pass through here.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import anyio
from anyio.to_thread import run_sync

from runtime.between import carry
from runtime.errors import InvalidOptionError, PreconditionFailedError, StorageError
from runtime.folders import file_below, files_below
from runtime.options import whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runtime.models import FileInfo
    from runtime.store import BlobStore

MIB: Final = 1024 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Place: TypeAlias = "BlobStore | tuple[BlobStore, str] | os.PathLike[str]"
Compare: TypeAlias = Literal["modified", "size", "etag", "checksum"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        action: ``copy`` or ``delete``.
        path: Where, below both places.
        reason: ``missing``, ``differs`` or ``extra``.
        size: Bytes to copy, or that go.
    """

    action: Literal["copy", "delete"]
    path: str
    reason: Literal["missing", "differs", "extra"]
    size: int


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What was to be done, and what was done.

    Attributes:
        plan: All steps: first the copies, then the removals, each in the order of the paths' UTF-8 bytes.
        unchanged: How many objects were the same already.
        done: The steps that were done, in the plan's order; none after a dry run.
        failed: The steps that were not, in that order, with the reason. With a failed copy no removal was tried.
    """

    plan: tuple[Step, ...]
    unchanged: int
    done: tuple[Step, ...] = ()
    failed: tuple[tuple[Step, Exception], ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One object or file.

    Attributes:
        name: Path below its place.
        size: Bytes.
        modified: Aware UTC time.
        info: What the listing said, for an object.
    """

    name: str
    size: int
    modified: datetime
    info: FileInfo | None = None


@dataclass(frozen=True, slots=True)
class _Folder:
    root: Path

    async def entries(self) -> Mapping[str, _Entry]:
        return await run_sync(self._entries)

    def _entries(self) -> dict[str, _Entry]:
        return {entry.name: entry for entry in map(self._entry, files_below(self.root))}

    def _entry(self, file: Path) -> _Entry:
        status = file.stat()
        name = file.relative_to(self.root).as_posix()
        return _Entry(name, status.st_size, _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000))

    async def digest(self, entry: _Entry) -> str:
        def read() -> str:
            with (self.root / entry.name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

        return await run_sync(read)


@dataclass(frozen=True, slots=True)
class _Bucket:
    store: BlobStore
    prefix: str

    async def entries(self) -> Mapping[str, _Entry]:
        found = {}
        async for info in self.store.list(self.prefix):
            name = info.path.removeprefix(self.prefix)
            if not info.size and (not name or name.endswith("/")):
                continue  # a mark that some tools make for a folder
            found[name] = _Entry(name, info.size, info.last_modified, info)
        return found

    async def digest(self, entry: _Entry) -> str:
        digest = hashlib.sha256()
        stream = self.store.stream(entry.info or self.prefix + entry.name, MIB)
        async with aclosing(stream):
            async for chunk in stream:
                digest.update(chunk)
        return digest.hexdigest()


async def sync(
    source: Place,
    destination: Place,
    *,
    prune: bool = False,
    dry_run: bool = False,
    max_delete: int | None = None,
    compare: Compare = "modified",
    concurrency: int = 8,
    on_step: Callable[[Step, Exception | None], object] | None = None,
) -> SyncResult:
    """Make *destination* hold what *source* holds.

    Args:
        source: What shall be there.
        destination: Where. Of a folder that is not there yet, the missing ones are made.
        prune: Remove what *source* does not have.
        dry_run: Only say what would be done.
        max_delete: Do nothing at all when more than so many would be removed.
        compare: When two objects count as the same: ``modified``: equal sizes, and the destination's is not older
            (services tell whole seconds: what was written in the second of its copy is copied once more);
            ``size``: equal sizes; ``etag``: equal etags (between backends of one driver only); ``checksum``: equal
            bytes, for which those of equal size are read on both sides.
        concurrency: Objects copied at once.
        on_step: Told of every step that is done, or why it was not.

    Raises:
        InvalidOptionError: the two places overlap, or can not be compared so.
        PreconditionFailedError: more than *max_delete* would be removed.
        OSError: *source* is a folder that can not be read.
    """
    whole_number("concurrency", concurrency)
    origin, target = _place(source), _place(destination)
    _check(origin, target, compare)
    here = await origin.entries()
    there = await target.entries() if isinstance(target, _Bucket) or target.root.exists() else {}
    work = _Work(origin, target, here, there, on_step)
    plan, unchanged = await work.plan(compare, prune=prune)
    deletes = sum(step.action == "delete" for step in plan)
    if max_delete is not None and deletes > max_delete:
        raise PreconditionFailedError(
            f"{deletes} objects would be removed, at most {max_delete} may be; nothing was done", hint="max_delete"
        )
    if not dry_run:
        await work.copy([step for step in plan if step.action == "copy"], concurrency)
        if not work.failed:
            await work.remove([step for step in plan if step.action == "delete"])
    order = {step: number for number, step in enumerate(plan)}
    failed = sorted(work.failed, key=lambda failure: order[failure[0]])
    return SyncResult(plan, unchanged, tuple(sorted(work.done, key=order.__getitem__)), tuple(failed))


def _place(place: Place) -> _Folder | _Bucket:
    if isinstance(place, os.PathLike):
        return _Folder(Path(place))
    store, prefix = place if isinstance(place, tuple) else (place, "")
    return _Bucket(store, f"{prefix.rstrip('/')}/" if prefix else "")


def _check(source: _Folder | _Bucket, target: _Folder | _Bucket, compare: str) -> None:
    if compare not in get_args(Compare):
        raise InvalidOptionError(f"compare is one of {', '.join(get_args(Compare))}, not {compare!r}")
    if isinstance(source, _Folder) and isinstance(target, _Folder):
        raise InvalidOptionError("both places are folders of this machine; one is a backend's")
    drivers = [place.store.backend.driver if isinstance(place, _Bucket) else None for place in (source, target)]
    if compare == "etag" and drivers[0] != drivers[1]:
        raise InvalidOptionError("etags are comparable between backends of one driver only", hint="compare='checksum'")
    if isinstance(source, _Bucket) and isinstance(target, _Bucket) and _same_bucket(source.store, target.store):
        one, other = source.prefix, target.prefix
        if one.startswith(other) or other.startswith(one):
            raise InvalidOptionError(f"{one!r} and {other!r} of the same bucket overlap")


def _same_bucket(one: BlobStore, other: BlobStore) -> bool:
    if one is other or one.driver is other.driver:
        return True
    kept = one.backend.driver != "memory"  # opening memory twice gives two stores
    return kept and one.backend.driver == other.backend.driver and one.backend.settings == other.backend.settings


class _Work:
    """One run."""

    def __init__(
        self,
        source: _Folder | _Bucket,
        target: _Folder | _Bucket,
        here: Mapping[str, _Entry],
        there: Mapping[str, _Entry],
        on_step: Callable[[Step, Exception | None], object] | None,
    ) -> None:
        self._source = source
        self._target = target
        self._here = here
        self._there = there
        self._on_step = on_step
        self.done: list[Step] = []
        self.failed: list[tuple[Step, Exception]] = []

    async def plan(self, compare: str, *, prune: bool) -> tuple[tuple[Step, ...], int]:
        steps, unchanged = [], 0
        for name in _in_order(self._here):
            entry, other = self._here[name], self._there.get(name)
            if other is None:
                steps.append(Step("copy", name, "missing", entry.size))
            elif await self._same(entry, other, compare):
                unchanged += 1
            else:
                steps.append(Step("copy", name, "differs", entry.size))
        if prune:
            extra = _in_order(self._there.keys() - self._here.keys())
            steps += [Step("delete", name, "extra", self._there[name].size) for name in extra]
        return tuple(steps), unchanged

    async def _same(self, one: _Entry, other: _Entry, compare: str) -> bool:
        if one.size != other.size:
            return False
        if compare == "modified":
            return other.modified >= one.modified
        if compare == "etag":
            etags = [entry.info.etag if entry.info else None for entry in (one, other)]
            return etags[0] is not None and etags[0] == etags[1]
        return compare == "size" or await self._source.digest(one) == await self._target.digest(other)

    async def copy(self, steps: list[Step], concurrency: int) -> None:
        slots = anyio.Semaphore(concurrency)

        async def work(step: Step) -> None:
            try:
                await self._copy(self._here[step.path])
            except (StorageError, OSError) as exc:
                self._tell(step, exc)
            else:
                self._tell(step, None)
            finally:
                slots.release()

        async with anyio.create_task_group() as tasks:
            for step in steps:
                await slots.acquire()
                tasks.start_soon(work, step)

    async def _copy(self, entry: _Entry) -> None:
        source, target = self._source, self._target
        if isinstance(target, _Folder):
            assert isinstance(source, _Bucket), "`_check` refuses two folders"  # noqa: S101 - for the type
            file = file_below(target.root, entry.name, "")
            await run_sync(lambda: file.parent.mkdir(parents=True, exist_ok=True))
            await source.store.download_to(entry.info or source.prefix + entry.name, file)
            # as old as the object, so that a clock that is slow here does not make it look outdated
            moment = (entry.modified - _EPOCH) // timedelta(microseconds=1) * 1000
            await run_sync(lambda: os.utime(file, ns=(moment, moment)))
        elif isinstance(source, _Folder):
            await target.store.upload_from(source.root / entry.name, target.prefix + entry.name)
        else:
            assert entry.info is not None, "a listing gave it"  # noqa: S101 - for the type
            path = target.prefix + entry.name
            if source.store is target.store:
                await target.store.copy(entry.info, path)
            else:
                await carry(source.store, entry.info, target.store, path)

    async def remove(self, steps: list[Step]) -> None:
        if isinstance(self._target, _Folder):
            for step in steps:
                try:
                    await run_sync((self._target.root / step.path).unlink)
                except OSError as exc:
                    self._tell(step, exc)
                else:
                    self._tell(step, None)
            return
        infos = [info for step in steps if (info := self._there[step.path].info)]
        for step, result in zip(steps, await self._target.store.delete_batch(infos), strict=True):
            self._tell(step, result.error)

    def _tell(self, step: Step, error: Exception | None) -> None:
        if error is None:
            self.done.append(step)
        else:
            self.failed.append((step, error))
        if self._on_step is not None:
            self._on_step(step, error)


def _in_order(names: Mapping[str, _Entry] | set[str]) -> list[str]:
    return sorted(names, key=os.fsencode)
