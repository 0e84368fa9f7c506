"""A backend that is being filled from an older one: what it does not have yet is read from there.

``read_fallback: media-old`` in the contract. Writes go to the new backend only. Deletes go to both, the old one first:
a deleted object can not come back, and nothing stays behind that a user asked to be erased. So the application needs
``delete`` on the old backend as well as ``read`` and ``list``. A listing is the union of both; where both have an
object, the new one counts.

A condition (``if_match``, ``if_not_exists``, `update`) holds for the union, and is as atomic as on the new backend:
see `runtime.placeholder`. An etag is the one of where the object is now, so it changes once when it is brought over;
`update` reads again then, and who began to read an object gets the rest of the same version.

A presigned GET is for the backend that has the object at that moment, so the old bucket has to stay until the last of
them has expired; other methods are for the new one. `get_url` is always the new backend's.
"""
# ruff: noqa: D102 - a driver around two drivers: runtime.driver documents its methods

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from runtime.between import kept
from runtime.calls import Calls
from runtime.driver import Capabilities, DeleteFailure, Driver, ObjectReader
from runtime.errors import AlreadyExistsError, NotFoundError, NotSupportedError, PreconditionFailedError
from runtime.merging import merged_page
from runtime.models import ObjectPage, UploadOptions, with_checksum
from runtime.multipart import CLEAN_UP_SECONDS, send, to_the_end
from runtime.operation import translated
from runtime.placeholder import (
    head_or_none,
    hold,
    holds_placeholder,
    is_a,
    is_placeholder,
    release,
    without_placeholders,
)
from runtime.sources import source_of
from runtime.versions import demand_same

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from runtime.config import NamedStorageConfig
    from runtime.driver import ByteRange, Bytes
    from runtime.errors import StorageError
    from runtime.live import LiveSettings
    from runtime.models import FileInfo, PresignedRequest, UnfinishedUpload

T = TypeVar("T")

READING: Final = frozenset({"GET", "HEAD"})
MIB: Final = 1024 * 1024


class FallbackDriver(Driver):
    """See the module.

    Args:
        backend: The entry of the new backend.
        new: Its driver; opened and closed with this one.
        old: The driver of the old backend, which somebody else opens and closes.
    """

    repeats = timed = True  # each of the two by its own settings

    def __init__(self, backend: NamedStorageConfig, new: Driver, old: Driver) -> None:
        super().__init__(backend)
        self.new, self.old = new, old
        self.own_checksum = new.own_checksum
        self.parts_linger = new.parts_linger
        self._new, self._old = Calls(new, backend), Calls(old, old.backend)
        self._able: tuple[Capabilities, Capabilities, Capabilities] | None = None
        self._conditional: dict[tuple[str, str], tuple[UploadOptions, str | None]] = {}

    @property
    def hides_missing(self) -> bool:  # type: ignore[override] # of two drivers, not of a class
        return self.new.hides_missing or self.old.hides_missing

    @property
    def replaces_by_deleting(self) -> bool:  # type: ignore[override] # as above
        return self.new.replaces_by_deleting

    async def open(self) -> None:
        await self.new.open()

    async def close(self) -> None:
        await self.new.close()

    @property
    def raw(self) -> Any:
        return self.new.raw

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override] # read anew, as a driver may learn what it can do
        new, old = self.new.capabilities, self.old.capabilities
        if self._able is None or self._able[0] is not new or self._able[1] is not old:
            conditional = new.if_match and new.if_not_exists
            able = replace(
                new,
                presign=new.presign - (READING - old.presign),
                if_match=conditional,
                delete_if_match=conditional and new.delete_if_match,
                copy_if_not_exists=False,  # what is at the destination may be in either
                copy_if_match=False,
            )
            self._able = (new, old, able)
        return self._able[2]

    # reading

    async def head(self, path: str) -> FileInfo:
        try:
            info = await self._new.head(path)
        except Exception as exc:  # noqa: BLE001 - raised unless the old backend has the object
            return await self._from_old(path, self._missed(exc), self._old.head, path)
        return await self._from_old(path, None, self._old.head, path) if is_placeholder(info) else info

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        missed = None
        try:
            reader = await self._new.get(path, byte_range)
        except Exception as exc:  # noqa: BLE001 - as above
            missed = self._missed(exc)
        else:
            if not is_placeholder(reader.info):
                return reader
            await reader.aclose()
        return self._old_reader(path, await self._from_old(path, missed, self._old.get, path, byte_range))

    async def get_more(self, path: str, byte_range: ByteRange, known: FileInfo) -> ObjectReader:
        """From whichever backend still has the version that is *known*."""
        reader = None
        try:
            reader = await self._new.get(path, byte_range)
        except Exception as exc:
            if not is_a(exc, self.new, NotFoundError):
                raise
        if reader is not None and not is_placeholder(reader.info) and _is_same(known, reader.info):
            return reader
        try:
            old = await self._old.get(path, byte_range)
        except Exception as exc:  # noqa: BLE001 - told below
            if reader is not None and is_a(exc, self.old, NotFoundError):
                return reader  # of another version: the caller refuses it
            if reader is not None:
                await reader.aclose()
            self._told(exc, path)
        if reader is not None:
            await reader.aclose()
        return self._old_reader(path, old)

    async def content(self, path: str, byte_range: ByteRange | None = None) -> bytes | None:
        if byte_range is not None:
            return None  # a part of a placeholder could not be told from a part of an object
        try:
            data = await self._new.content(path)
        except Exception as exc:  # noqa: BLE001 - as above
            return await self._from_old(path, self._missed(exc), self._old.content, path)
        if data is not None and holds_placeholder(data):
            return await self._from_old(path, None, self._old.content, path)
        return data

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        return await merged_page(
            self._list_new,
            self._list_old,
            prefix,
            delimiter=delimiter,
            start_after=start_after,
            cursor=cursor,
            limit=limit,
        )

    async def _list_old(self, prefix: str, **options: Any) -> ObjectPage:
        return await self._by_old(prefix, self._old.list_objects, prefix, **options)

    async def _list_new(self, prefix: str, **options: Any) -> ObjectPage:
        return await without_placeholders(self._new, await self._new.list_objects(prefix, **options))

    # writing

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        chosen, held = await self._resolved(path, options)
        try:
            return await self._new.put(path, data, chosen)
        except BaseException as exc:
            await self._failed(path, held, exc)
            self._as_asked(exc, options, chosen)
            raise

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        chosen, held = await self._resolved(path, options)
        try:
            upload_id = await self._new.start_multipart(path, chosen)
        except BaseException as exc:
            await self._failed(path, held, exc)
            self._as_asked(exc, options, chosen)
            raise
        if chosen is not options:
            self._conditional[path, upload_id] = chosen, held
        return upload_id

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        return await self._new.put_part(path, upload_id, number, data, checksum)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        chosen, _ = self._conditional.get((path, upload_id), (options, None))
        if options.checksum is not None:
            chosen = with_checksum(chosen, options.checksum)  # known since the last part
        try:
            info = await self._new.complete_multipart(path, upload_id, parts, size, chosen)
        except Exception as exc:
            if self._lost(exc):
                self._conditional.pop((path, upload_id), None)  # nothing of ours is there to be removed
            self._as_asked(exc, options, chosen)
            raise
        self._conditional.pop((path, upload_id), None)
        return info

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        await self._new.abort_multipart(path, upload_id)
        _, held = self._conditional.pop((path, upload_id), (None, None))
        await self._give_up(path, held)

    async def list_multiparts(self, prefix: str) -> Sequence[UnfinishedUpload]:
        return await self._new.list_multiparts(prefix)

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        if if_not_exists or if_match is not None:
            raise NotSupportedError("what is at the destination may be in either of two backends")
        found = await head_or_none(self._new, source)
        if found is not None and not is_placeholder(found):
            return await self._new.copy(source, destination)
        reader = await self.get(source)
        pieces = reader.chunks(min(MIB, int(self.backend.transfer.part_size)))
        try:
            return await send(
                self._new,
                destination,
                source_of(pieces),
                kept(UploadOptions(), reader.info),
                part_size=int(self.backend.transfer.part_size),
                concurrency=self.backend.transfer.concurrency,
            )
        finally:
            await reader.aclose()

    # removing

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        if if_match is not None:
            return await self._delete_version(path, if_match)
        await self._by_old(path, self._old.delete, path)
        return await self._new.delete(path)

    async def _delete_version(self, path: str, etag: str) -> None:
        found = await head_or_none(self._new, path)
        if found is not None and not is_placeholder(found):
            if found.etag == etag:  # what the old backend has is hidden by it, and dead
                await self._by_old(path, self._old.delete, path)
            return await self._new.delete(path, if_match=etag)
        held = await hold(self._new, path)
        if held is None:  # it was brought over, or written, just now
            return await self._delete_version(path, etag)
        try:
            await self._demand_old(path, etag)
            await self._by_old(path, self._old.delete, path)
        finally:
            await self._give_up(path, held)
        return None

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        failures = [
            DeleteFailure(failure.path, self._explained(failure.error, failure.path))
            for failure in await self._by_old(None, self._old.delete_batch, paths)
        ]
        kept_ones = {failure.path for failure in failures}
        gone = [path for path in paths if path not in kept_ones]
        return [*failures, *(await self._new.delete_batch(gone) if gone else ())]

    # addresses and state

    def url(self, path: str) -> str:
        return self.new.url(path)

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        if method in READING:
            found = await head_or_none(self._new, path)
            missing = found is None or is_placeholder(found)
            if missing and await self._old_info(path) is not None:
                asked: Any = {"method": method, "expires_in": expires_in, "content_type": content_type}
                return await self._by_old(path, self._old.presign, path, **asked)
        return await self._new.presign(path, method=method, expires_in=expires_in, content_type=content_type)

    async def check(self) -> Mapping[str, Any]:
        facts = await self._new.check()
        old = await self._by_old(None, self._old.check)
        return {**facts, "read_fallback": {"backend": self.old.backend.name, **old}}

    async def live_settings(self) -> LiveSettings:
        return await self._new.live_settings()

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return self.new.error_type(error)

    def error_detail(self, error: Exception) -> str | None:
        return self.new.error_detail(error)

    def retry_after(self, error: Exception) -> float | None:
        return self.new.retry_after(error)

    # the conditions of a write

    async def _resolved(self, path: str, options: UploadOptions) -> tuple[UploadOptions, str | None]:
        """The same options with conditions that hold for both backends together, and the placeholder they stand on."""
        if options.if_match is None and not options.if_not_exists:
            return options, None
        if not self.capabilities.if_match:
            raise NotSupportedError("conditions need if_match and if_not_exists of the new backend")
        found = await head_or_none(self._new, path)
        if found is not None and not is_placeholder(found):
            return options, None
        if options.if_not_exists and await self._old_info(path) is not None:
            raise AlreadyExistsError("an object is at this path of the old backend")
        if options.if_not_exists and found is None:
            return options, None
        held = await hold(self._new, path)
        if held is None:  # it was brought over, or written, just now: as above
            return options, None
        try:
            if options.if_match is not None:
                await self._demand_old(path, options.if_match)
        except BaseException:
            await self._give_up(path, held)
            raise
        return replace(options, if_match=held, if_not_exists=False), held

    async def _demand_old(self, path: str, etag: str) -> None:
        found = await self._old_info(path)
        if found is None or found.etag != etag:
            what = "no object is at this path" if found is None else "the object has another etag"
            raise PreconditionFailedError(what, etag=found.etag if found else None)

    def _as_asked(self, error: BaseException, options: UploadOptions, chosen: UploadOptions) -> None:
        """A failed placeholder means, to who asked for an empty path, that somebody else was faster."""
        renamed = options.if_not_exists and not chosen.if_not_exists
        if renamed and self._lost(error):
            raise AlreadyExistsError("an object is at this path already") from error

    def _lost(self, error: BaseException) -> bool:
        """Whether a write failed because its placeholder is gone."""
        return isinstance(error, Exception) and is_a(error, self.new, PreconditionFailedError, NotFoundError)

    async def _failed(self, path: str, held: str | None, error: BaseException) -> None:
        if not self._lost(error):
            await self._give_up(path, held)

    async def _give_up(self, path: str, held: str | None) -> None:
        if held is not None:
            await to_the_end(lambda: release(self._new, path, held), CLEAN_UP_SECONDS, lambda _: None)

    # the old backend

    async def _old_info(self, path: str) -> FileInfo | None:
        return await self._by_old(path, head_or_none, self._old, path)

    def _missed(self, error: Exception) -> Exception:
        """The error, when it says that the new backend does not have the object; else it is raised."""
        if not is_a(error, self.new, NotFoundError):
            raise error
        return error

    async def _from_old(
        self, path: str, missed: Exception | None, call: Callable[..., Awaitable[T]], *arguments: Any
    ) -> T:
        """What the old backend has; when it has nothing either, the new one's own error."""
        try:
            return await call(*arguments)
        except Exception as exc:  # noqa: BLE001 - told below
            if is_a(exc, self.old, NotFoundError):
                raise (missed or NotFoundError("no object is at this path")) from None
            self._told(exc, path)

    async def _by_old(self, path: str | None, call: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        try:
            return await call(*arguments, **options)
        except Exception as exc:  # noqa: BLE001 - told below
            self._told(exc, path)

    def _old_reader(self, path: str, reader: ObjectReader) -> ObjectReader:
        return _Old(self._old, reader, lambda error: self._told(error, path))

    def _told(self, error: Exception, path: str | None) -> NoReturn:
        """Raise an error of the old backend, with its name: nobody else knows what its driver's errors mean."""
        shown = self._explained(error, path)
        if shown is error:
            raise error
        raise shown from error

    def _explained(self, error: Exception, path: str | None) -> Exception:
        return translated(error, self.old, self.old.backend.name, "", path)


class _Old(ObjectReader):
    """An object of the old backend being read; *told* raises its errors with the backend's name."""

    def __init__(self, calls: Calls, reader: ObjectReader, told: Callable[[Exception], NoReturn]) -> None:
        self.info = reader.info
        self._calls = calls
        self._reader = reader
        self._told = told

    async def read(self) -> bytes:
        try:
            return await self._calls.whole(self._reader)
        except Exception as exc:  # noqa: BLE001 - told with the backend's name
            self._told(exc)

    async def chunks(self, size_hint: int) -> AsyncIterator[Bytes]:
        try:
            async for piece in self._reader.chunks(size_hint):
                yield piece
        except Exception as exc:  # noqa: BLE001 - as above
            self._told(exc)

    async def aclose(self) -> None:
        await self._reader.aclose()


def _is_same(known: FileInfo, now: FileInfo) -> bool:
    try:
        demand_same(known, now)
    except PreconditionFailedError:
        return False
    return True
