from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import runtime
from runtime.errors import (
    NotFoundError,
    OperationRefusedError,
    PermissionDeniedError,
    PreconditionFailedError,
    StorageUnavailableError,
)
from runtime.events import Events, FileDeleted, FileDownloaded, FileEvent, FileUploaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runtime.hooks import Operation, Outcome

CONFIG = {"backends": [{"name": "avatars", "driver": "memory"}]}


class Heard:
    """Everything that happened, in words."""

    def __init__(self) -> None:
        self.events: list[FileEvent] = []
        self.source = Events()
        self.source.on(FileEvent)(self.events.append)

    def words(self) -> list[str]:
        words = [f"{type(event).__name__[4:].lower()} {event.path}" for event in self.events]
        self.events.clear()
        return words


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def store(heard: Heard) -> AsyncIterator[runtime.BlobStore]:
    async with runtime.open_storage(CONFIG, hooks=[heard.source]) as storage:
        yield storage["avatars"]


async def test_an_upload_is_told_with_all_that_is_known(store: runtime.BlobStore, heard: Heard) -> None:
    info = await store.upload("u/1.jpg", b"12345", content_type="image/jpeg")
    (event,) = heard.events
    assert isinstance(event, FileUploaded)
    assert (event.backend, event.path, event.size, event.content_type, event.etag) == (
        "avatars",
        "u/1.jpg",
        5,
        "image/jpeg",
        info.etag,
    )
    assert 0 < event.seconds < 10


async def test_a_download_is_told_with_the_bytes_that_were_read(store: runtime.BlobStore, heard: Heard) -> None:
    info = await store.upload("a", b"12345", content_type="text/plain")
    heard.events.clear()
    await store.download("a")
    await store.download("a", range=(1, 3))
    assert [type(event) for event in heard.events] == [FileDownloaded, FileDownloaded]
    assert [event.size for event in heard.events] == [5, 2]
    assert {(event.content_type, event.etag) for event in heard.events} == {("text/plain", info.etag)}


async def test_a_deletion_is_told_also_where_nothing_was(store: runtime.BlobStore, heard: Heard) -> None:
    await store.delete("a")
    (event,) = heard.events
    assert isinstance(event, FileDeleted)
    assert (event.path, event.size, event.etag) == ("a", None, None)


async def test_every_way_of_writing_is_told(store: runtime.BlobStore, heard: Heard, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    await store.write_stream("stream", iter([b"1", b"2"]))
    await store.upload_from(tmp_path / "file", "file")
    async with store.open_writer("writer") as writer:
        await writer.write(b"x")
    await store.update("update", lambda _: b"new")
    await store.copy("file", "copy")
    assert heard.words() == ["uploaded stream", "uploaded file", "uploaded writer", "uploaded update", "uploaded copy"]
    await store.move("file", "moved")
    assert heard.words() == ["uploaded moved", "deleted file"]
    assert await store.copy_batch([("copy", "b1"), ("moved", "b2")]) == ["b1", "b2"]
    assert sorted(heard.words()) == ["uploaded b1", "uploaded b2"]
    await store.delete_batch(["b1", "b2", "b1"])
    assert heard.words() == ["deleted b1", "deleted b2"]
    await store.copy("copy", "copy")
    await store.move("copy", "copy")
    assert heard.words() == []


async def test_every_way_of_reading_is_told(store: runtime.BlobStore, heard: Heard, tmp_path: Path) -> None:
    await store.upload("a", b"12345")
    heard.events.clear()
    assert b"".join([chunk async for chunk in store.stream("a", 2)]) == b"12345"
    await store.download_to("a", tmp_path / "a")
    async with store.open_reader("a") as reader:
        await reader.read()
    assert [event.size for event in heard.events] == [5, 5, 5]
    assert heard.words() == ["downloaded a"] * 3


async def test_what_changes_nothing_tells_nothing(store: runtime.BlobStore, heard: Heard) -> None:
    info = await store.upload("a", b"1")
    heard.events.clear()
    await store.exists("a")
    await store.info("a")
    await store.get_url("a")
    await store.describe()
    [_ async for _ in store.list()]
    with pytest.raises(NotFoundError):
        await store.download("missing")
    with pytest.raises(PreconditionFailedError):
        await store.upload("a", b"2", if_match="other")
    with pytest.raises(PreconditionFailedError):
        await store.delete("a", if_match="other")
    async for _ in store.stream("a", 1):
        break
    assert info.etag
    assert [word for word in heard.words() if not word.startswith("downloaded")] == []


async def test_a_batch_that_fails_tells_what_it_did(store: runtime.BlobStore, heard: Heard) -> None:
    await store.upload("a", b"1")
    heard.events.clear()
    with pytest.raises(NotFoundError):
        await store.copy_batch([("a", "b"), ("b", "c"), ("missing", "d")])
    assert heard.words() == ["uploaded b", "uploaded c"]


async def test_a_handler_before_may_refuse(store: runtime.BlobStore, heard: Heard) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    @heard.source.before("delete", "delete_batch", "move", "copy", "copy_batch")
    def keep_legal(operation: Operation) -> None:
        asked.append((operation.name, operation.paths))
        if any(path.startswith("legal/") for path in operation.paths):
            raise OperationRefusedError("files below legal/ are kept")

    await store.upload("legal/1", b"1")
    listed: list[Any] = [info async for info in store.list()]
    with pytest.raises(PermissionDeniedError, match=r"delete: files below legal/ are kept \[avatars/legal/1\]"):
        await store.delete("legal/1")
    everything: list[Any] = ["a", *listed]
    with pytest.raises(OperationRefusedError, match="delete_batch: files below"):
        await store.delete_batch(iter(everything))
    with pytest.raises(OperationRefusedError):
        await store.move(listed[0], "elsewhere")
    with pytest.raises(OperationRefusedError):
        await store.copy_batch([("a", "b"), ("legal/1", "c")])
    await store.delete("a")
    assert await store.exists("legal/1")
    assert asked == [
        ("delete", ("legal/1",)),
        ("delete_batch", ("a", "legal/1")),
        ("move", ("legal/1", "elsewhere")),
        ("copy_batch", ("a", "b", "legal/1", "c")),
        ("delete", ("a",)),
    ]
    assert heard.words() == ["uploaded legal/1", "deleted a"]


async def test_hooks_before_one_that_refuses_hear_the_end(heard: Heard) -> None:
    ended: list[BaseException | None] = []

    def refuse(operation: Operation) -> None:
        if operation.name == "upload":
            raise OperationRefusedError("closed")

    hooks: list[Any] = [lambda _: lambda outcome: ended.append(outcome.error), refuse, heard.source]
    async with runtime.open_storage(CONFIG, hooks=hooks) as storage:
        ended.clear()
        with pytest.raises(OperationRefusedError) as caught:
            await storage.primary.upload("a", b"x")
        assert ended == [caught.value]
        assert (caught.value.backend, caught.value.operation, caught.value.path) == ("avatars", "upload", "a")
        assert not await storage.primary.exists("a")
    assert heard.words() == []


async def test_handlers_after_get_the_outcome(store: runtime.BlobStore, heard: Heard) -> None:
    seen: list[tuple[str, int | None, type[BaseException] | None]] = []

    @heard.source.after("upload", "download")
    def look(operation: Operation, outcome: Outcome) -> None:
        seen.append((operation.name, outcome.size, type(outcome.error) if outcome.error else None))

    await store.upload("a", b"123")
    await store.exists("a")
    with pytest.raises(NotFoundError):
        await store.download("b")
    assert seen == [("upload", 3, None), ("download", None, NotFoundError)]


async def test_a_handler_that_fails_is_logged_and_stops_nothing(
    store: runtime.BlobStore, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    @heard.source.before("upload")
    def has_a_bug(operation: Operation) -> None:
        raise ZeroDivisionError(operation.name)

    heard.source.after("upload")(lambda *_: 1 / 0)

    @heard.source.on(FileUploaded)
    async def broken(event: FileUploaded) -> None:
        raise ZeroDivisionError(event.path)

    await store.upload("a", b"x")
    await heard.source.drain()
    assert heard.words() == ["uploaded a"]
    assert [record.exc_info is not None for record in caplog.records] == [True, True, True]


async def test_closing_the_storage_waits_for_handlers_that_are_tasks() -> None:
    events, done = Events(), []

    async with runtime.open_storage(CONFIG, hooks=[events]) as storage:

        @events.on(FileUploaded)
        async def thumbnail(event: FileUploaded) -> None:
            await asyncio.sleep(0.05)
            if not event.path.endswith(".small"):
                await storage.primary.upload(f"{event.path}.small", b"s")
            done.append(event.path)

        await storage.primary.upload("a", b"x")
        assert done == []
    assert done == ["a", "a.small"]


async def test_a_cancelled_application_closes_its_storage_too_after_a_handler() -> None:
    events, done = Events(), []

    @events.on(FileUploaded)
    async def thumbnail(event: FileUploaded) -> None:
        await asyncio.sleep(0.05)
        done.append(event.path)

    storage = runtime.open_storage(CONFIG, hooks=[events])
    with anyio.CancelScope() as scope:
        async with storage:
            await storage.primary.upload("a", b"x")
            scope.cancel()
    assert done == ["a"]
    with pytest.raises(StorageUnavailableError, match="not open"):
        _ = storage.primary


def test_a_coroutine_function_can_not_decide_before() -> None:
    async def decide(operation: Operation) -> None:
        raise OperationRefusedError(operation.name)

    with pytest.raises(TypeError, match="plain function"):
        Events().before("upload")(decide)  # type: ignore[type-var] # that is the test


async def test_without_handlers_nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("nobody listens")

    monkeypatch.setattr("runtime.operation.Running", never)
    monkeypatch.setattr("runtime.operation.Operation", never)
    async with runtime.open_storage(CONFIG) as storage:
        await storage.primary.upload("a", b"x")
        await storage.primary.delete_batch(["a"])
