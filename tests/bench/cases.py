"""What is measured: each case is done in the same way with every client, and says how much it has done.

A case runs in the client's process. It is given a count, which the first round finds out, so that one
measurement takes about the same time with a slow client as with a fast one.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.bench.client import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from tests.bench.client import Client

SMALL: Final = b"x" * 4096
IN_FLIGHT: Final = 32
READ: Final = 256
"""Small objects that are read, one after the other and again from the start."""

BATCH: Final = 1000
CONNECTIONS: Final = 8
"""Connections of a download into a file."""


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement.

    Attributes:
        case: Name of the case.
        count: How often to do it.
        tag: A path of its own for what the measurement writes.
        listed: Objects below ``list/``.
        size: Bytes of the large object.
        directory: Where files may be written.
    """

    case: str
    count: int
    tag: str
    listed: int
    size: int
    directory: Path


Work: TypeAlias = Callable[["Client", Job], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table.

    Attributes:
        title: The row's name.
        unit: What is counted: ``op``, ``key``, ``object`` or ``MiB``.
        work: Does it `Job.count` times, and gives how many units that were.
        seeded: Whether ``<tag>/0`` to ``<tag>/<count>`` must exist before.
        once: Whether it is done once, however quick it is.
        seeds: Objects to a count, when it is not one.
    """

    title: str
    unit: str
    work: Work
    seeded: bool = False
    once: bool = False
    seeds: int = 1


async def many(operation: Callable[[int], Awaitable[object]], count: int, in_flight: int = IN_FLIGHT) -> int:
    """*operation* of 0 to *count*, so many at once."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await operation(number)

    await asyncio.gather(*(work() for _ in range(min(in_flight, count))))
    return count


def seed_path(tag: str, number: int) -> str:
    """Where the seeded object *number* is."""
    return f"{tag}/{number:06}.bin"


def _same(found: int, wanted: int) -> None:
    if found != wanted:
        raise AssertionError(f"the client says {found:,}, it is {wanted:,}")


async def _put(client: Client, job: Job) -> int:
    return await many(lambda number: client.put(seed_path(job.tag, number), SMALL), job.count)


async def _get(client: Client, job: Job) -> int:
    async def get(number: int) -> None:
        _same(await client.get(seed_path("get", number % READ)), len(SMALL))

    return await many(get, job.count)


async def _info(client: Client, job: Job) -> int:
    async def info(number: int) -> None:
        _same(await client.info(seed_path("get", number % READ)), len(SMALL))

    return await many(info, job.count)


async def _list(client: Client, job: Job) -> int:
    for _ in range(job.count):
        _same(await client.count("list/"), job.listed)
    return job.count * job.listed


async def _presign(client: Client, job: Job) -> int:
    for number in range(job.count):
        await client.presign(seed_path("get", number))
    return job.count


async def _presign_now(client: Client, job: Job) -> int:
    for number in range(job.count):
        client.presign_now(seed_path("get", number))
    return job.count


async def _delete(client: Client, job: Job, in_flight: int = IN_FLIGHT) -> int:
    return await many(lambda number: client.delete(seed_path(job.tag, number)), job.count, in_flight)


async def _delete_batch(client: Client, job: Job) -> int:
    for batch in range(job.count):
        await client.delete_batch([seed_path(job.tag, batch * BATCH + number) for number in range(BATCH)])
    return job.count * BATCH


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // MIB):
        yield b"x" * MIB  # each one new, as from a network: one that is sent again and again is kept in memory once


async def _upload(client: Client, job: Job) -> int:
    for _ in range(job.count):
        await client.upload(f"up/{type(client).__name__}", _pieces(job.size))
    return job.count * job.size // MIB


async def _stream(client: Client, job: Job) -> int:
    for _ in range(job.count):
        _same(await client.stream(f"large/{job.size}"), job.size)
    return job.count * job.size // MIB


async def _download_to(client: Client, job: Job) -> int:
    file = job.directory / "downloaded"
    for _ in range(job.count):
        await client.download_to(f"large/{job.size}", file, CONNECTIONS)
        _same(file.stat().st_size, job.size)
        file.unlink()
    return job.count * job.size // MIB


CASES: Final[dict[str, Case]] = {
    "put": Case("put", "op", _put),
    "get": Case("get", "op", _get),
    "info": Case("info", "op", _info),
    "list": Case("list", "key", _list),
    "presign": Case("presign GET", "op", _presign),
    "presign-now": Case("presign GET, without await", "op", _presign_now),
    "delete": Case("delete", "object", _delete, seeded=True),
    "delete-singly": Case("delete, one at a time", "object", partial(_delete, in_flight=1), seeded=True),
    "delete-batch": Case("delete, 1,000 a request", "object", _delete_batch, seeded=True, seeds=BATCH),
    "upload": Case("upload a stream", "MiB", _upload),
    "stream": Case("download a stream", "MiB", _stream),
    "upload-once": Case("upload a stream", "MiB", _upload, once=True),
    "stream-once": Case("download a stream", "MiB", _stream, once=True),
    "download-to": Case(f"download to a file, {CONNECTIONS} connections", "MiB", _download_to, once=True),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement.

    Attributes:
        units: Operations, keys, objects or MiB.
        seconds: How long they took.
        cpu: Seconds of processor time, of all threads of the client's process, in user code and in the kernel.
    """

    units: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of processor time for each unit."""
        return self.cpu / self.units * 1e6


async def measure(client: Client, job: Job) -> Sample:
    """Do the job and measure it."""
    work = CASES[job.case].work
    gc.collect()
    cpu, begin = process_time(), perf_counter()
    units = await work(client, job)
    return Sample(units, perf_counter() - begin, process_time() - cpu)


async def seed(client: Client, paths: Iterable[str], data: bytes) -> None:
    """Write small objects."""
    waiting = list(paths)
    await many(lambda number: client.put(waiting[number], data), len(waiting))


async def seed_large(client: Client, size: int) -> None:
    """Write the large object of the streams."""
    await client.upload(f"large/{size}", _pieces(size))
