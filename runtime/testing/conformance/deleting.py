"""Deleting one object or many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.driver import DeleteFailure, Driver
from runtime.errors import InvalidPathError, NotFoundError, PermissionDeniedError, PreconditionFailedError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import fill, in_parallel, paths_of, refused
from runtime.testing.conformance.watching import Watched, through

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.store import BlobStore


class Protected(Watched):
    """Does not let one object be deleted."""

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        failures = await super().delete_batch([path for path in paths if path != "b"])
        return [*failures, DeleteFailure("b", PermissionDeniedError("it is protected"))]


class OneByOne(Watched):
    """A driver that knows no batches: `Driver.delete_batch` does what it says."""

    deletes = 0

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        self.deletes += 1
        await super().delete(path, if_match=if_match)

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        return await Driver.delete_batch(self, paths)


class Deleting(Suite):
    """`delete` and `delete_batch`."""

    async def test_deleted_object_is_gone(self, store: BlobStore) -> None:
        await store.upload("target", b"x")
        await store.delete("target")
        assert not await store.exists("target")
        assert await paths_of(store) == []
        with pytest.raises(NotFoundError):
            await store.download("target")

    async def test_deleting_a_missing_object_is_no_error(self, store: BlobStore) -> None:
        await store.delete("missing")
        await store.delete("missing/below")
        await store.upload("target", b"x")
        await store.delete("target")
        await store.delete("target")

    async def test_deleting_a_missing_object_that_must_exist_raises_not_found(self, store: BlobStore) -> None:
        with pytest.raises(NotFoundError):
            await store.delete("missing", must_exist=True)
        await store.upload("target", b"x")
        await store.delete("target", must_exist=True)
        assert not await store.exists("target")

    async def test_delete_removes_exactly_one_object(self, store: BlobStore) -> None:
        await fill(store, ["a!", "a.b", "a/b", "a/bc", "a/c", "ab"])
        await store.delete("a!")
        assert await paths_of(store) == ["a.b", "a/b", "a/bc", "a/c", "ab"]
        await store.delete("a/b")
        assert await paths_of(store) == ["a.b", "a/bc", "a/c", "ab"]

    async def test_deleting_the_start_of_a_path_removes_nothing(self, store: BlobStore) -> None:
        await fill(store, ["folder/a", "folder/b/c"])
        await store.delete("folder")
        await store.delete("folder/b")
        assert await paths_of(store) == ["folder/a", "folder/b/c"]

    async def test_path_can_be_written_again_after_a_deletion(self, store: BlobStore) -> None:
        await store.upload("target", b"one", metadata={"a": "b"})
        await store.delete("target")
        await store.upload("target", b"two")
        assert await store.download("target") == b"two"
        assert ((await store.info("target")).metadata or {}) == {}, "metadata of the deleted object came back"

    async def test_delete_if_match_spares_other_versions(self, store: BlobStore) -> None:
        first = await store.upload("target", b"one")
        if not store.capabilities.delete_if_match:
            with refused("delete with if_match"):
                await store.delete("target", if_match=first.etag)
            assert await store.download("target") == b"one"
            return
        second = await store.upload("target", b"two")
        with pytest.raises(PreconditionFailedError):
            await store.delete("target", if_match=first.etag)
        assert await store.download("target") == b"two"
        await store.delete("target", if_match=second.etag)
        assert not await store.exists("target")
        with pytest.raises(PreconditionFailedError):
            await store.delete("target", if_match=second.etag)

    async def test_delete_batch_answers_for_every_path_in_order(self, store: BlobStore) -> None:
        await fill(store, ["a", "b", "c", "kept"])
        results = await store.delete_batch(["c", "missing", "a", "b"])
        assert [(result.path, result.error) for result in results] == [
            ("c", None),
            ("missing", None),
            ("a", None),
            ("b", None),
        ]
        assert await paths_of(store) == ["kept"]

    async def test_delete_batch_tells_which_path_could_not_be_deleted(self, store: BlobStore) -> None:
        await fill(store, ["a", "b", "c"])
        other = await through(store, Protected(store.driver))
        results = await other.delete_batch(["a", "b", "c"])
        assert [(result.path, type(result.error)) for result in results] == [
            ("a", type(None)),
            ("b", PermissionDeniedError),
            ("c", type(None)),
        ]
        assert "b" in str(results[1].error)
        assert await paths_of(store) == ["b"]

    async def test_delete_batch_goes_one_by_one_where_the_service_has_no_batches(self, store: BlobStore) -> None:
        await fill(store, ["a", "b", "c", "kept"])
        driver = OneByOne(store.driver)
        results = await (await through(store, driver)).delete_batch(["c", "missing", "a", "b"])
        assert [(result.path, result.error) for result in results] == [
            (name, None) for name in ("c", "missing", "a", "b")
        ]
        assert driver.deletes == 4
        assert await paths_of(store) == ["kept"]

    async def test_delete_batch_takes_listed_objects_and_duplicates(self, store: BlobStore) -> None:
        await fill(store, ["a", "b"])
        listed = [info async for info in store.list()]
        results = await store.delete_batch([*listed, *listed])
        assert [result.path for result in results] == ["a", "b", "a", "b"]
        assert await paths_of(store) == []

    async def test_delete_batch_of_nothing_does_nothing(self, store: BlobStore) -> None:
        await store.upload("kept", b"x")
        assert len(await store.delete_batch([])) == 0
        assert await store.exists("kept")

    async def test_delete_batch_with_an_invalid_path_deletes_nothing(self, store: BlobStore) -> None:
        await fill(store, ["a", "b"])
        with pytest.raises(InvalidPathError):
            await store.delete_batch(["a", "../b"])
        assert await paths_of(store) == ["a", "b"]

    async def test_many_may_delete_the_same_object_at_once(self, store: BlobStore) -> None:
        await store.upload("target", b"x")
        await in_parallel(lambda _number: store.delete("target"), range(10))
        assert not await store.exists("target")
