"""Attributes that were read before are served only for the file that they were read for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from runtime.drivers.local.attributes import Version
from runtime.drivers.local.remembered import Remembered
from runtime.drivers.local.work import Work
from tests.drivers.folders import open_local

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files of attributes that are read."""
    names: list[str] = []
    versions_in = Work.versions_in

    def spy(here: int, shard: str, name: str) -> list[Version]:
        names.append(name)
        return versions_in(here, shard, name)

    monkeypatch.setattr(Work, "versions_in", staticmethod(spy))
    return names


async def test_attributes_are_read_once(tmp_path: Path, reads: list[str]) -> None:
    async with open_local(tmp_path) as store:
        for number in range(20):
            await store.upload(f"a/{number}", b"x", "image/png", metadata={"n": str(number)}, cache_control="no-store")
        reads.clear()
        first = [info async for info in store.list("a/")]
        assert len(reads) == 20
        assert [info async for info in store.list("a/")] == first
        assert [await store.info(info.path) for info in first] == first
        assert len(reads) == 20
    assert {(info.content_type, info.cache_control) for info in first} == {("image/png", "no-store")}
    assert sorted((info.metadata or {})["n"] for info in first) == sorted(map(str, range(20)))


async def test_what_a_caller_does_to_an_answer_stays_with_that_caller(tmp_path: Path) -> None:
    async with open_local(tmp_path) as store:
        await store.upload("a", b"x", metadata={"n": "1"})
        for _ in range(2):
            info = await store.info("a")
            assert info.metadata == {"n": "1"}
            info.metadata["n"] = "changed"
            [listed] = [found async for found in store.list("")]
            assert listed.metadata == {"n": "1"}
            listed.metadata["n"] = "changed"


async def test_what_another_process_writes_is_seen_at_once(tmp_path: Path) -> None:
    async with open_local(tmp_path) as mine, open_local(tmp_path) as other:
        for number in range(30):
            kind = f"text/x-{number}"
            written = await other.upload("a", f"{number:04}".encode(), kind)
            assert await mine.info("a") == written
            assert [info async for info in mine.list()] == [written]
        await other.delete("a")
        await other.upload("a", b"0029", "text/again")
        assert (await mine.info("a")).content_type == "text/again"


async def test_a_file_that_is_changed_in_place_is_looked_at_again(tmp_path: Path) -> None:
    async with open_local(tmp_path) as store:
        before = await store.upload("a", b"old", "text/x-ours")
        assert await store.info("a") == before
        (tmp_path / "a").write_bytes(b"new")
        after = await store.info("a")
        assert after.etag != before.etag
        assert after.content_type == "application/octet-stream"


def facts(path: Path, mtime_ns: int) -> tuple[os.stat_result, Version]:
    path.write_bytes(b"x")
    os.utime(path, ns=(mtime_ns, mtime_ns))
    found = path.stat()
    return found, Version(found.st_size, found.st_mtime_ns, "0" * 64, "text/plain")


def test_times_in_whole_microseconds_are_not_trusted(tmp_path: Path) -> None:
    remembered = Remembered()
    found, version = facts(tmp_path / "a", 1_763_881_200_000_000_000)
    remembered.keep("a", found, version)
    assert remembered.get("a", found) is None
    found, version = facts(tmp_path / "a", 1_763_881_200_000_000_001)
    remembered.keep("a", found, version)
    assert remembered.get("a", found) is version
    again, other = facts(tmp_path / "a", 1_763_881_200_000_000_003)
    assert remembered.get("a", again) is None
    remembered.keep("a", found, other)  # it is not this file's
    assert remembered.get("a", found) is version


def test_only_so_many_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.drivers.local.remembered.MOST", 3)
    remembered = Remembered()
    found, version = facts(tmp_path / "a", 1_763_881_200_000_000_001)
    for name in ("a", "b", "a", "c", "d"):
        remembered.keep(name, found, version)
    assert [remembered.get(name, found) for name in ("a", "b", "c", "d")] == [version, None, version, version]
    remembered.forget("a")
    remembered.forget("b")
    assert remembered.get("a", found) is None
