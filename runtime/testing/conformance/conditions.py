"""Conditions of writes: one that must not happen leaves everything as it was."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from runtime.errors import AlreadyExistsError, NotSupportedError, PreconditionFailedError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import async_pieces, in_parallel, payload, refused
from runtime.testing.conformance.watching import part_size

if TYPE_CHECKING:
    from runtime.store import BlobStore


class Conditions(Suite):
    """``if_not_exists`` and ``if_match``."""

    async def test_if_not_exists_writes_a_new_object_and_spares_an_old_one(self, store: BlobStore) -> None:
        if not store.capabilities.if_not_exists:
            with refused("if_not_exists"):
                await store.upload("new", b"first", if_not_exists=True)
            assert not await store.exists("new")
            return
        await store.upload("new", b"first", if_not_exists=True)
        with pytest.raises(AlreadyExistsError):
            await store.upload("new", b"second", if_not_exists=True)
        assert await store.download("new") == b"first"
        await store.delete("new")
        await store.upload("new", b"third", if_not_exists=True)
        assert await store.download("new") == b"third"

    async def test_if_not_exists_holds_for_uploads_in_parts(self, store: BlobStore, parts: BlobStore) -> None:
        data = payload(part_size(parts) + 10)
        if not store.capabilities.if_not_exists:
            with refused("if_not_exists"):
                await parts.upload("new", async_pieces(data, 99_991), if_not_exists=True)
            return
        await parts.upload("new", async_pieces(data, 99_991), if_not_exists=True)
        with pytest.raises(AlreadyExistsError):
            await parts.upload("new", async_pieces(data[::-1], 99_991), if_not_exists=True)
        assert await store.download("new") == data
        assert await self.leftovers(store) == []

    async def test_racing_creates_have_exactly_one_winner(self, store: BlobStore) -> None:
        if not store.capabilities.if_not_exists:
            with refused("if_not_exists"):
                await store.upload("race", b"x", if_not_exists=True)
            return

        async def create(number: int, path: str, winners: list[int]) -> None:
            try:
                await store.upload(path, f"writer {number}", if_not_exists=True)
            except AlreadyExistsError:
                return
            winners.append(number)

        for race in range(3):
            winners: list[int] = []

            path = f"race/{race}"
            await in_parallel(functools.partial(create, path=path, winners=winners), range(12))
            assert len(winners) == 1, f"writers {winners} were all told that they made the object"
            assert await store.download(path) == f"writer {winners[0]}".encode()

    async def test_if_match_writes_only_over_the_asked_version(self, store: BlobStore) -> None:
        first = await store.upload("versioned", b"one")
        if not store.capabilities.if_match:
            with refused("if_match"):
                await store.upload("versioned", b"two", if_match=first.etag)
            assert await store.download("versioned") == b"one"
            return
        second = await store.upload("versioned", b"two", if_match=first.etag)
        with pytest.raises(PreconditionFailedError):
            await store.upload("versioned", b"three", if_match=first.etag)
        assert await store.download("versioned") == b"two"
        await store.upload("versioned", b"four", if_match=second.etag)
        assert await store.download("versioned") == b"four"

    async def test_if_match_on_a_missing_object_writes_nothing(self, store: BlobStore) -> None:
        etag = (await store.upload("other", b"x")).etag
        if not store.capabilities.if_match:
            with refused("if_match"):
                await store.upload("missing", b"x", if_match=etag)
        else:
            with pytest.raises(PreconditionFailedError):
                await store.upload("missing", b"x", if_match=etag)
        assert not await store.exists("missing")

    async def test_if_match_holds_for_uploads_in_parts(self, store: BlobStore, parts: BlobStore) -> None:
        data = payload(part_size(parts) + 10)
        first = await store.upload("versioned", b"one")
        if not store.capabilities.if_match:
            with refused("if_match"):
                await parts.upload("versioned", data, if_match=first.etag)
            return
        second = await parts.upload("versioned", data, if_match=first.etag)
        with pytest.raises(PreconditionFailedError):
            await parts.upload("versioned", data[::-1], if_match=first.etag)
        assert await store.download("versioned") == data
        assert (await store.info("versioned")).etag == second.etag

    async def test_counter_that_many_increment_by_if_match_loses_nothing(self, store: BlobStore) -> None:
        first = await store.upload("counter", b"0")
        if not store.capabilities.if_match:
            with refused("if_match"):
                await store.upload("counter", b"1", if_match=first.etag)
            return

        async def increment(_number: int) -> None:
            while True:
                info = await store.info("counter")
                value = int(await store.download("counter"))
                try:
                    await store.upload("counter", str(value + 1), if_match=info.etag)
                except PreconditionFailedError:
                    continue
                return

        await in_parallel(increment, range(10))
        assert await store.download("counter") == b"10"

    async def test_conditions_that_exclude_each_other_are_refused(self, store: BlobStore) -> None:
        with pytest.raises(NotSupportedError):
            await store.upload("target", b"x", if_not_exists=True, if_match="abc")
        assert not await store.exists("target")
