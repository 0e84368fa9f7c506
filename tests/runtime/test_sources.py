from __future__ import annotations

import array
import asyncio
import gzip
import io
import os
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.pieces import BLOCK, SMALL, Cutter, joined
from runtime.sources import source_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from runtime.driver import Bytes
    from runtime.store import BlobStore

DATA = bytes(range(256)) * 20


class Dribble(io.RawIOBase):
    """A file that gives seven bytes at a time, as sockets and pipes do."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 7) if size >= 0 else 7)


class Counting:
    """A wrapper as progress bars make them: everything is passed on, `read` is counted."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seen = 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.seen += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class AsyncFile:
    """A file with an async `read`, as web frameworks give uploads."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        await anyio.lowlevel.checkpoint()
        return self._file.read(min(size, 100))


def pieces() -> Iterator[bytes]:
    for begin in range(0, len(DATA), 333):
        yield DATA[begin : begin + 333]


def reused_buffer() -> Iterator[bytearray]:
    buffer = bytearray(512)
    for begin in range(0, len(DATA), 512):
        buffer[:] = DATA[begin : begin + 512]
        yield buffer


async def async_pieces() -> AsyncIterator[bytes]:
    for piece in pieces():
        await anyio.lowlevel.checkpoint()
        yield piece


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path


async def parts_of(data: Any, size: int) -> list[bytes]:
    source = source_of(data)
    await source.open()
    parts = []
    while await source.more():
        parts.append(b"".join(await source.read(size)))
    await source.close()
    assert source.count == len(DATA)
    return parts


@pytest.mark.parametrize("size", [7, 333, 512, 1000, len(DATA) - 1, len(DATA), len(DATA) + 1])
@pytest.mark.parametrize(
    "make",
    [
        lambda: DATA,
        lambda: bytearray(DATA),
        lambda: memoryview(DATA),
        lambda: memoryview(array.array("I", DATA)),
        lambda: io.BytesIO(DATA),
        lambda: Dribble(DATA),
        lambda: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(DATA))),
        lambda: AsyncFile(DATA),
        pieces,
        reused_buffer,
        async_pieces,
        lambda: list(pieces()),
        lambda: [b"", DATA[:1], b"", DATA[1:], b""],
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "integers",
        "bytesio",
        "dribble",
        "gzip",
        "async-file",
        "sync",
        "reused",
        "async",
        "list",
        "empty-pieces",
    ],
)
async def test_any_source_gives_parts_of_exactly_the_size(make: Any, size: int) -> None:
    parts = await parts_of(make(), size)
    assert b"".join(parts) == DATA
    assert {len(part) for part in parts[:-1]} <= {size}


async def test_text_is_stored_as_utf8(store: BlobStore) -> None:
    await store.upload("a.txt", "grüß")
    assert await store.download("a.txt") == "grüß".encode()


def cut(given_pieces: list[bytes], size: int, *, small: int = SMALL, block: int = BLOCK) -> list[list[Bytes]]:
    """The parts of *size* bytes that a cutter makes of pieces, and what is left."""
    cutter, parts = Cutter(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runtime.pieces.SMALL", small)
        patch.setattr("runtime.pieces.BLOCK", block)
        for piece in given_pieces:
            cutter.push(piece)
            while (part := cutter.pop(size)) is not None:
                parts.append(part)
        return [*parts, cutter.flush()]


@given(
    st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 40), st.sampled_from([1, 7, SMALL]), st.integers(1, 9)
)
def test_a_cutter_loses_and_adds_nothing_however_the_pieces_fall(
    given_pieces: list[bytes], size: int, small: int, block: int
) -> None:
    *parts, rest = cut(given_pieces, size, small=small, block=block)
    assert b"".join(b"".join(part) for part in [*parts, rest]) == b"".join(given_pieces)
    assert all(sum(map(len, part)) == size for part in parts)
    assert sum(map(len, rest)) < size
    assert all(len(piece) for part in [*parts, rest] for piece in part)


def test_large_pieces_are_handed_on_as_they_are() -> None:
    large = [b"a" * SMALL, b"b" * SMALL]
    part, _ = cut(large, 2 * SMALL)
    assert [view.obj for view in part if isinstance(view, memoryview)] == large
    assert all(found.obj is piece for found, piece in zip(part, large, strict=True) if isinstance(found, memoryview))


def test_small_pieces_are_put_together() -> None:
    part, rest = cut([b"x" * 1000] * 3000, 2 * BLOCK)
    assert [len(piece) for piece in part] == [1_049_000, 2 * BLOCK - 1_049_000]
    assert len(rest) == 1


@pytest.mark.parametrize("piece", [SMALL, SMALL + 1, 5 * SMALL // 2, 3 * SMALL])
def test_a_part_keeps_nothing_in_memory_but_its_own_bytes(piece: int) -> None:
    size = 3 * SMALL + 11
    for part in cut([bytes(piece) for _ in range(20)], size)[:-1]:
        kept = {id(view.obj): memoryview(view.obj).nbytes for view in part if isinstance(view, memoryview)}
        assert sum(kept.values()) + sum(len(each) for each in part if not isinstance(each, memoryview)) == size


def test_parts_that_lie_within_one_piece_are_views_of_it() -> None:
    piece = bytes(SMALL * 10)
    *parts, rest = cut([piece], SMALL * 3)
    views = [view for part in parts for view in part]
    assert len(views) == 3
    assert all(isinstance(view, memoryview) and view.obj is piece for view in views)
    assert b"".join(rest) == bytes(SMALL)
    assert not any(isinstance(view, memoryview) for view in rest)  # else the whole piece would stay for it


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_joining_keeps_the_order_and_lets_go_of_the_pieces(given_pieces: list[bytes]) -> None:
    held: list[Bytes] = list(given_pieces)
    assert joined(held) == b"".join(given_pieces)
    assert not held


@pytest.mark.parametrize("size", [100, 1000, 100_000])
async def test_a_path_and_an_open_file_are_read_whole(on_disk: Path, size: int) -> None:
    assert b"".join(await parts_of(on_disk, size)) == DATA
    with on_disk.open("rb") as file:
        assert b"".join(await parts_of(file, size)) == DATA
    with on_disk.open("rb", buffering=0) as raw:
        assert b"".join(await parts_of(raw, size)) == DATA


async def test_a_file_is_read_from_where_it_stands_and_left_open(store: BlobStore, on_disk: Path) -> None:
    with on_disk.open("rb") as file:
        file.seek(4000)
        await store.upload("a", file)
        assert not file.closed
        assert file.tell() == len(DATA)
    assert await store.download("a") == DATA[4000:]


async def test_a_spooled_and_a_named_temporary_file_are_read_whole(store: BlobStore) -> None:
    for make in (tempfile.SpooledTemporaryFile, tempfile.NamedTemporaryFile):
        with make() as file:
            file.write(DATA)
            file.seek(0)
            await store.upload("a", file)
        assert await store.download("a") == DATA


async def test_the_read_of_a_wrapper_is_the_one_that_is_called(store: BlobStore, on_disk: Path) -> None:
    with on_disk.open("rb") as file:
        wrapper: Any = Counting(file)
        await store.upload("a", wrapper)
    assert wrapper.seen == len(DATA)


async def test_a_file_that_grows_while_it_is_read_is_not_cut(on_disk: Path) -> None:
    source = source_of(on_disk)
    await source.open()
    begin = b"".join(await source.read(5000))
    with on_disk.open("ab") as more:
        more.write(b"!" * 3000)
    rest = b"".join(await source.read(100_000))
    while await source.more():
        rest += b"".join(await source.read(100_000))
    await source.close()
    assert begin + rest == DATA + b"!" * 3000


async def test_a_missing_local_file_is_the_builtin_error_and_names_the_local_file(
    store: BlobStore, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        await store.upload("a", tmp_path / "nothing-here")
    assert type(caught.value) is FileNotFoundError
    assert caught.value.filename == str(tmp_path / "nothing-here")


async def test_a_pipe_is_read_to_its_end(store: BlobStore) -> None:
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as file:
            file.write(DATA)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(read_end, "rb") as pipe:
        await store.upload("a", pipe)
    writer.join()
    assert await store.download("a") == DATA


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "NoneType can not be uploaded; give bytes"),
        (3, "int can not be uploaded"),
        (io.StringIO("text"), "binary mode"),
        (["text"], "piece 1 is str, not bytes"),
        ([b"x", 3], "piece 2 is int, not bytes"),
    ],
)
async def test_what_can_not_be_uploaded_is_refused_and_nothing_is_written(
    store: BlobStore, data: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        await store.upload("a", data)
    assert not await store.exists("a")


async def test_a_text_file_behind_a_wrapper_is_refused(store: BlobStore) -> None:
    wrapper: Any = Counting(io.StringIO("text"))
    with pytest.raises(TypeError, match="binary mode"):
        await store.upload("a", wrapper)


async def test_a_non_blocking_file_without_bytes_is_no_end_of_file(store: BlobStore) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with os.fdopen(read_end, "rb", buffering=0) as pipe, pytest.raises(BlockingIOError, match="non-blocking"):
        await store.upload("a", pipe)
    os.close(write_end)
    assert not await store.exists("a")


async def test_a_cancelled_upload_does_not_touch_the_callers_file_afterwards(store: BlobStore) -> None:
    entered, go_on = threading.Event(), threading.Event()
    reads = 0

    class Slow:
        def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - a file's signature
            nonlocal reads
            reads += 1
            entered.set()
            go_on.wait(5)
            return b"x" * 10

    slow: Any = Slow()
    task = asyncio.create_task(store.upload("a", slow))
    await anyio.to_thread.run_sync(entered.wait)
    task.cancel()
    await anyio.sleep(0.05)
    assert not task.done(), "the upload ends only when its reader does"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen = reads
    await anyio.sleep(0.05)
    assert reads == seen


async def test_generators_are_closed_when_the_upload_fails(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def sync() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 600
        finally:
            closed.append("sync")

    async def asynchronous() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 600
        finally:
            closed.append("async")

    monkeypatch.setattr(store.driver, "put_part", refuse)
    for endless in (sync(), asynchronous()):
        with pytest.raises(RuntimeError, match="no parts today"):
            await store.upload("a", endless)
    assert closed == ["sync", "async"]


async def refuse(*_: object) -> str:
    raise RuntimeError("no parts today")
