"""Listing: a true string prefix, in the order of UTF-8 bytes, over any number of pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from runtime.errors import InvalidOptionError, InvalidPathError
from runtime.models import UploadOptions
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import fill, pages_of, paths_of
from runtime.testing.conformance.watching import through

if TYPE_CHECKING:
    from runtime.models import ObjectPage
    from runtime.store import BlobStore

TREE = ("a!", "a-b", "a.txt", "a/1", "a/2", "a/b/3", "a0", "ab/4", "b", "c/5", "c/d/6")
MORE_THAN_A_PAGE = 1005


def paths_and_prefixes(pages: list[ObjectPage]) -> list[str]:
    """Objects and common prefixes of all pages in the order of one listing."""
    found = []
    for page in pages:
        found += sorted([*(info.path for info in page.objects), *page.prefixes], key=str.encode)
    return found


class Listing(Suite):
    """`list` and `list_page`."""

    async def test_listing_of_an_empty_bucket_is_empty(self, store: BlobStore) -> None:
        assert await paths_of(store) == [], "the fixture `store` must give an empty bucket to every test"
        page = await store.list_page()
        assert (page.objects, page.prefixes, page.cursor) == ((), (), None)

    async def test_prefix_is_a_string_and_not_a_folder(self, store: BlobStore) -> None:
        await fill(store, TREE)
        for prefix in ("", "a", "a/", "a/b", "ab", "a.", "c/", "c/d/6", "c/d/6x", "z"):
            expected = [path for path in TREE if path.startswith(prefix)]
            assert await paths_of(store, prefix) == expected, f"prefix {prefix!r}"

    async def test_prefix_with_a_slash_does_not_match_longer_names(self, store: BlobStore) -> None:
        await fill(store, ["a/1", "ab/1"])
        assert await paths_of(store, "a/") == ["a/1"]

    async def test_prefix_may_hold_any_character(self, store: BlobStore) -> None:
        paths = ["%41/x", "a b/x", "a%20b/x", "a+b/x", "ü/é", "[x]*?/y"]
        await fill(store, paths)
        for path in paths:
            assert await paths_of(store, path[:-1]) == [path], f"prefix {path[:-1]!r}"

    async def test_paths_are_in_the_order_of_their_utf_8_bytes(self, store: BlobStore) -> None:
        paths = ["A", "B", "Z", "a", "a ", "a!", "a-", "a/", "a0", "b", "z", "~", "é", "ﬀ", "\ufffd", "😀"]
        await fill(store, [f"{path}x" for path in paths])
        expected = sorted((f"{path}x" for path in paths), key=str.encode)
        assert await paths_of(store) == expected
        assert [info.path for page in await pages_of(store, limit=2) for info in page.objects] == expected

    async def test_every_page_size_gives_the_same_listing(self, store: BlobStore) -> None:
        await fill(store, TREE)
        for limit in (1, 2, 3, len(TREE) - 1, len(TREE), len(TREE) + 1):
            pages = await pages_of(store, limit=limit)
            assert [info.path for page in pages for info in page.objects] == list(TREE), f"limit={limit}"
            assert all(len(page.objects) <= limit for page in pages), f"limit={limit}"

    async def test_delimiter_rolls_up_what_is_below(self, store: BlobStore) -> None:
        await fill(store, TREE)
        for prefix, objects, prefixes in (
            ("", ["a!", "a-b", "a.txt", "a0", "b"], ["a/", "ab/", "c/"]),
            ("a/", ["a/1", "a/2"], ["a/b/"]),
            ("a", ["a!", "a-b", "a.txt", "a0"], ["a/", "ab/"]),
            ("c/d", [], ["c/d/"]),
            ("a/b/3", ["a/b/3"], []),
            ("nothing", [], []),
        ):
            page = await store.list_page(prefix, delimiter="/")
            assert ([info.path for info in page.objects], list(page.prefixes)) == (objects, prefixes), prefix

    async def test_delimited_listing_is_the_same_at_every_page_size(self, store: BlobStore) -> None:
        await fill(store, [*TREE, "t-/x", "t/x", "t/y", "t/z"])
        expected = ["a!", "a-b", "a.txt", "a/", "a0", "ab/", "b", "c/", "t-/", "t/"]
        for limit in (1, 2, 3, 1000):
            pages = await pages_of(store, delimiter="/", limit=limit)
            assert paths_and_prefixes(pages) == expected, f"limit={limit}"

    async def test_any_string_can_be_the_delimiter(self, store: BlobStore) -> None:
        await fill(store, ["x-1", "x-2", "y", "z-1-2"])
        page = await store.list_page(delimiter="-")
        assert ([info.path for info in page.objects], list(page.prefixes)) == (["y"], ["x-", "z-"])

    async def test_common_prefix_vanishes_with_its_last_object(self, store: BlobStore) -> None:
        await fill(store, ["folder/sub/only", "other"])
        await store.delete("folder/sub/only")
        page = await store.list_page(delimiter="/")
        assert ([info.path for info in page.objects], page.prefixes) == (["other"], ())

    async def test_list_with_a_delimiter_gives_one_level(self, store: BlobStore) -> None:
        await fill(store, TREE)
        assert await paths_of(store, "a/", delimiter="/") == ["a/1", "a/2"]

    async def test_start_after_is_exclusive(self, store: BlobStore) -> None:
        await fill(store, TREE)
        for after in ("a", "a-", "a/1", "a/1x", "b", "zzz"):
            expected = [path for path in TREE if path > after]
            assert await paths_of(store, start_after=after) == expected, f"start_after={after!r}"

    async def test_start_after_goes_together_with_a_prefix(self, store: BlobStore) -> None:
        await fill(store, TREE)
        assert await paths_of(store, "a/", start_after="a/1") == ["a/2", "a/b/3"]
        assert await paths_of(store, "c/", start_after="a") == ["c/5", "c/d/6"]
        assert await paths_of(store, "a/", start_after="b") == []

    async def test_limit_bounds_a_listing(self, store: BlobStore) -> None:
        await fill(store, TREE)
        for limit in (0, 1, 5, 100):
            assert await paths_of(store, limit=limit) == list(TREE)[:limit], f"limit={limit}"

    async def test_impossible_limits_are_refused(self, store: BlobStore) -> None:
        for limit in (0, -1, 1001):
            with pytest.raises(InvalidOptionError):
                await store.list_page(limit=limit)
        with pytest.raises(InvalidOptionError):
            store.list(limit=-1)

    async def test_cursor_is_not_disturbed_by_an_insertion_before_it(self, store: BlobStore) -> None:
        await fill(store, ["b", "d", "f", "h"])
        first = await store.list_page(limit=2)
        await store.upload("a", b".")
        await store.upload("c", b".")
        second = await store.list_page(limit=2, cursor=first.cursor)
        assert [info.path for info in (*first.objects, *second.objects)] == ["b", "d", "f", "h"]

    async def test_cursor_is_not_disturbed_by_a_deletion_before_it(self, store: BlobStore) -> None:
        await fill(store, ["b", "d", "f", "h"])
        first = await store.list_page(limit=2)
        await store.delete("b")
        await store.delete("d")
        second = await store.list_page(limit=2, cursor=first.cursor)
        assert [info.path for info in second.objects] == ["f", "h"]

    async def test_cursor_goes_on_where_another_listing_ended(self, store: BlobStore) -> None:
        await fill(store, ["a", "b/1", "b/2", "c", "d"])
        first = await store.list_page(delimiter="/", limit=2)
        cursor = json.loads(json.dumps(first.cursor))
        assert isinstance(cursor, str), "a cursor is text, to be kept anywhere"
        other = await through(store)
        rest, pages = [first], 0
        while cursor is not None:
            rest.append(await other.list_page(delimiter="/", limit=2, cursor=cursor))
            cursor, pages = rest[-1].cursor, pages + 1
            assert pages < 10, "the listing has no end"
        assert paths_and_prefixes(rest) == ["a", "b/", "c", "d"]

    async def test_strange_names_of_others_are_listed_as_they_are_and_can_be_used(self, store: BlobStore) -> None:
        strange = ["a//b", "dir/", "dir/below"]
        options = UploadOptions(content_type="text/plain")
        for name in strange:
            await store.driver.put(name, name.encode(), options)
        listed = [info async for info in store.list()]
        assert [info.path for info in listed] == strange
        for info in listed:
            assert await store.download(info) == info.path.encode()
            await store.copy(info, "copied")
            assert await store.download("copied") == info.path.encode()
        with pytest.raises(InvalidPathError):
            await store.download("a//b")
        results = await store.delete_batch(listed)
        assert [result.error for result in results] == [None] * len(strange)
        assert await paths_of(store) == ["copied"]

    async def test_next_page_sees_what_was_written_and_deleted_behind_the_cursor(self, store: BlobStore) -> None:
        await fill(store, ["b", "d", "f", "h"])
        first = await store.list_page(limit=2)
        await store.upload("e", b".")
        await store.delete("h")
        second = await store.list_page(limit=2, cursor=first.cursor)
        assert [info.path for info in second.objects] == ["e", "f"]

    async def test_more_than_a_thousand_objects_are_listed_and_deleted(self, store: BlobStore) -> None:
        paths = [f"many/{number:04}" for number in range(MORE_THAN_A_PAGE)]
        await fill(store, [*paths, "kept"])
        assert await paths_of(store, "many/") == paths
        results = await store.delete_batch(paths)
        assert [result.path for result in results] == paths
        assert [result for result in results if result.error] == []
        assert await paths_of(store) == ["kept"]

    async def test_listing_tells_the_same_as_info(self, store: BlobStore) -> None:
        await store.upload("told", b"12345", content_type="text/plain")
        (listed,) = [info async for info in store.list()]
        known = await store.info("told")
        assert (listed.path, listed.size, listed.etag) == (known.path, known.size, known.etag)
        assert abs((listed.last_modified - known.last_modified).total_seconds()) < 1.001, "services may cut fractions"
        assert listed.last_modified.tzinfo is not None

    async def test_deleted_and_overwritten_objects_are_listed_as_they_are_now(self, store: BlobStore) -> None:
        await fill(store, ["one", "two"])
        await store.delete("one")
        await store.upload("two", b"longer now")
        assert [(info.path, info.size) async for info in store.list()] == [("two", 10)]
