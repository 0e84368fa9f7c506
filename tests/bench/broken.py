"""Uploads that are broken at a random point, and what they leave behind: nothing.

    python -m tests.bench.broken --count 1000

Each upload is broken by an exception of its source, or by a cancellation at a random await; on a directory also by
killing the process (SIGKILL). Afterwards the object is the old one (or none), or the whole new one where the break came
too late; and no temporary file and no unfinished multipart upload is there. What a killed process leaves is removed by
the next start an hour later, so its files are made that old first. Azure has no call that removes uncommitted blocks
and drops them by itself after a week: they are counted apart. The same seed breaks at the same awaits, whether the
machine is busy or not. ``tests/drivers/test_broken_uploads.py`` runs a few of them on every server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import coroutine
from typing import TYPE_CHECKING, Any, Final

import anyio

from runtime.drivers.local.work import STALE_SECONDS
from runtime.errors import NotFoundError
from runtime.registry import DriverRegistry
from runtime.testing.fixtures import RAM_DISK
from runtime.testing.servers import start as start_server
from tests.places import place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Generator, Sequence

    from runtime.config import NamedStorageConfig
    from runtime.store import BlobStore
    from runtime.testing.servers import Server

KINDS: Final = ("memory", "local", "ministack", "versitygw", "versitygw-auto", "fake-gcs-server", "azurite")
KIB: Final = 1024
MIB: Final = 1024 * 1024
OLD: Final = b"what was there before"


class BrokenError(Exception):
    """What the sources raise."""


@dataclass
class Found:
    """What the broken uploads left.

    Attributes:
        ended: How each ended: ``raised``, ``cancelled``, ``killed``, or ``whole`` where the break came too late.
        partial: Objects that are neither the old nor the new one.
        left: Temporary files, unfinished uploads.
        blocks: Blobs with uncommitted blocks, on Azure.
    """

    ended: Counter[str] = field(default_factory=Counter)
    partial: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    blocks: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing was left."""
        return not self.partial and not self.left


class Breaker:
    """Breaks uploads to one opened backend."""

    def __init__(self, store: BlobStore, seed: int) -> None:
        self._store = store
        self._chance = random.Random(seed)  # noqa: S311 - the same breaks in every run
        self._part = max(256 * KIB, store.capabilities.min_part_size)
        self._awaits: dict[bool, tuple[int, float]] = {}
        self._how: dict[str, str] = {}
        self.found = Found()

    async def run(self, count: int) -> Found:
        """Break so many uploads, then look what is left."""
        for number in range(count):
            await self._one(number)
        for what in await left_in(self._store):
            self.found.left.append(f"{what} ({self._how.get(what.rpartition(' ')[2], 'unknown')})")
        self.found.blocks = await uncommitted(self._store)
        return self.found

    async def _one(self, number: int) -> None:
        chance, path = self._chance, f"broken/{number}"
        existed = chance.random() < 0.5
        if existed:
            await self._store.upload(path, OLD)
        large = chance.random() < 0.4
        size = chance.randrange(self._part, 3 * self._part) if large else chance.randrange(1, 200 * KIB)
        content = chance.randbytes(min(size, 64 * KIB)) * (size // (64 * KIB) + 1)
        if chance.random() < 0.5:
            ended = await self._raised(path, content[:size])
        else:
            ended = await self._cancelled(path, content[:size], large=large)
        self.found.ended[ended] += 1
        self._how[path] = f"{ended}, {size:,} bytes in parts of {self._part:,}"
        await self._judge(path, content[:size], existed=existed, whole=ended == "whole")

    async def _raised(self, path: str, content: bytes) -> str:
        at = self._chance.randrange(len(content))
        try:
            await self._send(path, _pieces(content, at))
        except BrokenError:
            return "raised"
        raise AssertionError("a source that raises was uploaded")

    async def _cancelled(self, path: str, content: bytes, *, large: bool) -> str:
        if large not in self._awaits:  # how often such an upload waits, and how long
            steps, begin = _Steps(), time.perf_counter()
            await steps.through(self._send("calibration", _pieces(content)))
            self._awaits[large] = steps.count, (time.perf_counter() - begin) / steps.count
            await self._store.delete("calibration")
        count, seconds = self._awaits[large]
        # at once, or while whatever it waits for is under way
        steps = _Steps(self._chance.randrange(count) + 1, self._chance.choice([0, seconds]) * self._chance.random())
        try:
            await asyncio.create_task(steps.through(self._send(path, _pieces(content))))
        except asyncio.CancelledError:
            return "cancelled"
        return "whole"

    async def _send(self, path: str, pieces: AsyncIterator[bytes]) -> None:
        await self._store.upload(path, pieces, part_size=self._part, concurrency=3)

    async def _judge(self, path: str, content: bytes, *, existed: bool, whole: bool) -> None:
        try:
            there: bytes | None = await self._store.download(path)
        except NotFoundError:
            there = None
        before = OLD if existed else None
        allowed = [content] if whole else [before, content]  # the commit itself is not shielded: all or nothing
        if there not in allowed:
            self.found.partial.append(f"{path}: {len(there or b'')} of {len(content)} bytes")


class _Steps:
    """Counts how often a coroutine waits, and cancels its task so many seconds after a given time that it does."""

    def __init__(self, at: int | None = None, later: float = 0) -> None:
        self.count = 0
        self._at = at
        self._later = later

    async def through(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it to its end in this task."""
        await self._driven(work)

    @coroutine
    def _driven(self, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        resume = partial(work.send, None)
        while True:
            try:
                waits_for = resume()
            except StopIteration:
                return
            self._step()
            try:
                yield waits_for
                resume = partial(work.send, None)
            except BaseException as error:  # noqa: BLE001 - its own to handle
                resume = partial(work.throw, error)

    def _step(self) -> None:
        self.count += 1
        if self.count == self._at and (task := asyncio.current_task()):
            asyncio.get_running_loop().call_later(self._later, task.cancel)


async def _pieces(content: bytes, at: int | None = None) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), 48 * KIB):
        if at is not None and begin + 48 * KIB > at:
            yield content[begin:at]
            raise BrokenError
        await asyncio.sleep(0)
        yield content[begin : begin + 48 * KIB]


async def left_in(store: BlobStore) -> list[str]:
    """What unfinished uploads left, as the service or the disk tells it."""
    left = [f"upload {upload.path}" for upload in await store.sweep(older_than=timedelta(0), dry_run=True)]
    if store.backend.driver == "local":
        left += temporary_files(Path(store.raw))
    return left


async def uncommitted(store: BlobStore) -> int:
    """How many blobs of Azure are nothing but uncommitted blocks."""
    if store.backend.driver != "azure":
        return 0
    raw: Any = store.raw
    container = raw.get_container_client(store.backend.settings.container)
    found = {blob.name async for blob in container.list_blobs(include=["uncommittedblobs"])}
    return len(found - {info.path async for info in store.list()})


def temporary_files(root: Path) -> list[str]:
    """Files below the root that are not objects, their attributes, or the root's own mark."""
    folder = root / ".tandem" / "temporary"
    return [f"file {path.name}" for path in folder.iterdir()] if folder.is_dir() else []


async def broken(entry: NamedStorageConfig, count: int, seed: int) -> Found:
    """Break *count* uploads to a backend whose bucket is empty."""
    async with DriverRegistry().build(entry) as store:
        return await Breaker(store, seed).run(count)


# kill -9: a child of a process without threads uploads for ever, until it is killed


def killed(entry: NamedStorageConfig, count: int, seed: int) -> Found:
    """Kill *count* processes in the middle of their uploads to a directory; call it in a process without threads."""
    chance, found = random.Random(seed), Found()  # noqa: S311 - as above
    for number in range(count):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                anyio.run(_upload_for_ever, entry, number, writing)
            finally:
                os._exit(1)
        os.close(writing)
        os.read(reading, 1)  # it is about to begin
        os.close(reading)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found.ended["killed"] += 1
    anyio.run(_judge_killed, entry, found)
    return found


async def _upload_for_ever(entry: NamedStorageConfig, number: int, writing: int) -> None:
    async with DriverRegistry().build(entry) as store:
        os.write(writing, b".")
        for turn in range(1_000_000):
            await store.upload(f"killed/{number % 50}", _whole(turn % 10), part_size=256 * KIB, concurrency=3)


async def _whole(digit: int) -> AsyncIterator[bytes]:
    for _ in range(12):
        await asyncio.sleep(0)
        yield str(digit).encode() * (64 * KIB)


async def _judge_killed(entry: NamedStorageConfig, found: Found) -> None:
    for path in (Path(entry.settings.root_dir) / ".tandem" / "temporary").iterdir():
        os.utime(path, (time.time() - 2 * STALE_SECONDS,) * 2)
    async with DriverRegistry().build(entry) as store:  # the next start removes what the dead left
        await store.upload("after", b"the next start")
        async for info in store.list("killed/"):
            content = await store.download(info)
            if len(content) != 12 * 64 * KIB or len(set(content)) != 1:
                found.partial.append(info.path)
        found.left += await left_in(store)


def _table(kind: str, way: str, found: Found) -> str:
    ended = ", ".join(f"{count} {how}" for how, count in sorted(found.ended.items()))
    ended += f" ({found.blocks} with uncommitted blocks)" if found.blocks else ""
    return f"| {kind} | {way} | {ended} | {len(found.partial)} | {len(found.left)} |"


def main(arguments: Sequence[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser("python -m tests.bench.broken", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="uploads for each service (1000)")
    parser.add_argument("--only", default=",".join(KINDS), help=f"of {','.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=1, help="what is broken where (1)")
    options = parser.parse_args(arguments)
    print("| service | broken by | ended | partial objects | left behind |\n|---|---|---|---|---|")  # noqa: T201 - the command's output
    clean = True
    for kind in options.only.split(","):
        with ExitStack() as stack:
            ram = RAM_DISK if RAM_DISK.is_dir() else None
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-broken-", dir=ram)))

            def server(name: str, stack: ExitStack = stack, folder: Path = folder) -> Server:
                return stack.enter_context(start_server(name, folder / name))

            if kind == "local":
                found = killed(place(server, kind, folder), options.count, options.seed)
                print(_table(kind, "kill -9", found), flush=True)  # noqa: T201 - as above
                clean = clean and found.clean
            found = anyio.run(broken, place(server, kind, folder), options.count, options.seed)
            print(_table(kind, "exception, cancellation", found), flush=True)  # noqa: T201 - as above
            for what in [*found.partial, *found.left][:10]:
                print(f"  {what}")  # noqa: T201 - as above
            clean = clean and found.clean
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
