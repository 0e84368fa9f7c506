"""The mapping between paths and names on disk, on invented paths; the driver against the reference model."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.config import NamedStorageConfig, StorageLocalConfig, StorageMemoryConfig
from runtime.drivers.local import LocalDriver
from runtime.drivers.local.names import MAX_NAME, RESERVED, Names, aside
from runtime.drivers.local.work import Work
from runtime.drivers.memory import MemoryDriver
from runtime.models import FileInfo, ObjectPage
from runtime.store import BlobStore
from runtime.testing.conformance.support import paths_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

HARD = [
    "",
    ".",
    "..",
    ".tandem",
    ".gitkeep",
    ".TANDEM",
    "a%=",
    "a%+",
    "%_",
    "%41",
    "%",
    "100%",
    "%zz",
    "%2E",
    "A" * 239,
    "A" * 240,
    "A" * 241,
    "é" * 200,
    "%" * 300,
]
CONFUSABLE = ["a", "A", "é", "e\u0301", "É", "ß", "ss", "\u017f", "s", "K", "\u212a", "ﬁ", "fi", "ᄀ", "ᅡ", "가"]
CONFUSABLE += ["İ", "i", "\u0131", "I", "\u200d", "\u03a3", "\u03c2", "\u03c3", "\u1e9e", "\u01c5", "\u0345", "\u03b9"]

characters = st.characters(exclude_categories=["Cs"], exclude_characters="/")
segments = st.text(characters, max_size=20) | st.sampled_from(HARD)
any_path = st.lists(segments, min_size=1, max_size=4).map("/".join).filter(bool)
confusable = st.lists(st.sampled_from(CONFUSABLE), min_size=1, max_size=5).map("".join)


@given(path=any_path, folded=st.booleans())
@settings(max_examples=500, deadline=None)
def test_every_path_has_a_name_that_leads_back_to_it(path: str, *, folded: bool) -> None:
    names = Names(folded)
    parts = names.of(path)
    assert names.path(parts) == path
    assert names.path(aside(parts)) == path
    assert all(names.path(place) == path for place in names.places(path))


@given(path=any_path, folded=st.booleans())
@settings(max_examples=500, deadline=None)
def test_every_name_can_stand_on_disk_and_leads_nowhere_else(path: str, *, folded: bool) -> None:
    parts = Names(folded).of(path)
    assert parts[0] not in RESERVED
    for part in parts:
        assert part not in {"", ".", ".."}
        assert "/" not in part
        assert "\0" not in part
        assert len(part.encode()) <= MAX_NAME + 2


@given(one=any_path, other=any_path)
@settings(max_examples=500, deadline=None)
def test_two_paths_never_share_a_place(one: str, other: str) -> None:
    if one != other:
        names = Names()
        assert not set(names.places(one)) & set(names.places(other))


@given(path=st.text("abcxyzABC019 -_.,+~@#äöü東京😀", min_size=1, max_size=60))
def test_ordinary_names_are_not_changed(path: str) -> None:
    if path not in {".", ".."} | RESERVED:
        assert Names().of(path) == (path,)


def _mixed_up(name: str) -> str:
    """What a file system that ignores case and writing compares."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", name).casefold())


@given(one=confusable, other=confusable)
@settings(max_examples=2000, deadline=None)
def test_folded_names_differ_for_every_file_system(one: str, other: str) -> None:
    if one != other:
        first, second = ("/".join(Names(folded=True).of(path)) for path in (one, other))
        assert _mixed_up(first) != _mixed_up(second)
        assert first.upper() != second.upper()
        assert first.lower() != second.lower()


async def test_root_on_a_file_system_that_mixes_up_letters_keeps_objects_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Work, "_mixes_up_letters", lambda _work: True)
    async with _local(tmp_path) as store:
        for path in ("Case/X", "case/x", "caf\u00e9", "cafe\u0301"):
            await store.upload(path, path)
        assert len({_mixed_up(str(file.relative_to(tmp_path))) for file in _files(tmp_path)}) == 4
    monkeypatch.undo()
    async with _local(tmp_path) as store:  # it is remembered in the root, not asked again
        assert await paths_of(store) == ["Case/X", "cafe\u0301", "caf\u00e9", "case/x"]
        assert await store.download("Case/X") == b"Case/X"
        assert ((await store.health_check()).details or {})["folded_names"] is True


def _files(root: Path) -> list[Path]:
    return [file for file in root.rglob("*") if file.is_file() and ".tandem" not in file.parts]


def _local(root: Path) -> BlobStore:
    backend = NamedStorageConfig(name="files", driver="local", local=StorageLocalConfig(root_dir=str(root)))
    return BlobStore(backend, LocalDriver(backend))


def _memory() -> BlobStore:
    backend = NamedStorageConfig(name="model", driver="memory", memory=StorageMemoryConfig())
    return BlobStore(backend, MemoryDriver(backend))


# the driver against the reference model

few = st.sampled_from(
    ["x", "x/y", "x/y/z", "x-", "x%=", "a%41", "aA", "é", ".gitkeep", ".tandem/q", "L" * 300, "w/" * 9 + "w"]
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("upload"), few, st.binary(max_size=4)),
        st.tuples(st.just("delete"), few, st.none()),
        st.tuples(st.just("copy"), few, few),
        st.tuples(
            st.just("list"),
            st.sampled_from(["", "x", "x/", "w/w", "a", "L", "."]),
            st.tuples(
                st.sampled_from(["", "/", "y", "-"]), st.sampled_from(["", "x", "x/y", "x/", "m"]), st.integers(1, 4)
            ),
        ),
    ),
    max_size=25,
)


def _told(answer: object) -> object:
    if isinstance(answer, FileInfo):
        return (answer.path, answer.size, answer.content_type, answer.etag, answer.metadata or {}, answer.checksum)
    if isinstance(answer, ObjectPage):
        return ([_told(info) for info in answer.objects], answer.prefixes, answer.cursor is None)
    return answer


async def _step(store: BlobStore, what: str, path: str, argument: object) -> list[object]:
    try:
        if what == "upload":
            return [_told(await store.upload(path, argument, metadata={"size": str(len(path))}))]  # type: ignore[arg-type] # bytes
        if what == "delete":
            await store.delete(path)
            return []
        if what == "copy":
            return [_told(await store.copy(path, str(argument)))]
        return await _pages(store, path, argument)  # type: ignore[arg-type] # the triple of the strategy
    except Exception as exc:  # noqa: BLE001 - the kind of an error is part of the answer
        return [type(exc)]


async def _pages(store: BlobStore, prefix: str, query: tuple[str, str, int]) -> list[object]:
    delimiter, start_after, limit = query
    answers: list[object] = []
    cursor = None
    while True:
        page = await store.list_page(prefix, delimiter=delimiter, start_after=start_after, cursor=cursor, limit=limit)
        answers.append(_told(page))
        cursor = page.cursor
        if cursor is None:
            return answers


@given(script=steps)
@settings(max_examples=60, deadline=None)
def test_directory_answers_like_the_reference_model(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, str, object]]
) -> None:
    async def play() -> None:
        async with _local(tmp_path_factory.mktemp("root")) as local, _memory() as memory:
            for what, path, argument in script:
                answers = [await _step(store, what, path, argument) for store in (local, memory)]
                assert answers[0] == answers[1], f"{what} {path!r} {argument!r}"
            assert [info.path async for info in local.list()] == [info.path async for info in memory.list()]

    anyio.run(play)
