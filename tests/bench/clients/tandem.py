"""This package, through the portable type, as an application has it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import runtime
from tests.bench.client import CHUNK, PART, PARTS_IN_FLIGHT, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.bench.client import Site

HOUR = timedelta(hours=1)


class Tandem(Client):
    distribution = "tandem-storage"
    module = "runtime"
    sites = frozenset({"s3", "local", "memory"})

    async def open(self) -> None:
        self._stack = AsyncExitStack()
        storage = await self._stack.enter_async_context(runtime.open_storage(configuration(self.site)))
        self._store = storage["bench"]

    async def close(self) -> None:
        await self._stack.aclose()

    async def make_bucket(self) -> None:
        """Make the bucket of the site: a backend never does, so this is no public call."""
        driver: Any = self._store.driver
        await driver._requests.send("PUT")

    async def put(self, path: str, data: bytes) -> None:
        await self._store.upload(path, data)

    async def get(self, path: str) -> int:
        return len(await self._store.download(path))

    async def info(self, path: str) -> int:
        return (await self._store.info(path)).size

    async def count(self, prefix: str) -> int:
        found = 0
        async for _ in self._store.list(prefix):
            found += 1
        return found

    async def delete(self, path: str) -> None:
        await self._store.delete(path)

    async def presign(self, path: str) -> str:
        return await self._store.get_presigned_url(path, HOUR)

    async def delete_batch(self, paths: Sequence[str]) -> None:
        failed = [result for result in await self._store.delete_batch(paths) if result.error]
        if failed:
            raise failed[0].error or AssertionError

    async def upload(self, path: str, pieces: AsyncIterator[bytes]) -> None:
        await self._store.upload(path, pieces)

    async def stream(self, path: str) -> int:
        total = 0
        async for chunk in self._store.stream(path, CHUNK):
            total += len(chunk)
        return total

    async def download_to(self, path: str, file: Path, connections: int) -> None:
        await self._store.download_to(path, file, concurrency=connections)


def configuration(site: Site) -> dict[str, Any]:
    """The contract for *site*, as a file would have it."""
    settings: dict[str, Any] = {}
    if site.kind == "s3":
        settings["s3"] = {
            "bucket": site.bucket,
            "region": site.region,
            "endpoint_url": site.url,
            "access_key": site.access_key,
            "secret_key": site.secret_key,
        }
    elif site.kind == "local":
        settings["local"] = {"root_dir": site.directory}
    transfer = {"part_size": PART, "concurrency": PARTS_IN_FLIGHT}
    return {"backends": [{"name": "bench", "driver": site.kind, "transfer": transfer, **settings}]}


client = Tandem
