"""Copying and moving inside a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.errors import AlreadyExistsError, InvalidPathError, NotFoundError, PreconditionFailedError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import fill, in_parallel, paths_of, payload, refused
from runtime.testing.conformance.watching import part_size

if TYPE_CHECKING:
    from runtime.store import BlobStore

ATTRIBUTES = ("size", "content_type", "metadata", "cache_control", "content_disposition", "content_encoding")


class Copying(Suite):
    """`copy`, `move` and `copy_batch`."""

    async def _attributed(self, store: BlobStore, path: str) -> None:
        await store.upload(
            path,
            b"content",
            content_type="application/pdf",
            metadata={"owner": "7", "note": "x y"},
            cache_control="max-age=60",
            content_disposition="inline",
            content_encoding="identity",
        )

    async def test_copy_keeps_content_and_every_attribute(self, store: BlobStore) -> None:
        await self._attributed(store, "source")
        await store.copy("source", "below/destination.txt")
        old, new = await store.info("source"), await store.info("below/destination.txt")
        assert await store.download("below/destination.txt") == b"content"
        for name in ATTRIBUTES:
            assert getattr(new, name) == getattr(old, name), f"{name} changed on the way"
        assert await store.exists("source")

    async def test_copy_returns_what_info_tells(self, store: BlobStore) -> None:
        await self._attributed(store, "source")
        given = await store.copy("source", "destination")
        found = await store.info("destination")
        for name in ("path", "etag", *ATTRIBUTES):
            assert getattr(given, name) == getattr(found, name), name

    async def test_copy_replaces_an_object_and_its_attributes(self, store: BlobStore) -> None:
        await store.upload("source", b"new", content_type="text/plain")
        await self._attributed(store, "destination")
        await store.copy("source", "destination")
        info = await store.info("destination")
        assert await store.download("destination") == b"new"
        assert (info.content_type, info.metadata or {}, info.cache_control) == ("text/plain", {}, None)

    async def test_copy_of_a_missing_object_names_the_source(self, store: BlobStore) -> None:
        await store.upload("destination", b"kept")
        with pytest.raises(NotFoundError) as caught:
            await store.copy("missing/source", "destination")
        assert "missing/source" in str(caught.value)
        assert await store.download("destination") == b"kept"

    async def test_copies_do_not_share_anything(self, store: BlobStore) -> None:
        await store.upload("source", b"one", metadata={"version": "1"})
        await store.copy("source", "destination")
        await store.upload("destination", b"two", metadata={"version": "2"})
        assert await store.download("source") == b"one"
        assert (await store.info("source")).metadata == {"version": "1"}
        await store.delete("source")
        assert await store.download("destination") == b"two"

    async def test_copy_onto_itself_changes_nothing(self, store: BlobStore) -> None:
        await self._attributed(store, "source")
        before = await store.info("source")
        await store.copy("source", "source")
        after = await store.info("source")
        assert await store.download("source") == b"content"
        for name in ATTRIBUTES:
            assert getattr(after, name) == getattr(before, name), name

    async def test_object_that_was_uploaded_in_parts_is_copied(self, store: BlobStore, parts: BlobStore) -> None:
        data = payload(part_size(parts) + 77)
        await parts.upload("source", data, metadata={"a": "b"})
        await store.copy("source", "destination")
        assert await store.download("destination") == data
        assert (await store.info("destination")).metadata == {"a": "b"}

    async def test_empty_object_is_copied(self, store: BlobStore) -> None:
        await store.upload("source", b"", content_type="text/plain")
        await store.copy("source", "destination")
        info = await store.info("destination")
        assert (info.size, info.content_type) == (0, "text/plain")

    async def test_listed_object_is_copied(self, store: BlobStore) -> None:
        await store.upload("source", b"content")
        (info,) = [info async for info in store.list()]
        await store.copy(info, "destination")
        assert await store.download("destination") == b"content"

    async def test_destination_is_a_string_that_is_checked(self, store: BlobStore) -> None:
        await store.upload("source", b"content")
        for destination in ("", "/a", "a//b", "../a"):
            with pytest.raises(InvalidPathError):
                await store.copy("source", destination)
            with pytest.raises(InvalidPathError):
                await store.move("source", destination)
        assert await paths_of(store) == ["source"]

    async def test_copy_if_not_exists_spares_what_is_there(self, store: BlobStore) -> None:
        await self._attributed(store, "source")
        await store.upload("empty", b"", content_type="text/x-empty")
        await store.upload("taken", b"kept")
        if not store.capabilities.copy_if_not_exists:
            for call in (store.copy, store.move):
                with refused("copy with if_not_exists"):
                    await call("source", "new", if_not_exists=True)
            assert await paths_of(store) == ["empty", "source", "taken"]
            return
        for source in ("source", "empty"):
            await store.copy(source, f"new-{source}", if_not_exists=True)
            for name in ATTRIBUTES:
                found = getattr(await store.info(f"new-{source}"), name)
                assert found == getattr(await store.info(source), name), f"{name} changed on the way"
            for call in (store.copy, store.move):
                with pytest.raises(AlreadyExistsError):
                    await call(source, "taken", if_not_exists=True)
        with pytest.raises(AlreadyExistsError):
            await store.copy("taken", "taken", if_not_exists=True)
        assert await store.download("taken") == b"kept"
        assert await store.download("source") == b"content", "a move that was refused removed its source"
        assert await self.leftovers(store) == []

    async def test_copy_if_match_replaces_only_the_asked_version(self, store: BlobStore) -> None:
        await store.upload("source", b"new")
        first = await store.upload("taken", b"first")
        if not store.capabilities.copy_if_match:
            with refused("copy with if_match"):
                await store.copy("source", "taken", if_match=first.etag)
            assert await store.download("taken") == b"first"
            return
        second = await store.upload("taken", b"second")
        for path in ("taken", "missing"):
            with pytest.raises(PreconditionFailedError):
                await store.copy("source", path, if_match=first.etag)
        assert await store.download("taken") == b"second"
        assert not await store.exists("missing")
        await store.copy("source", "taken", if_match=second.etag)
        assert await store.download("taken") == b"new"
        assert await self.leftovers(store) == []

    async def test_racing_copies_to_an_empty_path_have_exactly_one_winner(self, store: BlobStore) -> None:
        if not store.capabilities.copy_if_not_exists:
            return  # that it is refused is tested above
        winners: list[int] = []

        async def copy(number: int) -> None:
            try:
                await store.copy(f"source-{number}", "contended", if_not_exists=True)
            except AlreadyExistsError:
                return
            winners.append(number)

        for number in range(6):
            await store.upload(f"source-{number}", b"%d" % number)
        await in_parallel(copy, range(6))
        assert len(winners) == 1, f"copies {winners} were all told that they made the object"
        assert await store.download("contended") == b"%d" % winners[0]

    async def test_move_leaves_the_object_at_its_new_path_only(self, store: BlobStore) -> None:
        await self._attributed(store, "source")
        info = await store.move("source", "moved/here")
        assert info.path == "moved/here"
        assert await paths_of(store) == ["moved/here"]
        assert await store.download("moved/here") == b"content"
        assert (await store.info("moved/here")).metadata == {"owner": "7", "note": "x y"}

    async def test_move_of_a_missing_object_raises_not_found(self, store: BlobStore) -> None:
        await store.upload("destination", b"kept")
        with pytest.raises(NotFoundError):
            await store.move("missing", "destination")
        assert await store.download("destination") == b"kept"

    async def test_move_onto_itself_loses_nothing(self, store: BlobStore) -> None:
        await store.upload("source", b"content")
        await store.move("source", "source")
        assert await store.download("source") == b"content"

    async def test_copy_batch_copies_all_and_gives_the_destinations(self, store: BlobStore) -> None:
        await fill(store, ["a/1", "a/2", "a/3"], b"content")
        pairs = [(f"a/{number}", f"b/{number}") for number in (3, 1, 2)]
        assert await store.copy_batch(pairs) == ["b/3", "b/1", "b/2"]
        assert await paths_of(store) == ["a/1", "a/2", "a/3", "b/1", "b/2", "b/3"]

    async def test_copy_batch_keeps_the_order_of_copies_that_depend_on_each_other(self, store: BlobStore) -> None:
        await store.upload("first", b"content")
        await store.copy_batch([("first", "second"), ("second", "third")])
        assert await store.download("third") == b"content"

    async def test_copy_batch_names_what_is_missing(self, store: BlobStore) -> None:
        await store.upload("there", b"content")
        with pytest.raises(NotFoundError) as caught:
            await store.copy_batch([("there", "copied"), ("not-there", "other")])
        assert "not-there" in str(caught.value)
        assert "of 2 objects were copied" in "".join(caught.value.__notes__), "it does not say how far it came"
        assert not await store.exists("other")

    async def test_copy_batch_of_nothing_does_nothing(self, store: BlobStore) -> None:
        assert await store.copy_batch([]) == []
