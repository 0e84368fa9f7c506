"""`Capabilities`, derived from what happens: a test for every field, on every driver.

What is declared has to work on the server at hand, and what is not declared has to be refused with
`NotSupportedError` before anything is sent. How many bytes a service takes at most is the one thing that is not
tried out; that it is kept to is.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from runtime.checksums import value_of
from runtime.config import ExpectConfig
from runtime.errors import AlreadyExistsError, ChecksumMismatchError, NotSupportedError, PreconditionFailedError
from runtime.models import UploadOptions
from runtime.testing.conformance.files import Counting
from runtime.testing.conformance.lines import FRAGILE, over_a_line
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import MIB, async_pieces, paths_of, payload
from runtime.testing.conformance.watching import Watched, part_size, through

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from runtime.driver import Bytes, Driver
    from runtime.store import BlobStore

METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT")
MINUTE = timedelta(minutes=1)
SOON = timedelta(seconds=-120)  # clocks of servers differ


class Untouched(Watched):
    """Declares other capabilities than its driver, and must not be called at all."""

    def _called(self, *arguments: Any, **options: Any) -> NoReturn:
        pytest.fail(f"the service was called, although this can not be done: {arguments} {options}")

    head = get = put = start_multipart = delete = copy = presign = _called


class Sized(Watched):
    """Declares other capabilities than its driver, and remembers the size of every part."""

    def __init__(self, inner: Driver, **capabilities: Any) -> None:
        super().__init__(inner)
        self.capabilities = replace(inner.capabilities, **capabilities)
        self.sizes: dict[int, int] = {}

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        self.sizes[number] = sum(map(len, data))
        return await super().put_part(path, upload_id, number, data, checksum)


async def _without(store: BlobStore, **capabilities: Any) -> BlobStore:
    """The store as if its driver could not do that; a call of the driver fails the test."""
    untouched = Untouched(store.driver)
    untouched.capabilities = replace(store.capabilities, **capabilities)
    return await through(store, untouched)


class Truth(Suite):
    """`BlobStore.capabilities`."""

    async def _is_refused(self, call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(NotSupportedError):
            await call()

    async def _can(self, call: Callable[[], Awaitable[object]]) -> bool:
        """Whether a call that breaks its own condition is refused for that; it must not go through."""
        try:
            await call()
        except (AlreadyExistsError, PreconditionFailedError):
            return True
        except NotSupportedError:
            return False
        pytest.fail("a condition that did not hold was dropped")

    async def _accepts(self, call: Callable[[], Awaitable[object]]) -> bool:
        try:
            await call()
        except NotSupportedError:
            return False
        return True

    # conditions

    async def test_capability_if_not_exists_is_true(self, store: BlobStore) -> None:
        await store.upload("taken", b"old")
        can = await self._can(lambda: store.upload("taken", b"new", if_not_exists=True))
        assert can is store.capabilities.if_not_exists
        other = await _without(store, if_not_exists=False)
        await self._is_refused(lambda: other.upload("new", b"new", if_not_exists=True))
        assert await store.download("taken") == b"old"

    async def test_capability_if_match_is_true(self, store: BlobStore) -> None:
        await store.upload("taken", b"old")
        can = await self._can(lambda: store.upload("taken", b"new", if_match="0123"))
        assert can is store.capabilities.if_match
        other = await _without(store, if_match=False)
        await self._is_refused(lambda: other.upload("taken", b"new", if_match="0123"))
        assert await store.download("taken") == b"old"

    async def test_capability_delete_if_match_is_true(self, store: BlobStore) -> None:
        await store.upload("taken", b"old")
        can = await self._can(lambda: store.delete("taken", if_match="0123"))
        assert can is store.capabilities.delete_if_match
        other = await _without(store, delete_if_match=False)
        await self._is_refused(lambda: other.delete("taken", if_match="0123"))
        assert await store.download("taken") == b"old"

    async def test_capability_copy_if_not_exists_is_true(self, store: BlobStore) -> None:
        await store.upload("source", b"new")
        await store.upload("taken", b"old")
        can = await self._can(lambda: store.copy("source", "taken", if_not_exists=True))
        assert can is store.capabilities.copy_if_not_exists
        other = await _without(store, copy_if_not_exists=False)
        await self._is_refused(lambda: other.copy("source", "new", if_not_exists=True))
        assert await store.download("taken") == b"old"

    async def test_capability_copy_if_match_is_true(self, store: BlobStore) -> None:
        await store.upload("source", b"new")
        await store.upload("taken", b"old")
        can = await self._can(lambda: store.copy("source", "taken", if_match="0123"))
        assert can is store.capabilities.copy_if_match
        other = await _without(store, copy_if_match=False)
        await self._is_refused(lambda: other.copy("source", "taken", if_match="0123"))
        assert await store.download("taken") == b"old"

    # options

    async def test_capability_storage_class_is_true(self, store: BlobStore) -> None:
        can = await self._accepts(lambda: store.upload("object", b"x", storage_class=self.storage_class))
        assert can is store.capabilities.storage_class
        other = await _without(store, storage_class=False)
        await self._is_refused(lambda: other.upload("object", b"x", storage_class=self.storage_class))

    async def test_capability_tags_is_true(self, store: BlobStore) -> None:
        can = await self._accepts(lambda: store.upload("object", b"x", tags={"team": "media"}))
        assert can is store.capabilities.tags
        other = await _without(store, tags=False)
        await self._is_refused(lambda: other.upload("object", b"x", tags={"team": "media"}))

    async def test_capability_public_is_true(self, store: BlobStore) -> None:
        backend = store.backend.model_copy(update={"expect": ExpectConfig(public=True)})
        public = await type(store)(backend, Watched(store.driver)).open()
        can = await self._accepts(lambda: public.upload("object", b"x", public=True))
        assert can is store.capabilities.public
        other = await _without(public, public=False)
        await self._is_refused(lambda: other.upload("object", b"x", public=True))

    async def test_capability_checksums_is_true(self, store: BlobStore) -> None:
        data = payload(100) + FRAGILE
        async with over_a_line(store) as found:
            for algorithm in sorted(store.capabilities.checksums):
                given = value_of(algorithm, data)
                if found is None:
                    await store.upload("object", data, checksum=given)
                    assert (await store.info("object")).checksum == given, f"{algorithm} is not kept"
                    continue
                other, line = found
                line.changes = "up"
                with pytest.raises(ChecksumMismatchError):
                    await other.upload("object", data, checksum=given)
                assert line.changed, "nothing was changed, so this test shows nothing"
                assert not await store.exists("object"), algorithm

    # signatures

    async def test_capability_presign_is_true(self, store: BlobStore) -> None:
        works = set()
        for method in METHODS:
            await store.upload("object", b"content")
            try:
                request = await store.presign("object", method=method, expires_in=MINUTE)
            except NotSupportedError:
                continue
            body = b"new" if method in {"POST", "PUT"} else None
            answer = await self.http(method, request.url, headers=request.headers, content=body)
            assert answer.status < 300, f"a presigned {method} was answered with {answer.status}"
            works.add(method)
        assert works == store.capabilities.presign
        other = await _without(store, presign=frozenset())
        for method in METHODS:
            await self._is_refused(partial(other.presign, "object", method=method))

    # parts

    async def test_capability_min_part_size_is_true(self, store: BlobStore) -> None:
        least = store.capabilities.min_part_size
        data = payload(2 * least + 1)
        await store.upload("object", data, part_size=least)
        assert await store.download("object") == data
        other = await _without(store, min_part_size=least + 1)
        await self._is_refused(lambda: other.upload("object", data, part_size=least))

    async def test_capability_max_part_size_is_true(self, store: BlobStore) -> None:
        most = max(store.capabilities.min_part_size, 1000)
        sized = Sized(store.driver, max_part_size=most, max_parts=20)
        await (await through(store, sized)).upload("object", async_pieces(payload(4 * most), 99_991))
        assert await store.download("object") == payload(4 * most)
        assert max(sized.sizes.values()) <= most
        other = await _without(store)
        too_much = store.capabilities.max_part_size + 1
        await self._is_refused(lambda: other.upload("object", b"x", part_size=too_much))

    async def test_capability_max_parts_is_true(self, store: BlobStore) -> None:
        size = part_size(await through(store))
        sized = Sized(store.driver, max_parts=2)
        limited = await through(store, sized)
        known = payload(3 * max(size, MIB))
        await limited.upload("known", known)  # the parts are as large as is needed, in MiB
        assert await store.download("known") == known
        assert len(sized.sizes) == 2
        room = size * (2 if store.capabilities.equal_parts else 3)
        with pytest.raises(NotSupportedError):
            await limited.upload("unknown", async_pieces(payload(room + 1), 99_991))
        assert await paths_of(store) == ["known"]
        assert sized.open_uploads == set()
        assert await self.leftovers(store) == []

    async def test_capability_equal_parts_is_true(self, store: BlobStore) -> None:
        sized = Sized(store.driver, max_parts=10)
        other = await through(store, sized)
        size = part_size(other)
        await other.upload("object", async_pieces(payload(3 * size + 7), 99_991))
        assert await store.download("object") == payload(3 * size + 7)
        *full, _ = (length for _, length in sorted(sized.sizes.items()))
        assert (len(set(full)) == 1) is store.capabilities.equal_parts, f"parts of {full} bytes"

    async def test_capability_parallel_parts_is_true(self, store: BlobStore) -> None:
        watched = Counting(store.driver, at_once=2 if store.capabilities.parallel_parts else 1)
        other = await through(store, watched, concurrency=3)
        await other.upload("object", payload(6 * part_size(other)))
        assert await store.download("object") == payload(6 * part_size(other))
        assert (watched.most_in_flight > 1) is store.capabilities.parallel_parts

    async def test_capability_list_multiparts_is_true(self, store: BlobStore) -> None:
        options = UploadOptions(content_type="text/plain")
        upload_id = await store.driver.start_multipart("unfinished", options)
        await store.driver.put_part("unfinished", upload_id, 1, [payload(store.capabilities.min_part_size + 10)])
        found = await store.sweep(older_than=SOON, dry_run=True)
        assert bool(found) is store.capabilities.list_multiparts
        await store.driver.abort_multipart("unfinished", upload_id)
