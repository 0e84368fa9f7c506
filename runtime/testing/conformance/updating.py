"""Conditions of reads, and changing an object without losing another writer's change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.errors import (
    InvalidOptionError,
    NotFoundError,
    NotModifiedError,
    NotSupportedError,
    PreconditionFailedError,
)
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import in_parallel, paths_of, payload
from runtime.testing.conformance.watching import Watched, part_size, through

if TYPE_CHECKING:
    from runtime.store import BlobStore

WORKERS = 8
INCREMENTS = 10


def can_update(store: BlobStore) -> bool:
    """Whether the backend has what `BlobStore.update` needs."""
    return store.capabilities.if_match and store.capabilities.if_not_exists


async def etag_of(store: BlobStore, path: str) -> str:
    """The etag of an object, which must have one."""
    etag = (await store.info(path)).etag
    assert etag, f"{path} has no etag"
    return etag


class Updating(Suite):
    """``if_match`` and ``if_none_match`` of reads, and `update`."""

    async def test_read_with_if_none_match_raises_not_modified_until_the_object_changes(self, store: BlobStore) -> None:
        await store.upload("page", b"first")
        etag = await etag_of(store, "page")
        with pytest.raises(NotModifiedError) as caught:
            await store.download("page", if_none_match=etag)
        assert caught.value.etag == etag
        assert caught.value.path == "page"
        with pytest.raises(NotModifiedError):
            await anext(store.stream("page", if_none_match=etag))
        with pytest.raises(NotModifiedError):
            await store.open_reader("page", if_none_match=etag).open()
        await store.upload("page", b"second")
        assert await store.download("page", if_none_match=etag) == b"second"
        assert [chunk async for chunk in store.stream("page", if_none_match=etag)] == [b"second"]

    async def test_read_with_if_match_raises_precondition_failed_when_the_object_changed(
        self, store: BlobStore
    ) -> None:
        await store.upload("page", b"first")
        etag = await etag_of(store, "page")
        assert await store.download("page", if_match=etag) == b"first"
        assert await store.download("page", if_match=etag, range=(1, 3)) == b"ir"
        assert [chunk async for chunk in store.stream("page", if_match=etag)] == [b"first"]
        await store.upload("page", b"second")
        with pytest.raises(PreconditionFailedError) as caught:
            await store.download("page", if_match=etag)
        assert caught.value.etag == await etag_of(store, "page")
        with pytest.raises(PreconditionFailedError):
            await anext(store.stream("page", if_match=etag))
        with pytest.raises(PreconditionFailedError):
            await store.download("page", if_match=etag, range=(2, 2))

    async def test_condition_on_a_missing_object_is_not_found(self, store: BlobStore) -> None:
        for condition in ("if_match", "if_none_match"):
            with pytest.raises(NotFoundError):
                await store.download("missing", **{condition: "0123"})  # type: ignore[arg-type] # names of parameters

    async def test_condition_that_is_no_etag_is_refused_before_any_request(self, store: BlobStore) -> None:
        for wrong in ('"quoted"', "a\nb", ""):
            with pytest.raises(InvalidOptionError):
                await store.download("any", if_none_match=wrong)
            with pytest.raises(InvalidOptionError):
                store.stream("any", if_match=wrong)

    async def test_refused_read_gives_its_connection_back(self, store: BlobStore) -> None:
        await store.upload("large", payload(100_000))
        watched = Watched(store.driver)
        other = await through(store, watched)
        with pytest.raises(NotModifiedError):
            await other.download("large", if_none_match=await etag_of(store, "large"))
        assert watched.closed_readers == 1
        assert watched.bytes_out == 0

    # update

    async def test_update_makes_changes_and_keeps_an_object(self, store: BlobStore) -> None:
        if not can_update(store):
            with pytest.raises(NotSupportedError):
                await store.update("list.txt", lambda old: (old or b"") + b"x")
            assert not await store.exists("list.txt")
            return
        info = await store.update("list.txt", lambda old: b"new" if old is None else b"wrong", metadata={"by": "me"})
        assert info.content_type == "text/plain"
        await store.update("list.txt", lambda old: (old or b"") + b"er")
        assert await store.download("list.txt") == b"newer"
        found = await store.info("list.txt")
        assert (found.content_type, found.metadata) == ("text/plain", {"by": "me"})

        async def later(old: bytes | None) -> str:
            return f"{(old or b'').decode()}!"

        assert (await store.update("list.txt", later, "text/csv")).size == 6
        assert (await store.info("list.txt")).content_type == "text/csv"

    async def test_update_loses_no_increment_of_many_workers(self, store: BlobStore) -> None:
        if not can_update(store):
            with pytest.raises(NotSupportedError):
                await store.update("counter", lambda old: old or b"0")
            return

        async def count(_worker: int) -> None:
            for _ in range(INCREMENTS):
                await store.update("counter", lambda old: str(int(old or b"0") + 1))

        await in_parallel(count, range(WORKERS))
        assert await store.download("counter") == str(WORKERS * INCREMENTS).encode()

    async def test_update_of_a_large_object_is_conditional_too(self, store: BlobStore, parts: BlobStore) -> None:
        if not can_update(store):
            with pytest.raises(NotSupportedError):
                await parts.update("large", lambda old: old or b"0")
            return
        size = part_size(parts) + 10
        await store.upload("large", b"old")
        raced = False

        async def race(_old: bytes | None) -> bytes:
            nonlocal raced
            if not raced:
                raced = True
                await store.upload("large", b"of another writer")
            return payload(size)

        await parts.update("large", race)
        assert raced
        assert await store.download("large") == payload(size)
        assert await self.leftovers(store) == []

    async def test_update_gives_up_after_its_attempts_and_changes_nothing(self, store: BlobStore) -> None:
        if not can_update(store):
            with pytest.raises(NotSupportedError):
                await store.update("contested", lambda old: old or b"0")
            return
        calls = 0

        async def lose(_old: bytes | None) -> bytes:
            nonlocal calls
            calls += 1
            await store.upload("contested", b"%d" % calls)
            return b"lost"

        with pytest.raises(PreconditionFailedError, match="3 times") as caught:
            await store.update("contested", lose, attempts=3)
        assert caught.value.retryable
        assert calls == 3
        assert await store.download("contested") == b"3"

    async def test_update_whose_function_fails_writes_nothing(self, store: BlobStore) -> None:
        if not can_update(store):
            with pytest.raises(NotSupportedError):
                await store.update("kept", lambda old: old or b"0")
            return
        await store.upload("kept", b"old")
        with pytest.raises(ZeroDivisionError):
            await store.update("kept", lambda _: b"%d" % (1 // 0))
        with pytest.raises(TypeError):
            await store.update("kept", lambda _: None)  # type: ignore[arg-type,return-value] # a caller's slip
        with pytest.raises(InvalidOptionError):
            await store.update("kept", lambda _: b"x", if_not_exists=True)
        assert await store.download("kept") == b"old"
        assert await paths_of(store) == ["kept"]
