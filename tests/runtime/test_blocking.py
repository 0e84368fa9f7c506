from __future__ import annotations

import inspect
import io
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import runtime
from runtime import BlobStore, BlockingBlobStore, BlockingKVStore, ConfigError, NotFoundError, UnknownBackendError
from runtime.kv.base import KVStorage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runtime.blockingfile import BlockingWriter

TWO = {
    "backends": [{"name": "one", "driver": "memory"}, {"name": "two", "driver": "memory", "primary": True}],
    "kv": [{"name": "sessions", "driver": "memory"}, {"name": "flags", "driver": "memory", "primary": True}],
}
ASYNC_ONLY = {"open", "close", "driver"}


@pytest.fixture
def storage() -> Iterator[runtime.BlockingStorage]:
    with runtime.open_storage_sync(TWO, check=True) as opened:
        yield opened


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_every_method_of_a_store_is_there_with_the_same_parameters() -> None:
    assert public(BlobStore) - ASYNC_ONLY <= public(BlockingBlobStore)
    for name in public(BlobStore) - ASYNC_ONLY:
        ours, theirs = getattr(BlockingBlobStore, name), getattr(BlobStore, name)
        if callable(theirs):
            parameters = [(p.name, p.kind, p.default) for p in inspect.signature(ours).parameters.values()]
            expected = [(p.name, p.kind, p.default) for p in inspect.signature(theirs).parameters.values()]
            assert parameters == expected, name


def test_every_method_of_a_key_value_store_is_there_with_the_same_parameters() -> None:
    names = {name for name in public(KVStorage) if inspect.iscoroutinefunction(vars(KVStorage)[name])}
    for name in names - {"connect", "disconnect"}:  # the storage does these
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (BlockingKVStore, KVStorage))
        assert ours == theirs, name


def test_the_life_of_an_entry_without_async(storage: runtime.BlockingStorage) -> None:
    store = storage.kv["sessions"]
    assert (store.name, store.driver, repr(store)) == ("sessions", "memory", "<BlockingKVStore 'sessions' on memory>")
    assert store.set("u1", {"cart": [1, 2]}, ttl=3600)
    assert store.get("u1") == {"cart": [1, 2]}
    assert store.add("u1", 1) is False
    assert store.touch("u1", 60)
    assert store.compare_and_set("u1", {"cart": [1, 2]}, 5)
    assert store.incr("u1", 2, namespace="counts") == 2
    assert store.set_many({"a": 1, "b": 2})
    assert store.get_many(name for name in ("a", "b", "c")) == {"a": 1, "b": 2}
    assert store.list_keys("?") == ["a", "b"]
    assert store.list_keys(prefix="u") == ["u1"]
    assert store.namespaces() == ["", "counts"]
    assert store.exists("u1")
    assert store.delete("u1")
    assert store.clear("counts")
    assert store.sweep() == 0
    assert store.describe()["driver"] == "memory"
    assert store.health_check().is_healthy()
    with pytest.raises(runtime.InvalidValueError):
        store.set("when", object())


def test_key_value_stores_are_found_by_name(storage: runtime.BlockingStorage) -> None:
    assert list(storage.kv) == ["sessions", "flags"]
    assert len(storage.kv) == 2
    assert "flags" in storage.kv
    assert storage.kv.primary.name == "flags"
    with pytest.raises(UnknownBackendError, match="there are: sessions, flags"):
        storage.kv["session"]


def test_several_threads_may_count_at_once(storage: runtime.BlockingStorage) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: storage.kv.primary.incr("n"), range(200)))
    assert storage.kv.primary.get("n") == 200


def test_a_store_in_a_file_without_async(tmp_path: Path) -> None:
    config = {"kv": [{"name": "counts", "driver": "local", "local": {"base_path": str(tmp_path)}}]}
    for turn in range(3):
        with runtime.open_storage_sync({**TWO, **config}) as storage:
            assert storage.kv["counts"].incr("n") == turn + 1


def test_the_life_of_an_object_without_async(storage: runtime.BlockingStorage, tmp_path: Path) -> None:
    store = storage["one"]
    info = store.upload("a/b.txt", b"0123456789", metadata={"who": "me"})
    assert store.info("a/b.txt") == info
    assert store.exists("a/b.txt")
    assert store.download("a/b.txt", range=(2, 4)) == b"23"
    assert list(store.stream("a/b.txt", 4)) == [b"0123", b"4567", b"89"]
    assert [found.path for found in store.list("a/")] == ["a/b.txt"]
    assert [found.path for found in store.list_page().objects] == ["a/b.txt"]
    assert store.copy("a/b.txt", "c").path == "c"
    assert store.move("c", "d").path == "d"
    assert store.copy_batch([("d", "e")]) == ["e"]
    assert [result.error for result in store.delete_batch(["d", "e"])] == [None, None]
    assert store.get_url("a/b.txt") == "memory:a/b.txt"
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert store.upload("f", tmp_path / "file").size == 100
    assert store.write_stream("g", (b"x" * 10 for _ in range(10))).size == 100
    store.delete("a/b.txt", must_exist=True)
    assert store.describe()["driver"] == "memory"
    assert store.health_check().is_healthy()
    with pytest.raises(NotFoundError):
        store.download("a/b.txt")


def test_objects_as_files_without_async(storage: runtime.BlockingStorage, tmp_path: Path) -> None:
    store = storage["one"]
    with store.open_writer("book.zip") as writer, zipfile.ZipFile(Buffer(writer), "w") as archive:
        archive.writestr("page", "one\ntwo\n")
    assert writer.info.size == store.info("book.zip").size
    with store.open_reader("book.zip") as file, zipfile.ZipFile(file) as archive:
        assert file.info.path == "book.zip"
        assert archive.read("page") == b"one\ntwo\n"
    store.upload("lines", b"one\ntwo")
    with io.BufferedReader(store.open_reader("lines")) as lines:
        assert list(lines) == [b"one\n", b"two"]
    with pytest.raises(TypeError), store.open_writer("never") as writer:
        writer.write("text")  # type: ignore[arg-type] # a caller's slip
    assert not store.exists("never")
    seen: list[tuple[int, int]] = []
    store.download_to("lines", tmp_path / "file", progress=lambda done, total: seen.append((done, total)))
    assert store.upload_from(tmp_path / "file", "again").size == 7
    assert seen[-1] == (7, 7)
    # a change that uses the store itself: in the loop's thread it would wait for itself
    store.update("again", lambda old: (old or b"") + store.download("lines")[:3])
    assert store.download("again") == b"one\ntwoone"
    with pytest.raises(runtime.NotModifiedError):
        store.download("again", if_none_match=store.info("again").etag)


class Buffer(io.RawIOBase):
    """What `zipfile` writes to when it can not seek."""

    def __init__(self, writer: BlockingWriter) -> None:
        self.writer = writer

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.writer.write(data)


def test_a_stream_that_is_left_early_is_closed(storage: runtime.BlockingStorage) -> None:
    store = storage["one"]
    store.upload("a", b"x" * 1000)
    chunks = store.stream("a", 10)
    assert next(chunks) == b"x" * 10
    chunks.close()  # type: ignore[attr-defined] # an Iterator for callers, a generator for this test
    assert list(chunks) == []


def test_backends_are_found_by_name(storage: runtime.BlockingStorage) -> None:
    assert list(storage) == ["one", "two"]
    assert len(storage) == 2
    assert "one" in storage
    assert storage.primary.name == "two"
    assert repr(storage["one"]) == "<BlockingBlobStore 'one' on memory>"
    assert set(storage.health_check()) == {"one", "two", "kv:sessions", "kv:flags"}
    with pytest.raises(UnknownBackendError):
        storage["three"]


def test_several_threads_may_use_it_at_once(storage: runtime.BlockingStorage) -> None:
    store = storage["one"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.upload(f"p/{number}", b"x" * number), range(100)))
        sizes = list(pool.map(lambda number: store.info(f"p/{number}").size, range(100)))
    assert sizes == list(range(100))


def test_its_thread_ends_with_it() -> None:
    before = threading.active_count()
    with runtime.open_storage_sync(TWO) as opened:
        opened["one"].upload("a", b"x")
        assert threading.active_count() > before
    assert threading.active_count() == before
    with pytest.raises(runtime.StorageUnavailableError, match="not open"):
        opened["one"]


def test_its_thread_ends_when_opening_fails() -> None:
    before = threading.active_count()
    with (
        pytest.raises(ConfigError, match="disabled"),
        runtime.open_storage_sync({**TWO, "enabled": False}) as opened,
    ):
        opened["one"]
    assert threading.active_count() == before
