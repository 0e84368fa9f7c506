"""The process of one client: ``python -m tests.bench.worker NAME SITE``; `tests.bench.workers` asks it in JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import memory
from tests.bench.cases import SMALL, Job, measure, seed, seed_large, seed_path
from tests.bench.client import Client, NotOffered, Site, load


def job_of(asked: dict[str, Any]) -> Job:
    """The job in a request."""
    return Job(**{**asked, "directory": Path(asked["directory"])})


async def _make_bucket(client: Client) -> None:
    make: Any = getattr(client, "make_bucket", None)
    await make()


async def _warm(client: Client) -> None:
    """Small calls, so that what is imported late is there before anything is measured."""
    path = f"warm/{type(client).__name__}"
    await client.put(path, SMALL)
    await client.get(path)
    await client.count("warm/")


async def _peak(client: Client, job: Job) -> int:
    """Bytes that the job needs at most, above what the process held before. The job is its first large one."""
    gc.collect()
    before = memory.resident()
    memory.forget_peak()
    await measure(client, job)
    return memory.peak() - before


async def answer(client: Client, asked: dict[str, Any]) -> Any:
    """Do what is asked for."""
    what = asked.pop("what")
    if what == "measure":
        return asdict(await measure(client, job_of(asked)))
    if what == "peak":
        return await _peak(client, job_of(asked))
    if what == "seed":
        paths = (seed_path(asked["tag"], number) for number in range(asked["count"]))
        return await seed(client, paths, b"x" * asked["size"])
    if what == "seed_large":
        return await seed_large(client, asked["size"])
    return await (_warm if what == "warm" else _make_bucket)(client)


async def serve(name: str, site: Site) -> None:
    """Answer until standard input ends."""
    client = load(name)(site)
    await client.open()
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                told = {"done": await answer(client, json.loads(line))}
            except NotOffered:
                told = {"done": None}
            except Exception as exc:  # noqa: BLE001 - told to the parent, which raises it
                told = {"failed": f"{type(exc).__name__}: {exc}"}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Site(**json.loads(sys.argv[2]))))
