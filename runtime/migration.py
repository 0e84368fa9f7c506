"""Brings everything of an old backend over to the one that falls back to it (`runtime.fallback`).

::

    result = await migrate(storage["media"])

The application goes on meanwhile: it finds every object, and what it writes and deletes counts, whatever is on its way
(`runtime.placeholder`). An object that is in the new backend already stays as it is there. So a run can be interrupted,
even killed, at any moment and be repeated at any time; it goes on where it was. Type, metadata and cache headers are
kept; tags, storage classes and former versions are not.

Memory: a page of each listing, and ``part_size x concurrency`` of each object on its way.
"""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import anyio

from runtime.between import kept
from runtime.calls import Calls
from runtime.errors import (
    ChecksumMismatchError,
    ConfigError,
    InvalidOptionError,
    NotFoundError,
    PreconditionFailedError,
    StorageError,
)
from runtime.fallback import FallbackDriver
from runtime.models import UploadOptions
from runtime.multipart import CLEAN_UP_SECONDS, send, to_the_end
from runtime.operation import translated
from runtime.options import check_options, whole_number
from runtime.placeholder import SIZE, head_or_none, hold, is_a, is_placeholder, release, without_placeholders
from runtime.sources import source_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from runtime.driver import Bytes, Driver, ObjectReader
    from runtime.models import FileInfo, ObjectPage
    from runtime.store import BlobStore

MIB: Final = 1024 * 1024
SAMPLE: Final = 10
"""Paths that are named where there may be millions."""

Verify: TypeAlias = Literal["size", "checksum"]


class Outcome(StrEnum):
    """What became of one object of the old backend."""

    COPIED = "copied"
    THERE = "there"
    OVERTAKEN = "overtaken"
    GONE = "gone"
    FAILED = "failed"


@dataclass(slots=True)
class Migrated:
    """What one run did.

    Attributes:
        outcomes: How many objects of the old backend were copied; were in the new one already (``there``); were
            written or deleted by the application while they were on their way (``overtaken``); were deleted before
            (``gone``); failed.
        size: Bytes that were copied.
        failed: What was not copied, and why.
        missing: How many objects of the old backend the new one does not have, when looked at last.
        missing_size: Their bytes.
        sample: The first of their paths.
        placeholders: Placeholders of killed programs that could not be removed, as the service has no conditional
            delete; the first of their paths.
    """

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    size: int = 0
    failed: list[tuple[str, Exception]] = field(default_factory=list)
    missing: int = 0
    missing_size: int = 0
    sample: list[str] = field(default_factory=list)
    placeholders: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the new backend can do without the old one."""
        return not self.missing and not self.failed and not self.placeholders


async def migrate(
    store: BlobStore,
    *,
    dry_run: bool = False,
    verify: Verify = "size",
    concurrency: int = 8,
    on_step: Callable[[str, Outcome, int], object] | None = None,
) -> Migrated:
    """Copy what *store* does not have yet from the backend that it falls back to, then look whether all is there.

    Args:
        store: The new backend, opened.
        dry_run: Only count what is missing.
        verify: ``size``: as many bytes arrived as were read, and are what the old service announced. ``checksum``:
            every copy is also read again, and compared by SHA-256.
        concurrency: Objects on their way at once.
        on_step: Told the path, the outcome and the bytes of each object that was missing.

    Raises:
        ConfigError: *store* falls back to nothing.
    """
    whole_number("concurrency", concurrency)
    if verify not in {"size", "checksum"}:
        raise InvalidOptionError(f"verify is 'size' or 'checksum', not {verify!r}")
    run = _Run(driver_of(store), verify, on_step)
    if not dry_run:
        await run.copy(concurrency)
        await run.tidy()
    await run.look()
    return run.result


def driver_of(store: BlobStore) -> FallbackDriver:
    """The driver of a backend that falls back to another one.

    Raises:
        ConfigError: it does not.
    """
    if not isinstance(store.driver, FallbackDriver):
        raise ConfigError(
            "the backend falls back to no other one, so there is nothing to bring over",
            backend=store.name,
            hint="give it `read_fallback: <old backend>` in the stack's file and run `tandem up`",
        )
    if not store.driver.capabilities.if_match:
        raise ConfigError(
            "the backend can not write on a condition, so copies could undo what an application writes",
            backend=store.name,
            hint="stop the application and use `tandem sync`",
        )
    return store.driver


class _Run:
    def __init__(
        self, driver: FallbackDriver, verify: Verify, on_step: Callable[[str, Outcome, int], object] | None
    ) -> None:
        self.result = Migrated()
        self._backend = driver.backend
        self._driver = driver
        self._new: Driver = Calls(driver.new, driver.backend)
        self._old = Calls(driver.old, driver.old.backend)
        self._verify = verify
        self._on_step = on_step

    async def copy(self, concurrency: int) -> None:
        slots = anyio.Semaphore(concurrency)

        async def work(info: FileInfo) -> None:
            try:
                await self._bring(info)
            finally:
                slots.release()

        async with anyio.create_task_group() as tasks, aclosing(self._objects()) as found:
            async for info, there in found:
                if there:
                    self.result.outcomes[Outcome.THERE] += 1
                    continue
                await slots.acquire()
                tasks.start_soon(work, info)

    async def look(self) -> None:
        """Count what is missing."""
        async with aclosing(self._objects()) as found:
            async for info, there in found:
                if not there:
                    self.result.missing += 1
                    self.result.sample += [info.path] if len(self.result.sample) < SAMPLE else []
                    self.result.missing_size += info.size

    async def tidy(self) -> None:
        """Remove placeholders of killed programs whose objects are gone; the others were just taken over."""
        async with aclosing(_listed(self._new)) as found:
            async for info in found:
                if info.size != SIZE or await head_or_none(self._old, info.path) is not None:
                    continue
                there = await head_or_none(self._new, info.path)
                if there is None or there.etag is None or not is_placeholder(there):
                    continue
                if self._new.capabilities.delete_if_match:
                    await release(self._new, info.path, there.etag)
                else:
                    self.result.placeholders.append(info.path)

    async def _objects(self) -> AsyncGenerator[tuple[FileInfo, bool], None]:
        """Every object of the old backend, in order, and whether the new one has it."""
        async with aclosing(_listed(self._old)) as old, aclosing(_listed(self._new, hide=True)) as new:
            other = await anext(new, None)
            async for info in old:
                while other is not None and other.path < info.path:
                    other = await anext(new, None)
                yield info, other is not None and other.path == info.path

    async def _bring(self, info: FileInfo) -> None:
        try:
            outcome, size = await self._brought(info.path)
        except Exception as exc:
            shown = translated(exc, self._driver.new, self._backend.name, "migrate", info.path)
            if not isinstance(shown, StorageError):
                raise
            outcome, size = Outcome.FAILED, 0
            self.result.failed.append((info.path, shown))
        self.result.outcomes[outcome] += 1
        self.result.size += size
        if self._on_step is not None:
            self._on_step(info.path, outcome, size)

    async def _brought(self, path: str) -> tuple[Outcome, int]:
        if not self._new.capabilities.delete_if_match and await head_or_none(self._old, path) is None:
            return Outcome.GONE, 0  # the listing is a while old, and a placeholder could not be taken back
        held = await hold(self._new, path)
        if held is None:
            return Outcome.THERE, 0
        try:
            copied = await self._copied(path, held)
        except BaseException as exc:
            await to_the_end(lambda: release(self._new, path, held), CLEAN_UP_SECONDS, lambda _: None)
            if isinstance(exc, _GoneError):
                return Outcome.GONE, 0
            raise
        return (Outcome.OVERTAKEN, 0) if copied is None else (Outcome.COPIED, copied)

    async def _copied(self, path: str, held: str) -> int | None:
        """Bytes of the copy; None when the application was faster."""
        reader = await self._begun(path)
        digest = hashlib.sha256()
        source = source_of(_hashed(reader.chunks(MIB), digest))
        options = kept(UploadOptions(if_match=held), reader.info)
        try:
            check_options(options, self._backend, self._new.capabilities)
            info = await send(
                self._new,
                path,
                source,
                options,
                part_size=int(self._backend.transfer.part_size),
                concurrency=self._backend.transfer.concurrency,
            )
        except Exception as exc:
            if exc is source.failure:
                raise self._old_error(exc, path) from exc
            if is_a(exc, self._new, PreconditionFailedError, NotFoundError):
                return None
            raise
        finally:
            await to_the_end(reader.aclose, CLEAN_UP_SECONDS, lambda _: None)
        if info.size != reader.info.size:
            await self._take_back(path, info, f"has {info.size:,} bytes, the old object {reader.info.size:,}")
        if self._verify == "checksum":
            await self._compare(path, info, digest.digest())
        return info.size

    async def _begun(self, path: str) -> ObjectReader:
        try:
            return await self._old.get(path)
        except Exception as exc:
            if is_a(exc, self._old, NotFoundError):
                raise _GoneError from exc
            raise self._old_error(exc, path) from exc

    def _old_error(self, error: Exception, path: str) -> Exception:
        return translated(error, self._driver.old, self._driver.old.backend.name, "migrate", path)

    async def _compare(self, path: str, info: FileInfo, expected: bytes) -> None:
        try:
            reader = await self._new.get(path)
        except Exception as exc:
            if is_a(exc, self._new, NotFoundError):
                return  # the application deleted it
            raise
        digest = hashlib.sha256()
        try:
            if reader.info.etag != info.etag:
                return  # the application wrote another version
            async for piece in reader.chunks(MIB):
                digest.update(piece)
        finally:
            await to_the_end(reader.aclose, CLEAN_UP_SECONDS, lambda _: None)
        if digest.digest() != expected:
            await self._take_back(path, info, "does not hold the bytes that were sent")

    async def _take_back(self, path: str, info: FileInfo, what: str) -> None:
        if info.etag is not None:
            await release(self._new, path, info.etag)
        raise ChecksumMismatchError(f"the copy {what}; it was taken back")


class _GoneError(Exception):
    """The old backend does not have the object any more."""


async def _hashed(pieces: Any, digest: Any) -> AsyncGenerator[Bytes, None]:
    async for piece in pieces:
        digest.update(piece)
        yield piece


async def _listed(driver: Driver, *, hide: bool = False) -> AsyncGenerator[FileInfo, None]:
    cursor: str | None = None
    while True:
        page: ObjectPage = await driver.list_objects("", cursor=cursor)
        shown = await without_placeholders(driver, page) if hide else page
        for info in shown.objects:
            yield info
        if page.cursor is None:
            return
        cursor = page.cursor
