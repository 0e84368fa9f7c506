"""Which strings may be paths, and that every one of them names exactly one object everywhere."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from runtime.errors import InvalidPathError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import fill, in_parallel, paths_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.store import BlobStore

INVALID = (
    "",
    "/",
    "/leading",
    "trailing/",
    "double//slash",
    ".",
    "..",
    "./a",
    "../a",
    "a/..",
    "a/.",
    "a/./b",
    "a/../b",
    "../../etc/passwd",
    "nul\x00byte",
    "tab\tand",
    "line\nbreak",
    "escape\x1b",
    "delete\x7f",
    "c1\x85control",
    "surrogate\ud800",
    "a" * 1025,
    "é" * 513,
)

URL_CHARACTERS = (
    "a b",
    "a+b",
    "a%20b",
    "a%2Fb",
    "a%2fb",
    "100%",
    "%",
    "%25",
    "%zz",
    "a&b=c",
    "query?x=1",
    "fragment#x",
    "a;b,c:d@e",
    "semi;colon",
    "~tilde",
    "!$'()*",
    "[brackets]{braces}",
    "^caret`tick|pipe",
    '<less>"quotes"',
    "equals=/=",
    "http:/not-a-url",
)

UNICODE = ("ünï/cödé.txt", "東京/駅", "😀", "עברית", "Ω≈ç√", "a\u00a0b", "zero\u200bwidth", "\u202eright-to-left")

DOTS_AND_DASHES = (
    ".hidden",
    "a..b",
    "...",
    "..a",
    "a/...",
    "a/.b",
    "-dash",
    "--",
    "_",
    "a/-/b",
    "1starts/2with/3digits",
)

FILE_SYSTEM_NAMES = (
    ".gitkeep",
    ".tandem/attributes/x",
    "con",
    "nul.txt",
    "desktop.ini",
    ".DS_Store",
    "a.attrs",
    "x.tmp",
    "~x",
    "*?",
    "x%=",
    "x%+/y",
    "%_",
    "%2E%2E",
)


def _called(store: BlobStore, path: str) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    async def stream() -> None:
        [_ async for _ in store.stream(path)]

    return [
        ("upload", lambda: store.upload(path, b"x")),
        ("download", lambda: store.download(path)),
        ("stream", stream),
        ("info", lambda: store.info(path)),
        ("exists", lambda: store.exists(path)),
        ("delete", lambda: store.delete(path)),
        ("delete_batch", lambda: store.delete_batch([path])),
        ("copy from", lambda: store.copy(path, "valid")),
        ("copy to", lambda: store.copy("valid", path)),
        ("move to", lambda: store.move("valid", path)),
        ("copy_batch", lambda: store.copy_batch([("valid", path)])),
        ("get_url", lambda: store.get_url(path)),
        ("get_presigned_url", lambda: store.get_presigned_url(path)),
        ("presign", lambda: store.presign(path)),
    ]


def random_paths(count: int, seed: int = 7) -> list[str]:
    """Valid paths of characters that are easily confused by somebody; the same ones on every run."""
    chance = random.Random(seed)  # noqa: S311 - test data
    letters = " !#$%&'()+,-.;=@[]^_`{}~0aAzZ\\:*?\"<>|éÉßñ中文日😀\u00a0\u0301"
    made: set[str] = set()
    while len(made) < count:
        segments = ["".join(chance.choices(letters, k=chance.randint(1, 12))) for _ in range(chance.randint(1, 4))]
        if not {".", ".."} & set(segments):
            made.add("/".join(segments))
    return sorted(made, key=str.encode)


class Paths(Suite):
    """Valid and invalid paths."""

    async def test_invalid_paths_are_refused_by_every_operation(self, store: BlobStore) -> None:
        await store.upload("valid", b"x")
        for path in INVALID:
            for name, call in _called(store, path):
                try:
                    await call()
                except InvalidPathError:
                    continue
                pytest.fail(f"{name} accepted {path!a}")
        assert await paths_of(store) == ["valid"]

    async def test_invalid_path_is_also_a_value_error(self, store: BlobStore) -> None:
        with pytest.raises(ValueError, match="segment"):
            await store.upload("../escape", b"x")

    async def test_what_is_no_string_is_no_path(self, store: BlobStore) -> None:
        for path in (None, b"bytes", 5):
            with pytest.raises(InvalidPathError):
                await store.upload(path, b"x")  # type: ignore[arg-type] # this is what must be refused

    async def _round_trip(self, store: BlobStore, paths: list[str]) -> None:
        wanted = sorted(paths, key=str.encode)
        await in_parallel(lambda path: store.upload(path, path, metadata={"n": str(len(path))}), wanted)
        assert await paths_of(store) == wanted, "the listing gives other paths than were written"

        async def read(path: str) -> None:
            assert await store.download(path) == path.encode(), f"download of {path!a}"
            info = await store.info(path)
            assert (info.path, info.size) == (path, len(path.encode())), f"info of {path!a}"
            assert await store.exists(path), f"exists of {path!a}"
            assert await paths_of(store, path, limit=1) == [path], f"list by the prefix {path!a}"
            if "GET" in store.capabilities.presign:
                answer = await self.http("GET", await store.get_presigned_url(path))
                assert (answer.status, answer.content) == (200, path.encode()), f"presigned GET of {path!a}"

        await in_parallel(read, wanted)

        async def copy(path: str) -> None:
            await store.copy(path, f"copy/{path}"[:1000])
            assert await store.download(f"copy/{path}"[:1000]) == path.encode(), f"copy of {path!a}"
            await store.delete(path)
            assert not await store.exists(path), f"delete of {path!a}"

        await in_parallel(copy, [path for path in wanted if len(path.encode()) < 900])

    async def test_characters_with_a_meaning_in_urls_are_kept(self, store: BlobStore) -> None:
        await self._round_trip(store, list(URL_CHARACTERS))

    async def test_unicode_is_kept(self, store: BlobStore) -> None:
        await self._round_trip(store, list(UNICODE))

    async def test_dots_and_dashes_are_kept(self, store: BlobStore) -> None:
        await self._round_trip(store, list(DOTS_AND_DASHES))

    async def test_backslashes_are_characters_like_others(self, store: BlobStore) -> None:
        await self._round_trip(store, ["a\\b", "a/b", "\\", "..\\a", "c:\\windows"])

    async def test_spaces_and_dots_at_the_ends_of_names_are_kept(self, store: BlobStore) -> None:
        await self._round_trip(store, [" leading", "trailing ", "a/ b /c", "dot.", "a./b", "  "])

    async def test_names_that_file_systems_or_drivers_reserve_are_paths_like_others(self, store: BlobStore) -> None:
        await self._round_trip(store, list(FILE_SYSTEM_NAMES))

    async def test_paths_that_differ_only_in_case_are_different(self, store: BlobStore) -> None:
        await self._round_trip(store, ["case", "Case", "CASE", "dir/a", "Dir/a", "straße", "STRASSE"])

    async def test_composed_and_decomposed_characters_are_different(self, store: BlobStore) -> None:
        await self._round_trip(store, ["caf\u00e9", "cafe\u0301", "\u212b", "\u00c5", "A\u030a"])

    async def test_object_and_objects_below_its_path_live_side_by_side(self, store: BlobStore) -> None:
        await self._round_trip(store, ["x", "x/y", "x/y/z", "x.y"])
        await fill(store, ["d", "d/1", "d/2"])
        await store.delete("d")
        assert await paths_of(store, "d") == ["d/1", "d/2"]

    async def test_object_below_comes_first_or_last_and_nothing_is_lost(self, store: BlobStore) -> None:
        for first, second in (("p", "p/q"), ("r/s", "r")):
            await store.upload(first, b"first", metadata={"a": "1"})
            await store.upload(second, b"second", metadata={"a": "2"})
            assert (await store.download(first), await store.download(second)) == (b"first", b"second")
            assert (await store.info(first)).metadata == {"a": "1"}
            await store.upload(first, b"again")
            await store.delete(second)
            assert await store.download(first) == b"again"
        assert await paths_of(store) == ["p", "r/s"]

    async def test_longest_path_is_kept(self, store: BlobStore) -> None:
        await self._round_trip(store, ["/".join(["p" * 127] * 8), "/".join(["é" * 63] * 8), "s/" * 511 + "ss"])

    async def test_names_longer_than_those_of_files_are_kept(self, store: BlobStore) -> None:
        paths = ["a" * 1024, "é" * 512, "c/" + "d" * 300 + "/e", "f" * 255, "f" * 256]
        await self._round_trip(store, paths)

    async def test_long_names_with_a_common_beginning_are_different(self, store: BlobStore) -> None:
        await self._round_trip(store, ["g" * size for size in (239, 240, 241, 242, 480, 481)])

    async def test_random_paths_are_kept(self, store: BlobStore) -> None:
        paths = [path for path in random_paths(60) if not path.endswith((" ", ".")) and "\\" not in path]
        await self._round_trip(store, paths)

    async def test_url_of_an_object_is_escaped(self, store: BlobStore) -> None:
        url = await store.get_url("a b/ü?#%.txt")
        assert url.endswith("a%20b/%C3%BC%3F%23%25.txt"), url

    async def test_paths_of_every_operation_agree(self, store: BlobStore) -> None:
        path = "a+b c/ü%41.txt"
        uploaded = await store.upload(path, b"x")
        copied = await store.copy(path, f"copy of {path}")
        (listed,) = [info async for info in store.list("a+")]
        assert {uploaded.path, listed.path, (await store.info(path)).path} == {path}
        assert copied.path == f"copy of {path}"

    async def test_prefixes_of_listed_folders_need_no_folder(self, store: BlobStore) -> None:
        await fill(store, ["deep/er/and/deeper"])
        for prefix in ("deep/", "deep/er/", "deep/er/and/", "deep/er/and/de"):
            assert await paths_of(store, prefix) == ["deep/er/and/deeper"], prefix
