"""A process that reads one object and ends: ``python -m tests.bench.cold NAME SITE``."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.bench.client import Site, load


async def first_object(name: str, site: Site, path: str) -> None:
    """Open, read, tell its length, close."""
    client = load(name)(site)
    await client.open()
    try:
        print(await client.get(path), flush=True)  # noqa: T201 - the parent checks it
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(first_object(sys.argv[1], Site(**json.loads(sys.argv[2])), sys.argv[3]))
